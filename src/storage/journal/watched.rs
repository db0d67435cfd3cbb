//! The journal of tests on a watched disk.

use std::path::Path;
use std::sync::Arc;

use super::JournalPlace;
use super::testing::place;
use crate::storage::disk::Lock;
use crate::storage::{Disk, DiskFile, OsDisk};

#[path = "../../../tests/sim/watched.rs"]
mod disk;

pub(super) use disk::{Call, Watch, WatchedDisk};

/// The journal of the tests in `dir`, on a watched disk.
pub(super) fn watched_place<W: Watch + 'static>(watch: &Arc<W>, dir: &Path) -> JournalPlace {
    JournalPlace { disk: Arc::new(WatchedDisk(Arc::clone(watch))), ..place(dir) }
}
