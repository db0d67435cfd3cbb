//! A store of chunks in memory, in the place of sled: what was put is seen at once and durable once the store was synced;
//! power loss keeps a beginning of the rest, as a log does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mirra::base::Rng;
use mirra::storage::ChunkStore;
use mirra::storage::snapshot::chunks::Visit;

use crate::disk::SimDisk;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;
type Change = (Vec<u8>, Option<Vec<u8>>);

#[derive(Debug, Default)]
struct Inner {
    live: Entries,
    durable: Entries,
    waiting: Vec<Change>,
}

/// The store; clones are the same one.
#[derive(Clone, Debug)]
pub struct SimChunks {
    disk: SimDisk,
    inner: Arc<Mutex<Inner>>,
}

fn carry_out(entries: &mut Entries, (key, value): Change) {
    match value {
        Some(value) => drop(entries.insert(key, value)),
        None => drop(entries.remove(&key)),
    }
}

impl SimChunks {
    pub fn new(disk: &SimDisk) -> Self {
        Self { disk: disk.clone(), inner: Arc::default() }
    }

    /// Another store of the same entries, whose calls count on another disk.
    pub fn copy(&self, disk: &SimDisk) -> Self {
        let inner = self.inner();
        let copied = Inner { live: inner.live.clone(), durable: inner.live.clone(), waiting: Vec::new() };
        Self { disk: disk.clone(), inner: Arc::new(Mutex::new(copied)) }
    }

    /// Hands the bytes of a value to `damage`, chosen by `draw` among all.
    pub fn damage(&self, draw: impl FnOnce(usize) -> usize, damage: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.inner();
        let at = draw(inner.live.len());
        if let Some(value) = inner.live.values_mut().nth(at) {
            damage(value);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn lose_power(&self, rng: &mut Rng) {
        let mut inner = self.inner();
        let kept = rng.below(inner.waiting.len() as u64 + 1) as usize;
        let waiting = std::mem::take(&mut inner.waiting);
        waiting.into_iter().take(kept).for_each(|change| carry_out(&mut inner.durable, change));
        inner.live = inner.durable.clone();
    }

    fn change(&self, change: Change) {
        let mut inner = self.inner();
        carry_out(&mut inner.live, change.clone());
        inner.waiting.push(change);
    }

    fn step(&self) -> Result<(), String> {
        self.disk.step().map_err(|error| error.to_string())
    }
}

impl ChunkStore for SimChunks {
    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.step()?;
        self.change((key.to_vec(), Some(value.to_vec())));
        Ok(())
    }

    fn remove(&self, keys: &[Vec<u8>]) -> Result<(), String> {
        self.step()?;
        keys.iter().for_each(|key| self.change((key.clone(), None)));
        Ok(())
    }

    fn walk(&self, low: &[u8], high: &[u8], visit: Visit<'_>) -> Result<(), String> {
        if self.disk.has_stopped() {
            return Err("the machine has stopped".to_owned());
        }
        let inner = self.inner();
        let range = inner.live.range(low.to_vec()..=high.to_vec());
        for (key, value) in range {
            if !visit(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), String> {
        self.step()?;
        let mut inner = self.inner();
        for change in std::mem::take(&mut inner.waiting) {
            carry_out(&mut inner.durable, change);
        }
        Ok(())
    }

    fn size_on_disk(&self) -> Result<u64, String> {
        Ok(self.inner().live.values().map(|value| value.len() as u64).sum())
    }
}
