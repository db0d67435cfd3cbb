//! Replies to REJECTS: what was refused, counted and kept.

use super::connection::Session;
use super::convert::sent_out;
use crate::base::limits::LIST_MAX;
use crate::engine::EngineError;
use crate::model::{Reject, RejectReason};
use crate::storage::RejectQuery;
use crate::wire::Status;
use crate::wire::commands::{Rejects, RejectsReply};
use crate::wire::types::{RejectCount, RejectRow};

/// Replies to REJECTS.
pub(super) async fn answer(session: &Session, request_id: u64, wanted: &Rejects) -> Result<(), EngineError> {
    let Rejects { from, max, reason: code } = *wanted;
    let reason = RejectReason::from_code(code);
    if code != 0 && reason.is_none() {
        let message = format!("no reason has code {code}; there are {}", known());
        session.refuse(request_id, (Status::BadRequest, message));
        return Ok(());
    }
    let engine = &session.door.engine;
    let page = engine.rejects(RejectQuery { from, max: usize::from(max).min(LIST_MAX), reason }).await?;
    let totals = engine.reject_totals();
    let count = |reason: RejectReason| RejectCount {
        reason: reason.code(),
        name: reason.name().to_owned(),
        count: totals.counts[reason.index()],
    };
    let reply = RejectsReply {
        next: page.next,
        counts: RejectReason::ALL.map(count).into(),
        dropped: totals.dropped,
        damaged: page.damaged,
        rejects: page.rows.into_iter().map(row).collect(),
    };
    session.reply::<Rejects>(request_id, &reply);
    Ok(())
}

fn known() -> String {
    RejectReason::ALL.map(|reason| format!("{} {}", reason.code(), reason.name())).join(", ")
}

fn row((sequence, reject): (u64, Reject)) -> RejectRow {
    let Reject { reason, at_ms, source, message, event } = reject;
    let (source, message) = (source.into(), message.into());
    RejectRow { sequence, reason: reason.code(), at_ms, source, message, event: sent_out(event) }
}
