//! Act 3: one user takes up a new taste, event by event, and the profile and the recommendations follow at once.
//!
//! What a profile means is seen in what it recommends, by `auto`, the default. So it is shown as the tags of its best 50
//! items. How far six events turn a profile is told by `decay` as well, whose profile is one vector and nothing else. In a file without tags the new taste is that of another user, and the measure the share of that user's
//! best 50 items.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use console::{Style, style};

use super::screen::{bar, cell, thousands};
use super::source::{DemoItem, Workload};
use super::stream::ask;
use super::{DemoError, Stage, VECTORS};
use crate::base::Id;
use crate::cli::output;
use crate::client::BlockingClient;
use crate::model::Durability;
use crate::wire::commands::{EventPut, EventPutReply, ProfileGet, Recommend};
use crate::wire::types::{Event, ScoredItem};

/// Items that a profile is seen by, items that are shown, events of the new taste, users to choose from.
const SEEN_BY: usize = 50;
const SHOWN: usize = 5;
const NEW_EVENTS: usize = 6;
const CHOICE: usize = 60;
/// Events that a chosen user has at most, so that the story is about somebody ordinary.
const ORDINARY: usize = 150;
/// Event ids from here on are those of this act: no row of a file has such a line.
const EVENT_IDS_FROM: u64 = 1 << 48;
/// Time between two events of this act.
const STEP_MS: i64 = 60_000;

/// What changed.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Who.
    pub user: Id,
    /// The new taste, in words.
    pub taste: String,
    /// Events of it.
    pub events: usize,
    /// Version of the profile before and after.
    pub versions: (u32, u32),
    /// Share of the new taste among the best 50 items by [`VECTORS`], before and after.
    pub shares: (f64, f64),
    /// The same by the strategy that answers.
    pub served: (f64, f64),
    /// Places of its first five that have another item.
    pub places_changed: usize,
    /// Median time from sending an event to its acknowledgement.
    pub ack: Duration,
}

/// Somebody, and a taste that is not theirs.
struct Story<'a> {
    user: Id,
    /// By [`VECTORS`].
    by_vector: Vec<ScoredItem>,
    /// By the strategy that answers.
    before: Vec<ScoredItem>,
    taste: String,
    /// Items of the taste: the measure.
    of_taste: HashSet<Id>,
    /// Items to send events about.
    steps: Vec<&'a DemoItem>,
}

/// Shows it.
///
/// # Errors
/// Any of the client's; a claim that does not hold.
pub fn act(stage: &mut Stage, client: &mut BlockingClient) -> Result<Changed, DemoError> {
    stage.screen.act("One living profile: a user takes up a new taste")?;
    let (kind, value) = strongest(stage);
    let Stage { screen, workload, .. } = stage;
    let story = choose(workload, client)?;
    let begin = ask(client, &ProfileGet { user: story.user.clone(), recent_max: 1, factors: false })?;
    let known = format!("version {} after {} events", begin.version, thousands(begin.events));
    screen.fact("user", &format!("{} · {known} · new taste: {}", story.user, style(&story.taste).green().bold()))?;
    screen.line(
        &style("\n   event on item                     shard   sequence   version       ack").dim().to_string(),
    )?;
    let (mut acks, mut waits) = (Vec::new(), Vec::new());
    for (number, item) in (1_u64..).zip(&story.steps) {
        let time_ms = begin.last_ms + STEP_MS * i64::try_from(number).unwrap_or(0);
        let event_id = Id::Int(EVENT_IDS_FROM + number);
        let event = Event { event_id, user: story.user.clone(), item: item.id.clone(), kind, value, time_ms };
        let sent = Instant::now();
        let ack = ask(client, &EventPut { event, durability: 0 })?;
        let took = sent.elapsed();
        screen.line(&ack_line(item, &ack, took))?;
        waits.push(took);
        acks.push(ack);
    }
    let (after, by_vector) = (recommend(client, &story.user, "")?, recommend(client, &story.user, VECTORS)?);
    let end = ask(client, &ProfileGet { user: story.user.clone(), recent_max: 1, factors: false })?;
    waits.sort_unstable();
    let changed = Changed {
        shares: (share(&story.by_vector, &story.of_taste), share(&by_vector, &story.of_taste)),
        served: (share(&story.before, &story.of_taste), share(&after, &story.of_taste)),
        places_changed: (0..SHOWN).filter(|at| item_at(&story.before, *at) != item_at(&after, *at)).count(),
        events: story.steps.len(),
        versions: (begin.version, end.version),
        ack: waits.get(waits.len() / 2).copied().unwrap_or_default(),
        taste: story.taste.clone(),
        user: story.user.clone(),
    };
    if !screen.is_quiet() {
        screen.line(&tastes(workload, &story, &after))?;
        screen.line(&side_by_side(workload, &story, &after))?;
    }
    let steps = acks.iter().zip(begin.version + 1..).all(|(ack, version)| {
        (ack.profile_version, ack.shard) == (version, begin.shard) && ack.durability >= Durability::Journaled as u8
    });
    let rising = acks.windows(2).all(|pair| pair[0].sequence < pair[1].sequence);
    let followed = end.version == begin.version + u32::try_from(acks.len()).unwrap_or(u32::MAX);
    let Changed { events, versions, .. } = changed;
    let claim =
        format!("{events} events, {events} acknowledgements, version {} → {}: nothing waits", versions.0, versions.1);
    screen.check(steps && rising && followed && events > 0, &claim)?;
    let percent = |(was, is): (f64, f64)| format!("from {:.0} % to {:.0} % of the best 50", 100.0 * was, 100.0 * is);
    let (places, shares) = (changed.places_changed, changed.shares);
    let claim = format!("{} went {}; {places} of the first 5 are new", story.taste, percent(changed.served));
    screen.check(places > 0, &claim)?;
    let claim = format!("by {VECTORS}, where a profile is one vector: {}", percent(shares));
    screen.check(shares.1 > shares.0, &claim)?;
    Ok(changed)
}

fn recommend(client: &mut BlockingClient, user: &Id, strategy: &str) -> Result<Vec<ScoredItem>, DemoError> {
    let request = Recommend {
        user: user.clone(),
        k: u16::try_from(SEEN_BY).unwrap_or(u16::MAX),
        exclude_seen: true,
        allow_items: Vec::new(),
        deny_items: Vec::new(),
        allow_tags: Vec::new(),
        deny_tags: Vec::new(),
        strategy: strategy.to_owned(),
    };
    Ok(ask(client, &request)?.items)
}

/// The kind that weighs most among those of the stream (a judgement only if there is nothing else), and its best value.
fn strongest(stage: &Stage) -> (u8, f32) {
    let used: HashSet<u8> = stage.workload.events.iter().map(|event| event.kind).collect();
    let kinds = stage.config.schema.kinds.iter().filter(|kind| used.contains(&kind.code));
    let strongest = kinds.max_by(|one, two| {
        (!one.explicit, one.weight).partial_cmp(&(!two.explicit, two.weight)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let kind = strongest.map_or(0, |kind| kind.code);
    let values = stage.workload.events.iter().filter(|event| event.kind == kind).map(|event| event.value);
    (kind, values.fold(1.0, f32::max))
}

/// Among active, ordinary users the one with the clearest taste; and the taste that is furthest from it.
fn choose<'a>(workload: &'a Workload, client: &mut BlockingClient) -> Result<Story<'a>, DemoError> {
    let mut counts: HashMap<&Id, usize> = HashMap::new();
    for event in &workload.events {
        *counts.entry(&event.user).or_default() += 1;
    }
    let mut users: Vec<(&Id, usize)> = counts.into_iter().filter(|(_, count)| *count <= ORDINARY).collect();
    // Ties by id: the same stream tells the same story.
    users.sort_unstable_by_key(|(user, count)| (std::cmp::Reverse(*count), *user));
    let mut lists = Vec::new();
    for (user, _) in users.into_iter().take(CHOICE) {
        lists.push((user, recommend(client, user, VECTORS)?));
    }
    let too_few = || DemoError::TooFew {
        name: workload.name.clone(),
        found: workload.events.len(),
        least: workload.events.len() + 1,
    };
    let tags = main_tags(workload);
    let clearest = |list: &[ScoredItem]| shares_of(list, &tags).first().map_or(0, |(_, count)| *count);
    let at = (0..lists.len()).rev().max_by_key(|at| clearest(&lists[*at].1)).ok_or_else(too_few)?;
    let (user, by_vector) = lists.swap_remove(at);
    let before = recommend(client, user, "")?;
    let mut popularity: HashMap<&Id, usize> = HashMap::new();
    let mut met: HashSet<&Id> = HashSet::new();
    for event in &workload.events {
        *popularity.entry(&event.item).or_default() += 1;
        if event.user == *user {
            met.insert(&event.item);
        }
    }
    let (taste, of_taste) = match furthest(workload, &by_vector, &tags) {
        Some(tag) => {
            let of_taste = tags.iter().filter(|(_, main)| **main == tag).map(|(id, _)| (*id).clone());
            (tag.to_owned(), of_taste.collect::<HashSet<Id>>())
        }
        None => {
            let ids: HashSet<&Id> = by_vector.iter().map(|scored| &scored.item).collect();
            let overlap = |list: &[ScoredItem]| list.iter().filter(|scored| ids.contains(&scored.item)).count();
            let (other, list) = lists.iter().min_by_key(|(_, list)| overlap(list)).ok_or_else(too_few)?;
            (format!("the taste of user {other}"), list.iter().map(|scored| scored.item.clone()).collect())
        }
    };
    let fresh = |item: &&DemoItem| of_taste.contains(&item.id) && !met.contains(&item.id);
    let mut steps: Vec<&DemoItem> = workload.items.iter().filter(fresh).collect();
    steps.sort_by_key(|item| std::cmp::Reverse(popularity.get(&item.id).copied().unwrap_or(0)));
    steps.truncate(NEW_EVENTS);
    Ok(Story { user: user.clone(), by_vector, before, taste, of_taste, steps })
}

fn main_tags(workload: &Workload) -> HashMap<&Id, &str> {
    workload.items.iter().filter_map(|item| Some((&item.id, item.tags.first()?.as_str()))).collect()
}

/// Main tags of a list, the most frequent first.
fn shares_of<'t>(list: &[ScoredItem], tags: &HashMap<&Id, &'t str>) -> Vec<(&'t str, usize)> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for tag in list.iter().filter_map(|scored| tags.get(&scored.item)) {
        *counts.entry(tag).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable_by_key(|(tag, count)| (std::cmp::Reverse(*count), *tag));
    counts
}

/// The tag that the list has least of; of several, the one with most items.
fn furthest<'t>(workload: &Workload, before: &[ScoredItem], tags: &HashMap<&Id, &'t str>) -> Option<&'t str> {
    let here: HashMap<&str, usize> = shares_of(before, tags).into_iter().collect();
    let mut all: HashMap<&str, usize> = HashMap::new();
    for tag in workload.items.iter().filter_map(|item| tags.get(&item.id)) {
        *all.entry(tag).or_default() += 1;
    }
    let key = |(tag, count): &(&str, usize)| {
        (here.get(tag).copied().unwrap_or(0), std::cmp::Reverse(*count), tag.to_string())
    };
    all.into_iter().min_by_key(key).map(|(tag, _)| tag)
}

fn share(list: &[ScoredItem], of_taste: &HashSet<Id>) -> f64 {
    list.iter().filter(|scored| of_taste.contains(&scored.item)).count() as f64 / list.len().max(1) as f64
}

fn item_at(list: &[ScoredItem], at: usize) -> Option<&Id> {
    list.get(at).map(|scored| &scored.item)
}

fn ack_line(item: &DemoItem, ack: &EventPutReply, took: Duration) -> String {
    let named = if item.tags.is_empty() { String::new() } else { format!("  {}", item.tags.join(", ")) };
    let item = cell(&format!("item {}{named}", item.id), 33, &Style::new());
    let (sequence, took) = (thousands(ack.sequence), output::duration(took));
    let EventPutReply { shard, profile_version, .. } = ack;
    format!("   {item} {shard:>5} {sequence:>10} {profile_version:>9} {took:>9}")
}

/// The tags of the best 50, before and after.
fn tastes(workload: &Workload, story: &Story<'_>, after: &[ScoredItem]) -> String {
    let tags = main_tags(workload);
    let (old, new) = (shares_of(&story.before, &tags), shares_of(after, &tags));
    let mut names: Vec<&str> = old.iter().take(4).chain(new.iter().take(4)).map(|(tag, _)| *tag).collect();
    names.dedup();
    let mut met = HashSet::new();
    names.retain(|name| met.insert(*name));
    if names.is_empty() {
        return String::new();
    }
    let mut text = style(format!("\n   {:<18} {:<31} {}\n", "tags of its best", "before", "after")).dim().to_string();
    let column = |counts: &[(&str, usize)], list: &[ScoredItem], name: &str, paint: &Style| {
        let count = counts.iter().find(|(tag, _)| *tag == name).map_or(0, |(_, count)| *count);
        let share = count as f64 / list.len().max(1) as f64;
        cell(format!("{} {:.0} %", bar(share, 22), 100.0 * share).trim_start(), 31, paint)
    };
    for name in names {
        let paint = if name == story.taste { Style::new().green() } else { Style::new().blue() };
        let (one, two) = (column(&old, &story.before, name, &paint), column(&new, after, name, &paint));
        text.push_str(&format!("   {} {one} {two}\n", cell(name, 18, &Style::new())));
    }
    text
}

/// The first items, before and after.
fn side_by_side(workload: &Workload, story: &Story<'_>, after: &[ScoredItem]) -> String {
    let items: HashMap<&Id, &DemoItem> = workload.items.iter().map(|item| (&item.id, item)).collect();
    let side = |list: &[ScoredItem], at: usize| {
        let Some(scored) = list.get(at) else { return cell("", 38, &Style::new()) };
        let tags = items.get(&scored.item).map(|item| item.tags.join(", ")).unwrap_or_default();
        let new = story.of_taste.contains(&scored.item);
        let paint = if new { Style::new().green() } else { Style::new() };
        cell(&format!("{:>6.2}  item {:<5} {tags}", scored.score, scored.item.to_string()), 38, &paint)
    };
    let mut text = style(format!("   first 5   {:<38} {}\n", "before", "after")).dim().to_string();
    for at in 0..SHOWN {
        text.push_str(&format!("      {:>2}  {} {}\n", at + 1, side(&story.before, at), side(after, at)));
    }
    text
}
