//! How far a start is, for whoever waits for it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What a start does one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StartStep {
    /// Takes the directory and opens the snapshot store.
    Opening,
    /// Looks for the newest generation that is whole.
    Checking,
    /// Reads images and replays journals, all shards at once.
    Reading,
    /// Opens journals for writing and starts the shards.
    Starting,
}

/// Counters that the threads of a start add to. Nothing depends on them.
#[derive(Debug, Default)]
pub struct StartProgress {
    step: AtomicU8,
    /// Bytes of images read, and to be read.
    image_bytes: [AtomicU64; 2],
    /// Bytes of journals read, and to be read.
    journal_bytes: [AtomicU64; 2],
    operations: AtomicU64,
}

/// The counters at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartStatus {
    /// What it does.
    pub step: StartStep,
    /// Bytes of images read, and of all.
    pub image_bytes: (u64, u64),
    /// Bytes of journal segments read, and of all.
    pub journal_bytes: (u64, u64),
    /// Operations replayed.
    pub operations: u64,
}

impl StartProgress {
    /// Now does this.
    pub fn begin(&self, step: StartStep) {
        self.step.store(step as u8, Ordering::Relaxed);
    }

    /// A shard will read so many bytes of its image and of its journal.
    pub(super) fn expect(&self, image_bytes: u64, journal_bytes: u64) {
        self.image_bytes[1].fetch_add(image_bytes, Ordering::Relaxed);
        self.journal_bytes[1].fetch_add(journal_bytes, Ordering::Relaxed);
    }

    pub(super) fn read_image(&self, bytes: u64) {
        self.image_bytes[0].fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn read_journal(&self, bytes: u64, operations: u64) {
        self.journal_bytes[0].fetch_add(bytes, Ordering::Relaxed);
        self.operations.fetch_add(operations, Ordering::Relaxed);
    }

    /// How far it is.
    #[must_use]
    pub fn status(&self) -> StartStatus {
        let pair = |[done, all]: &[AtomicU64; 2]| (done.load(Ordering::Relaxed), all.load(Ordering::Relaxed));
        let step = match self.step.load(Ordering::Relaxed) {
            0 => StartStep::Opening,
            1 => StartStep::Checking,
            2 => StartStep::Reading,
            _ => StartStep::Starting,
        };
        StartStatus {
            step,
            image_bytes: pair(&self.image_bytes),
            journal_bytes: pair(&self.journal_bytes),
            operations: self.operations.load(Ordering::Relaxed),
        }
    }
}
