//! The manifest of a generation: which chunks belong to it, at which sequences, with which checksums.
//!
//! An [`envelope`] with magic `MIRRAMF1` around the bincode of [`Manifest`]: integers
//! little-endian in the order of declaration, texts and lists with a `u64` length.

use std::path::{Path, PathBuf};

use crate::storage::disk::Disk;
use crate::storage::envelope::{self, CONTROL_BYTES_MAX, ENVELOPE_BYTES, Kind};
use crate::storage::error::StorageError;

pub(crate) const MANIFEST: Kind = Kind { magic: *b"MIRRAMF1", version: 1, body_bytes_max: CONTROL_BYTES_MAX as u64 };

/// How a manifest's name begins and ends; ten digits between.
pub(crate) const NAME: (&str, &str) = ("generation-", ".mmf");

/// One complete snapshot of all shards.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Manifest {
    /// Its number, ascending.
    pub generation: u64,
    /// When it was begun, in milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    /// The cluster that it belongs to.
    pub cluster_id: u64,
    /// What the layout of the state depends on; the caller compares it.
    pub fingerprint: String,
    /// Its shards.
    pub shards: Vec<ShardManifest>,
    /// The epoch of the item model that the state refers to.
    pub epoch: u32,
}

/// One shard of a generation.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ShardManifest {
    /// The shard.
    pub shard: u16,
    /// The state has learned every sequence below this: replay starts here.
    pub sequence: u64,
    /// Chunks, with indices from 0.
    pub chunks: u32,
    /// Bytes of all chunks.
    pub bytes: u64,
    /// The caller's digest of the state.
    pub digest: u64,
    /// crc32c over the checksums of the chunks in order.
    pub chunks_crc: u32,
}

impl Manifest {
    /// The entry of a shard.
    #[must_use]
    pub fn shard(&self, shard: u16) -> Option<&ShardManifest> {
        self.shards.iter().find(|entry| entry.shard == shard)
    }

    /// Bytes of all chunks of all shards.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|entry| entry.bytes).fold(0, u64::saturating_add)
    }
}

/// The file of a generation's manifest.
pub(crate) fn manifest_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("{}{generation:010}{}", NAME.0, NAME.1))
}

/// Writes a manifest, atomically and durably.
pub(crate) fn write_manifest(disk: &dyn Disk, dir: &Path, manifest: &Manifest) -> Result<(), StorageError> {
    envelope::write_control(disk, &manifest_path(dir, manifest.generation), MANIFEST, manifest)
}

/// Reads the manifest of `generation`, which must be of this cluster.
pub(crate) fn read_manifest(
    disk: &dyn Disk,
    dir: &Path,
    generation: u64,
    cluster_id: u64,
) -> Result<Manifest, StorageError> {
    let path = manifest_path(dir, generation);
    let manifest: Manifest = envelope::read_control(disk, &path, MANIFEST)?;
    if manifest.generation != generation {
        let reason = format!("the file is of generation {}, its name says {generation}", manifest.generation);
        return Err(StorageError::damaged(&path, ENVELOPE_BYTES, reason));
    }
    if manifest.cluster_id != cluster_id {
        return Err(StorageError::WrongCluster { path, found: manifest.cluster_id, expected: cluster_id });
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::OsDisk;

    fn sample() -> Manifest {
        let shard = |shard: u16| ShardManifest {
            shard,
            sequence: 1_000 + u64::from(shard),
            chunks: 3,
            bytes: 70_000,
            digest: 0xFEED_F00D,
            chunks_crc: 0xDEAD_BEEF,
        };
        let shards = vec![shard(0), shard(1)];
        let fingerprint = "dim=64".to_owned();
        Manifest { generation: 7, created_ms: 1_700_000_000_000, cluster_id: 42, fingerprint, shards, epoch: 9 }
    }

    #[test]
    fn golden_manifest() {
        let dir = tempfile::tempdir().unwrap();
        write_manifest(&OsDisk, dir.path(), &sample()).unwrap();
        let path = manifest_path(dir.path(), 7);
        let golden = crate::storage::fixture::golden("manifest.mmf", &std::fs::read(&path).unwrap());
        std::fs::write(&path, golden).unwrap();
        assert_eq!(read_manifest(&OsDisk, dir.path(), 7, 42).unwrap(), sample());
    }

    #[test]
    fn misplaced_and_foreign_manifests_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        write_manifest(&OsDisk, dir.path(), &sample()).unwrap();
        assert!(matches!(read_manifest(&OsDisk, dir.path(), 7, 43), Err(StorageError::WrongCluster { found: 42, .. })));
        std::fs::rename(manifest_path(dir.path(), 7), manifest_path(dir.path(), 8)).unwrap();
        assert!(matches!(read_manifest(&OsDisk, dir.path(), 8, 42), Err(StorageError::Damaged { .. })));
    }
}
