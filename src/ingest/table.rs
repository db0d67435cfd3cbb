//! Reading events from TSV or CSV files, plain or gzip, one row at a time.
//!
//! The first line names the columns, in any order and in any case: `user` and `item` must be there; `value`, `timestamp`
//! `kind` and `event_id` (0 or nothing: none) may be; `negatives` (ids separated by blanks) makes it a leave-one-out test file, see
//! [`Table::held_out`]; others are ignored. Tab, comma or semicolon separate, whichever the header has first in that
//! order. Only files with commas or semicolons may quote. Gzip is told by its first bytes.
//!
//! A row that cannot be an event is an `Err` and the next one is read; see [`IngestError::stops`] for the errors that
//! end the stream. Memory is bounded: a row over [`ROW_BYTES_MAX`] (say, after a quote that never closes) ends it.

use std::io::Read;
use std::path::Path;

use super::header::{Columns, lacks};
use super::records::Records;
use super::time::{TIME, time_ms};
use super::{IngestError, Row, RowError};
use crate::base::Id;
use crate::base::limits::{ID_BYTES_MAX, TEXT_BYTES_MAX, VALUE_ABS_MAX};

pub use super::records::ROW_BYTES_MAX;
pub use super::time::{MILLISECONDS_FROM, TimeUnit};

/// How to read a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// Unit of the time stamps; `None`: told by the first above 0, see [`MILLISECONDS_FROM`].
    pub time_unit: Option<TimeUnit>,
}

/// A test event and items that its user never had.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// The event.
    pub row: Row,
    /// The items.
    pub negatives: Vec<Id>,
}

/// A file of events, read row by row.
#[derive(Debug)]
pub struct Table {
    records: Records,
    columns: Columns,
    time_unit: Option<TimeUnit>,
}

impl Table {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// [`IngestError::Open`], and those of [`Table::from_reader`].
    pub fn open(path: &Path, options: TableOptions) -> Result<Self, IngestError> {
        Self::over(Records::open(path)?, options)
    }

    /// Reads the header from bytes, plain or gzip; `name` is for messages (and, if it ends in `.gz`, demands gzip).
    ///
    /// # Errors
    /// [`IngestError::NotGzip`], [`IngestError::NoHeader`], [`IngestError::MissingColumn`],
    /// [`IngestError::RepeatedColumn`], [`IngestError::Unreadable`].
    pub fn from_reader(
        source: impl Read + Send + 'static,
        name: &str,
        options: TableOptions,
    ) -> Result<Self, IngestError> {
        Self::over(Records::from_reader(source, name)?, options)
    }

    fn over(records: Records, options: TableOptions) -> Result<Self, IngestError> {
        let columns = Columns::find(&records.header, &records.name)?;
        Ok(Self { records, columns, time_unit: options.time_unit })
    }

    /// Unit of the time stamps: the one asked for, or the one told by the first row (`None` before that).
    #[must_use]
    pub fn time_unit(&self) -> Option<TimeUnit> {
        self.time_unit
    }

    /// The rows with their `negatives`.
    ///
    /// # Errors
    /// [`IngestError::MissingColumn`] if there is no such column.
    pub fn held_out(mut self) -> Result<impl Iterator<Item = Result<HeldOut, IngestError>>, IngestError> {
        let Some(column) = self.columns.negatives else {
            return Err(lacks(&self.records.header, &self.records.name, "negatives"));
        };
        Ok(std::iter::from_fn(move || {
            let row = match self.next()? {
                Ok(row) => row,
                Err(error) => return Some(Err(error)),
            };
            let negatives = self.records.field(column, "negatives", "ids separated by blanks").and_then(|text| {
                text.split_ascii_whitespace().map(|id| self.id(id, "negatives")).collect::<Result<_, _>>()
            });
            Some(negatives.map(|negatives| HeldOut { row, negatives }).map_err(IngestError::from))
        }))
    }

    fn parse(&mut self) -> Result<Row, RowError> {
        let columns = self.columns;
        let user = self.id(self.records.field(columns.user, "user", ID)?, "user")?;
        let item = self.id(self.records.field(columns.item, "item", ID)?, "item")?;
        let value = columns.value.map_or(Ok(1.0), |at| self.value(at))?;
        let time_ms = match columns.timestamp {
            Some(at) => self.time_ms(at)?,
            None => 0,
        };
        let kind = match columns.kind {
            Some(at) => Some(self.records.field(at, "kind", KIND)?).filter(|kind| !kind.is_empty()),
            None => None,
        };
        if kind.is_some_and(|kind| kind.len() > TEXT_BYTES_MAX) {
            return Err(self.records.bad("kind", kind.unwrap_or_default(), KIND));
        }
        let event_id = match columns.event_id.map(|at| self.records.field(at, "event_id", ID)).transpose()? {
            None | Some("" | "0") => None,
            Some(id) => Some(self.id(id, "event_id")?),
        };
        Ok(Row { line: self.records.line, user, item, value, time_ms, kind: kind.map(str::to_owned), event_id })
    }

    fn id(&self, text: &str, column: &'static str) -> Result<Id, RowError> {
        match text.len() {
            1..=ID_BYTES_MAX => Ok(Id::parse(text)),
            _ => Err(self.records.bad(column, text, ID)),
        }
    }

    fn value(&self, at: usize) -> Result<f32, RowError> {
        let text = self.records.field(at, "value", VALUE)?;
        let value = text.parse::<f32>().ok().filter(|value| value.abs() <= VALUE_ABS_MAX);
        value.ok_or_else(|| self.records.bad("value", text, VALUE))
    }

    fn time_ms(&mut self, at: usize) -> Result<i64, RowError> {
        let text = self.records.field(at, "timestamp", TIME)?;
        let mut unit = self.time_unit;
        let time_ms = time_ms(text, &mut unit).ok_or_else(|| self.records.bad("timestamp", text, TIME))?;
        self.time_unit = unit;
        Ok(time_ms)
    }
}

impl Iterator for Table {
    type Item = Result<Row, IngestError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.records.advance()? {
            Ok(()) => Some(self.parse().map_err(IngestError::from)),
            Err(error) => Some(Err(error)),
        }
    }
}

const ID: &str = "an id of 1 to 128 bytes";
const VALUE: &str = "a number from -1e9 to 1e9";
const KIND: &str = "a behaviour kind of at most 256 bytes";

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write};

    fn table(bytes: &[u8]) -> Result<Table, IngestError> {
        Table::from_reader(Cursor::new(bytes.to_vec()), "events.tsv", TableOptions::default())
    }

    fn rows(bytes: &[u8]) -> Vec<Result<Row, String>> {
        table(bytes).unwrap().map(|row| row.map_err(|error| error.to_string())).collect()
    }

    fn row(line: u64, user: &str, item: &str, value: f32, time_ms: i64, kind: Option<&str>) -> Result<Row, String> {
        let (user, item) = (Id::parse(user), Id::parse(item));
        Ok(Row { line, user, item, value, time_ms, kind: kind.map(str::to_owned), event_id: None })
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn columns_in_any_order_delimiter_and_packing() {
        let tabs = b"user\titem\tvalue\ttimestamp\n7\ta\t4\t874724710\n";
        assert_eq!(rows(tabs), [row(2, "7", "a", 4.0, 874_724_710_000, None)]);
        assert_eq!(rows(&gzip(tabs)), rows(tabs));
        assert_eq!(rows(&[gzip(tabs), gzip(b"8\tb\t1\t874724711\n")].concat()).len(), 2, "gzip in two members");
        let commas = b"\xEF\xBB\xBF kind,\"Timestamp\",more,ITEM,user\r\nbuy,1506826800026,x,\"a,b\",u\r\n\r\n,1506826800027,y,c,u\r\n";
        let expected =
            [row(2, "u", "a,b", 1.0, 1_506_826_800_026, Some("buy")), row(4, "u", "c", 1.0, 1_506_826_800_027, None)];
        assert_eq!(rows(commas), expected);
        assert_eq!(rows(b"user;item\n1;2"), [row(2, "1", "2", 1.0, 0, None)]);
        assert_eq!(rows(b"user\titem\n\"q\tz"), [row(2, "\"q", "z", 1.0, 0, None)], "tabs need no quotes");
        assert_eq!(rows(b"user\titem\n"), []);
        let named = rows(b"event_id,user,item\ne-1,1,2\n0,1,2\n,1,2\n77,1,2\n");
        let ids = named.into_iter().map(|row| row.unwrap().event_id);
        assert_eq!(ids.collect::<Vec<_>>(), [Some("e-1".into()), None, None, Some(77.into())]);
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        for end in ["\n", "\r\n"] {
            let text = ["user,item", "1,1", "", "", "2,\"a", "b\"", "3,3", "x", "4,4"].join(end);
            for text in [text.clone(), text + end] {
                let lines = rows(text.as_bytes()).into_iter().map(|row| row.map_or(0, |row| row.line));
                assert_eq!(lines.collect::<Vec<_>>(), [2, 5, 7, 0, 9], "{text:?}");
                assert!(rows(text.as_bytes())[3].as_ref().unwrap_err().starts_with("line 8:"), "{text:?}");
            }
        }
    }

    #[test]
    fn time_unit_is_told_by_the_first_row_or_set() {
        let bytes = b"user\titem\ttimestamp\n1\t2\t99999999999\n1\t2\t874724710.5\n";
        let times = |option| -> Vec<i64> {
            let options = TableOptions { time_unit: option };
            let table = Table::from_reader(Cursor::new(bytes.to_vec()), "x", options).unwrap();
            table.map(|row| row.unwrap().time_ms).collect()
        };
        assert_eq!(times(None), [99_999_999_999_000, 874_724_710_500]);
        assert_eq!(times(Some(TimeUnit::Milliseconds)), [99_999_999_999, 874_724_711]);
        let mut late = table(b"user\titem\ttimestamp\n1\t2\tsoon\n1\t2\t100000000000\n").unwrap();
        assert!(late.next().unwrap().is_err());
        assert_eq!(late.time_unit(), None, "a bad row tells nothing");
        assert_eq!(late.next().unwrap().unwrap().time_ms, 100_000_000_000);
        assert_eq!(late.time_unit(), Some(TimeUnit::Milliseconds));
        let now = rows(b"user\titem\ttimestamp\n1\t2\t0\n1\t2\t-5\n1\t2\t1700000000000\n1\t2\t0\n");
        let times = now.into_iter().map(|row| row.unwrap().time_ms);
        assert_eq!(times.collect::<Vec<_>>(), [0, -5_000, 1_700_000_000_000, 0]);
    }

    #[test]
    fn bad_rows_are_told_and_passed() {
        let long = "x".repeat(129);
        let bad: [(&str, &str, &str); 12] = [
            ("\t2\t3\t4\tk", "user", ""),
            ("1", "item", "(end of row)"),
            ("1\t \t3\t4\tk", "item", ""),
            (&format!("1\t{long}\t3\t4\tk"), "item", &long[..64]),
            ("1\t2\tfive\t4\tk", "value", "five"),
            ("1\t2\tNaN\t4\tk", "value", "NaN"),
            ("1\t2\t2e9\t4\tk", "value", "2e9"),
            ("1\t2\t\t4\tk", "value", ""),
            ("1\t2\t3\t\tk", "timestamp", ""),
            ("1\t2\t3\tinf\tk", "timestamp", "inf"),
            ("1\t2\t3\t1e300\tk", "timestamp", "1e300"),
            ("1\t2\t3\t4", "kind", "(end of row)"),
        ];
        for (text, column, found) in bad {
            let bytes = format!("user\titem\tvalue\ttimestamp\tkind\n{text}\n9\t8\t7\t6\tk\n");
            let mut table = table(bytes.as_bytes()).unwrap();
            let error = table.next().unwrap().unwrap_err();
            assert!(!error.stops());
            let IngestError::Row(error) = error else { panic!("{text:?}: {error}") };
            assert_eq!((error.line, error.column, error.found.as_str()), (2, column, found), "{text:?}");
            assert_eq!(table.next().unwrap().unwrap().line, 3, "{text:?}");
            assert!(table.next().is_none());
        }
        let kept = rows(b"user\titem\n\xFF\t2\n3\t4\n");
        assert_eq!(kept[0], Err("line 2: user is \"\u{fffd}\", expected UTF-8".to_owned()));
        assert_eq!(kept[1], row(3, "3", "4", 1.0, 0, None));
    }

    #[test]
    fn what_cannot_be_read_stops() {
        assert!(matches!(table(b""), Err(IngestError::NoHeader { .. })));
        assert!(matches!(table(b"\n1\t2\n"), Err(IngestError::NoHeader { .. })));
        let error = table(b"user_id,item_id,rating\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "header of events.tsv has no column \"user\", nearest is \"user_id\", found user_id, item_id, rating"
        );
        assert!(matches!(table(b"user,item,User\n"), Err(IngestError::RepeatedColumn { column: "user", .. })));
        assert!(matches!(
            Table::open(Path::new("/no/such/events.tsv"), TableOptions::default()),
            Err(IngestError::Open { .. })
        ));
        let named_gz = Table::from_reader(&b"user\titem\n"[..], "events.tsv.gz", TableOptions::default());
        assert!(matches!(named_gz, Err(IngestError::NotGzip { found, .. }) if found == b"us"));
        let endless = Table::from_reader(std::io::repeat(b'x'), "endless", TableOptions::default());
        assert!(matches!(endless, Err(IngestError::Unreadable { line: 0, .. })));
        assert!(table(b"user\titem\n").unwrap().held_out().is_err());
    }

    #[test]
    fn damage_in_the_middle_ends_the_stream_after_the_good_rows() {
        let many: String = (0..50_000).map(|at| format!("{at}\t{}\n", at * 7_919 % 10_007)).collect();
        let whole = gzip(format!("user\titem\n{many}").as_bytes());
        let read: Vec<_> = table(&whole[..whole.len() / 2]).unwrap().collect();
        assert!(read.len() > 1_000 && read.len() < 50_000, "{} rows", read.len());
        assert!(matches!(read.last(), Some(Err(IngestError::Unreadable { line, .. })) if *line as usize == read.len()));
        assert!(read[..read.len() - 1].iter().all(Result::is_ok));

        let open_quote = Cursor::new(b"user,item\n1,2\n\"3".to_vec()).chain(std::io::repeat(b'\n'));
        let mut endless = Table::from_reader(open_quote, "endless", TableOptions::default()).unwrap();
        assert!(endless.next().unwrap().is_ok());
        let error = endless.next().unwrap().unwrap_err();
        assert!(error.stops() && error.to_string().contains("quote left open"), "{error}");
        assert!(endless.next().is_none());
    }

    #[test]
    fn held_out_rows_come_with_their_negatives() {
        let bytes = b"user\titem\tnegatives\n1\t2\t3 4 x\n1\t5\t\n1\t6\n";
        let read: Vec<_> = table(bytes).unwrap().held_out().unwrap().collect();
        assert_eq!(read[0].as_ref().unwrap().negatives, [Id::Int(3), Id::Int(4), Id::parse("x")]);
        assert_eq!(read[0].as_ref().unwrap().row.item, Id::Int(2));
        assert!(read[1].as_ref().unwrap().negatives.is_empty());
        assert!(matches!(&read[2], Err(IngestError::Row(error)) if error.column == "negatives" && error.line == 4));
    }
}
