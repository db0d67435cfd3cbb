//! Reading rows of any columns from TSV or CSV files, plain or gzip: attributes of users and items. The rules for files
//! are those of [`Table`](super::Table).

use std::io::Read;
use std::path::Path;

use super::IngestError;
use super::header::lacks;
use super::records::Records;

/// A row: its cells by column, without blanks around them. Cells that the row lacks are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    /// Line of the file that it starts on, from 1 (the header is on line 1).
    pub line: u64,
    /// One a column.
    pub cells: Vec<String>,
}

/// A file of rows, read one by one. A row that is not text, or has more cells than there are columns, is an `Err` and the
/// next one is read; see [`IngestError::stops`] for the errors that end the stream.
#[derive(Debug)]
pub struct Sheet {
    records: Records,
}

impl Sheet {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// [`IngestError::Open`], and those of [`Sheet::from_reader`].
    pub fn open(path: &Path) -> Result<Self, IngestError> {
        Records::open(path).map(|records| Self { records })
    }

    /// Reads the header from bytes, plain or gzip; `name` is for messages (and, if it ends in `.gz`, demands gzip).
    ///
    /// # Errors
    /// [`IngestError::NotGzip`], [`IngestError::NoHeader`], [`IngestError::Unreadable`].
    pub fn from_reader(source: impl Read + Send + 'static, name: &str) -> Result<Self, IngestError> {
        Records::from_reader(source, name).map(|records| Self { records })
    }

    /// Names of the columns, as they stand there.
    #[must_use]
    pub fn header(&self) -> &[String] {
        &self.records.header
    }

    /// The place of a column that must be there, in any case.
    ///
    /// # Errors
    /// [`IngestError::MissingColumn`].
    pub fn needed(&self, column: &'static str) -> Result<usize, IngestError> {
        let place = self.header().iter().position(|name| name.eq_ignore_ascii_case(column));
        place.ok_or_else(|| lacks(self.header(), &self.records.name, column))
    }

    fn cells(&self) -> Result<Cells, IngestError> {
        let columns = self.header().len();
        if self.records.fields() > columns {
            let (found, expected) = (self.records.field(columns, "row", TEXT)?, "no more cells than there are columns");
            return Err(self.records.bad("cell behind the last column", found, expected).into());
        }
        let cell = |at| match at < self.records.fields() {
            true => self.records.field(at, "row", TEXT).map(str::to_owned),
            false => Ok(String::new()),
        };
        Ok(Cells { line: self.records.line, cells: (0..columns).map(cell).collect::<Result<_, _>>()? })
    }
}

impl Iterator for Sheet {
    type Item = Result<Cells, IngestError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.records.advance().map(|record| record.and_then(|()| self.cells()))
    }
}

const TEXT: &str = "text in UTF-8";

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn rows_have_a_cell_a_column() {
        let bytes = b"\xEF\xBB\xBFUser, \"age\",tags\r\n7, 30 ,a|b\r\n\r\n8\r\n9,1,2,3\r\n\xFF,1,2\r\nz,\"a,b\",\r\n";
        let sheet = Sheet::from_reader(Cursor::new(bytes.to_vec()), "users.csv").unwrap();
        assert_eq!(sheet.header(), ["User", "age", "tags"]);
        assert_eq!(sheet.needed("user").unwrap(), 0);
        let missing = sheet.needed("item").unwrap_err().to_string();
        assert!(missing.starts_with("header of users.csv has no column \"item\""), "{missing}");
        let rows: Vec<Result<Cells, String>> = sheet.map(|row| row.map_err(|error| error.to_string())).collect();
        let cells = |line, cells: [&str; 3]| Ok(Cells { line, cells: cells.map(str::to_owned).to_vec() });
        let extra = "line 5: cell behind the last column is \"3\", expected no more cells than there are columns";
        let expected = [
            cells(2, ["7", "30", "a|b"]),
            cells(4, ["8", "", ""]),
            Err(extra.to_owned()),
            Err("line 6: row is \"\u{fffd}\", expected UTF-8".to_owned()),
            cells(7, ["z", "a,b", ""]),
        ];
        assert_eq!(rows, expected);
    }
}
