//! P1: prequential rating prediction.
//!
//! Every event, in file order, is a judgement: predicted from the events before it, scored on the prediction clipped to
//! the scale, then learned (unclipped). RMSE and MAE are over all events, cold starts included; `last10` over the last
//! tenth. Figures are the shard's own ([`Shard::reports`]), but for the last tenth and calibration, which are made from
//! every single outcome.

use super::outcomes::Outcomes;
use super::report::{Figures, Latencies};
use super::spec::Spec;
use super::stream::Stream;
use crate::evaluate::Window;
use crate::learn::auto::Training;
use crate::model::{Kind, Schema};
use crate::state::{Op, Options, Shard};

/// Code of the one behaviour kind.
const RATE: u8 = 5;

/// Runs one strategy over the stream. Strategies that predict no values have no errors and score nothing.
///
/// `progress` is told how many events are done.
pub fn run(
    stream: &Stream,
    spec: &Spec,
    clip: Option<(f32, f32)>,
    seed: u64,
    progress: &mut dyn FnMut(u64),
) -> (Figures, Outcomes) {
    let kind = Kind { explicit: true, range: clip, ..Kind::new(RATE, "rate", 1.0) };
    let mut shard = Shard::new(
        0,
        Options {
            strategies: vec![spec.strategy.clone()],
            schema: Schema::of([kind.clone()]),
            popularity_half_life_s: spec.popularity_half_life_s(),
            seed,
            training: Training::Never,
            ..Options::default()
        },
    );
    let predicts = spec.strategy.shape().predicts_value;
    let mut outcomes = Outcomes::default();
    let mut updates = Latencies::default();
    for (at, recorded) in stream.events.iter().enumerate() {
        let op = Op::Event(stream.event(recorded, RATE));
        let outcome = updates.time(|| shard.apply(&op));
        if predicts {
            outcomes.predicted(at, recorded.user, kind.clip(outcome.score_before), recorded.value);
        }
        progress(at as u64 + 1);
    }
    let measures = shard.reports()[0].prequential.measures(None, Window::Lifetime);
    let (events, scored) = (stream.events.len() as u64, measures.predicted as u64);
    let mut figures = Figures { events, scored, ..Figures::default() };
    if predicts {
        figures.take_errors(&measures);
        figures.take_outcomes(&outcomes, stream.events.len());
    }
    figures.take_updates(&updates);
    (figures, outcomes)
}
