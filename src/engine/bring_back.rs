//! From a data directory to shards that can go on: what a start and the simulator (`tests/sim`) both do.

use std::sync::Arc;

use super::{EngineError, state};
use crate::base::Clock;
use crate::model::Schema;
use crate::shard::journaled::RECORD_OPS;
use crate::shard::poison::Poison;
use crate::shard::teacher::Sampler;
use crate::shard::{Home, Journaled, Recovered, recover};
use crate::storage::{JournalOptions, JournalWriter, StorageError};
use crate::telemetry::Metrics;

/// Brings all shards back at once, a thread each: their journals stand for themselves.
///
/// # Errors
/// What cannot be read, and where.
pub fn recover_all(home: &Home, options: &state::Options) -> Result<Vec<Recovered>, EngineError> {
    let mut recovered = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..options.shards).map(|index| scope.spawn(move || recover(home, index, options.clone()))).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(recovered) => recovered.map_err(EngineError::from),
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect::<Result<Vec<_>, _>>()
    })?;
    skip_what_peers_merged(&mut recovered);
    Ok(recovered)
}

/// After power loss a peer may have merged what its source has lost: the source's next sequence comes after it, so that
/// nothing new is taken for what was merged.
fn skip_what_peers_merged(recovered: &mut [Recovered]) {
    for source in 0..recovered.len() {
        let index = recovered[source].shard.index();
        let merged = recovered.iter().map(|peer| peer.shard.merged(index)).max().unwrap_or(0);
        recovered[source].shard.skip_to(merged);
    }
}

/// What all shards must agree on.
#[derive(Clone, Copy, Debug)]
pub struct Common<'a> {
    /// The newest item model that any has.
    pub epoch: u32,
    /// The schema in force.
    pub schema: &'a Schema,
}

/// What a shard is put together with.
pub struct Pieces<'a> {
    /// Where it is made anew from.
    pub home: &'a Arc<Home>,
    /// Its figures.
    pub metrics: &'a Arc<Metrics>,
    /// Stamps its records.
    pub clock: &'a Arc<dyn Clock>,
    /// Sizes of its journal.
    pub journal: JournalOptions,
}

/// Opens the journal of a shard that came back, and lets it catch up with the others: a kill between two shards may have
/// left it behind. `sample_share` is the share of its time for describing examples.
///
/// # Errors
/// What the disk says; a missing item model.
pub fn go_on(
    recovered: Recovered,
    pieces: &Pieces<'_>,
    common: Common<'_>,
    sample_share: f64,
) -> Result<Journaled, EngineError> {
    let Recovered { mut shard, journal_next, .. } = recovered;
    let Pieces { home, metrics, clock, journal } = pieces;
    let place = home.dir.journal(shard.index(), home.cluster_id);
    let mut journal = JournalWriter::open(&place, journal_next, *journal)?;
    // What peers have merged is skipped in the journal as well, from where a replay begins.
    journal.gap(shard.sequence() + 1)?;
    catch_up(home, &mut shard, common, &mut |shard, op| {
        let mut bytes = Vec::new();
        op.encode(&mut bytes);
        journal.append(RECORD_OPS, shard.sequence(), 1, clock.now_ms(), &[&bytes])
    })?;
    journal.write()?;
    Ok(Journaled {
        shard,
        journal,
        home: Arc::clone(home),
        metrics: Arc::clone(metrics),
        clock: Arc::clone(clock),
        room: Arc::default(),
        poison: Poison::default(),
        sampler: Sampler::new(sample_share),
        broken: false,
        defer_rebuild: false,
        pending: None,
        rebuilds: 0,
    })
}

/// Brings a shard to what all have in common; each operation that it takes goes to `keep` after it was applied.
///
/// # Errors
/// A missing item model; what `keep` says.
pub(super) fn catch_up(
    home: &Home,
    shard: &mut state::Shard,
    common: Common<'_>,
    keep: &mut dyn FnMut(&state::Shard, &state::Op<'_>) -> Result<(), StorageError>,
) -> Result<(), EngineError> {
    if shard.epoch() < common.epoch {
        let model = home.model(common.epoch)?;
        shard.install(&model);
        keep(shard, &state::Op::Epoch { epoch: model.epoch })?;
    }
    if shard.schema() != common.schema {
        let bytes = common.schema.to_bytes();
        let op = state::Op::Schema { schema: &bytes };
        shard.apply(&op);
        keep(shard, &op)?;
    }
    Ok(())
}
