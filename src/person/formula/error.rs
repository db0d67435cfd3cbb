//! What is wrong with a formula, told with the place under which a caret stands.

use std::fmt;
use std::ops::Range;

use super::{BYTES_MAX, DEPTH_MAX, NODES_MAX, TEXT_BYTES_MAX};

/// Characters shown of a line before and after the place.
const AROUND: usize = 60;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Something else should stand there.
    Expected {
        /// What could, in words.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// A character that no formula has.
    Character {
        /// The character.
        found: char,
        /// What to write instead, if there is a usual reason.
        instead: Option<&'static str>,
    },
    /// A name that is neither a reading nor a function.
    Name {
        /// The name.
        found: String,
        /// A known one that is spelt much like it.
        nearest: Option<&'static str>,
    },
    /// A known name used in another way than it must be.
    Usage {
        /// The name.
        name: &'static str,
        /// How it is used.
        usage: &'static str,
    },
    /// A number that is too large for a double.
    Number,
    /// A text that does not end on its line.
    OpenText,
    /// A text longer than `base::limits::TEXT_BYTES_MAX`.
    LongText,
    /// A comparison of a comparison.
    Chained,
    /// More than [`BYTES_MAX`] bytes, as given or as written out.
    Long {
        /// Bytes.
        bytes: usize,
    },
    /// More than [`DEPTH_MAX`] levels, or more operands at a time than fit.
    Deep,
    /// More than [`NODES_MAX`] numbers, readings, operators and functions.
    Large,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected { expected, found } => write!(out, "{expected} expected, {found} found"),
            Self::Character { found, instead: None } => write!(out, "`{found}` means nothing in a formula"),
            Self::Character { found, instead: Some(instead) } => {
                write!(out, "`{found}` means nothing in a formula, write {instead}")
            }
            Self::Name { found, nearest: Some(nearest) } => {
                write!(out, "unknown name `{found}`, did you mean `{nearest}`?")
            }
            Self::Name { found, nearest: None } => {
                write!(out, "unknown name `{found}`: docs/traits.md lists readings and functions")
            }
            Self::Usage { name, usage } => write!(out, "`{name}` is written {usage}"),
            Self::Number => write!(out, "a number too large for a double, at most 1.8e308"),
            Self::OpenText => write!(out, "a text that does not end: close it with `\"` on the same line"),
            Self::LongText => write!(out, "a text longer than {TEXT_BYTES_MAX} bytes: no kind, tag or name is"),
            Self::Chained => write!(out, "comparisons do not chain: write `a < b and b < c`"),
            Self::Long { bytes } => {
                write!(out, "a formula of {bytes} bytes, at most {BYTES_MAX}: split it into several traits")
            }
            Self::Deep => write!(out, "nested deeper than {DEPTH_MAX} levels: split it into several traits"),
            Self::Large => {
                write!(out, "more than {NODES_MAX} numbers, readings and operators: split it into several traits")
            }
        }
    }
}

/// Why a text is not a formula. Displayed over three lines: what, the line, a caret under the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormulaError {
    /// What is wrong.
    pub problem: Problem,
    /// Where, in bytes of the text.
    pub at: Range<usize>,
    /// The part of the line that is shown, and where in it the carets stand, in characters.
    excerpt: Option<(String, Range<usize>)>,
}

impl FormulaError {
    pub(super) fn new(problem: Problem, text: &str, at: Range<usize>) -> Self {
        let excerpt = (text.len() <= BYTES_MAX).then(|| excerpt(text, &at));
        Self { problem, at, excerpt }
    }
}

/// The line of `at`, cut to what is near, and the place in it.
fn excerpt(text: &str, at: &Range<usize>) -> (String, Range<usize>) {
    let start = text[..at.start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at.start..].find('\n').map_or(text.len(), |newline| at.start + newline);
    let before = text[start..at.start].chars().count();
    let length = text[at.start..at.end.min(end).max(at.start)].chars().count().max(1);
    let cut = before.saturating_sub(AROUND);
    // A tab would shift the caret.
    let shown = |character: char| if character.is_control() { ' ' } else { character };
    let line = text[start..end].chars().skip(cut).take(before - cut + length + AROUND).map(shown).collect();
    (line, before - cut..before - cut + length)
}

impl fmt::Display for FormulaError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.problem)?;
        let Some((line, at)) = &self.excerpt else { return Ok(()) };
        write!(out, "\n  {line}\n  {}{}", " ".repeat(at.start), "^".repeat(at.len()))
    }
}

impl std::error::Error for FormulaError {}

/// The candidate that is spelt most like `written`, if it is near enough to help: a third of the longer may differ.
pub(super) fn nearest(written: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    candidates
        .map(|candidate| (distance(written.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(distance, candidate)| 3 * distance <= written.len().max(candidate.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, removals, replacements and swaps of neighbours that turn one into the other (optimal string alignment).
fn distance(one: &[u8], two: &[u8]) -> usize {
    let mut rows = [vec![0; two.len() + 1], (0..=two.len()).collect::<Vec<_>>(), vec![0; two.len() + 1]];
    for i in 1..=one.len() {
        // Rows: the one before the last, the last, the one to be filled.
        let [older, last, row] = &mut rows;
        row[0] = i;
        for j in 1..=two.len() {
            let replaced = last[j - 1] + usize::from(one[i - 1] != two[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == two[j - 2] && one[i - 2] == two[j - 1] {
                row[j] = row[j].min(older[j - 2] + 1);
            }
        }
        rows.rotate_left(1);
    }
    rows[1][two.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, two, expected) in
            [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3), ("evnts", "events", 1)]
        {
            assert_eq!(distance(one.as_bytes(), two.as_bytes()), expected, "{one} {two}");
            assert_eq!(distance(two.as_bytes(), one.as_bytes()), expected, "{two} {one}");
        }
        assert_eq!(nearest("evnts", ["events", "exp"].into_iter()), Some("events"));
        assert_eq!(nearest("zzz", ["events", "exp"].into_iter()), None);
    }
}
