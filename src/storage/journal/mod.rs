//! The journal of a shard: every operation in order, so that replay gives the same state.
//!
//! * [`mod@format`]: the bytes of a segment (frozen, version 1);
//! * [`writer`]: appends to memory, one write a batch, sync by anybody; poisoned by the first failure;
//! * [`reader`]: every record in order, with checksum, chain and sequence checked;
//! * [`recovery`]: verify, trim, salvage.
//!
//! *Torn tail.* Every record and header says below which sequence everything was synced when it was made. Power loss
//! keeps what was synced and any part of the rest, in any order. So the journal is cut at the first bad record if that
//! is at or after the largest such mark, or if the next segment goes on exactly there (the writer never appends to an
//! old segment, so after a crash there is such a successor). A bad record before the mark is damage, and is refused:
//! going on would lose records that were acknowledged as durable.
//! Functions take the shard's journal directory; that only the owner of the data directory calls them is the caller's
//! duty ([`DataDir`](super::DataDir) holds the lock).

pub mod format;
pub mod reader;
pub mod recovery;
pub(crate) mod segments;
pub mod sync;
pub(crate) mod tail;
pub mod writer;

pub use format::Record;
pub use reader::{Counts, JournalReader, TornTail};
pub use recovery::{JournalReport, SalvageReport, salvage, trim, verify};
pub use sync::SyncHandle;
pub use writer::{JournalOptions, JournalWriter};

use std::path::PathBuf;
use std::sync::Arc;

use super::disk::Disk;

/// Where a shard's journal lies, and whose it is.
#[derive(Clone, Debug)]
pub struct JournalPlace {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The directory of the segments: of no other journal.
    pub dir: PathBuf,
    /// The shard, which stands in every segment.
    pub shard: u16,
    /// The cluster, which does too.
    pub cluster_id: u64,
}

impl JournalPlace {
    pub(crate) fn disk(&self) -> &dyn Disk {
        self.disk.as_ref()
    }
}

#[cfg(test)]
mod failing_tests;
#[cfg(test)]
mod power_tests;
#[cfg(test)]
mod watched;
#[cfg(test)]
mod writer_tests;

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::storage::{DiskFile, OsDisk};
    use std::path::Path;

    pub(crate) const CLUSTER: u64 = 0x0123_4567_89AB_CDEF;
    pub(crate) const SHARD: u16 = 3;

    /// A record's sequence and payload, for comparison.
    pub(crate) type Owned = (u64, u32, Vec<u8>);

    /// The journal of the tests in `dir`.
    pub(crate) fn place(dir: &Path) -> JournalPlace {
        JournalPlace { disk: Arc::new(OsDisk), dir: dir.to_path_buf(), shard: SHARD, cluster_id: CLUSTER }
    }

    pub(crate) fn open(dir: &Path, next: u64) -> JournalWriter {
        JournalWriter::open(&place(dir), next, JournalOptions::default()).unwrap()
    }

    /// Appends `records` records of one to three sequences with payloads of 0 to 40 bytes, written once each.
    pub(crate) fn fill(writer: &mut JournalWriter, records: u64) -> Vec<Owned> {
        let mut rng = crate::base::Rng::new(writer.next_sequence());
        let mut written = Vec::new();
        for _ in 0..records {
            let payload: Vec<u8> = (0..rng.below(41)).map(|_| rng.bits() as u8).collect();
            let (first, count) = (writer.next_sequence(), 1 + rng.below(3) as u32);
            writer.append(1, first, count, 1_000, &[&payload]).unwrap();
            writer.write().unwrap();
            written.push((first, count, payload));
        }
        written
    }

    /// As [`fill`], each record synced before the next: every mark is its record's first sequence.
    pub(crate) fn fill_synced(writer: &mut JournalWriter, records: u64) -> Vec<Owned> {
        let mut written = Vec::new();
        for _ in 0..records {
            written.extend(fill(writer, 1));
            writer.sync().unwrap();
        }
        written
    }

    /// Replaces a file's bytes in place: a file system may sync one that is truncated first, which takes long.
    pub(crate) fn put(path: &Path, bytes: &[u8]) {
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
        DiskFile::write(&file, bytes).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
    }

    pub(crate) fn read(dir: &Path, from: u64) -> Result<(Vec<Owned>, JournalReader), crate::storage::StorageError> {
        let mut reader = JournalReader::open(&place(dir), from)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next_record()? {
            records.push((record.first_sequence, record.count, record.payload.to_vec()));
        }
        Ok((records, reader))
    }
}

#[cfg(test)]
mod tests {
    use super::testing::place;
    use super::*;

    /// The bytes of format version 1, compared with a file that was written once.
    #[test]
    fn golden_segment() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = JournalWriter::open(&place(dir.path()), 100, JournalOptions::default()).unwrap();
        writer.append(1, 100, 1, 1_700_000_000_000, &[b"first"]).unwrap();
        writer.append(200, 101, 3, 1_700_000_000_001, &[b"three ", b"", b"at once"]).unwrap();
        writer.gap(200).unwrap();
        writer.write().unwrap();
        assert_eq!(writer.sync().unwrap(), 200);
        writer.append(2, 200, 1, -1, &[]).unwrap();
        writer.write().unwrap();
        let name = "0000000001.mjl";
        let bytes = std::fs::read(dir.path().join(name)).unwrap();
        let golden = crate::storage::fixture::golden("journal-segment.mjl", &bytes);

        let old = tempfile::tempdir().unwrap();
        std::fs::write(old.path().join(name), golden).unwrap();
        let mut reader = JournalReader::open(&place(old.path()), 0x64).unwrap();
        let expected = [
            (1, 100, 1, 1_700_000_000_000, &b"first"[..]),
            (200, 101, 3, 1_700_000_000_001, b"three at once"),
            (2, 200, 1, -1, b""),
        ];
        for (kind, first_sequence, count, stamp_ms, payload) in expected {
            let record = Record { kind, first_sequence, count, stamp_ms, payload };
            assert_eq!(reader.next_record().unwrap(), Some(record));
        }
        assert_eq!(reader.next_record().unwrap(), None);
        assert_eq!((reader.next_sequence(), reader.synced(), reader.torn().len()), (201, 200, 0));
    }
}
