//! How much room the disk has: looked at while the engine runs, told to the shards, asked before a snapshot or a refit.
//!
//! A write that the system refuses for want of room ends a journal for good, as any failed write does: what is on the device
//! then is not known. So nothing is written any more while there is still room for what is under way.

use std::path::Path;
use std::time::Duration;

use actix_rt::ArbiterHandle;

use super::{Engine, EngineError};
use crate::telemetry::Metric;

/// How often it looks: journals take some hundred megabytes a second at most, and a look some microseconds.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often where nothing is to stay free, for the figure alone.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Most that must be free above what is to stay, before writes are taken again.
const MORE_MAX: u64 = 64 << 20;

/// Whether a disk is full, that was or was not: below what is to stay free, and until some more is free.
fn is_full(was: bool, free: u64, min: u64) -> bool {
    free < min.saturating_add(if was { (min / 4).min(MORE_MAX) } else { 0 })
}

/// Looks until the engine stops.
pub(super) fn watch(engine: &Engine, on: &ArbiterHandle) {
    let engine = engine.clone();
    on.spawn(async move {
        let (min, room) = (engine.options().disk_free_min_bytes, &engine.inner.memory.room);
        let mut full = false;
        while !engine.is_stopping() {
            // Where the system does not tell there is nothing to go by.
            let Some(free) = free_bytes(&engine.options().data_dir) else { return };
            let next = is_full(full, free, min);
            if next != full {
                tell(next, free >> 20, min >> 20);
                full = next;
                room.set_disk_full(full);
            }
            engine.metrics(0).set(Metric::DiskFreeBytes, free);
            engine.metrics(0).set(Metric::DiskFull, u64::from(full));
            actix_rt::time::sleep(if min == 0 { TELL_EVERY } else { LOOK_EVERY }).await;
        }
    });
}

fn tell(full: bool, free_mib: u64, min_mib: u64) {
    if full {
        tracing::error!(free_mib, min_mib, "disk: writes are refused (disk.free_min_bytes)");
    } else {
        tracing::info!(free_mib, min_mib, "disk: writes are taken again");
    }
}

impl Engine {
    /// Whether there is room on the disk to begin something large.
    ///
    /// # Errors
    /// [`EngineError::DiskFull`].
    pub(super) fn needs_disk(&self, what: &'static str) -> Result<(), EngineError> {
        if !self.inner.memory.room.is_disk_full() {
            return Ok(());
        }
        let free = free_bytes(&self.options().data_dir).unwrap_or(0);
        let [free_mib, min_mib] = [free, self.options().disk_free_min_bytes].map(|bytes| bytes >> 20);
        Err(EngineError::DiskFull { what, free_mib, min_mib })
    }
}

/// Bytes that the system lets this process still write there.
fn free_bytes(dir: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(dir).ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_until_some_more_is_free() {
        let mut full = false;
        let mut after = |free| {
            full = is_full(full, free, 100);
            full
        };
        assert_eq!([101, 100, 99, 100, 124, 125, 100].map(&mut after), [false, false, true, true, true, false, false]);
        let min = 10 << 30;
        assert!(is_full(true, min + MORE_MAX - 1, min) && !is_full(true, min + MORE_MAX, min));
        assert!(!is_full(false, 0, 0) && !is_full(true, 0, 0), "nothing is to stay free");
    }

    #[test]
    fn the_system_tells_how_much_is_free() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_bytes(dir.path()).is_some_and(|free| free > 0));
        assert_eq!(free_bytes(&dir.path().join("nowhere")), None);
    }
}
