//! `mirra rejects export`: the kept events as a table that can be mended and given to `mirra replay`.

use std::path::Path;

use serde_json::json;

use super::{RejectsExportArgs, damage, for_each, kind_name, reason_name};
use crate::cli::{CliError, ask, output};
use crate::ingest::TableWriter;
use crate::wire::types::RejectRow;

/// The columns; `mirra replay` reads the first six, the time stamp in milliseconds.
const COLUMNS: [&str; 10] =
    ["event_id", "user", "item", "value", "timestamp", "kind", "reason", "at", "source", "message"];

pub(super) fn run(args: &RejectsExportArgs) -> Result<(), CliError> {
    let mut client = ask::connect(&args.server, ask::TIMEOUT_MS)?;
    let names: Vec<String> = (0..=u8::MAX).map(|code| kind_name(&client, code)).collect();
    let mut writer = TableWriter::create(&args.file, &COLUMNS).map_err(|error| cannot(&args.file, &error))?;
    let (mut written, mut left_out) = (0_u64, 0_u64);
    let progress = output::Progress::new("events", None);
    let damaged = for_each(&mut client, args.reason, |row| {
        match fields(&row, &names[usize::from(row.event.kind)]) {
            Some(fields) => {
                let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
                writer.row(&fields).map_err(|error| cannot(&args.file, &error))?;
                written += 1;
            }
            None => left_out += 1,
        }
        progress.advance(1);
        Ok(())
    })?;
    writer.finish().map_err(|error| cannot(&args.file, &error))?;
    drop(progress);
    let file = args.file.display().to_string();
    if args.output.json {
        return Ok(output::json(
            &json!({ "file": file, "written": written, "left_out": left_out, "damaged": damaged }),
        )?);
    }
    let mut lines = vec![format!("{} written to {file}", output::plural(written, "event"))];
    if left_out > 0 {
        let events = output::plural(left_out, "event");
        lines.push(format!("{events} left out: tabs, line ends or blanks around an id cannot stand in such a table"));
    }
    lines.extend(damage(damaged));
    Ok(output::text(&lines.join("\n"))?)
}

fn cannot(path: &Path, error: &std::io::Error) -> CliError {
    CliError::Failed(format!("cannot write {}: {error}", path.display()))
}

/// The fields of a row; `None` if an id would not come back as it is.
fn fields(row: &RejectRow, kind: &str) -> Option<[String; 10]> {
    let event = &row.event;
    let ids = [&event.event_id, &event.user, &event.item].map(ToString::to_string);
    if !ids.iter().all(|id| TableWriter::holds(id)) {
        return None;
    }
    let [event_id, user, item] = ids;
    Some([
        event_id,
        user,
        item,
        event.value.to_string(),
        event.time_ms.to_string(),
        TableWriter::flat(kind).into_owned(),
        reason_name(row.reason),
        row.at_ms.to_string(),
        TableWriter::flat(&row.source).into_owned(),
        TableWriter::flat(&row.message).into_owned(),
    ])
}
