//! Floor 5: bytes that outlive the process.
//!
//! Four things live in a data directory, and each has one file format (drawn in `docs/storage.md`):
//! * the **journal** ([`journal`]): per shard, append-only segment files of checksummed, chained records;
//! * the **snapshots** ([`snapshot`]): chunks in a sled store, and one manifest file a generation that makes them count;
//! * **small files** ([`data_dir`], [`epochs`]): the meta file and the item model's epochs, each in a checksummed
//!   [`envelope`], each written by temp, fsync, rename, fsync of the directory;
//! * the **refused events** ([`rejects`]): bounded segment files, never synced.
//!
//! An **archive** ([`archive`]) carries a generation and all that belongs to it in one file.
//!
//! Payloads are opaque, those of refused events apart: nothing else here knows events or profiles. Everything is synchronous and blocks; callers own the
//! threads and pass the time. Sequences are `u64`, and "up to sequence s" always means "every sequence below s".
//! All numbers on disk are little-endian, except sled keys (big-endian, so that they sort).

pub mod archive;
pub mod data_dir;
pub mod disk;
pub mod envelope;
pub mod epochs;
pub mod error;
pub mod files;
pub mod journal;
pub mod rejects;
pub mod snapshot;

pub use archive::{ArchiveReader, ArchiveWriter, DirSource, Part, Restored, Staging};
pub use data_dir::{DataDir, Meta};
pub use disk::{Disk, DiskFile, OsDisk};
pub use error::StorageError;
pub use journal::{
    JournalOptions, JournalPlace, JournalReader, JournalReport, JournalWriter, Record, SalvageReport, SyncHandle,
    TornTail,
};
pub use rejects::{RejectPage, RejectQuery, RejectSegment, RejectStore, RejectTotals};
pub use snapshot::{
    Choice, ChunkStore, GenerationWriter, Manifest, OpenReport, Rejected, ShardManifest, SnapshotOptions, SnapshotStore,
};

/// Files of format version 1 that were written once; what is written today must be the same bytes.
#[cfg(test)]
pub(crate) mod fixture {
    use std::path::Path;

    /// Compares `bytes` with the fixture, and gives it. If there is none it is written, and the test fails, so that
    /// somebody looks at it and commits it.
    pub(crate) fn golden(name: &str, bytes: &[u8]) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/storage/v1").join(name);
        let Ok(golden) = std::fs::read(&path) else {
            std::fs::write(&path, bytes).unwrap();
            panic!("fixture {name} was missing and has been written: check it, commit it, run again");
        };
        assert_eq!(bytes, golden, "the bytes of {name} changed: that needs a new format version");
        golden
    }
}
