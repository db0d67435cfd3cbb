//! The reply to EXPLAIN.

use super::plan::Place;
use super::reply::{Failure, Replies, basis_code};
use crate::shard::{Answer, Refusal};
use crate::state;
use crate::wire::Status;
use crate::wire::commands::{Explain, ExplainReply};
use crate::wire::types::{EventPart, ScorePart};

impl Replies<'_> {
    pub(super) fn explain(&mut self, request_id: u64, place: Place) -> Result<(), Failure> {
        let Answer::Explained(strategy, explanation) = self.answer(place)? else { return Err(Refusal::Broken.into()) };
        let state::Explanation { score, basis, version, parts, events } = *explanation;
        let part = |part: crate::learn::ScorePart| ScorePart { name: part.name.to_owned(), value: part.value };
        let event = |event: state::EventPart| {
            let state::EventPart { item, kind, time_ms, value } = event;
            EventPart { item, kind, time_ms, value }
        };
        let reply = ExplainReply {
            strategy: strategy.to_owned(),
            profile_version: version,
            score,
            basis: basis_code(basis),
            parts: parts.into_iter().map(part).collect(),
            events: events.into_iter().map(event).collect(),
        };
        self.put::<Explain>(request_id, Status::Ok, &reply);
        Ok(())
    }
}
