//! A data directory for another number of shards: all shards come back as at a start, the machines are put together anew in
//! memory ([`state::reshard`]), and what they know becomes the first generation of a new directory.
//!
//! The new directory is a cluster of its own: sequences of shards begin together there, so a journal of the old one must
//! never be read behind its snapshots, and is refused. Its schema is the one in force, its journals are empty. Refused events
//! (`rejects/`) are not taken along.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::bring_back::{Common, catch_up, recover_all};
use super::snapshot::{GenerationPlan, write_generation};
use super::start::{check_fingerprint, new_meta, new_routing};
use super::{EngineError, schema, state};
use crate::base::Routing;
use crate::shard::{Home, SnapshotPart};
use crate::state::{Resharded, Shard};
use crate::storage::{
    DataDir, JournalOptions, JournalWriter, Manifest, Meta, SnapshotOptions, SnapshotStore, StorageError,
};

/// Runs of an image that are encoded together.
const RUNS_A_STEP: usize = 64;

/// What was put into a new directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReshardReport {
    /// Shards that there were.
    pub shards_before: u16,
    /// Users, merged ones and those without events included.
    pub users: u64,
    /// Items, each counted once.
    pub items: u64,
    /// Events learned.
    pub events: u64,
    /// Where every shard stands.
    pub sequence: u64,
    /// Retained events that the bank was taught again from; `None` if it was not.
    pub taught: Option<u64>,
    /// Whether `auto`, taught in step, fitted its item factors anew.
    pub refitted: bool,
    /// The generation that was written and verified.
    pub manifest: Manifest,
}

/// Puts all that the directory `from` holds into `into`, an empty directory, for `count` shards. `options` are those of the
/// server that wrote it; how many shards they say does not matter. Both directories are let go of at the end.
///
/// # Errors
/// [`EngineError::Fingerprint`] if it was written under other options; what a start would refuse; what the disk says.
pub fn reshard(
    from: &Path,
    into: &Path,
    mut options: state::Options,
    count: u16,
    now_ms: i64,
) -> Result<ReshardReport, EngineError> {
    let (home, shards) = bring_back(from, &mut options)?;
    let (shards_before, epoch) = (options.shards, shards.first().map_or(0, Shard::epoch));
    let model = (epoch > 0).then(|| home.dir.get_epoch(epoch)).transpose()?;
    drop(home);
    let routing = match options.routing {
        Routing::Plain => new_routing(),
        keyed @ Routing::Keyed(_) => keyed,
    };
    let Resharded { shards, taught, refitted } = state::reshard(shards, count, routing);
    let sum = |of: fn(&Shard) -> u64| shards.iter().map(of).sum();
    let (users, items, events) =
        (sum(|shard| shard.user_count() as u64), sum(Shard::owned_items), sum(Shard::event_count));
    let sequence = shards.first().map_or(0, Shard::sequence);
    let manifest = write(into, shards, model.as_deref(), now_ms)?;
    Ok(ReshardReport { shards_before, users, items, events, sequence, taught, refitted, manifest })
}

/// The options become those of data with this meta and schema: as many shards, what the journals begin with.
///
/// # Errors
/// [`EngineError::Fingerprint`] if the data at `path` were written under other options.
pub fn adopt(meta: &Meta, schema: Option<&[u8]>, options: &mut state::Options, path: &Path) -> Result<(), EngineError> {
    if let Some(bytes) = schema {
        options.schema = schema::decode(bytes)?;
    }
    (options.shards, options.routing) = (meta.shards, meta.routing);
    check_fingerprint(meta, options, path)
}

/// All shards of a directory, at one epoch and under one schema.
fn bring_back(from: &Path, options: &mut state::Options) -> Result<(Home, Vec<Shard>), EngineError> {
    let dir = DataDir::open(from, false)?;
    let none = || StorageError::NoDataDir { path: from.to_path_buf() };
    let meta = dir.read_meta()?.ok_or_else(none)?;
    adopt(&meta, dir.read_schema()?.as_deref(), options, from)?;
    let home = open_home(dir, meta.cluster_id, SnapshotOptions::default())?;
    let recovered = recover_all(&home, options)?;
    let epoch = recovered.iter().map(|recovered| recovered.shard.epoch()).max().unwrap_or(0);
    let schema = schema::newest(&recovered).unwrap_or(&options.schema).clone();
    let mut shards: Vec<Shard> = recovered.into_iter().map(|recovered| recovered.shard).collect();
    for shard in &mut shards {
        catch_up(&home, shard, Common { epoch, schema: &schema }, &mut |_, _| Ok(()))?;
    }
    Ok((home, shards))
}

fn open_home(dir: DataDir, cluster_id: u64, how: SnapshotOptions) -> Result<Home, EngineError> {
    let (store, _) = SnapshotStore::open(&dir, cluster_id, how)?;
    let manifest = Mutex::new(store.newest_valid()?.manifest);
    Ok(Home { dir: Arc::new(dir), store: Arc::new(store), cluster_id, manifest, progress: Arc::default() })
}

/// Writes a directory whose first generation is what the shards know, and reads it back.
fn write(into: &Path, shards: Vec<Shard>, model: Option<&[u8]>, now_ms: i64) -> Result<Manifest, EngineError> {
    let dir = DataDir::open(into, true)?;
    let Some(options) = shards.first().map(|shard| shard.options().clone()) else {
        return Err(EngineError::Lost("snapshot"));
    };
    let meta = new_meta(&options, now_ms);
    dir.write_meta(&meta)?;
    dir.write_schema(&options.schema.to_bytes())?;
    if let (Some(bytes), Some(shard)) = (model, shards.first()) {
        dir.put_epoch(shard.epoch(), bytes)?;
    }
    let home = open_home(dir, meta.cluster_id, SnapshotOptions { prove: true, ..SnapshotOptions::default() })?;
    let plan = GenerationPlan { shards: options.shards, fingerprint: meta.fingerprint, keep: 2, created_ms: now_ms };
    let journals = shards.iter().map(|shard| {
        let place = home.dir.journal(shard.index(), home.cluster_id);
        JournalWriter::open(&place, shard.sequence() + 1, JournalOptions::default())
    });
    let journals = journals.collect::<Result<Vec<JournalWriter>, _>>()?;
    let manifest = write_generation(&home, &plan, shards.into_iter().zip(&journals).flat_map(parts))?;
    Ok(home.store.verify(manifest.generation)?)
}

/// The parts of a shard's image; the shard is dropped behind the last.
fn parts((mut shard, journal): (Shard, &JournalWriter)) -> impl Iterator<Item = SnapshotPart> + use<> {
    let (index, sequence, epoch) = (shard.index(), shard.sequence(), shard.epoch());
    shard.capture_begin();
    let sections = std::iter::from_fn(move || shard.capture_some(RUNS_A_STEP));
    std::iter::once(SnapshotPart::Begin { shard: index, sequence, epoch, sync: journal.sync_handle() })
        .chain(sections.map(move |sections| SnapshotPart::Sections(index, sections)))
        .chain(std::iter::once(SnapshotPart::End(index)))
}
