//! A chunk in the store, and the totals of a generation that is being written.
//!
//! ```text
//! key    generation u64 | shard u16 | index u32      big-endian, so that chunks of a shard lie in order
//! value  crc32c u32, little-endian, over key and bytes | the caller's bytes
//! ```
//! The key is part of the checksum: a value under another key is found out.

use std::collections::BTreeMap;
use std::path::Path;

use super::manifest::ShardManifest;
use crate::base::Reader;
use crate::storage::error::StorageError;

/// Longest chunk, in bytes. Callers should keep to 16-64 KiB: above a quarter of sled's segment (2 MiB) sled would
/// write values to files of their own.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 14;

/// Bytes of a chunk's checksum, before its bytes.
pub(crate) const CRC_BYTES: usize = 4;

/// Counts and checksums of the chunks put so far; [`SnapshotStore::begin`](super::SnapshotStore::begin) makes it.
#[derive(Debug)]
pub struct GenerationWriter {
    generation: u64,
    totals: BTreeMap<u16, Totals>,
}

/// The running totals of one shard's chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) chunks: u32,
    pub(crate) bytes: u64,
    pub(crate) chunks_crc: u32,
}

impl GenerationWriter {
    pub(crate) fn new(generation: u64) -> Self {
        Self { generation, totals: BTreeMap::new() }
    }

    /// The generation that is being written.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Chunks and bytes put so far, of all shards.
    #[must_use]
    pub fn written(&self) -> (u64, u64) {
        self.totals
            .values()
            .fold((0, 0), |(chunks, bytes), shard| (chunks + u64::from(shard.chunks), bytes + shard.bytes))
    }

    /// The manifest's entry for a shard, with the counts and checksums of what was put; `sequence` and `digest` are
    /// the caller's.
    #[must_use]
    pub fn shard_manifest(&self, shard: u16, sequence: u64, digest: u64) -> ShardManifest {
        let Totals { chunks, bytes, chunks_crc } = self.totals(shard);
        ShardManifest { shard, sequence, chunks, bytes, digest, chunks_crc }
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = u16> + '_ {
        self.totals.keys().copied()
    }

    pub(crate) fn totals(&self, shard: u16) -> Totals {
        self.totals.get(&shard).copied().unwrap_or_default()
    }

    pub(crate) fn count(&mut self, shard: u16, bytes: usize, crc: u32) {
        self.totals.entry(shard).or_default().count(bytes, crc);
    }
}

impl Totals {
    pub(crate) fn count(&mut self, bytes: usize, crc: u32) {
        self.chunks += 1;
        self.bytes += bytes as u64;
        self.chunks_crc = crc32c::crc32c_append(self.chunks_crc, &crc.to_le_bytes());
    }

    pub(crate) fn of(entry: &ShardManifest) -> Self {
        Self { chunks: entry.chunks, bytes: entry.bytes, chunks_crc: entry.chunks_crc }
    }
}

/// The key of a chunk. Big-endian by shifts: sled orders keys as bytes, and the house forbids `to_be_bytes` elsewhere.
pub(crate) fn key(generation: u64, shard: u16, index: u32) -> [u8; KEY_BYTES] {
    let number = (u128::from(generation) << 48) | (u128::from(shard) << 32) | u128::from(index);
    std::array::from_fn(|at| (number >> (8 * (KEY_BYTES - 1 - at))) as u8)
}

/// What [`key`] was made of; `None` for a key that is not ours.
pub(crate) fn split_key(key: &[u8]) -> Option<(u64, u16, u32)> {
    let key: &[u8; KEY_BYTES] = key.try_into().ok()?;
    let number = key.iter().fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
    Some(((number >> 48) as u64, (number >> 32) as u16, number as u32))
}

/// The value of a chunk, and its checksum.
pub(crate) fn encode_value(key: &[u8; KEY_BYTES], bytes: &[u8]) -> (Vec<u8>, u32) {
    let crc = checksum(key, bytes);
    let mut value = Vec::with_capacity(CRC_BYTES + bytes.len());
    value.extend_from_slice(&crc.to_le_bytes());
    value.extend_from_slice(bytes);
    (value, crc)
}

/// The caller's bytes of a value and their checksum, if it is right.
pub(crate) fn decode_value<'a>(
    dir: &Path,
    key: &[u8; KEY_BYTES],
    value: &'a [u8],
) -> Result<(&'a [u8], u32), StorageError> {
    let damaged = |reason: String| {
        let (generation, shard, index) = split_key(key).unwrap_or_default();
        StorageError::ChunkDamaged { path: dir.to_path_buf(), generation, shard, index, reason }
    };
    let mut reader = Reader::new(value);
    let stored = reader.u32().map_err(|error| damaged(error.to_string()))?;
    let bytes = &value[CRC_BYTES..];
    let crc = checksum(key, bytes);
    if stored != crc {
        let reason = format!("checksum {stored:08x} said, {crc:08x} computed over {} bytes", bytes.len());
        return Err(damaged(reason));
    }
    Ok((bytes, crc))
}

pub(crate) fn checksum(key: &[u8; KEY_BYTES], bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_parts_and_split_again() {
        let mut rng = crate::base::Rng::new(3);
        let mut parts: Vec<(u64, u16, u32)> =
            (0..500).map(|_| (rng.bits() >> rng.below(64), rng.bits() as u16, rng.bits() as u32)).collect();
        parts.extend([(0, 0, 0), (u64::MAX, u16::MAX, u32::MAX), (1, 0, u32::MAX), (0, u16::MAX, 0)]);
        parts.sort_unstable();
        let keys: Vec<_> = parts.iter().map(|(generation, shard, index)| key(*generation, *shard, *index)).collect();
        assert!(keys.is_sorted());
        assert!(keys.iter().zip(&parts).all(|(key, parts)| split_key(key) == Some(*parts)));
        assert_eq!(key(0x0102_0304_0506_0708, 0x090A, 0x0B0C_0D0E), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
        assert_eq!([split_key(&[]), split_key(&[0; 15])], [None; 2]);
    }

    #[test]
    fn golden_chunk() {
        let key = key(7, 1, 2);
        let golden = crate::storage::fixture::golden("chunk.value", &encode_value(&key, b"page of a shard").0);
        assert_eq!(decode_value(Path::new("x"), &key, &golden).unwrap().0, b"page of a shard");
    }

    #[test]
    fn every_flip_cut_and_other_key_is_detected() {
        let key_a = key(1, 2, 3);
        let (value, crc) = encode_value(&key_a, b"some bytes");
        assert_eq!(decode_value(Path::new("x"), &key_a, &value).unwrap(), (&b"some bytes"[..], crc));
        for bit in 0..value.len() * 8 {
            let mut bad = value.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_value(Path::new("x"), &key_a, &bad).is_err(), "bit {bit}");
        }
        for cut in 0..value.len() {
            assert!(decode_value(Path::new("x"), &key_a, &value[..cut]).is_err(), "cut at {cut}");
        }
        for other in [key(1, 2, 4), key(1, 3, 3), key(2, 2, 3)] {
            assert!(decode_value(Path::new("x"), &other, &value).is_err());
        }
    }
}
