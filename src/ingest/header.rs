//! The first line of a file of events: which column is what.

use super::IngestError;
use super::records::FOUND_CHARS;

/// Columns that a message shows.
const FOUND_COLUMNS: usize = 32;

/// Positions of the columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    pub(super) user: usize,
    pub(super) item: usize,
    pub(super) value: Option<usize>,
    pub(super) timestamp: Option<usize>,
    pub(super) kind: Option<usize>,
    pub(super) event_id: Option<usize>,
    pub(super) negatives: Option<usize>,
}

impl Columns {
    /// Finds the columns by name, in any case.
    pub(super) fn find(header: &[String], name: &str) -> Result<Self, IngestError> {
        let place = |column: &'static str| {
            let mut places = (0..header.len()).filter(|&at| header[at].eq_ignore_ascii_case(column));
            match (places.next(), places.next()) {
                (_, Some(_)) => Err(IngestError::RepeatedColumn { name: name.to_owned(), column }),
                (place, None) => Ok(place),
            }
        };
        let needed = |missing: &'static str| place(missing)?.ok_or_else(|| lacks(header, name, missing));
        Ok(Self {
            user: needed("user")?,
            item: needed("item")?,
            value: place("value")?,
            timestamp: place("timestamp")?,
            kind: place("kind")?,
            event_id: place("event_id")?,
            negatives: place("negatives")?,
        })
    }
}

/// The error that says which columns there are, and which is most like the missing one.
pub(super) fn lacks(header: &[String], name: &str, missing: &'static str) -> IngestError {
    let short = |column: &String| column.chars().take(FOUND_CHARS).collect::<String>();
    // `item_id` is nearer to `item` than `user` is, for all its edits.
    let unlikeness = |column: &&String| {
        let column = column.to_ascii_lowercase();
        (!column.contains(missing), distance(&column, missing))
    };
    let nearest = header.iter().min_by_key(unlikeness);
    IngestError::MissingColumn {
        name: name.to_owned(),
        missing,
        nearest: nearest.map(short).unwrap_or_default(),
        found: header.iter().take(FOUND_COLUMNS).map(short).collect(),
    }
}

/// Names of the columns, without quotes and blanks around them.
pub(super) fn split(header: &str, delimiter: u8) -> Vec<String> {
    let unquoted = |name: &str| name.trim().trim_matches('"').trim().to_owned();
    header.split(char::from(delimiter)).map(unquoted).collect()
}

/// Edits that turn one word into the other (Levenshtein), looking at the first 64 bytes of each.
fn distance(one: &str, two: &str) -> usize {
    let (one, two) = (&one.as_bytes()[..one.len().min(64)], &two.as_bytes()[..two.len().min(64)]);
    let mut above: Vec<usize> = (0..=two.len()).collect();
    for (row, a) in one.iter().enumerate() {
        let mut diagonal = row;
        above[0] = row + 1;
        for (column, b) in two.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = above[column + 1];
            above[column + 1] = replaced.min(above[column] + 1).min(diagonal + 1);
        }
    }
    above[two.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, two, edits) in
            [("", "", 0), ("user", "", 4), ("user", "user", 0), ("usr", "user", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!((distance(one, two), distance(two, one)), (edits, edits), "{one:?}, {two:?}");
        }
    }

    #[test]
    fn the_nearest_column_is_named() {
        let cases = [
            ("uid,usr,item", "user", "usr"),
            ("user,item_id,value", "item", "item_id"),
            ("UserID,item", "user", "UserID"),
        ];
        for (header, missing, expected) in cases {
            let error = Columns::find(&split(header, b','), "x").unwrap_err();
            let IngestError::MissingColumn { missing: which, nearest, found, .. } = error else { panic!("{error}") };
            assert_eq!((which, nearest.as_str()), (missing, expected));
            assert_eq!(found.join(","), header);
        }
    }

    #[test]
    fn messages_stay_short() {
        let wide = vec!["c".repeat(1_000).as_str(); 1_000].join(",");
        let error = Columns::find(&split(&wide, b','), "x").unwrap_err();
        assert!(error.to_string().len() < 3_000);
    }
}
