//! Bytes of a file of events: unpacked if they are gzip, and never endless between two rows.

use std::io::{BufReader, Cursor, Error, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::records::ROW_BYTES_MAX;

/// Fails once too many bytes have gone by since a row was last complete, and ends the last line if the file does not.
pub(super) struct RowGuard<R> {
    source: R,
    since_row: Arc<AtomicUsize>,
    last: u8,
}

impl<R: Read> RowGuard<R> {
    /// `since_row` counts the bytes; the reader of rows sets it to 0 before each row.
    pub(super) fn new(source: R, since_row: Arc<AtomicUsize>) -> Self {
        Self { source, since_row, last: b'\n' }
    }
}

impl<R: Read> Read for RowGuard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.since_row.load(Ordering::Relaxed) > ROW_BYTES_MAX {
            return Err(Error::new(ErrorKind::InvalidData, too_long()));
        }
        let mut count = self.source.read(buffer)?;
        if count == 0 && self.last != b'\n' {
            buffer[0] = b'\n';
            count = 1;
        }
        if count > 0 {
            self.last = buffer[count - 1];
        }
        self.since_row.fetch_add(count, Ordering::Relaxed);
        Ok(count)
    }
}

/// What is said of such a row.
pub(super) fn too_long() -> String {
    format!("row longer than {ROW_BYTES_MAX} bytes, is a quote left open?")
}

/// Why plain bytes cannot be had.
pub(super) enum Fault {
    /// Reading the first bytes failed.
    Read(Error),
    /// It should be gzip and starts with these bytes.
    NotGzip(Vec<u8>),
}

/// The plain bytes of `source`, which is gzip if its first two bytes say so. A `name` in `.gz` demands it.
pub(super) fn decompressed(
    source: impl Read + Send + 'static,
    name: &str,
) -> Result<BufReader<Box<dyn Read + Send>>, Fault> {
    let mut source = source;
    let mut start = Vec::with_capacity(2);
    source.by_ref().take(2).read_to_end(&mut start).map_err(Fault::Read)?;
    let gzip = start == [0x1F, 0x8B];
    if !gzip && Path::new(name).extension().is_some_and(|end| end.eq_ignore_ascii_case("gz")) {
        return Err(Fault::NotGzip(start));
    }
    let whole = Cursor::new(start).chain(source);
    let plain: Box<dyn Read + Send> =
        if gzip { Box::new(MultiGzDecoder::new(BufReader::new(whole))) } else { Box::new(whole) };
    Ok(BufReader::with_capacity(1 << 16, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_fails_between_rows_that_are_too_far_apart() {
        let since_row = Arc::new(AtomicUsize::new(0));
        let mut guarded = RowGuard::new(std::io::repeat(0), Arc::clone(&since_row));
        let mut buffer = vec![0; 1 << 16];
        for _ in 0..100 {
            since_row.store(0, Ordering::Relaxed);
            guarded.read_exact(&mut buffer).unwrap();
        }
        let read = (0..1_000).take_while(|_| guarded.read_exact(&mut buffer).is_ok()).count();
        assert_eq!(read, ROW_BYTES_MAX / buffer.len());
    }

    #[test]
    fn the_last_line_is_ended_once() {
        for (bytes, expected) in [("", ""), ("a\nb", "a\nb\n"), ("a\n", "a\n"), ("\n", "\n")] {
            let mut read = String::new();
            RowGuard::new(bytes.as_bytes(), Arc::default()).read_to_string(&mut read).unwrap();
            assert_eq!(read, expected, "{bytes:?}");
        }
    }
}
