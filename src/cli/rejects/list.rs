//! `mirra rejects list`: counts by reason, and some of the events.

use serde_json::{Map, Value, json};

use super::{RejectsListArgs, ask_page, damage, kind_name, reason_name};
use crate::cli::{CliError, ask, output, when};
use crate::storage::rejects::NEWEST;
use crate::wire::commands::RejectsReply;
use crate::wire::types::{RejectCount, RejectRow};

pub(super) fn run(args: &RejectsListArgs) -> Result<(), CliError> {
    let mut client = ask::connect(&args.server, ask::TIMEOUT_MS)?;
    let reply = ask_page(&mut client, args.from.unwrap_or(NEWEST), args.max, args.reason)?;
    let kind = |code| kind_name(&client, code);
    if args.output.json {
        output::json(&counts_json(&reply))?;
        return Ok(reply.rejects.iter().try_for_each(|row| output::json(&row_json(row, &kind(row.event.kind))))?);
    }
    output::text(&counts_text(&reply))?;
    if !reply.rejects.is_empty() {
        output::text(&format!("\n{}", rows_text(&reply.rejects, ask::now_ms(), kind)))?;
    }
    if reply.next != 0 {
        output::text(&format!("more: --from {}", reply.next))?;
    }
    Ok(damage(reply.damaged).map_or(Ok(()), |line| output::text(&line))?)
}

fn counts_json(reply: &RejectsReply) -> Value {
    let counts: Map<String, Value> = reply.counts.iter().map(|each| (each.name.clone(), json!(each.count))).collect();
    json!({ "counts": counts, "dropped": reply.dropped, "damaged": reply.damaged, "next": reply.next })
}

fn row_json(row: &RejectRow, kind: &str) -> Value {
    let event = &row.event;
    // What JSON has no number for stands as text.
    let value = match ask::number_json(event.value) {
        Value::Null => json!(event.value.to_string()),
        number => number,
    };
    json!({
        "sequence": row.sequence, "at_ms": row.at_ms, "reason": reason_name(row.reason), "source": row.source,
        "message": row.message,
        "event": {
            "event_id": ask::id_json(&event.event_id), "user": ask::id_json(&event.user),
            "item": ask::id_json(&event.item), "kind": kind, "kind_code": event.kind, "value": value,
            "time_ms": event.time_ms,
        },
    })
}

fn counts_text(reply: &RejectsReply) -> String {
    let sum: u64 = reply.counts.iter().map(|each| each.count).sum();
    if sum == 0 {
        return "no event was refused".to_owned();
    }
    let mut table = output::table(&["reason", "events"]);
    output::align_right(&mut table, 1);
    let row = |each: &RejectCount| [each.name.clone(), output::grouped(each.count)];
    table.add_rows(reply.counts.iter().filter(|each| each.count > 0).map(row));
    table.add_row(["all".to_owned(), output::grouped(sum)]);
    match reply.dropped {
        0 => table.to_string(),
        dropped => format!("{table}\n{} of them could not be kept", output::grouped(dropped)),
    }
}

fn rows_text(rows: &[RejectRow], now_ms: i64, kind: impl Fn(u8) -> String) -> String {
    let headings = ["number", "refused", "reason", "user", "item", "kind", "value", "time", "client", "message"];
    let mut table = output::table(&headings);
    output::align_right_at(&mut table, &[0, 6]);
    for row in rows {
        let event = &row.event;
        let time = if event.time_ms == 0 { "now".to_owned() } else { when::date(event.time_ms) };
        table.add_row([
            row.sequence.to_string(),
            when::age(row.at_ms, now_ms),
            reason_name(row.reason),
            event.user.to_string(),
            event.item.to_string(),
            kind(event.kind),
            event.value.to_string(),
            time,
            row.source.clone(),
            row.message.clone(),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::types::Event;

    fn reply(dropped: u64) -> RejectsReply {
        let (event_id, user, item) = ("e-1".into(), 7.into(), "größe".into());
        let event = Event { event_id, user, item, kind: 9, value: f32::NAN, time_ms: 0 };
        let message = "value NaN is not finite".to_owned();
        let row = RejectRow { sequence: 12, reason: 2, at_ms: 1_000, source: "it".to_owned(), message, event };
        let count = |reason, name: &str, count| RejectCount { reason, name: name.to_owned(), count };
        let counts = vec![count(2, "value_not_finite", 1_234), count(4, "unknown_kind", 0)];
        RejectsReply { next: 0, counts, dropped, damaged: 0, rejects: vec![row] }
    }

    #[test]
    fn people_see_what_came_and_machines_all() {
        let printed = counts_text(&reply(0));
        assert!(printed.contains("value_not_finite   1,234") && printed.contains("all"), "{printed}");
        assert!(!printed.contains("unknown_kind") && !printed.contains("could not"), "{printed}");
        assert!(counts_text(&reply(3)).ends_with("\n3 of them could not be kept"));
        assert_eq!(counts_text(&RejectsReply { counts: vec![], ..reply(0) }), "no event was refused");
        let rows = rows_text(&reply(0).rejects, 61_000, |code| format!("#{code}"));
        for part in ["12", "60 s ago", "value_not_finite", "größe", "#9", "NaN", "now", "it", "is not finite"] {
            assert!(rows.contains(part), "{part:?} is missing in {rows}");
        }
        let counts = counts_json(&reply(3));
        assert_eq!((&counts["counts"]["unknown_kind"], &counts["dropped"]), (&json!(0), &json!(3)));
        let row = row_json(&reply(0).rejects[0], "9");
        assert_eq!((&row["event"]["value"], &row["event"]["user"]), (&json!("NaN"), &json!(7)));
        assert_eq!((&row["event"]["event_id"], &row["reason"]), (&json!("e-1"), &json!("value_not_finite")));
    }
}
