//! What senders of many rows count alike: the first that were refused, and the durability level that all others reached.

use std::ops::Deref;

use serde_json::{Value, json};

use super::{CliError, output};
use crate::model::Durability;

/// Refused rows that are told one by one.
pub(super) const REASONS_MAX: usize = 5;

/// Why a row was refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reason {
    /// Number of the file, from 0.
    pub(super) file: u32,
    /// Line in it.
    pub(super) line: u64,
    /// What was wrong.
    pub(super) message: String,
}

/// The first refused rows, at most [`REASONS_MAX`], in the order of the files and lines, however their answers came.
#[derive(Debug, Default)]
pub(super) struct Reasons(Vec<Reason>);

impl Deref for Reasons {
    type Target = [Reason];

    fn deref(&self) -> &[Reason] {
        &self.0
    }
}

impl Reasons {
    /// Takes note of a refused row.
    pub(super) fn add(&mut self, reason: Reason) {
        self.join(Self(vec![reason]));
    }

    /// Takes over those of another connection.
    pub(super) fn join(&mut self, other: Self) {
        self.0.extend(other.0);
        self.0.sort();
        self.0.truncate(REASONS_MAX);
    }

    /// As JSON, with the names of the files.
    pub(super) fn to_json<'a>(&self, name_of: impl Fn(u32) -> &'a str) -> Vec<Value> {
        let told = |of: &Reason| json!({ "file": name_of(of.file), "line": of.line, "reason": of.message });
        self.iter().map(told).collect()
    }

    /// Prints a line each, and how many of `all` are left; `what` became of them begins each line.
    pub(super) fn print<'a>(&self, what: &str, all: u64, name_of: impl Fn(u32) -> &'a str) -> Result<(), CliError> {
        for Reason { file, line, message } in self.iter() {
            output::text(&format!("{what}: {} line {line}: {message}", name_of(*file)))?;
        }
        let more = all.saturating_sub(self.len() as u64);
        if more > 0 {
            output::text(&format!("{what}: and {} more", output::grouped(more)))?;
        }
        Ok(())
    }
}

/// The lowest durability level of all answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lowest(Option<u8>);

impl Lowest {
    /// Takes note of a level as replies carry it; 0 is none.
    pub(super) fn reached(&mut self, level: u8) {
        self.join(Self((level > 0).then_some(level)));
    }

    /// Takes over that of another connection.
    pub(super) fn join(&mut self, other: Self) {
        self.0 = [self.0, other.0].into_iter().flatten().min();
    }

    /// Its name; `None` without an answer.
    pub(super) fn name(self) -> Option<&'static str> {
        self.0.and_then(Durability::from_code).map(Durability::name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rows_are_told_and_the_lowest_level_counts() {
        let reason = |file, line| Reason { file, line, message: format!("at {line}") };
        let (mut one, mut other) = (Reasons::default(), Reasons::default());
        [9, 4, 7, 5].iter().for_each(|line| one.add(reason(0, *line)));
        [(1, 1), (0, 6), (0, 8)].iter().for_each(|(file, line)| other.add(reason(*file, *line)));
        one.join(other);
        assert_eq!(one.iter().map(|of| of.line).collect::<Vec<_>>(), [4, 5, 6, 7, 8]);
        let first = &one.to_json(|file| if file == 0 { "a.tsv" } else { "b.tsv" })[0];
        assert_eq!(first.to_string(), r#"{"file":"a.tsv","line":4,"reason":"at 4"}"#);

        let (mut level, mut more) = (Lowest::default(), Lowest::default());
        level.reached(0);
        assert_eq!(level.name(), None);
        more.reached(3);
        level.join(more);
        assert_eq!(level.name(), Some("durable"));
        level.reached(2);
        level.reached(3);
        assert_eq!((level.name(), level), (Some("journaled"), Lowest(Some(2))));
    }
}
