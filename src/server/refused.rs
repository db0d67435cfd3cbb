//! Events that passed the door and that their shard did not learn: what callers are told, and who keeps them.

use super::plan::Done;
use crate::engine::Engine;
use crate::model::{Reject, RejectReason};
use crate::shard::StepDone;
use crate::wire::Status;

/// What a caller is told.
pub(super) fn told(reason: RejectReason) -> (Status, &'static str) {
    match reason {
        RejectReason::TooLate => (
            Status::TooLate,
            "the event is further behind the newest one of its user than [cleaning] late_s allows: it was not learned",
        ),
        RejectReason::Burst => (
            Status::Duplicate,
            "the same user, item and kind came a moment before, without an event id: it was taken for a repeat",
        ),
        RejectReason::Quarantined => (
            Status::Quarantined,
            "the user behaves like a machine: its events are set aside until it stops (`mirra rejects` has them)",
        ),
        RejectReason::Paused => (Status::NoConsent, "the user has paused learning: the event was not learned"),
        RejectReason::Merged => (
            Status::Overloaded,
            "the user was merged into another while the event was on its way: send it again, it goes to the other",
        ),
        RejectReason::Memory => (
            Status::Memory,
            "there is no memory for another user or item ([memory] limit_bytes): nothing was done, known ones go on",
        ),
        RejectReason::Poison => (
            Status::Internal,
            "the shard broke at this and was made anew: it is set aside (`mirra rejects`), everything else was done",
        ),
        _ => (Status::BadRequest, "the event was not learned"),
    }
}

/// Counts and keeps every event of a plan that a shard did not learn.
pub(super) fn keep(engine: &Engine, client: &str, done: &Done) {
    for step in done.iter().flatten().flatten().flatten() {
        let StepDone::Written(written) = step else { continue };
        for refused in &written.refused {
            let (_, message) = told(refused.reason);
            let now_ms = engine.clock().now_ms();
            engine.reject(Reject::new(refused.reason, now_ms, client, message, refused.event.clone()));
        }
    }
}
