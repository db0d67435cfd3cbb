//! `mirra rejects replay`: the kept events, sent again as they were.
//!
//! *Repeats.* Events keep their ids; one without an id gets the name of its place in the store. So what was accepted is
//! recognised when it is sent once more, by this command or by its first sender, as far as the server remembers ids
//! (`history.events_max`). What is refused again is kept again, under its new number.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{RejectsReplayArgs, damage, for_each, reason_name};
use crate::base::Id;
use crate::cli::sender::{Numbered, Sender, Tally};
use crate::cli::{CliError, ServerAddress, ask, output};
use crate::wire::types::RejectRow;

/// Events in one batch.
const BATCH: usize = 256;

/// Longest wait for the answer to a batch.
const TIMEOUT_MS: u64 = 60_000;

/// What was done.
#[derive(Debug, Default)]
struct Report {
    events: u64,
    by_reason: BTreeMap<String, u64>,
    damaged: u64,
    tally: Tally,
}

pub(super) fn run(args: &RejectsReplayArgs) -> Result<(), CliError> {
    let mut client = ask::connect(&args.server, ask::TIMEOUT_MS)?;
    let mut report = Report::default();
    let mut sender = match args.dry_run {
        true => None,
        false => {
            let to = args.to.as_ref().map_or_else(|| args.server.clone(), |addr| ServerAddress { addr: addr.clone() });
            Some(Sender::new(ask::connect(&to, TIMEOUT_MS)?, 0, BATCH, 1))
        }
    };
    let (mut batch, progress) = (Vec::new(), output::Progress::new("events", None));
    report.damaged = for_each(&mut client, args.reason, |row| {
        *report.by_reason.entry(reason_name(row.reason)).or_default() += 1;
        batch.push(again(row, report.events));
        report.events += 1;
        progress.advance(1);
        if batch.len() == BATCH {
            let batch = std::mem::take(&mut batch);
            sender.as_mut().map_or(Ok(()), |sender| sender.send(batch))?;
        }
        Ok(())
    })?;
    if let Some(mut sender) = sender {
        sender.send(batch)?;
        sender.finish()?;
        report.tally = sender.into_tally();
    }
    drop(progress);
    if args.output.json {
        output::json(&report.to_json(args.dry_run))?;
    } else {
        output::text(&report.text(args.dry_run))?;
    }
    let Tally { accepted, duplicates, rejected, .. } = report.tally;
    if rejected > 0 && accepted + duplicates == 0 {
        let all = output::plural(rejected, "event");
        return Err(CliError::Failed(format!("nothing was accepted: {all} refused again")));
    }
    Ok(())
}

/// An event as it is sent again; its line is its number in the store.
fn again(row: RejectRow, number: u64) -> Numbered {
    let RejectRow { sequence, at_ms, mut event, .. } = row;
    if event.event_id == Id::Int(0) {
        event.event_id = Id::parse(&format!("reject-{sequence}-{at_ms}"));
    }
    Numbered { number, file: 0, line: sequence, event }
}

impl Report {
    fn to_json(&self, dry_run: bool) -> Value {
        let Tally { accepted, duplicates, rejected, overloaded, reasons, .. } = &self.tally;
        let first: Vec<Value> =
            reasons.iter().map(|each| json!({ "sequence": each.line, "reason": each.message })).collect();
        json!({
            "dry_run": dry_run, "events": self.events, "by_reason": self.by_reason, "damaged": self.damaged,
            "accepted": accepted, "duplicates": duplicates, "rejected": rejected, "overloaded": overloaded,
            "first_rejected": first,
        })
    }

    fn text(&self, dry_run: bool) -> String {
        let events = output::plural(self.events, "refused event");
        let reasons = self.by_reason.iter().map(|(name, count)| format!("{} {name}", output::grouped(*count)));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        let what = if dry_run { "would be sent again" } else { "sent again" };
        let mut lines = match self.events {
            0 => vec!["no refused event is kept".to_owned()],
            _ => vec![format!("{events} {what}: {reasons}")],
        };
        if !dry_run && self.events > 0 {
            let Tally { accepted, duplicates, rejected, .. } = self.tally;
            let [accepted, duplicates, rejected] = [accepted, duplicates, rejected].map(output::grouped);
            lines.push(format!("accepted {accepted}, known already {duplicates}, refused again {rejected}"));
            lines.extend(self.tally.reasons.iter().map(|each| format!("  number {}: {}", each.line, each.message)));
        }
        lines.extend(damage(self.damaged));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::types::Event;

    #[test]
    fn events_keep_their_ids_and_those_without_get_one() {
        let row = |event_id: Id| {
            let event = Event { event_id, user: 1.into(), item: 2.into(), kind: 0, value: 1.0, time_ms: 0 };
            RejectRow { sequence: 5, reason: 4, at_ms: 77, source: String::new(), message: String::new(), event }
        };
        assert_eq!(again(row("e-1".into()), 0).event.event_id, Id::parse("e-1"));
        let named = again(row(0.into()), 3);
        assert_eq!((named.event.event_id, named.line, named.number), (Id::parse("reject-5-77"), 5, 3));
    }
}
