//! The bytes of an archive, version 1: a header, sections behind each other, of which the last is the footer.
//!
//! ```text
//! header, 30 bytes
//!      0     8  magic MIRRAAR1
//!      8     2  version     u16
//!     10     8  cluster id  u64
//!     18     8  generation  u64
//!     26     4  masked crc32c of bytes 0..26
//! section
//!      0     1  kind        u8
//!      1     4  length      u32, bytes of the payload
//!      5     4  masked crc32c over cluster id, generation, index of the section u64, kind, length and payload
//!      9   ...  payload
//! ```

use std::path::Path;

use super::Part;
use crate::base::{CursorError, Reader, Writer};
use crate::storage::data_dir::{META, Meta, SCHEMA};
use crate::storage::envelope::{self, CONTROL_BYTES_MAX, ENVELOPE_BYTES};
use crate::storage::error::StorageError;
use crate::storage::journal::format::mask;
use crate::storage::snapshot::Manifest;
use crate::storage::snapshot::chunk::CHUNK_BYTES_MAX;
use crate::storage::snapshot::manifest::MANIFEST;

/// The first bytes of an archive.
pub const MAGIC: [u8; 8] = *b"MIRRAAR1";

/// The version that is written, and the newest that is read.
pub const FORMAT_VERSION: u16 = 1;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 30;

/// Bytes of a section before its payload.
pub const SECTION_HEAD_BYTES: usize = 9;

/// Kinds of sections, in the order in which they come.
pub(crate) mod kind {
    pub(crate) const META: u8 = 1;
    pub(crate) const SCHEMA: u8 = 2;
    pub(crate) const MANIFEST: u8 = 3;
    pub(crate) const CHUNK: u8 = 4;
    pub(crate) const EPOCH: u8 = 5;
    pub(crate) const SEGMENT: u8 = 6;
    pub(crate) const FOOTER: u8 = 7;
}

/// What an archive is of: stands in its header and in every checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) version: u16,
    pub(crate) cluster_id: u64,
    pub(crate) generation: u64,
}

/// The last section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footer {
    /// Sections before it.
    pub(crate) sections: u64,
    pub(crate) chunks: u64,
    pub(crate) epochs: u64,
    pub(crate) segments: u64,
    /// Bytes of all payloads before it.
    pub(crate) bytes: u64,
    /// crc32c over the checksum fields of the header and of every section, 4 bytes each.
    pub(crate) crc: u32,
}

/// Longest payload of a kind of section; `None` if there is no such kind.
pub(crate) fn payload_bytes_max(kind: u8) -> Option<usize> {
    Some(match kind {
        kind::META => META.body_bytes_max as usize + ENVELOPE_BYTES,
        kind::SCHEMA => SCHEMA.body_bytes_max as usize + ENVELOPE_BYTES,
        kind::MANIFEST => CONTROL_BYTES_MAX + ENVELOPE_BYTES,
        kind::CHUNK => 6 + CHUNK_BYTES_MAX,
        kind::EPOCH => 12 + CHUNK_BYTES_MAX,
        kind::SEGMENT => 18 + CHUNK_BYTES_MAX,
        kind::FOOTER => 44,
        _ => return None,
    })
}

/// What a section is called in a message.
pub(crate) fn name(kind: u8) -> &'static str {
    match kind {
        kind::META => "meta",
        kind::SCHEMA => "schema",
        kind::MANIFEST => "manifest",
        kind::CHUNK => "chunk",
        kind::EPOCH => "item model",
        kind::SEGMENT => "journal segment",
        kind::FOOTER => "footer",
        _ => "unknown",
    }
}

/// The header's bytes, and the checksum in it.
pub(crate) fn encode_header(head: Head) -> (Vec<u8>, u32) {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    Writer::new(&mut bytes).bytes(&MAGIC).u16(head.version).u64(head.cluster_id).u64(head.generation);
    let checksum = mask(crc32c::crc32c(&bytes));
    Writer::new(&mut bytes).u32(checksum);
    (bytes, checksum)
}

/// What a header says, and the checksum in it.
///
/// # Errors
/// [`StorageError::Damaged`]; [`StorageError::UnsupportedVersion`], if everything else is right.
pub(crate) fn decode_header(path: &Path, bytes: &[u8]) -> Result<(Head, u32), StorageError> {
    let damaged = |offset: usize, reason: String| StorageError::damaged(path, offset, reason);
    let short = |error: CursorError| damaged(0, format!("no whole header of an archive: {error}"));
    let mut from = Reader::new(bytes);
    if from.bytes(MAGIC.len()).map_err(short)? != MAGIC {
        return Err(damaged(0, "no archive of a snapshot: it does not start with MIRRAAR1".to_owned()));
    }
    let version = from.u16().map_err(short)?;
    let (cluster_id, generation) = (from.u64().map_err(short)?, from.u64().map_err(short)?);
    let (stored, crc) = (from.u32().map_err(short)?, mask(crc32c::crc32c(&bytes[..HEADER_BYTES - 4])));
    if stored != crc {
        return Err(damaged(26, format!("header with checksum {stored:08x}, {crc:08x} computed")));
    }
    // After the checksum: a flipped bit in the version is damage, not a newer program.
    if version == 0 || version > FORMAT_VERSION {
        let path = path.to_path_buf();
        return Err(StorageError::UnsupportedVersion { path, found: version, newest: FORMAT_VERSION });
    }
    Ok((Head { version, cluster_id, generation }, stored))
}

/// The checksum of a section: holds where it belongs, so that one in another place or of another archive is found out.
pub(crate) fn section_checksum(head: Head, index: u64, kind: u8, payload: &[u8]) -> u32 {
    let mut place = Vec::with_capacity(29);
    Writer::new(&mut place).u64(head.cluster_id).u64(head.generation).u64(index).u8(kind).u32(payload.len() as u32);
    mask(crc32c::crc32c_append(crc32c::crc32c(&place), payload))
}

/// Appends a section to `out`; gives its checksum.
pub(crate) fn encode_section(out: &mut Vec<u8>, head: Head, index: u64, kind: u8, payload: &[u8]) -> u32 {
    let checksum = section_checksum(head, index, kind, payload);
    Writer::new(out).u8(kind).u32(payload.len() as u32).u32(checksum).bytes(payload);
    checksum
}

impl Footer {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(44);
        let mut out = Writer::new(&mut bytes);
        out.u64(self.sections).u64(self.chunks).u64(self.epochs).u64(self.segments).u64(self.bytes).u32(self.crc);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CursorError> {
        let mut from = Reader::new(bytes);
        let (sections, chunks, epochs) = (from.u64()?, from.u64()?, from.u64()?);
        let (segments, bytes, crc) = (from.u64()?, from.u64()?, from.u32()?);
        from.finish()?;
        Ok(Self { sections, chunks, epochs, segments, bytes, crc })
    }
}

/// Puts the payload of a part into `out`, which is cleared first; gives its kind. `path` is for messages.
pub(crate) fn encode_part(path: &Path, part: &Part<'_>, out: &mut Vec<u8>) -> Result<u8, StorageError> {
    out.clear();
    Ok(match *part {
        Part::Meta(meta) => {
            out.append(&mut envelope::file_bytes(path, META, &meta.encode(path)?)?);
            kind::META
        }
        Part::Schema(bytes) => {
            out.append(&mut envelope::file_bytes(path, SCHEMA, bytes)?);
            kind::SCHEMA
        }
        Part::Manifest(manifest) => {
            out.append(&mut envelope::control_bytes(path, MANIFEST, manifest)?);
            kind::MANIFEST
        }
        Part::Chunk { shard, index, bytes } => {
            Writer::new(out).u16(shard).u32(index).bytes(bytes);
            kind::CHUNK
        }
        Part::Epoch { number, offset, bytes } => {
            Writer::new(out).u32(number).u64(offset).bytes(bytes);
            kind::EPOCH
        }
        Part::Segment { shard, number, offset, bytes } => {
            Writer::new(out).u16(shard).u64(number).u64(offset).bytes(bytes);
            kind::SEGMENT
        }
    })
}

/// The payload of a meta or manifest, which stands in an archive as its file does in a directory.
pub(crate) fn decode_meta(path: &Path, payload: &[u8]) -> Result<Meta, StorageError> {
    let (version, body) = envelope::file_body(path, META, payload)?;
    Meta::decode(path, version, body)
}

/// As [`decode_meta`].
pub(crate) fn decode_manifest(path: &Path, payload: &[u8]) -> Result<Manifest, StorageError> {
    envelope::control_value(path, MANIFEST, payload)
}

/// The part that a section holds: one of bytes.
pub(crate) fn decode_bytes<'a>(path: &Path, kind: u8, payload: &'a [u8]) -> Result<Part<'a>, StorageError> {
    let cut = |error: CursorError| StorageError::damaged(path, 0, format!("{error}"));
    let mut from = Reader::new(payload);
    Ok(match kind {
        kind::CHUNK => {
            let (shard, index) = (from.u16().map_err(cut)?, from.u32().map_err(cut)?);
            Part::Chunk { shard, index, bytes: &payload[from.at()..] }
        }
        kind::EPOCH => {
            let (number, offset) = (from.u32().map_err(cut)?, from.u64().map_err(cut)?);
            Part::Epoch { number, offset, bytes: &payload[from.at()..] }
        }
        kind::SEGMENT => {
            let (shard, number, offset) =
                (from.u16().map_err(cut)?, from.u64().map_err(cut)?, from.u64().map_err(cut)?);
            Part::Segment { shard, number, offset, bytes: &payload[from.at()..] }
        }
        _ => Part::Schema(envelope::file_body(path, SCHEMA, payload)?.1),
    })
}
