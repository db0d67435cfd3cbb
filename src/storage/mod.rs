//! Floor 5: bytes that outlive the process.
//!
//! Three things live in a data directory, and each has one file format (drawn in `docs/storage.md`):
//! * the **journal** ([`journal`]): per shard, append-only segment files of checksummed, chained records;
//! * the **snapshots** ([`snapshot`]): chunks in a sled store, and one manifest file a generation that makes them count;
//! * **small files** ([`data_dir`], [`epochs`]): the meta file and the item model's epochs, each in a checksummed
//!   [`envelope`], each written by temp, fsync, rename, fsync of the directory.
//!
//! Payloads are opaque: nothing here knows events or profiles. Everything is synchronous and blocks; callers own the
//! threads and pass the time. Sequences are `u64`, and "up to sequence s" always means "every sequence below s".
//! All numbers on disk are little-endian, except sled keys (big-endian, so that they sort).

pub mod data_dir;
pub mod envelope;
pub mod epochs;
pub mod error;
pub mod files;
pub mod journal;
pub mod snapshot;

use std::fmt;
use std::str::FromStr;

pub use data_dir::{DataDir, Meta};
pub use error::StorageError;
pub use journal::{
    JournalFile, JournalFiles, JournalOptions, JournalReader, JournalReport, JournalWriter, Record, SalvageReport,
    SyncHandle, TornTail,
};
pub use snapshot::{
    Choice, GenerationWriter, Manifest, OpenReport, Rejected, ShardManifest, SnapshotOptions, SnapshotStore,
};

/// How safe an acknowledged event is. The codes stand on the wire and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Durability {
    /// In memory: survives a clean stop only.
    Applied = 1,
    /// Written to the journal's file: survives a killed process.
    Journaled = 2,
    /// Synced to the device: survives power loss.
    Durable = 3,
}

impl Durability {
    /// Every level, weakest first.
    pub const ALL: [Self; 3] = [Self::Applied, Self::Journaled, Self::Durable];

    /// The level with this code, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.code() == code)
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Its name in configuration and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Journaled => "journaled",
            Self::Durable => "durable",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A text that names no durability level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no durability level is called {found:?}: use applied, journaled or durable")]
pub struct UnknownDurability {
    /// What was found.
    pub found: String,
}

impl FromStr for Durability {
    type Err = UnknownDurability;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let level = Self::ALL.into_iter().find(|level| level.name() == text);
        level.ok_or_else(|| UnknownDurability { found: text.chars().take(32).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_codes_and_names_are_frozen() {
        let frozen = [(1, "applied"), (2, "journaled"), (3, "durable")];
        for (code, name) in frozen {
            let level = Durability::from_code(code).unwrap();
            assert_eq!((level.code(), level.name()), (code, name));
            assert_eq!(name.parse(), Ok(level));
        }
        assert_eq!([0, 4, 255].map(Durability::from_code), [None; 3]);
        assert!("Durable".parse::<Durability>().is_err());
        assert!(Durability::Applied < Durability::Journaled && Durability::Journaled < Durability::Durable);
    }
}

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
