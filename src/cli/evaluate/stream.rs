//! Recorded events in memory: ids once, events as 20-byte rows in the order of the files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::EvaluateError;
use crate::base::Id;
use crate::ingest::table::HeldOut;
use crate::ingest::{IngestError, Row, Table, TableOptions};
use crate::model::Event;

/// Bad rows that are told one by one.
const COMPLAINTS_MAX: usize = 5;

/// One recorded event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recorded {
    /// Number of the user.
    pub user: u32,
    /// Number of the item.
    pub item: u32,
    /// Value.
    pub value: f32,
    /// When, in milliseconds; of a file without times, the row's number.
    pub time_ms: i64,
}

/// A stream. Users and items are numbered by first appearance.
#[derive(Debug, Default)]
pub struct Stream {
    /// User ids by number.
    pub users: Vec<Id>,
    /// Item ids by number.
    pub items: Vec<Id>,
    /// Events in order.
    pub events: Vec<Recorded>,
    /// Whether every file tells when its events were.
    pub timed: bool,
    /// Rows below the smallest value.
    pub below: u64,
    /// Rows that cannot be events.
    pub bad: BadRows,
    user_numbers: HashMap<Id, u32>,
    item_numbers: HashMap<Id, u32>,
}

/// Rows that cannot be events: how many, and the first few.
#[derive(Debug, Default)]
pub struct BadRows {
    /// How many.
    pub count: u64,
    /// File, line and reason of the first few.
    pub first: Vec<String>,
}

impl BadRows {
    /// Counts a bad row; gives back an error that ends reading.
    fn take(&mut self, file: &Path, error: IngestError) -> Result<(), IngestError> {
        if error.stops() {
            return Err(error);
        }
        self.push(format!("{}: {error}", file.display()));
        Ok(())
    }

    /// Counts a bad row, of which this is to be told.
    pub fn push(&mut self, told: String) {
        self.count += 1;
        if self.first.len() < COMPLAINTS_MAX {
            self.first.push(told);
        }
    }

    /// What to tell of them, a line each; empty if there are none.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let mut lines = self.first.clone();
        let more = self.count - lines.len() as u64;
        if more > 0 {
            lines.push(format!("and {more} more bad rows"));
        }
        lines
    }
}

impl Stream {
    /// Reads files one after the other; events with a value below `min_value` are left out.
    ///
    /// # Errors
    /// [`EvaluateError::Ingest`]; [`EvaluateError::NoEvents`] if nothing is left.
    pub fn read(files: &[PathBuf], min_value: Option<f32>) -> Result<Self, EvaluateError> {
        let mut stream = Self { timed: true, ..Self::default() };
        for file in files {
            let mut table = Table::open(file, TableOptions::default())?;
            let before = stream.events.len();
            for row in &mut table {
                match row {
                    Ok(row) => stream.push(row, min_value),
                    Err(error) => stream.bad.take(file, error)?,
                }
            }
            if table.time_unit().is_none() {
                stream.timed = false;
                // No times: steps of one millisecond, so that order is kept and nothing has decayed.
                for (event, time_ms) in stream.events[before..].iter_mut().zip(before as i64..) {
                    event.time_ms = time_ms;
                }
            }
        }
        stream.user_numbers = HashMap::new();
        stream.item_numbers = HashMap::new();
        if stream.events.is_empty() {
            return Err(EvaluateError::NoEvents { files: files.len(), bad: stream.bad.count, below: stream.below });
        }
        Ok(stream)
    }

    /// A stream of rows that are at hand.
    #[cfg(test)]
    pub fn from_rows(rows: impl IntoIterator<Item = Row>) -> Self {
        let mut stream = Self { timed: true, ..Self::default() };
        rows.into_iter().for_each(|row| stream.push(row, None));
        stream
    }

    fn push(&mut self, row: Row, min_value: Option<f32>) {
        if min_value.is_some_and(|least| row.value < least) {
            self.below += 1;
            return;
        }
        let user = number(&mut self.users, &mut self.user_numbers, row.user);
        let item = number(&mut self.items, &mut self.item_numbers, row.item);
        self.events.push(Recorded { user, item, value: row.value, time_ms: row.time_ms });
    }

    /// The event as the shard takes it.
    #[must_use]
    pub fn event(&self, recorded: &Recorded, kind: u8) -> Event<'_> {
        let Recorded { user, item, value, time_ms } = *recorded;
        let (user, item) = (self.users[user as usize].as_ref(), self.items[item as usize].as_ref());
        Event { event_id: 0, user, item, kind, value, time_ms }
    }

    /// Events of the user with most.
    #[must_use]
    pub fn longest_history(&self) -> usize {
        let mut counts = vec![0_usize; self.users.len()];
        for event in &self.events {
            counts[event.user as usize] += 1;
        }
        counts.into_iter().max().unwrap_or(0)
    }
}

/// Reads a test file with negatives.
///
/// # Errors
/// [`EvaluateError::Ingest`]; [`EvaluateError::NoEvents`] if there is no good row.
pub fn read_held_out(file: &Path) -> Result<(Vec<HeldOut>, BadRows), EvaluateError> {
    let mut bad = BadRows::default();
    let mut rows = Vec::new();
    for row in Table::open(file, TableOptions::default())?.held_out()? {
        match row {
            Ok(row) => rows.push(row),
            Err(error) => bad.take(file, error)?,
        }
    }
    if rows.is_empty() {
        return Err(EvaluateError::NoEvents { files: 1, bad: bad.count, below: 0 });
    }
    Ok((rows, bad))
}

fn number(ids: &mut Vec<Id>, numbers: &mut HashMap<Id, u32>, id: Id) -> u32 {
    *numbers.entry(id).or_insert_with_key(|id| {
        ids.push(id.clone());
        u32::try_from(ids.len() - 1).expect("memory ends before 2^32 ids")
    })
}
