//! Replies about decisions: whether an exposure or an outcome found its list, and the figures of lists.

use super::metrics::ALL;
use super::plan::Place;
use super::reply::{Failure, Replies, status_of};
use crate::evaluate::{Cohort, Outcomes, Window};
use crate::model::Kinds;
use crate::state::{Join, StrategyReport};
use crate::wire::Status;
use crate::wire::commands::{Exposure, ExposureReply, Outcome, OutcomeReply};
use crate::wire::types::{DecisionsCell, KindOutcomes};

/// The kind that stands for all that weigh something.
const ANY: &str = "any";

/// A join as the wire says it: code, strategy, position, delay.
fn wire_join(join: Join) -> (u8, String, u16, i64) {
    match join {
        Join::None => (0, String::new(), 0, 0),
        Join::Shown { strategy, .. } => (1, strategy.to_owned(), 0, 0),
        Join::Listed { strategy, position, delay_ms } => (1, strategy.to_owned(), position, delay_ms),
        Join::NotListed { strategy, delay_ms } => (2, strategy.to_owned(), 0, delay_ms),
        Join::Expired => (3, String::new(), 0, 0),
        Join::Unknown => (4, String::new(), 0, 0),
    }
}

impl Replies<'_> {
    pub(super) fn exposure(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let (written, outcome) = self.written(place)?;
        let (join, strategy, ..) = wire_join(outcome.join);
        let again = matches!(outcome.join, Join::Shown { again: true, .. });
        let reply = ExposureReply {
            shard: place.shard,
            sequence: written.first_sequence,
            durability: written.durability as u8,
            join,
            strategy,
        };
        self.put::<Exposure>(request_id, if again { Status::Duplicate } else { Status::Ok }, &reply);
        Ok(())
    }

    pub(super) fn outcome(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let (written, outcome) = self.learned(place)?;
        let (join, strategy, position, delay_ms) = wire_join(outcome.join);
        let reply = OutcomeReply {
            shard: place.shard,
            sequence: written.first_sequence,
            profile_version: outcome.version,
            durability: written.durability as u8,
            score_before: outcome.score_before,
            rank_before: outcome.rank_before,
            join,
            strategy,
            position,
            delay_ms,
        };
        self.put::<Outcome>(request_id, status_of(outcome), &reply);
        Ok(())
    }
}

/// The figures of one strategy, cohort and window.
pub(super) fn cell(kinds: &Kinds, report: &StrategyReport, cohort: Option<Cohort>, window: Window) -> DecisionsCell {
    let shown = report.joins.shown(cohort, window);
    let of_kind = |(code, outcomes): &(u8, Outcomes)| {
        let name = kinds.get(*code).map_or_else(|| code.to_string(), |kind| kind.name.clone());
        of(name, outcomes)
    };
    DecisionsCell {
        strategy: report.strategy.to_owned(),
        cohort: cohort.map_or(ALL, Cohort::name).to_owned(),
        window: window.name().to_owned(),
        shown: count(shown.lists),
        places: shown.places,
        kinds: std::iter::once(of(ANY.to_owned(), &shown.any)).chain(shown.kinds.iter().map(of_kind)).collect(),
    }
}

fn of(kind: String, outcomes: &Outcomes) -> KindOutcomes {
    let Outcomes { share, position, ndcg, mrr, delay_s, delay_s_p50, .. } = *outcomes;
    KindOutcomes {
        kind,
        outcomes: count(outcomes.outcomes),
        not_listed: count(outcomes.not_listed),
        lists: count(outcomes.lists),
        share,
        position,
        ndcg,
        mrr,
        delay_s,
        delay_s_p50,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts; of fading ones, rounded")]
fn count(count: f64) -> u64 {
    count.round() as u64
}
