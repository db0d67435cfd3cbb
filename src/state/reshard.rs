//! From shards to another number of shards: the same users, the same sums.
//!
//! *As it was, to the bit*: every user with its history, sums, controls and the columns of every arm; every item as its
//! owner knows it, with the owner's columns; embeddings; lists that were shown. Only numbers change that a shard gives by
//! first mention: rows, facets, descriptions ([`numbers`]).
//!
//! *Divided* ([`totals`]): what a shard sums over its users becomes the sum over those that it has now; what no user
//! accounts for stands in the first shard, so that the sum over all shards is what it was. Figures of how well was ranked
//! and foretold are added up in the first.
//!
//! *Made anew* ([`taught`]): what belongs to the events of a shard's users, whoever they are: the bank, which reads the
//! retained events again in the order of time; the newest users of items, and sums over columns.
//!
//! All shards stand at one sequence afterwards, that of the newest, and nothing is under way between them. Where the number
//! stays the same, nothing else happens: what waited is delivered, and every shard goes on as it was.

mod numbers;
mod taught;
#[cfg(test)]
mod tests;
mod totals;

use hashbrown::HashMap;
use numbers::Numbers;
use totals::Totals;

use super::arm::Arm;
use super::decisions::Decisions;
use super::items::Items;
use super::users::User;
use super::{Op, Options, Parcel, Shard};
use crate::base::Routing;
use crate::base::ids::shard_of;
use crate::learn::ItemSide;
use crate::person::churn::Churn;

/// Shards in another number, and what had to be made anew for it.
#[derive(Debug)]
pub struct Resharded {
    /// The shards.
    pub shards: Vec<Shard>,
    /// Retained events that the bank was taught again from; `None` if there is none, or where nobody moved.
    pub taught: Option<u64>,
    /// Whether `auto`, taught in step, had to fit its item factors anew: those of several shards stand in spaces of their own.
    pub refitted: bool,
}

/// Where a user of an old shard is now: shard and slot, by old shard and slot.
type Places = Vec<Vec<(usize, u32)>>;

/// Puts all that `shards` know into `count` shards, which `routing` leads to; where their number stays the same, so does the
/// routing. They are all shards of one server, at one epoch and under one schema.
///
/// # Panics
/// Without shards, or if `count` is 0.
#[must_use]
pub fn reshard(mut shards: Vec<Shard>, count: u16, routing: Routing) -> Resharded {
    assert!(!shards.is_empty() && count > 0, "from some shards to some shards");
    deliver(&mut shards);
    let sequence = shards.iter().map(|shard| shard.sequence).max().unwrap_or(0);
    let mut resharded = match usize::from(count) == shards.len() {
        true => Resharded { shards, taught: None, refitted: false },
        false => divide(&shards, count, routing),
    };
    for shard in &mut resharded.shards {
        // Of what was merged nothing comes again, and what comes has a later sequence.
        shard.merged.fill(0);
        shard.sequence = sequence;
    }
    resharded
}

/// Hands over every observation that waits.
fn deliver(shards: &mut [Shard]) {
    for source in 0..shards.len() {
        for target in 0..shards.len() {
            shards[source].outboxes[target].unsend();
            while let Some(Parcel { upto, count, bytes }) = shards[source].outboxes[target].take() {
                let from = shards[source].index;
                shards[target].apply(&Op::Merge { source: from, upto, count, bytes: &bytes });
                shards[source].outboxes[target].acknowledge(upto);
            }
        }
    }
}

fn divide(old: &[Shard], count: u16, routing: Routing) -> Resharded {
    let numbers = Numbers::of(old);
    let options = Options { shards: count, routing, schema: old[0].schema.clone(), ..old[0].options.clone() };
    let mut shards: Vec<Shard> = (0..count).map(|index| Shard::new(index, options.clone())).collect();
    shards.iter_mut().for_each(|shard| put_items(shard, old, &numbers));
    let places = put_users(&mut shards, old, &numbers);
    let mut totals = Totals::of(old, &numbers);
    shards.iter_mut().skip(1).for_each(|shard| totals.give_part(shard));
    totals.give_rest(&mut shards[0]);
    let knowing: Vec<&Decisions> = old.iter().map(|shard| &shard.decisions).collect();
    let decisions = Decisions::divided(&knowing, count, options.fading, &owners(old, &places, &options));
    for (shard, decisions) in shards.iter_mut().zip(decisions) {
        shard.decisions = decisions;
        move_churn(shard, old, &places);
    }
    add_figures(&mut shards[0], old);
    let taught = taught::teach(&mut shards, old, &numbers, &places);
    let refitted = old.len() > 1 && shards.iter().any(has_fitted);
    Resharded { shards, taught, refitted }
}

/// Which of the new shards a list belongs to, by the hash of its user; `None` if that cannot be told: nothing else is known of
/// this user, and under a key the hash does not tell.
fn owners(old: &[Shard], places: &Places, options: &Options) -> impl Fn(u64) -> Option<usize> + use<> {
    let Options { shards: count, routing, .. } = *options;
    let mut known = HashMap::new();
    if routing != Routing::Plain {
        for (shard, places) in old.iter().zip(places) {
            let user = |slot| shard.users.get(slot).id.as_ref().stable_hash();
            known.extend(places.iter().enumerate().map(|(slot, (to, _))| (user(slot), *to)));
        }
    }
    move |hash| match routing {
        Routing::Plain => Some(usize::from(shard_of(hash, count))),
        Routing::Keyed(_) => known.get(&hash).copied(),
    }
}

/// Whether the factors of an arm that fits them itself are there.
fn has_fitted(shard: &Shard) -> bool {
    shard.arms.iter().any(|arm| fits_itself(arm, &shard.options) && arm.model.epoch > 0)
}

/// Whether an arm fits its item factors itself.
fn fits_itself(arm: &Arm, options: &Options) -> bool {
    arm.shape.items == ItemSide::Model && !options.takes_model(&arm.strategy)
}

/// Every item, as its owner knows it, in one order for all shards; a shard needs those of the others for its users.
fn put_items(shard: &mut Shard, old: &[Shard], numbers: &Numbers) {
    let reference_ms = old.iter().map(|shard| shard.items.reference_ms()).fold(f64::NEG_INFINITY, f64::max);
    shard.items = Items::new(shard.options.popularity_half_life_s);
    shard.items.restore_reference(reference_ms);
    numbers.names().iter().for_each(|name| {
        shard.tags.number(name);
    });
    shard.epoch = old[0].epoch;
    for row in 0..numbers.rows() {
        let (from, old_row) = numbers.origin(row);
        let mut item = numbers.item(old, row);
        item.owner = shard.owner(item.id.as_ref());
        item.decayed = shard.items.translated(item.decayed, old[from].items.reference_ms());
        shard.bank_item(item.id.as_ref());
        shard.items.restore(item);
        for (arm, before) in shard.arms.iter_mut().zip(&old[from].arms) {
            let column = arm.items.push();
            // The factors of several shards that each fitted their own have nothing to do with each other.
            if old.len() == 1 || !fits_itself(arm, &shard.options) {
                arm.items.col_mut(column).copy_from_slice(before.items.col(old_row));
            }
        }
    }
    for (arm, before) in shard.arms.iter_mut().zip(&old[0].arms) {
        if old.len() == 1 || !fits_itself(arm, &shard.options) {
            arm.model = before.model.clone();
        }
    }
    queue_unseen(shard, old, numbers);
}

/// Queues the items that were seen in the order of their newest event; of one shard alone, as they stand in its queue.
fn queue_unseen(shard: &mut Shard, old: &[Shard], numbers: &Numbers) {
    for at in 0..shard.arms.len() {
        let Some(unseen) = &mut shard.arms[at].unseen else { continue };
        let mut seen: Vec<(i64, u64, usize)> = Vec::new();
        for row in 0..numbers.rows() {
            let (from, old_row) = numbers.origin(row);
            let mark = old[from].arms[at].unseen.as_ref().map_or(0, |unseen| unseen.mark(old_row));
            let time_ms = if old.len() == 1 { 0 } else { old[from].items.get(old_row).last_ms };
            seen.extend((mark > 0).then_some((time_ms, mark, row)));
        }
        seen.sort_unstable();
        let mut marks = vec![0; numbers.rows()];
        (1..).zip(&seen).for_each(|(mark, (_, _, row))| marks[*row] = mark);
        marks.into_iter().for_each(|mark| unseen.restore(mark));
        unseen.queue_by_mark();
    }
}

/// Every user, in the order of old shards and slots.
fn put_users(shards: &mut [Shard], old: &[Shard], numbers: &Numbers) -> Places {
    let Options { shards: count, routing, .. } = shards[0].options;
    let mut places = Places::new();
    for (from, before) in old.iter().enumerate() {
        let mut slots = Vec::with_capacity(before.users.len());
        for slot in 0..before.users.len() {
            let mut user: User = before.users.get(slot).clone();
            let to = usize::from(routing.shard(user.id.as_ref(), count));
            numbers.renumber(from, &mut user);
            let shard = &mut shards[to];
            shard.bank_user(user.id.as_ref());
            let new_slot = shard.users.restore(user);
            for (arm, before) in shard.arms.iter_mut().zip(&before.arms) {
                let column = arm.users.push();
                arm.users.col_mut(column).copy_from_slice(before.users.col(slot));
            }
            slots.push((to, u32::try_from(new_slot).expect("slots are numbered in u32")));
        }
        places.push(slots);
    }
    places
}

/// Who may leave: the model of the shard that knows most, and what waits to be known of the users that are here now.
fn move_churn(shard: &mut Shard, old: &[Shard], places: &Places) {
    let models: Vec<&Churn> = old.iter().map(|shard| &shard.leaving.churn).collect();
    let here = usize::from(shard.index);
    let slot_of = |from: usize, slot: u32| {
        let (to, slot) = places[from].get(slot as usize)?;
        (*to == here).then_some(*slot)
    };
    if let Some(moved) = Churn::of_moved(&models, slot_of) {
        shard.leaving.churn = moved;
    }
}

/// How well was ranked and foretold, of all shards together.
fn add_figures(first: &mut Shard, old: &[Shard]) {
    for before in old {
        first.leaving.forecasts.merge(&before.leaving.forecasts);
        for (arm, before) in first.arms.iter_mut().zip(&before.arms) {
            arm.prequential.merge(&before.prequential);
        }
    }
}
