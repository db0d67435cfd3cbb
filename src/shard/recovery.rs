//! From disk to a machine: the newest valid snapshot, then the journal behind it.
//!
//! The same operations in the same order give the same bits, so what comes back is what was there. Nothing is repaired
//! here: a torn tail (the last record of a killed process) is cut by the reader and reported, damage before it is an
//! error that names file, offset and sequence.

use std::sync::Arc;

use super::journaled::RECORD_OPS;
use super::progress::StartProgress;
use crate::base::{CursorError, Reader};
use crate::state::{EpochModel, ImageError, ImageReader, Op, Options, Shard};
use crate::storage::journal::format::RECORD_HEAD_BYTES;
use crate::storage::{DataDir, JournalReader, Manifest, SnapshotStore, StorageError, TornTail};

/// What all shards of a server come back from.
pub struct Home {
    /// The data directory.
    pub dir: Arc<DataDir>,
    /// Its snapshots.
    pub store: Arc<SnapshotStore>,
    /// Which cluster the journals must belong to.
    pub cluster_id: u64,
    /// The newest generation that counts.
    pub manifest: std::sync::Mutex<Option<Manifest>>,
    /// How far the start is.
    pub progress: Arc<StartProgress>,
}

/// A machine that came back.
#[derive(Debug)]
pub struct Recovered {
    /// The machine.
    pub shard: Shard,
    /// Generation of the snapshot that it started from; 0: none.
    pub generation: u64,
    /// Operations replayed from the journal.
    pub replayed: u64,
    /// Torn tails that were cut.
    pub torn: Vec<TornTail>,
    /// The sequence with which the journal goes on: behind its end, or where there is none, behind the snapshot.
    pub journal_next: u64,
}

/// Why a shard does not come back.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The disk, or what is on it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The snapshot's bytes are whole but are no image of this shard.
    #[error("generation {generation} holds no usable image of shard {shard}; `mirra snapshot verify` tells more")]
    Image {
        /// Which generation.
        generation: u64,
        /// Which shard.
        shard: u16,
        /// What is wrong.
        #[source]
        source: ImageError,
    },
    /// A journal record is whole but is no list of operations.
    #[error("the journal of shard {shard} cannot be read at sequence {sequence}; was it written by a newer version?")]
    Record {
        /// Which shard.
        shard: u16,
        /// First sequence of the record.
        sequence: u64,
        /// What is wrong.
        #[source]
        source: CursorError,
    },
    /// A stored item model cannot be read.
    #[error("the item model of epoch {epoch} cannot be read")]
    Model {
        /// Which epoch.
        epoch: u32,
        /// What is wrong.
        #[source]
        source: CursorError,
    },
}

impl Home {
    fn newest(&self) -> Option<Manifest> {
        self.manifest.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// The stored item model of an epoch.
    ///
    /// # Errors
    /// [`RecoverError`] if it is missing or damaged.
    pub fn model(&self, epoch: u32) -> Result<EpochModel, RecoverError> {
        let bytes = self.dir.get_epoch(epoch)?;
        EpochModel::decode(&bytes).map_err(|source| RecoverError::Model { epoch, source })
    }
}

/// Brings shard `index` back.
///
/// # Errors
/// [`RecoverError`], which says what cannot be read and where.
pub fn recover(home: &Home, index: u16, options: Options) -> Result<Recovered, RecoverError> {
    let manifest = home.newest();
    let generation = manifest.as_ref().map_or(0, |manifest| manifest.generation);
    let mut shard = match &manifest {
        Some(manifest) => read_image(home, manifest, index, options)?,
        None => Shard::new(index, options),
    };
    let before = shard.sequence();
    let mut journal = JournalReader::open(&home.dir.journal(index, home.cluster_id), shard.sequence() + 1)?;
    home.progress.expect(0, journal.bytes_ahead()?);
    while let Some(record) = journal.next_record()? {
        let bytes = RECORD_HEAD_BYTES + record.payload.len();
        home.progress.read_journal(bytes as u64, u64::from(record.count));
        if record.end_sequence().is_some_and(|end| end <= shard.sequence() + 1) {
            shard.skip_to(record.first_sequence.saturating_sub(1));
            continue; // within the snapshot, or a gap
        }
        shard.skip_to(record.first_sequence - 1);
        if record.kind == RECORD_OPS {
            replay(home, &mut shard, record.payload, record.count)
                .map_err(|error| error.at(index, record.first_sequence))?;
        }
    }
    let journal_next = journal.end().unwrap_or(shard.sequence() + 1);
    shard.skip_to(journal_next - 1);
    let (replayed, torn) = (shard.sequence() - before, journal.torn().to_vec());
    Ok(Recovered { shard, generation, replayed, torn, journal_next })
}

fn read_image(home: &Home, manifest: &Manifest, index: u16, options: Options) -> Result<Shard, RecoverError> {
    let generation = manifest.generation;
    home.progress.expect(manifest.shard(index).map_or(0, |entry| entry.bytes), 0);
    let failed = |source| RecoverError::Image { generation, shard: index, source };
    let mut reader = ImageReader::new(options);
    let mut fault = None;
    home.store.read_chunks(manifest, index, |_, bytes| {
        home.progress.read_image(bytes.len() as u64);
        if fault.is_none() {
            fault = reader.feed(bytes).err();
        }
        Ok::<(), StorageError>(())
    })?;
    match fault {
        Some(source) => Err(failed(source)),
        None => reader.finish().map_err(failed),
    }
}

enum ReplayError {
    Bytes(CursorError),
    Other(RecoverError),
}

impl ReplayError {
    fn at(self, shard: u16, sequence: u64) -> RecoverError {
        match self {
            Self::Bytes(source) => RecoverError::Record { shard, sequence, source },
            Self::Other(error) => error,
        }
    }
}

fn replay(home: &Home, shard: &mut Shard, ops: &[u8], count: u32) -> Result<(), ReplayError> {
    let mut reader = Reader::new(ops);
    for _ in 0..count {
        match Op::decode(&mut reader).map_err(ReplayError::Bytes)? {
            Op::Epoch { epoch } => {
                shard.install(&home.model(epoch).map_err(ReplayError::Other)?);
            }
            op => {
                shard.apply(&op);
            }
        }
    }
    reader.finish().map_err(ReplayError::Bytes)
}
