//! One snapshot generation: every shard writes its image while serving, a thread of its own takes the pieces to sled.
//!
//! Order: images, sync of the journals at least as far, chunks to the device, manifest; only then are the older
//! generations, the journal segments and the item models that nothing refers to any more let go.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam::channel::bounded;
use tokio::sync::oneshot;

use super::{Busy, Engine, EngineError, spawn_thread};
use crate::base::ids::mix;
use crate::shard::priority::give_way_to_all;
use crate::shard::{Home, Snapshot, SnapshotPart};
use crate::storage::journal::trim;
use crate::storage::{GenerationWriter, Manifest, ShardManifest, StorageError, SyncHandle};

/// Size of a chunk: sled keeps values of 16-64 KiB in its log, larger ones in files that it never syncs.
const CHUNK_BYTES: usize = 48 << 10;

/// Pieces that may wait for the thread; shards wait for room without blocking.
const PARTS_MAX: usize = 64;

/// A finished generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// Its number.
    pub generation: u64,
    /// Bytes of the images.
    pub bytes: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Newest sequence in each shard's image.
    pub sequences: Vec<(u16, u64)>,
}

impl Engine {
    /// Takes a snapshot while serving.
    ///
    /// # Errors
    /// [`EngineError::Busy`] if one is under way; [`EngineError::DiskFull`]; [`EngineError::ShardFailed`] or
    /// [`EngineError::Storage`] if it could not be finished: then the older generations and the journals are as they were.
    pub async fn snapshot(&self) -> Result<SnapshotReport, EngineError> {
        self.needs_disk("snapshot")?;
        let _busy = Busy::take(&self.inner.snapshotting, "snapshot")?;
        let began = std::time::Instant::now();
        let (parts, receiver) = bounded(PARTS_MAX);
        let (inner, (sender, finished)) = (Arc::clone(&self.inner), oneshot::channel());
        spawn_thread("mirra-snapshot", move || {
            give_way_to_all(); // what is written is fixed already: it may take its time
            let plan = GenerationPlan {
                shards: inner.options.state.shards,
                fingerprint: inner.options.state.fingerprint(),
                keep: inner.options.snapshot_keep,
                created_ms: inner.clock.now_ms(),
            };
            let written = write_generation(&inner.home, &plan, receiver);
            drop(inner); // who is told may open the data directory again at once
            let _ = sender.send(written);
        })?;
        for (shard, handle) in (0..).zip(&self.inner.shards) {
            let message = Snapshot { parts: parts.clone() };
            handle.address.send(message).await.map_err(|_| EngineError::ShardFailed { shard, what: "snapshot" })?;
        }
        drop(parts); // the shards hold theirs until their image is whole
        let manifest = finished.await.map_err(|_| EngineError::Lost("snapshot"))??;
        Ok(SnapshotReport {
            generation: manifest.generation,
            bytes: manifest.bytes(),
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            sequences: manifest.shards.iter().map(|shard| (shard.shard, shard.sequence - 1)).collect(),
        })
    }
}

/// A shard's image as it comes in.
struct Image {
    sequence: u64,
    sync: SyncHandle,
    pending: Vec<u8>,
    chunks: u32,
    digest: u64,
    whole: bool,
}

impl Image {
    /// Puts whole chunks; the rest too, at the end.
    fn put(&mut self, home: &Home, writer: &mut GenerationWriter, shard: u16, last: bool) -> Result<(), StorageError> {
        let mut from = 0;
        while self.pending.len() - from >= CHUNK_BYTES || (last && from < self.pending.len()) {
            let chunk = &self.pending[from..self.pending.len().min(from + CHUNK_BYTES)];
            home.store.put_chunk(writer, shard, self.chunks, chunk)?;
            self.digest = mix(self.digest ^ u64::from(crc32c::crc32c(chunk)));
            self.chunks += 1;
            from += chunk.len();
        }
        self.pending.drain(..from);
        Ok(())
    }
}

/// What a generation is made for.
#[derive(Clone, Debug)]
pub struct GenerationPlan {
    /// Shards that it must have.
    pub shards: u16,
    /// What the layout of the state depends on.
    pub fingerprint: String,
    /// Generations that are kept.
    pub keep: usize,
    /// When it is begun.
    pub created_ms: i64,
}

/// Takes the images of all shards as their parts come, makes them a generation, and lets go what no kept one needs.
///
/// # Errors
/// [`EngineError::ShardFailed`] for a shard whose image is not whole, [`EngineError::Storage`]: then the older generations
/// and the journals are as they were.
pub fn write_generation(
    home: &Home,
    plan: &GenerationPlan,
    parts: impl IntoIterator<Item = SnapshotPart>,
) -> Result<Manifest, EngineError> {
    let generation = home.store.generations()?.last().map_or(0, |(generation, _)| *generation) + 1;
    let mut writer = home.store.begin(generation)?;
    let mut images: BTreeMap<u16, Image> = BTreeMap::new();
    let mut newest_epoch = 0;
    for part in parts {
        match part {
            SnapshotPart::Begin { shard, sequence, epoch, sync } => {
                newest_epoch = newest_epoch.max(epoch);
                let image = Image { sequence, sync, pending: Vec::new(), chunks: 0, digest: 0, whole: false };
                images.insert(shard, image);
            }
            SnapshotPart::Sections(shard, sections) => {
                let Some(image) = images.get_mut(&shard) else { continue };
                sections.iter().for_each(|section| image.pending.extend_from_slice(section));
                image.put(home, &mut writer, shard, false)?;
            }
            SnapshotPart::End(shard) => {
                let Some(image) = images.get_mut(&shard) else { continue };
                image.put(home, &mut writer, shard, true)?;
                image.whole = true;
            }
        }
    }
    let missing = (0..plan.shards).find(|shard| images.get(shard).is_none_or(|image| !image.whole));
    if let Some(shard) = missing {
        return Err(EngineError::ShardFailed { shard, what: "snapshot" });
    }
    for image in images.values() {
        image.sync.sync()?;
    }
    let entry = |(shard, image): (&u16, &Image)| writer.shard_manifest(*shard, image.sequence + 1, image.digest);
    let shards: Vec<ShardManifest> = images.iter().map(entry).collect();
    let GenerationPlan { fingerprint, created_ms, .. } = plan.clone();
    let manifest =
        Manifest { generation, created_ms, cluster_id: home.cluster_id, fingerprint, shards, epoch: newest_epoch };
    home.store.commit(writer, &manifest)?;
    *home.manifest.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(manifest.clone());
    if let Err(error) = let_go(home, plan) {
        // The generation counts; what could not be removed is tried again after the next one.
        tracing::warn!(error = %error, "old snapshots or journal segments could not be removed");
    }
    Ok(manifest)
}

/// Removes what no kept generation needs: older generations, journal segments, item models.
fn let_go(home: &Home, plan: &GenerationPlan) -> Result<(), StorageError> {
    home.store.keep_newest(plan.keep.max(1))?;
    let kept: Vec<Manifest> = home.store.generations()?.into_iter().filter_map(|(_, manifest)| manifest.ok()).collect();
    if kept.len() < plan.keep {
        return Ok(()); // should the only one be damaged, the whole journal makes up for it
    }
    for shard in 0..plan.shards {
        let oldest = kept.iter().filter_map(|manifest| manifest.shard(shard)).map(|entry| entry.sequence).min();
        trim(&home.dir.journal(shard, home.cluster_id), oldest.unwrap_or(0))?;
    }
    // A shard may install an epoch after its part of the image began, so the epoch before the oldest stays as well.
    let oldest = kept.iter().map(|manifest| manifest.epoch).min().unwrap_or(0);
    home.dir.remove_epochs_below(oldest.saturating_sub(1))?;
    Ok(())
}
