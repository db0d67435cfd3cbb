//! What a load did: every row in one count, the types that were taken, the first rows that were refused.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::sender::Tally;
use crate::cli::columns::Plan;
use crate::cli::{CliError, output};

/// What was read of one file.
#[derive(Debug)]
pub(super) struct FileReport {
    name: String,
    pub(super) rows: u64,
    tags: Option<String>,
    /// Columns and the names of their types.
    columns: Vec<(String, String)>,
}

impl FileReport {
    pub(super) fn new(path: &Path, plan: &Plan) -> Self {
        let columns = plan.columns.iter().map(|column| (column.name.clone(), column.cell.name().to_owned())).collect();
        Self { name: path.display().to_string(), rows: 0, tags: plan.tags().map(str::to_owned), columns }
    }

    pub(super) fn of_vectors(path: &Path, modality: &str, dim: usize) -> Self {
        let columns = vec![(modality.to_owned(), output::plural(dim as u64, "number"))];
        Self { name: path.display().to_string(), rows: 0, tags: None, columns }
    }
}

/// What a load did.
#[derive(Debug)]
pub(super) struct LoadReport {
    pub(super) files: Vec<FileReport>,
    pub(super) tally: Tally,
    pub(super) took: Duration,
}

impl LoadReport {
    fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// Rows that were sent, or were to be, and never answered.
    fn unanswered(&self) -> u64 {
        self.rows().saturating_sub(self.tally.loaded + self.tally.refused)
    }

    fn rows_per_s(&self) -> f64 {
        self.tally.loaded as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Whether it was a success: every row was loaded, and there was one.
    ///
    /// # Errors
    /// [`CliError::Failed`].
    pub(super) fn outcome(&self) -> Result<(), CliError> {
        let (rows, refused) = (self.rows(), self.tally.refused);
        match (rows, refused, self.unanswered()) {
            (0, _, _) => Err(CliError::Failed("nothing was loaded: there is no row below the header".to_owned())),
            (_, 0, 0) => Ok(()),
            (_, _, 0) => Err(CliError::Failed(format!(
                "{} of {} refused; the others are loaded, and can be loaded again without harm",
                output::grouped(refused),
                output::plural(rows, "row")
            ))),
            (_, _, left) => {
                Err(CliError::Failed(format!("the counts do not add up: {rows} rows were read, {left} have no answer")))
            }
        }
    }

    fn file_name(&self, number: u32) -> &str {
        self.files.get(number as usize).map_or("?", |file| &file.name)
    }
}

/// Prints it; `noun` is what a row is about.
pub(super) fn tell(report: &LoadReport, noun: &str, as_json: bool) -> Result<(), CliError> {
    if as_json { Ok(output::json(&to_json(report))?) } else { print(report, noun) }
}

fn to_json(report: &LoadReport) -> Value {
    let tally = &report.tally;
    let file = |file: &FileReport| {
        let columns: Map<String, Value> = file.columns.iter().map(|(name, cell)| (name.clone(), json!(cell))).collect();
        json!({ "name": file.name, "rows": file.rows, "tags": file.tags, "columns": columns })
    };
    json!({
        "rows": report.rows(),
        "loaded": tally.loaded,
        "refused": tally.refused,
        "unanswered": report.unanswered(),
        "overloaded": tally.overloaded,
        "durability": tally.durability.name(),
        "took_ms": u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
        "rows_per_s": report.rows_per_s(),
        "first_refused": tally.reasons.to_json(|number| report.file_name(number)),
        "files": report.files.iter().map(file).collect::<Vec<_>>(),
    })
}

fn print(report: &LoadReport, noun: &str) -> Result<(), CliError> {
    let tally = &report.tally;
    let mut columns = output::table(&["column", "type"]);
    for file in &report.files {
        for (name, cell) in &file.columns {
            columns.add_row([name, cell]);
        }
        if let Some(tags) = &file.tags {
            columns.add_row([tags.as_str(), "tags"]);
        }
        output::text(&format!("{}: {}", file.name, output::plural(file.rows, noun)))?;
        output::text(&columns.to_string())?;
        columns = output::table(&["column", "type"]);
    }
    let unanswered = match report.unanswered() {
        0 => String::new(),
        left => format!(" + {} without an answer", output::grouped(left)),
    };
    let [loaded, refused, rows] = [tally.loaded, tally.refused, report.rows()].map(output::grouped);
    output::text(&format!("\n{loaded} loaded + {refused} refused{unanswered} = {rows} rows"))?;
    let level = tally.durability.name().map_or_else(String::new, |level| format!(", {level}"));
    let (took, rate) = (output::duration(report.took), output::count(report.rows_per_s()));
    output::text(&format!("{took}, {rate} rows/s{level}"))?;
    if tally.overloaded > 0 {
        output::text(&format!("{} refused as OVERLOADED and sent again", output::plural(tally.overloaded, "row")))?;
    }
    tally.reasons.print("refused", tally.refused, |number| report.file_name(number))
}
