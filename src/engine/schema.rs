//! The schema in force, and how another takes its place while the engine serves.
//!
//! Every shard's journal holds the change, so a replay weighs each event as it was weighed. The door looks at a number
//! first and takes the schema anew only when that has changed: nothing is locked on the path of an event.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Busy, Engine, EngineError};
use crate::base::cursor::Reader;
use crate::model::{Durability, Incompatible, Schema, TraitRule};
use crate::person::formula::Formula;
use crate::shard::{Recovered, Step, StepDone};
use crate::state::Op;

/// The schema in force.
pub(super) struct InForce {
    schema: Mutex<Arc<Schema>>,
    changes: AtomicU64,
    changing: std::sync::atomic::AtomicBool,
}

impl InForce {
    pub(super) fn new(schema: Schema) -> Self {
        let (changes, changing) = (AtomicU64::new(0), false.into());
        Self { schema: Mutex::new(Arc::new(schema)), changes, changing }
    }

    fn get(&self) -> Arc<Schema> {
        Arc::clone(&self.schema.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, schema: Schema) {
        *self.schema.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(schema);
        self.changes.fetch_add(1, Ordering::Release);
    }
}

/// A holder's copy of the schema in force.
#[derive(Clone, Debug)]
pub struct KnownSchema {
    changes: u64,
    schema: Arc<Schema>,
}

impl Engine {
    /// The schema in force.
    #[must_use]
    pub fn schema(&self) -> Arc<Schema> {
        self.inner.schema.get()
    }

    /// The schema in force, to be held and followed by [`Self::follow_schema`].
    #[must_use]
    pub fn known_schema(&self) -> KnownSchema {
        let changes = self.inner.schema.changes.load(Ordering::Acquire);
        KnownSchema { changes, schema: self.schema() }
    }

    /// The schema in force, given one that was: without a lock where nothing has changed.
    pub fn follow_schema(&self, known: &mut KnownSchema) -> Arc<Schema> {
        if known.changes != self.inner.schema.changes.load(Ordering::Acquire) {
            *known = self.known_schema();
        }
        Arc::clone(&known.schema)
    }

    /// Puts the schema of these bytes in the place of the one in force: in every shard's journal, then at the door; or only
    /// says whether it could (`dry_run`). Returns the version in force then.
    ///
    /// # Errors
    /// [`EngineError::Schema`] if what is kept would lose its meaning, [`EngineError::SchemaBytes`],
    /// [`EngineError::Trait`] for a formula that is none, [`EngineError::ShardFailed`].
    pub async fn change_schema(&self, bytes: &[u8], dry_run: bool) -> Result<u32, EngineError> {
        let _busy = Busy::take(&self.inner.schema.changing, "change of the schema")?;
        let (now, next) = (self.schema(), decode(bytes)?);
        now.follow(&next)?;
        if next.version == now.version && next != *now {
            let (from, to, what) =
                (now.version, next.version, "it says something else under the same number".to_owned());
            return Err(Incompatible { from, to, what, advice: "raise [schema] version" }.into());
        }
        check_formulas(&next)?;
        if dry_run {
            return Ok(now.version);
        }
        let version = next.version;
        let bytes = next.to_bytes();
        let mut op = Vec::new();
        Op::Schema { schema: &bytes }.encode(&mut op);
        let mut waiting = Vec::new();
        for shard in 0..self.shards() {
            let step = Step::Write { bytes: op.len(), count: 1, durability: Durability::Durable, each: false };
            waiting.push((shard, self.submit(shard, op.clone(), vec![step], 0)));
        }
        for (shard, done) in waiting {
            let failed = || EngineError::ShardFailed { shard, what: "change of the schema" };
            match done.map_err(|_| failed())?.await.map_err(|_| failed())?.pop() {
                Some(StepDone::Written(_)) => {}
                _ => return Err(failed()),
            }
        }
        self.inner.schema.set(next);
        Ok(version)
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Schema, EngineError> {
    Schema::decode(&mut Reader::new(bytes)).map_err(EngineError::SchemaBytes)
}

/// Whether every trait's formula is one.
fn check_formulas(schema: &Schema) -> Result<(), EngineError> {
    for TraitRule { name, formula } in &schema.traits {
        Formula::parse(formula).map_err(|why| EngineError::Trait { name: name.clone(), why: why.to_string() })?;
    }
    Ok(())
}

/// The newest schema that a shard has.
pub(super) fn newest(recovered: &[Recovered]) -> Option<&Schema> {
    recovered.iter().map(|recovered| recovered.shard.schema()).max_by_key(|schema| schema.version)
}

/// The schema that the shards shall have: the configured one, unless they have a newer one already.
pub(super) fn at_start(recovered: &[Recovered], wanted: Schema) -> Result<Schema, EngineError> {
    let Some(newest) = newest(recovered) else { return Ok(wanted) };
    if newest.version > wanted.version {
        let (kept, configured) = (newest.version, wanted.version);
        tracing::warn!(kept, configured, "the data hold a newer schema than the configuration: it stays in force");
        return Ok(newest.clone());
    }
    newest.follow(&wanted)?;
    check_formulas(&wanted)?;
    Ok(wanted)
}
