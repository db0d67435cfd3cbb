//! Writing a table that [`Table`](super::Table) reads: tabs between fields, gzip if the name says so.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Error, ErrorKind, Result, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Characters that end a field or a line: there are no quotes between tabs.
const ENDS: [char; 3] = ['\t', '\n', '\r'];

/// A file of rows, written one by one.
#[derive(Debug)]
pub struct TableWriter {
    out: Packed,
    line: String,
    columns: usize,
}

#[derive(Debug)]
enum Packed {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl TableWriter {
    /// Makes the file, or replaces it, and writes the names of the columns. One whose name ends in `.gz` is packed.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path, columns: &[&str]) -> Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        let gzip = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gz"));
        let out = if gzip {
            Packed::Gzip(Box::new(GzEncoder::new(file, Compression::default())))
        } else {
            Packed::Plain(file)
        };
        let mut writer = Self { out, line: String::new(), columns: columns.len() };
        writer.row(columns)?;
        Ok(writer)
    }

    /// Whether a field comes back as it is: no tab or line end in it, no blanks around it.
    #[must_use]
    pub fn holds(field: &str) -> bool {
        !field.contains(ENDS) && field.trim() == field
    }

    /// The field with blanks in the place of tabs and line ends.
    #[must_use]
    pub fn flat(field: &str) -> Cow<'_, str> {
        if field.contains(ENDS) { Cow::Owned(field.replace(ENDS, " ")) } else { Cow::Borrowed(field) }
    }

    /// Writes a row.
    ///
    /// # Errors
    /// What the system says; [`ErrorKind::InvalidInput`] if a field has a tab or line end, or the row another length
    /// than the header.
    pub fn row(&mut self, fields: &[&str]) -> Result<()> {
        if fields.len() != self.columns || fields.iter().any(|field| field.contains(ENDS)) {
            let what = format!("a row of {} fields without tabs and line ends is due, not {fields:?}", self.columns);
            return Err(Error::new(ErrorKind::InvalidInput, what));
        }
        self.line.clear();
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                self.line.push('\t');
            }
            self.line.push_str(field);
        }
        self.line.push('\n');
        match &mut self.out {
            Packed::Plain(out) => out.write_all(self.line.as_bytes()),
            Packed::Gzip(out) => out.write_all(self.line.as_bytes()),
        }
    }

    /// Writes what waits and ends the file.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(self) -> Result<()> {
        match self.out {
            Packed::Plain(mut out) => out.flush(),
            Packed::Gzip(out) => out.finish()?.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::{Row, Table, TableOptions};

    #[test]
    fn what_is_written_is_read_plain_and_packed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["events.tsv", "events.tsv.gz", "events.TSV.GZ"] {
            let path = dir.path().join(name);
            let mut writer = TableWriter::create(&path, &["message", "user", "item", "timestamp"]).unwrap();
            for line in 2..2_000_u64 {
                let (message, time) = (format!("\"row, {line}"), (1_700_000_000_000 + line).to_string());
                writer.row(&[&message, &line.to_string(), "größe", &time]).unwrap();
            }
            assert!(writer.row(&["a\tb", "1", "2", "3"]).is_err() && writer.row(&["1"]).is_err());
            writer.finish().unwrap();
            let packed = std::fs::read(&path).unwrap().starts_with(&[0x1F, 0x8B]);
            assert_eq!(packed, name != "events.tsv");
            let rows: Vec<Row> =
                Table::open(&path, TableOptions::default()).unwrap().collect::<std::result::Result<_, _>>().unwrap();
            assert_eq!(rows.len(), 1_998);
            for row in rows {
                assert_eq!((row.user, row.item), (row.line.into(), "größe".into()));
                assert_eq!(row.time_ms, 1_700_000_000_000 + row.line as i64);
            }
        }
    }

    #[test]
    fn fields_that_would_not_come_back_are_told() {
        for (field, holds) in
            [("a b", true), ("", true), (" a", false), ("a\t", false), ("a\nb", false), ("a\r", false)]
        {
            assert_eq!(TableWriter::holds(field), holds, "{field:?}");
        }
        assert_eq!(TableWriter::flat("a\tb\r\nc"), "a b  c");
    }
}
