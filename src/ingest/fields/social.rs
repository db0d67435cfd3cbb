//! A social network: posts seen for some seconds, liked, commented, shared, hidden, reported; accounts followed.
//!
//! A session is a feed: posts of accounts that the user follows, and of topics by its taste, newer ones sooner. *Planted*:
//! topics and hours of each user; what is liked is acted upon, what is not is hidden. One item in ten is an account, which
//! is followed and never viewed; a post is seen only after it was posted, and half of the posts are posted while the stream runs.

use super::people::{Person, Taste};
use super::rhythm::{DAY_MS, Habits};
use super::stream::{Act, Behaviour, World};
use super::world::{age, chance, count, date, home, known, list, pick, popularity, text, topics, wait_ms, whole};
use super::{FieldKind, FieldOptions, ItemRow, UserRow};
use crate::base::{Id, Rng};
use crate::ingest::generate::below;
use crate::model::Value;

pub(super) const KINDS: &[FieldKind] = &[
    FieldKind { name: "view", range: Some((0.0, 3_600.0)) },
    FieldKind { name: "like", range: None },
    FieldKind { name: "comment", range: None },
    FieldKind { name: "share", range: None },
    FieldKind { name: "follow", range: None },
    FieldKind { name: "hide", range: None },
    FieldKind { name: "report", range: None },
];

pub(super) const USER_ATTRIBUTES: &[&str] = &["joined", "age", "country", "language", "verified", "interests"];

pub(super) const ITEM_ATTRIBUTES: &[&str] = &["type", "topic", "author", "format", "language", "posted_ms"];

const TOPICS: [&str; 12] = [
    "music", "sports", "politics", "gaming", "food", "travel", "fashion", "science", "art", "business", "pets",
    "fitness",
];
const FORMATS: [&str; 4] = ["text", "photo", "video", "link"];
const LANGUAGES: [&str; 5] = ["en", "de", "es", "pt", "hi"];
/// One item in so many is an account.
const ACCOUNT_IN: usize = 10;
/// Share of posts that are by an account of their topic.
const OWN_TOPIC: f64 = 0.85;
/// Accounts that a user follows at most.
const FOLLOWED_MAX: usize = 30;
/// Draws after which a feed has nothing new.
const TRIES: usize = 8;
/// Posts of a topic among which the feed mostly chooses, newest first, at least.
const FRESH: usize = 12;

const HABITS: Habits = Habits {
    peak_hour: (17.0, 4.0),
    sharpness: 2.5,
    weekend: (0.8, 1.6),
    slots: &[],
    gap_ms: 50 * 60_000,
    session_ms: 5 * 60_000,
};

#[derive(Debug)]
struct Member {
    taste: Taste,
    /// Accounts, as items.
    follows: Vec<usize>,
}

#[derive(Debug)]
struct Network {
    members: Vec<Member>,
    accounts: usize,
    /// Of each item: its topic, its author (an account's is itself), when it was posted, and how popular it is.
    topics: Vec<usize>,
    authors: Vec<usize>,
    posted_ms: Vec<i64>,
    popularity: Vec<f64>,
    /// Posts by topic, by author and all, oldest first.
    by_topic: Vec<Vec<usize>>,
    by_author: Vec<Vec<usize>>,
    posts: Vec<usize>,
}

pub(super) fn build(options: &FieldOptions, rng: &mut Rng) -> World {
    let (items, mut network) = posts(options, rng);
    let (mut users, mut people) = (Vec::new(), Vec::new());
    for id in 1..=u64::from(options.users) {
        let person = Person::draw(options, HABITS, rng);
        let member = Member { taste: Taste::draw(TOPICS.len(), rng), follows: Vec::new() };
        let truth = person.truth(&member.taste, &TOPICS);
        let (country, _) = home(rng);
        let attributes = vec![
            ("joined", date(person.joined_at_ms)),
            ("age", age(29.0, 10.0, rng)),
            ("country", country),
            ("language", text(pick(&LANGUAGES, rng))),
            ("verified", Value::Bool(chance(0.05, rng))),
            ("interests", list(&TOPICS, 1 + below(rng, 4), rng)),
        ];
        let attributes = known(attributes, 1, rng);
        users.push(UserRow { id: Id::Int(id), attributes, truth });
        people.push(person);
        network.members.push(member);
    }
    World { habits: HABITS, users, items, people, behaviour: Box::new(network) }
}

fn posts(options: &FieldOptions, rng: &mut Rng) -> (Vec<ItemRow>, Network) {
    let count = options.items as usize;
    let accounts = count / ACCOUNT_IN;
    let mut of_items = topics(TOPICS.len(), accounts, rng);
    of_items.extend(topics(TOPICS.len(), count - accounts, rng));
    let mut by_account_topic = vec![Vec::new(); TOPICS.len()];
    (0..accounts).for_each(|account| by_account_topic[of_items[account]].push(account));
    let popularity = popularity(count, rng);
    let span_ms = options.days * DAY_MS as f64;
    let (mut authors, mut posted_ms, mut items) = (Vec::new(), Vec::new(), Vec::with_capacity(count));
    for item in 0..count {
        let topic = TOPICS[of_items[item]];
        let language = text(pick(&LANGUAGES, rng));
        // The first posts are old ones, one a topic, so that every topic has some from the start.
        let old = item < accounts + TOPICS.len() || chance(0.5, rng);
        let at_ms = if old { -rng.unit() * 60.0 * DAY_MS as f64 } else { rng.unit() * 0.95 * span_ms };
        posted_ms.push(options.start_ms + at_ms as i64);
        if item < accounts {
            authors.push(item);
            let attributes = vec![("type", text("account")), ("topic", text(topic)), ("language", language)];
            let tags = vec![topic.to_owned(), "account".to_owned()];
            items.push(ItemRow { id: Id::Text(account_name(item).into()), tags, attributes });
            continue;
        }
        let author = match &by_account_topic[of_items[item]] {
            own if chance(OWN_TOPIC, rng) && !own.is_empty() => pick(own, rng),
            _ => below(rng, accounts),
        };
        authors.push(author);
        let format = pick(&FORMATS, rng);
        let attributes = vec![
            ("type", text("post")),
            ("topic", text(topic)),
            ("author", Value::Text(account_name(author))),
            ("format", text(format)),
            ("language", language),
            ("posted_ms", Value::Number(posted_ms[item] as f64)),
        ];
        let tags = vec![topic.to_owned(), format.to_owned()];
        items.push(ItemRow { id: Id::Int((item - accounts) as u64 + 1), tags, attributes });
    }
    let mut posts: Vec<usize> = (accounts..count).collect();
    posts.sort_by_key(|&item| posted_ms[item]);
    let (mut by_topic, mut by_author) = (vec![Vec::new(); TOPICS.len()], vec![Vec::new(); accounts]);
    for &item in &posts {
        by_topic[of_items[item]].push(item);
        by_author[authors[item]].push(item);
    }
    let topics = of_items;
    let members = Vec::new();
    (items, Network { members, accounts, topics, authors, posted_ms, popularity, by_topic, by_author, posts })
}

fn account_name(account: usize) -> String {
    format!("@account{}", account + 1)
}

impl Network {
    /// The most popular of three, newer ones sooner, of those that are posted by now.
    fn fresh(&self, posts: &[usize], now_ms: i64, rng: &mut Rng) -> Option<usize> {
        let there = posts.partition_point(|&item| self.posted_ms[item] <= now_ms);
        let among = (there / 4).max(FRESH) as f64;
        let mut best = None;
        for _ in 0..3 {
            let back = (-(1.0 - rng.unit()).ln() * among) as usize;
            let Some(&item) = there.checked_sub(1 + back % there.max(1)).and_then(|at| posts.get(at)) else { continue };
            if best.is_none_or(|held| self.popularity[held] < self.popularity[item]) {
                best = Some(item);
            }
        }
        best
    }

    fn next_post(&self, member: &Member, now_ms: i64, rng: &mut Rng) -> Option<usize> {
        if member.taste.roams(rng) {
            return self.fresh(&self.posts, now_ms, rng);
        }
        let followed = if !member.follows.is_empty() && chance(0.3, rng) {
            self.fresh(&self.by_author[pick(&member.follows, rng)], now_ms, rng)
        } else {
            None
        };
        followed.or_else(|| self.fresh(&self.by_topic[member.taste.topic(rng)], now_ms, rng))
    }

    /// What the user does about a post; gives when that is over, and the account that it now follows.
    fn react(
        &self,
        member: &Member,
        item: usize,
        time_ms: i64,
        rng: &mut Rng,
        acts: &mut Vec<Act>,
    ) -> (i64, Option<usize>) {
        let liking = member.taste.liking(self.topics[item]);
        let seconds = whole((3.0 + 14.0 * liking) * (0.7 * rng.normal()).exp(), 1.0, 600.0);
        acts.push(Act { time_ms, item, kind: "view", value: seconds });
        let mut at_ms = time_ms + (seconds * 1_000.0) as i64;
        let mut follows = None;
        for (kind, probability) in [
            ("like", 0.02 + 0.25 * liking),
            ("comment", 0.06 * liking),
            ("share", 0.03 * liking),
            ("follow", 0.03 * liking),
            ("hide", 0.06 * (1.0 - liking)),
            ("report", 0.006 * (1.0 - liking)),
        ] {
            if !chance(probability, rng) {
                continue;
            }
            let mut on = item;
            if kind == "follow" {
                on = self.authors[item];
                if member.follows.contains(&on) || member.follows.len() >= FOLLOWED_MAX {
                    continue;
                }
                follows = Some(on);
            }
            acts.push(Act { time_ms: at_ms, item: on, kind, value: 1.0 });
            at_ms += wait_ms(if kind == "comment" { 25.0 } else { 2.0 }, rng);
        }
        (at_ms, follows)
    }
}

impl Behaviour for Network {
    fn session(&mut self, user: usize, time_ms: i64, rng: &mut Rng, acts: &mut Vec<Act>) -> i64 {
        let mut at_ms = time_ms;
        let mut seen = Vec::new();
        for _ in 0..count(12.0, 80, rng) {
            let member = &self.members[user];
            // A feed shows a post once; where there are few, it ends sooner.
            let mut posts = (0..TRIES).filter_map(|_| self.next_post(member, at_ms, rng));
            let Some(item) = posts.find(|item| !seen.contains(item)) else { break };
            seen.push(item);
            debug_assert!(item >= self.accounts, "accounts are not viewed");
            let (end_ms, follows) = self.react(member, item, at_ms, rng, acts);
            self.members[user].follows.extend(follows);
            at_ms = end_ms + wait_ms(3.0, rng);
        }
        at_ms
    }
}
