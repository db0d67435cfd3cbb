//! P2: prequential top-k on a stream in the order of time.
//!
//! 1. All events are one implicit kind; users and items are numbered by first appearance, which is how a shard numbers
//!    them. Of `n` events the first `a = floor(.9 n)` warm up.
//! 2. Warm-up: the first event of every pair of user and item is learned; then the item model is fitted over these.
//! 3. Then test-then-learn. An event whose user already has the item is skipped: not scored, not learned. The `x`-th
//!    event is scored if `(x - a) mod every = 0`; all others are learned alike.
//! 4. Candidates are the items of all earlier events without those the user has; histories are kept whole, so that the
//!    shard's own ranking ([`Shard::test_event`]) has exactly these. An item that did not occur before is a miss.
//! 5. Users of whom nothing is known yet are ranked by popularity, as the shard answers them.
//! 6. With tables of users and items ([`super::side`]) all that they say is stated before the first event, but for rows with
//!    a time, which are stated when it has come. Items of a table are known from then on: they are candidates from the
//!    beginning, for every strategy, whether it is told what the table says of them or not. That they occur is still told
//!    from the events (`known_hr_10`, new items).
//! 7. A slice from 0 has no warm-up: where the model would be fitted over nothing, there is none to the end.

use std::collections::HashSet;

use super::EvaluateError;
use super::fit::refit;
use super::outcomes::{MISS, Outcomes};
use super::report::{Figures, Latencies, finite};
use super::side::Side;
use super::spec::Spec;
use super::stream::Stream;
use crate::base::Id;
use crate::evaluate::Window;
use crate::evaluate::prequential::SHORT_LIST;
use crate::ingest::tensors::write_tensors;
use crate::model::{Event, Schema};
use crate::state::{Filter, Op, Options, Shard};

/// Code of the one behaviour kind.
const EVENT: u8 = 0;

/// Which events are scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scoring {
    /// Shares of the stream between which events are scored; what comes before is the warm-up, what comes after is left.
    pub slice: (f64, f64),
    /// Every so many-th event is scored.
    pub every: usize,
}

/// Runs one strategy over the stream. `progress` is told how many events are done.
///
/// # Errors
/// [`EvaluateError::Fit`]; [`EvaluateError::Tensors`] if what attention learned cannot be written.
pub fn run(
    stream: &Stream,
    side: &Side,
    spec: &Spec,
    scoring: Scoring,
    seed: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<(Figures, Outcomes), EvaluateError> {
    let (from, to) = bounds(stream.events.len(), scoring.slice);
    let mut shard = Shard::new(
        0,
        Options {
            strategies: vec![spec.strategy.clone()],
            history_max: stream.longest_history(),
            popularity_half_life_s: spec.popularity_half_life_s(),
            seed,
            schema: Schema { modalities: side.modalities.clone(), ..Schema::default() },
            ..Options::default()
        },
    );
    begin(&mut shard, spec);
    let mut had = HashSet::new();
    let (mut met_users, mut met_items) = (vec![false; stream.users.len()], vec![false; stream.items.len()]);
    let (mut updates, mut trainings, mut rankings) = (Latencies::default(), Latencies::default(), Latencies::default());
    let (mut known, mut known_hits) = (0_u64, 0_u64);
    let (mut new, mut new_hits) = (0_u64, 0_u64);
    let (mut outcomes, mut listed) = (Outcomes::default(), vec![false; stream.items.len() + side.len()]);
    let mut stated = 0;
    for (at, recorded) in stream.events[..to].iter().enumerate() {
        stated = side.state(&mut shard, spec.around.told, stated, recorded.time_ms);
        if at == from {
            refit(&mut shard, spec)?;
        }
        progress(at as u64 + 1);
        if !had.insert((recorded.user, recorded.item)) {
            continue;
        }
        let event = stream.event(recorded, EVENT);
        if at < from {
            shard.apply(&Op::Event(event));
        } else {
            if (at - from).is_multiple_of(scoring.every) {
                let known_item = shard.item_row(event.item).is_some();
                let counts = met_users[recorded.user as usize] && met_items[recorded.item as usize];
                if known_item && !met_items[recorded.item as usize] {
                    new += 1;
                    new_hits += u64::from(lists_among_new(&mut shard, stream, &met_items, &event));
                }
                let tested = rankings.time(|| shard.test_event(&event));
                known += u64::from(counts);
                known_hits += u64::from(counts && tested.rank.is_some_and(|rank| rank <= SHORT_LIST));
                outcomes.ranked(at, recorded.user, tested.rank.filter(|_| known_item).unwrap_or(MISS));
                if known_item {
                    shard.listed().for_each(|row| listed[row] = true);
                }
            }
            trainings.time(|| shard.train(&event));
            updates.time(|| shard.update(&Op::Event(event)));
        }
        met_users[recorded.user as usize] = true;
        met_items[recorded.item as usize] = true;
    }
    end(&shard, spec)?;
    let measures = shard.reports()[0].prequential.measures(None, Window::Lifetime);
    let mut figures = Figures { events: to as u64, scored: measures.ranked as u64, ..Figures::default() };
    figures.take_ranks(&measures);
    figures.take_outcomes(&outcomes, stream.events.len());
    let listed = listed.iter().filter(|listed| **listed).count();
    figures.coverage_10 = finite(listed as f64 / shard.item_count() as f64);
    figures.known_hr_10 = finite(known_hits as f64 / known as f64);
    figures.new_hr_10 = finite(new_hits as f64 / new as f64);
    figures.take_updates(&updates);
    if spec.trains() {
        figures.take_trainings(&trainings);
    }
    figures.take_rankings(&rankings);
    Ok((figures, outcomes))
}

/// Whether a short list of the items that nobody met yet, for the user of an event, holds its item.
fn lists_among_new(shard: &mut Shard, stream: &Stream, met: &[bool], event: &Event<'_>) -> bool {
    let unmet = stream.items.iter().zip(met).filter(|(id, met)| !**met && shard.item_row(id.as_ref()).is_some());
    let unmet: Vec<Id> = unmet.map(|(id, _)| id.clone()).collect();
    let filter = Filter { exclude_seen: true, allow_items: &unmet, ..Filter::default() };
    let list = shard.recommend(0, event.user, SHORT_LIST as usize, &filter).items;
    list.iter().any(|scored| scored.item.as_ref() == event.item)
}

/// Installs what attention goes on from.
fn begin(shard: &mut Shard, spec: &Spec) {
    for part in spec.around.weights.iter().flat_map(|weights| weights.parts()) {
        shard.apply(&Op::Pretrained { part: &part });
    }
}

/// Writes what attention learned.
fn end(shard: &Shard, spec: &Spec) -> Result<(), EvaluateError> {
    if let (Some(path), Some(learned)) = (&spec.around.save_weights, shard.pretrained()) {
        write_tensors(path, &learned)?;
    }
    Ok(())
}

/// The first event that is scored, and the one after the last.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shares are within 0 and 1")]
fn bounds(events: usize, (from, to): (f64, f64)) -> (usize, usize) {
    let at = |share: f64| ((events as f64 * share) as usize).min(events);
    (at(from), at(to))
}
