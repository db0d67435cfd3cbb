//! How much memory the process takes: looked at while the engine runs, told to the shards, asked before a fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_rt::ArbiterHandle;

use super::{Engine, EngineError};
use crate::shard::room::{Level, Room};
use crate::telemetry::Metric;

/// How often it looks: new users take some hundred megabytes a second at most, and a look some microseconds.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often where there is no limit, for the figure alone.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Bytes that a refit takes for a user beside its factor, and for a pair of a user and an item: lists, both ways round.
const USER_BYTES: u64 = 96;
const PAIR_BYTES: u64 = 24;

/// What is known of the memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What the shards see.
    pub(super) room: Arc<Room>,
    /// Bytes that a refit under way will take and may not have taken yet.
    promised: AtomicU64,
}

/// Holds bytes for a refit until it has taken them.
pub(super) struct Promise {
    engine: Engine,
    left: u64,
    /// Bytes of the lists of one user.
    of_user: u64,
}

impl Promise {
    /// The lists of so many users have been taken: they are held now, and no longer to come.
    pub(super) fn taken(&mut self, users: usize) {
        let bytes = self.left.min(self.of_user.saturating_mul(users as u64));
        self.left -= bytes;
        self.engine.inner.memory.promised.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.engine.inner.memory.promised.fetch_sub(self.left, Ordering::Relaxed);
    }
}

impl Engine {
    /// Whether there is room for something small that makes new things known.
    ///
    /// # Errors
    /// [`EngineError::Memory`].
    pub(super) fn needs_memory(&self, what: &'static str) -> Result<(), EngineError> {
        if self.inner.memory.room.level() == Level::Free {
            return Ok(());
        }
        let (held, limit) = (resident_bytes().unwrap_or(0), self.options().memory_limit_bytes);
        // Less than a MiB, rounded up.
        Err(EngineError::Memory { what, held_mib: held >> 20, more_mib: 1, limit_mib: limit >> 20 })
    }

    /// Sets aside what a refit of what is kept of so many users will take.
    ///
    /// # Errors
    /// [`EngineError::Memory`] if that would leave no room for users and items.
    pub(super) async fn promise_refit(&self, users: u64, dim: usize) -> Result<Promise, EngineError> {
        let items = Metric::Items.over((0..self.shards()).map(|shard| self.metrics(shard).get(Metric::Items)));
        let events = self.events().await?;
        let pairs = events.min(users.saturating_mul(self.options().state.history_max as u64));
        let lists = users * USER_BYTES + pairs * PAIR_BYTES;
        let more = (users + 2 * items) * dim as u64 * 4 + lists;
        let (bytes, limit) = (resident_bytes().unwrap_or(0), self.options().memory_limit_bytes);
        if !Level::fits(bytes, more, limit) {
            let [held_mib, more_mib, limit_mib] = [bytes, more, limit].map(|bytes| bytes >> 20);
            return Err(EngineError::Memory { what: "refit", held_mib, more_mib, limit_mib });
        }
        self.inner.memory.promised.fetch_add(more, Ordering::Relaxed);
        Ok(Promise { engine: self.clone(), left: more, of_user: lists / users.max(1) })
    }
}

/// Looks until the engine stops. Without a limit it only tells the figure, once a second.
pub(super) fn watch(engine: &Engine, on: &ArbiterHandle) {
    let (engine, limit) = (engine.clone(), engine.options().memory_limit_bytes);
    engine.metrics(0).set(Metric::MemoryLimitBytes, limit);
    on.spawn(async move {
        let mut level = Level::Free;
        while !engine.is_stopping() {
            // Where the system does not tell there is nothing to go by.
            let Some(bytes) = resident_bytes() else { return };
            let next = level.next(bytes, engine.inner.memory.promised.load(Ordering::Relaxed), limit);
            if next != level {
                tell(next, bytes >> 20, limit >> 20);
                level = next;
                engine.inner.memory.room.set(level);
            }
            let metrics = engine.metrics(0);
            metrics.set(Metric::MemoryBytes, bytes);
            metrics.set(Metric::MemoryLevel, level as u64);
            actix_rt::time::sleep(if limit == 0 { TELL_EVERY } else { LOOK_EVERY }).await;
        }
    });
}

fn tell(level: Level, held_mib: u64, limit_mib: u64) {
    match level {
        Level::Free => tracing::info!(held_mib, limit_mib, "memory: new users and items are taken again"),
        Level::Full => {
            tracing::warn!(held_mib, limit_mib, "memory: new users and items are refused (memory.limit_bytes)");
        }
        Level::Over => tracing::error!(held_mib, limit_mib, "memory: nothing more is learned (memory.limit_bytes)"),
    }
}

/// Bytes of memory that the process holds.
fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_holds_what_it_has_written_to() {
        let before = resident_bytes().unwrap();
        let held = vec![1_u8; 64 << 20];
        let after = resident_bytes().unwrap();
        assert!(after >= before + (48 << 20), "{before} {after}, {}", held.len());
    }
}
