//! What a replay did, row by row: the counts, whether they add up, the first rows that went wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::replay::ReplayArgs;
use super::sender::Tally;
use super::{CliError, output};
use crate::ingest::{Row, RowError};
use crate::wire::types::KindInfo;

/// Bad rows that are told one by one.
const BAD_ROWS_MAX: usize = 5;

/// Names of unknown kinds that are told one by one.
const UNKNOWN_KINDS_MAX: usize = 8;

/// What was read of one file.
#[derive(Debug)]
pub(super) struct FileReport {
    name: String,
    /// Kind of rows that name none, and why it was chosen.
    fallback: (String, &'static str),
    rows: u64,
    bad_rows: u64,
    first_bad_rows: Vec<RowError>,
    /// Rows by the kind they were sent as.
    kinds: BTreeMap<String, u64>,
    /// Rows by the kind they name that the server does not have.
    unknown_kinds: BTreeMap<String, u64>,
}

impl FileReport {
    pub(super) fn new(name: String, fallback: String, why: &'static str) -> Self {
        Self {
            name,
            fallback: (fallback, why),
            rows: 0,
            bad_rows: 0,
            first_bad_rows: Vec::new(),
            kinds: BTreeMap::new(),
            unknown_kinds: BTreeMap::new(),
        }
    }

    /// Counts a row that cannot be an event.
    pub(super) fn bad_row(&mut self, error: RowError) {
        self.rows += 1;
        self.bad_rows += 1;
        if self.first_bad_rows.len() < BAD_ROWS_MAX {
            self.first_bad_rows.push(error);
        }
    }

    /// Counts a row; gives the code of the kind that it is sent as.
    pub(super) fn kind_of(&mut self, row: &Row, kinds: &[KindInfo], fallback: u8) -> u8 {
        self.rows += 1;
        let named = row.kind.as_ref().map(|name| (name, kinds.iter().find(|kind| kind.name == *name)));
        let (name, code) = match named {
            Some((name, Some(kind))) => (name, kind.code),
            Some((name, None)) => {
                let told = self.unknown_kinds.len() < UNKNOWN_KINDS_MAX || self.unknown_kinds.contains_key(name);
                let key = if told { name.clone() } else { "(others)".to_owned() };
                *self.unknown_kinds.entry(key).or_insert(0) += 1;
                (&self.fallback.0, fallback)
            }
            None => (&self.fallback.0, fallback),
        };
        match self.kinds.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.kinds.insert(name.clone(), 1);
            }
        }
        code
    }
}

/// What a replay did.
#[derive(Debug)]
pub(super) struct ReplayReport {
    pub(super) files: Vec<FileReport>,
    /// Events that were handed to the connections.
    pub(super) sent: u64,
    pub(super) tally: Tally,
    pub(super) took: Duration,
}

impl ReplayReport {
    fn read(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    fn bad_rows(&self) -> u64 {
        self.files.iter().map(|file| file.bad_rows).sum()
    }

    fn answered(&self) -> u64 {
        self.tally.accepted + self.tally.duplicates + self.tally.rejected
    }

    /// Events that were handed out and never answered: they may or may not have been learned.
    fn unanswered(&self) -> u64 {
        self.sent.saturating_sub(self.answered())
    }

    /// Whether every row that was read is in exactly one count.
    fn adds_up(&self) -> bool {
        self.answered() == self.sent && self.answered() + self.bad_rows() == self.read()
    }

    fn events_per_s(&self) -> f64 {
        self.answered() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Whether it was a success.
    ///
    /// # Errors
    /// [`CliError::Failed`] if the counts do not add up, or nothing was accepted and not all of it was known.
    pub(super) fn outcome(&self) -> Result<(), CliError> {
        let Tally { accepted, duplicates, rejected, .. } = self.tally;
        if !self.adds_up() {
            return Err(CliError::Failed(format!(
                "the counts do not add up: {} rows were read, {} events sent, {} answered, {} rows are bad",
                self.read(),
                self.sent,
                self.answered(),
                self.bad_rows()
            )));
        }
        match (accepted, duplicates, rejected) {
            (0, 0, 0) => Err(CliError::Failed("nothing was accepted: there is no row that can be sent".to_owned())),
            // A repeat after a crash is a success: the server has every event.
            (0, _, 0) => Ok(()),
            (0, _, _) => Err(CliError::Failed(format!(
                "nothing was accepted: {duplicates} events had been learned before, {rejected} were refused"
            ))),
            _ => Ok(()),
        }
    }

    fn file_name(&self, number: u32) -> &str {
        self.files.get(number as usize).map_or("?", |file| &file.name)
    }
}

/// Prints it.
pub(super) fn tell(args: &ReplayArgs, report: &ReplayReport) -> Result<(), CliError> {
    if args.output.json { Ok(output::json(&to_json(args, report))?) } else { print(args, report) }
}

fn to_json(args: &ReplayArgs, report: &ReplayReport) -> Value {
    let tally = &report.tally;
    let file = |file: &FileReport| {
        let bad = |row: &RowError| json!({ "line": row.line, "reason": row.to_string() });
        json!({
            "name": file.name,
            "rows": file.rows,
            "bad_rows": file.bad_rows,
            "first_bad_rows": file.first_bad_rows.iter().map(bad).collect::<Vec<_>>(),
            "fallback_kind": file.fallback.0,
            "fallback_because": file.fallback.1,
            "kinds": file.kinds,
            "unknown_kinds": file.unknown_kinds,
        })
    };
    json!({
        "read": report.read(),
        "bad_rows": report.bad_rows(),
        "sent": report.sent,
        "accepted": tally.accepted,
        "duplicates": tally.duplicates,
        "rejected": tally.rejected,
        "unanswered": report.unanswered(),
        "adds_up": report.adds_up(),
        "overloaded": tally.overloaded,
        "overtaken": tally.overtaken,
        "durability": tally.durability.name(),
        "took_ms": u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
        "events_per_s": report.events_per_s(),
        "connections": args.connections,
        "batch": args.batch,
        "event_ids": !args.no_event_ids,
        "first_rejected": tally.reasons.to_json(|number| report.file_name(number)),
        "files": report.files.iter().map(file).collect::<Vec<_>>(),
    })
}

fn print(args: &ReplayArgs, report: &ReplayReport) -> Result<(), CliError> {
    let tally = &report.tally;
    let answered = report.answered() as f64;
    let share = |count: u64| output::bar(if answered > 0.0 { count as f64 / answered } else { 0.0 }, 20);
    let (read, bad_rows) = (report.read(), report.bad_rows());
    let row = |name: &str, count: u64, bar: String| [name.to_owned(), output::grouped(count), bar];
    let mut table = output::facts([
        row("rows read", read, String::new()),
        row("accepted", tally.accepted, share(tally.accepted)),
        row("duplicate", tally.duplicates, share(tally.duplicates)),
        row("rejected", tally.rejected, share(tally.rejected)),
        row("bad rows", bad_rows, String::new()),
    ]);
    output::align_right_at(&mut table, &[1]);
    output::text(&table.to_string())?;
    let verdict = if report.adds_up() { "adds up" } else { "DOES NOT ADD UP" };
    let [accepted, duplicates, rejected] = [tally.accepted, tally.duplicates, tally.rejected].map(output::grouped);
    let equal = if report.adds_up() { "=" } else { "is not" };
    output::text(&format!(
        "\n{verdict}: {accepted} accepted + {duplicates} duplicate + {rejected} rejected + {} bad {equal} {} rows",
        output::grouped(bad_rows),
        output::grouped(read)
    ))?;
    if report.unanswered() > 0 {
        let events = output::plural(report.unanswered(), "event");
        let again = if args.no_event_ids {
            ""
        } else {
            "; the same command again learns none twice that users' kept histories hold"
        };
        output::text(&format!("{events} without an answer: sent or not, learned or not{again}"))?;
    }
    let (took, rate) = (output::duration(report.took), output::count(report.events_per_s()));
    let level = tally.durability.name().map_or_else(String::new, |level| format!(", {level}"));
    output::text(&format!(
        "{took}, {rate} events/s over {}, batches of {}{level}",
        output::plural(u64::from(args.connections), "connection"),
        args.batch
    ))?;
    if tally.overloaded > 0 {
        output::text(&format!(
            "{} events were refused as OVERLOADED and sent again; {} of them were overtaken by a later one of their user",
            output::grouped(tally.overloaded),
            output::grouped(tally.overtaken)
        ))?;
    }
    for file in &report.files {
        print_file(file)?;
    }
    tally.reasons.print("rejected", tally.rejected, |number| report.file_name(number))
}

fn print_file(file: &FileReport) -> Result<(), CliError> {
    let kinds: Vec<String> =
        file.kinds.iter().map(|(name, rows)| format!("{name} {}", output::grouped(*rows))).collect();
    let (fallback, why) = &file.fallback;
    let because = if file.kinds.contains_key(fallback) { format!(" ({fallback}: {why})") } else { String::new() };
    output::text(&format!("{}: {}, as {}{because}", file.name, output::plural(file.rows, "row"), kinds.join(", ")))?;
    for (name, rows) in &file.unknown_kinds {
        let rows = output::plural(*rows, "row");
        output::text(&format!("  kind {name:?} is not the server's: {rows} sent as {fallback}"))?;
    }
    for row in &file.first_bad_rows {
        output::text(&format!("  bad row: {row}"))?;
    }
    let more = file.bad_rows.saturating_sub(file.first_bad_rows.len() as u64);
    if more > 0 {
        output::text(&format!("  bad row: and {} more", output::grouped(more)))?;
    }
    Ok(())
}
