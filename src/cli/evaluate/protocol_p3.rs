//! P3: leave-one-out against given negatives (He et al. 2017, "NCF").
//!
//! All training pairs are learned as events of one implicit kind, in the order of their times; pairs without times are a set
//! and no stream, so they come in an order drawn from the seed (files list them user by user, item by item, and what
//! learns from order would learn that). Then the item model is fitted over them. For each row
//! of the test file the position of its item among its negatives decides: negatives that score as much are ahead, items
//! without training data score 0. Hits are positions below 10.

use super::EvaluateError;
use super::fit::refit;
use super::outcomes::Outcomes;
use super::report::{Figures, Latencies, finite};
use super::spec::Spec;
use super::stream::{Recorded, Stream};
use crate::base::{Id, Rng};
use crate::evaluate::{LeaveOneOut, position_of};
use crate::ingest::table::HeldOut;
use crate::state::{Op, Options, Shard};

/// Code of the one behaviour kind.
const EVENT: u8 = 0;
/// Positions below this are hits.
const CUTOFF: usize = 10;

/// Runs one strategy. `progress` is told how many training events are done.
///
/// # Errors
/// [`EvaluateError::Fit`].
pub fn run(
    stream: &Stream,
    test: &[HeldOut],
    spec: &Spec,
    seed: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<(Figures, Outcomes), EvaluateError> {
    let mut shard = Shard::new(
        0,
        Options {
            strategies: vec![spec.strategy.clone()],
            history_max: stream.longest_history(),
            popularity_half_life_s: spec.popularity_half_life_s(),
            seed,
            ..Options::default()
        },
    );
    let (mut updates, mut rankings) = (Latencies::default(), Latencies::default());
    for (at, recorded) in order(stream, seed).into_iter().map(|at| stream.events[at]).enumerate() {
        // Steps of a millisecond, as files without times have them, but in the order of learning.
        let time_ms = if stream.timed { recorded.time_ms } else { at as i64 };
        let recorded = &Recorded { time_ms, ..recorded };
        let op = Op::Event(stream.event(recorded, EVENT));
        updates.time(|| shard.apply(&op));
        progress(at as u64 + 1);
    }
    refit(&mut shard, spec)?;
    shard.fit_in_step();
    let mut sums = LeaveOneOut::new(CUTOFF);
    let mut outcomes = Outcomes::default();
    for (at, held_out) in (0..).zip(test) {
        let position = position(&mut shard, held_out, &mut rankings);
        sums.record(position);
        let rank = u32::try_from(position + 1).unwrap_or(u32::MAX);
        outcomes.ranked(at as usize, at, rank); // a row of the file is a user
    }
    let mut figures = Figures { events: stream.events.len() as u64, scored: sums.users(), ..Figures::default() };
    figures.take_hits(sums.hit_rate());
    figures.ndcg_10 = finite(sums.ndcg());
    if !spec.needs_model() {
        // Before there is a model, its strategies have next to nothing to do: such times would say nothing.
        figures.take_updates(&updates);
    }
    figures.take_rankings(&rankings);
    Ok((figures, outcomes))
}

/// In which order the events of a stream are learned.
fn order(stream: &Stream, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..stream.events.len()).collect();
    if !stream.timed {
        let mut rng = Rng::new(seed);
        for at in (1..order.len()).rev() {
            order.swap(at, rng.below(at as u64 + 1) as usize);
        }
    }
    order
}

/// Position of the held-out item among its negatives, from 0.
fn position(shard: &mut Shard, held_out: &HeldOut, rankings: &mut Latencies) -> usize {
    let row = |shard: &Shard, item: &Id| shard.item_row(item.as_ref());
    let positive = row(shard, &held_out.row.item);
    let rows: Vec<Option<usize>> =
        std::iter::once(positive).chain(held_out.negatives.iter().map(|item| row(shard, item))).collect();
    let scores = rankings.time(|| shard.scores_of(0, held_out.row.user.as_ref(), &rows));
    position_of(scores[0], &scores[1..])
}
