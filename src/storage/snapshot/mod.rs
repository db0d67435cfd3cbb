//! Snapshots: the state of all shards at known sequences, so that recovery replays only the journal's tail.
//!
//! * [`manifest`]: the file that makes a generation count;
//! * [`chunk`]: keys, checksums and the running totals of a generation that is being written;
//! * [`chunks`]: the store of keys and values that they lie in: sled;
//! * [`store`]: put, commit, verify, read, choose, drop;
//! * [`repair`]: opening sled, and what is done when it will not.
//!
//! *Order of a commit.* Chunks, sled's flush, fsync of every sled file (sled 0.34's flush is not one), then the
//! manifest: temp, fsync, rename, fsync of the directory. A generation without a manifest never happened; one that is
//! dropped loses the manifest first.

pub mod chunk;
pub mod chunks;
pub mod manifest;
pub mod repair;
pub mod store;

pub use chunk::GenerationWriter;
pub use chunks::{ChunkStore, SledChunks};
pub use manifest::{Manifest, ShardManifest};
pub use repair::OpenReport;
pub use store::{Choice, Rejected, SnapshotOptions, SnapshotStore};

#[cfg(test)]
mod store_tests;
