//! The frozen copy: the server's own `state` code in this process, which learns the first part of the stream and then
//! only answers. What a model trained once and served for weeks would do. It is a copy of `decay`, whose profile is one
//! vector: that can be frozen and held against the living one with nothing else in between.
//!
//! Both are asked about the same events with the same candidates: an event counts where the server ranked it, and
//! what the living profile has in its history is no candidate for the copy either. The copy has the same item model.

use std::collections::{HashMap, VecDeque};

use super::source::{DemoItem, Workload};
use super::stream::{Point, REFIT_SEED, Streamed};
use super::{DemoError, VECTORS};
use crate::base::Id;
use crate::cli::output::Progress;
use crate::engine::fit_epoch;
use crate::linalg::IalsOptions;
use crate::model::{Attributes, Event};
use crate::shard::messages::Histories;
use crate::state::{self, Filter, Op, Shard};
use crate::wire::types;

/// Length of the list that an item must be in.
const LIST: usize = 10;

/// Learns the events before the freeze, answers those after it; the points are those of the server's curve.
///
/// # Errors
/// If the item model cannot be fitted.
pub fn frozen(
    workload: &Workload,
    streamed: &Streamed,
    options: &state::Options,
    refit: &IalsOptions,
    items_ms: i64,
) -> Result<Vec<Point>, DemoError> {
    let progress = Progress::new("   frozen copy", Some(workload.events.len() as u64));
    let strategies = options.strategies.iter().filter(|strategy| strategy.name() == VECTORS).cloned().collect();
    let mut shard = Shard::new(0, state::Options { shards: 1, rank_every: 0, strategies, ..options.clone() });
    for item in &workload.items {
        upsert(&mut shard, item, items_ms);
    }
    let mut seen = Kept::new(options.history_max);
    let (learned, later) = workload.events.split_at(streamed.freeze_at);
    for (event, ack) in learned.iter().zip(&streamed.acks).filter(|(_, ack)| ack.0) {
        shard.apply(&Op::Event(borrowed(event)));
        seen.push(event, *ack);
        progress.advance(1);
    }
    freeze(&mut shard, refit)?;
    let mut points: Vec<Point> = Vec::new();
    let mut bins = streamed.points.iter().filter(|point| point.upto > streamed.freeze_at);
    let mut point = Point { upto: bins.next().map_or(0, |point| point.upto), ..Point::default() };
    for (at, (event, ack)) in (streamed.freeze_at..).zip(later.iter().zip(&streamed.acks[streamed.freeze_at..])) {
        if at == point.upto {
            points.push(point);
            point = Point { upto: bins.next().map_or(usize::MAX, |next| next.upto), ..Point::default() };
        }
        if ack.1 > 0 {
            let deny = seen.of(&event.user);
            let filter = Filter { deny_items: &deny, ..Filter::default() };
            let list = shard.recommend(0, event.user.as_ref(), LIST, &filter);
            point.ranked += 1;
            point.hits += u64::from(list.items.iter().any(|scored| scored.item == event.item));
        }
        seen.push(event, *ack);
        progress.advance(1);
    }
    points.push(point);
    Ok(points)
}

/// What REFIT does in the server, with the same seed and over the same histories.
fn freeze(shard: &mut Shard, refit: &IalsOptions) -> Result<(), DemoError> {
    let histories = Histories::of(shard);
    if histories.dims.is_empty() {
        return Ok(());
    }
    let (model, _) =
        fit_epoch(&[histories], &[shard.arm_name(0)], &IalsOptions { seed: REFIT_SEED, ..refit.clone() }, 1)?;
    shard.install(&model);
    Ok(())
}

fn upsert(shard: &mut Shard, item: &DemoItem, time_ms: i64) {
    let tags = item.tags.iter().map(String::as_str).collect();
    shard.apply(&Op::ItemUpsert { item: item.id.as_ref(), time_ms, tags, attributes: Attributes::default() });
}

fn borrowed(event: &types::Event) -> Event<'_> {
    let types::Event { event_id, user, item, kind, value, time_ms } = event;
    let event_id = event_id.as_ref().stable_hash();
    Event { event_id, user: user.as_ref(), item: item.as_ref(), kind: *kind, value: *value, time_ms: *time_ms }
}

/// The newest events that the server keeps of each user.
struct Kept<'a> {
    users: HashMap<&'a Id, VecDeque<&'a Id>>,
    events_max: usize,
}

impl<'a> Kept<'a> {
    fn new(events_max: usize) -> Self {
        Self { users: HashMap::new(), events_max }
    }

    fn of(&self, user: &Id) -> Vec<Id> {
        self.users.get(user).map_or_else(Vec::new, |items| items.iter().map(|item| (*item).clone()).collect())
    }

    fn push(&mut self, event: &'a types::Event, (learned, _): (bool, u32)) {
        if !learned || self.events_max == 0 {
            return;
        }
        let items = self.users.entry(&event.user).or_default();
        if items.len() == self.events_max {
            items.pop_front();
        }
        items.push_back(&event.item);
    }
}
