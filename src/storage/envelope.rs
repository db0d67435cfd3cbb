//! The envelope of every small file: it says what the file is, which version, how long, and that the bytes are whole.
//!
//! ```text
//! offset  size  field
//!      0     8  magic, says what the file is
//!      8     2  version  u16
//!     10     4  length   u32, bytes of the body
//!     14     4  crc32c   u32, over bytes 0..14 and the body
//!     18   ...  body
//! ```
//! The file ends where the body ends. Bodies of meta and manifest are bincode (fixed-size little-endian integers,
//! `u64` lengths), decoded with a limit so that a damaged length cannot decide how much is allocated.

use std::path::Path;

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};

use super::disk::Disk;
use super::error::StorageError;
use super::files::{read_bounded, write_parts_atomically};
use crate::base::{Reader, Writer};

/// Bytes before the body.
pub const ENVELOPE_BYTES: usize = 18;

/// Longest bincode body, in bytes: a manifest of 256 shards has about 10 KiB.
pub const CONTROL_BYTES_MAX: usize = 1 << 20;

const CRC_AT: usize = 14;

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The first eight bytes.
    pub magic: [u8; 8],
    /// The version that is written, and the newest that is read.
    pub version: u16,
    /// Longest body, in bytes.
    pub body_bytes_max: u64,
}

/// Writes a file whose body lies in several pieces, atomically and durably.
///
/// # Errors
/// [`StorageError::TooLarge`], [`StorageError::Io`].
pub fn write_file(disk: &dyn Disk, path: &Path, kind: Kind, body: &[&[u8]]) -> Result<(), StorageError> {
    let head = head(path, kind, body)?;
    let mut parts = Vec::with_capacity(body.len() + 1);
    parts.push(&head[..]);
    parts.extend_from_slice(body);
    write_parts_atomically(disk, path, &parts)
}

/// Reads a file and checks everything; gives its version and body.
///
/// # Errors
/// [`StorageError::Io`], [`StorageError::TooLarge`], [`StorageError::Damaged`], [`StorageError::UnsupportedVersion`].
pub fn read_file(disk: &dyn Disk, path: &Path, kind: Kind) -> Result<(u16, Vec<u8>), StorageError> {
    let mut bytes = Vec::new();
    read_bounded(disk, path, "file", kind.body_bytes_max.saturating_add(ENVELOPE_BYTES as u64), &mut bytes)?;
    let version = open(path, kind, &bytes)?;
    bytes.drain(..ENVELOPE_BYTES);
    Ok((version, bytes))
}

/// Encodes `value` with bincode and writes it as the body of a file.
///
/// # Errors
/// As [`write_file`].
pub fn write_control<T: bincode::Encode>(
    disk: &dyn Disk,
    path: &Path,
    kind: Kind,
    value: &T,
) -> Result<(), StorageError> {
    write_file(disk, path, kind, &[&control_body(path, value)?])
}

/// The bytes that [`write_control`] makes a file of; `path` is for the message.
///
/// # Errors
/// As [`write_file`], but for those of the disk.
pub(crate) fn control_bytes<T: bincode::Encode>(path: &Path, kind: Kind, value: &T) -> Result<Vec<u8>, StorageError> {
    file_bytes(path, kind, &control_body(path, value)?)
}

/// What [`control_bytes`] were made of.
///
/// # Errors
/// As [`read_file`], but for those of the disk.
pub(crate) fn control_value<T: bincode::Decode<()>>(path: &Path, kind: Kind, bytes: &[u8]) -> Result<T, StorageError> {
    control_from(path, file_body(path, kind, bytes)?.1)
}

/// The bytes that [`write_file`] makes a file of.
///
/// # Errors
/// [`StorageError::TooLarge`].
pub(crate) fn file_bytes(path: &Path, kind: Kind, body: &[u8]) -> Result<Vec<u8>, StorageError> {
    let mut bytes = head(path, kind, &[body])?;
    bytes.extend_from_slice(body);
    Ok(bytes)
}

/// Version and body of [`file_bytes`].
///
/// # Errors
/// As [`read_file`], but for those of the disk.
pub(crate) fn file_body<'a>(path: &Path, kind: Kind, bytes: &'a [u8]) -> Result<(u16, &'a [u8]), StorageError> {
    Ok((open(path, kind, bytes)?, &bytes[ENVELOPE_BYTES..]))
}

/// Reads a file that [`write_control`] wrote: for kinds of which there is one version.
///
/// # Errors
/// As [`read_file`].
pub fn read_control<T: bincode::Decode<()>>(disk: &dyn Disk, path: &Path, kind: Kind) -> Result<T, StorageError> {
    let (_version, body) = read_file(disk, path, kind)?;
    control_from(path, &body)
}

/// The body of a file whose value is `value`; `path` is for the message.
pub(crate) fn control_body<T: bincode::Encode>(path: &Path, value: &T) -> Result<Vec<u8>, StorageError> {
    let cannot = |error| StorageError::damaged(path, 0, format!("cannot be encoded: {error}"));
    bincode::encode_to_vec(value, bincode_config()).map_err(cannot)
}

/// What [`control_body`] was made of.
pub(crate) fn control_from<T: bincode::Decode<()>>(path: &Path, body: &[u8]) -> Result<T, StorageError> {
    let damaged = |offset: usize, reason: String| StorageError::damaged(path, ENVELOPE_BYTES + offset, reason);
    let (value, used) = bincode::decode_from_slice::<T, _>(body, bincode_config())
        .map_err(|error| damaged(0, format!("cannot be decoded: {error}")))?;
    if used != body.len() {
        return Err(damaged(used, format!("{} bytes left over", body.len() - used)));
    }
    Ok(value)
}

/// Checks a file of [`write_file`] as its bytes come, piece by piece: for those that are too long to be held.
#[derive(Debug)]
pub(crate) struct Running {
    kind: Kind,
    head: Vec<u8>,
    crc: u32,
    body: u64,
}

impl Running {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, head: Vec::new(), crc: 0, body: 0 }
    }

    /// Takes the next bytes.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        let missing = ENVELOPE_BYTES - self.head.len();
        if missing > 0 {
            let (of_head, rest) = bytes.split_at(missing.min(bytes.len()));
            self.head.extend_from_slice(of_head);
            if self.head.len() < ENVELOPE_BYTES {
                return;
            }
            (self.crc, bytes) = (crc32c::crc32c(&self.head[..CRC_AT]), rest);
        }
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.body += bytes.len() as u64;
    }

    /// Whether everything that came is a whole file; gives its version.
    ///
    /// # Errors
    /// As [`read_file`], but for those of the disk.
    pub(crate) fn finish(&self, path: &Path) -> Result<u16, StorageError> {
        checked(path, self.kind, &self.head, self.body, || self.crc)
    }
}

fn bincode_config() -> Configuration<LittleEndian, Fixint, Limit<CONTROL_BYTES_MAX>> {
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<CONTROL_BYTES_MAX>()
}

fn head(path: &Path, kind: Kind, body: &[&[u8]]) -> Result<Vec<u8>, StorageError> {
    let bytes: u64 = body.iter().map(|part| part.len() as u64).sum();
    let max = kind.body_bytes_max.min(u64::from(u32::MAX));
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= max);
    let Some(length) = length else {
        return Err(StorageError::TooLarge { what: "file body", path: path.to_path_buf(), bytes, max });
    };
    let mut head = Vec::with_capacity(ENVELOPE_BYTES);
    Writer::new(&mut head).bytes(&kind.magic).u16(kind.version).u32(length);
    let crc = body.iter().fold(crc32c::crc32c(&head), |crc, part| crc32c::crc32c_append(crc, part));
    Writer::new(&mut head).u32(crc);
    Ok(head)
}

/// Checks the envelope around `bytes[ENVELOPE_BYTES..]` and gives the version.
fn open(path: &Path, kind: Kind, bytes: &[u8]) -> Result<u16, StorageError> {
    let (head, body) = bytes.split_at(ENVELOPE_BYTES.min(bytes.len()));
    checked(path, kind, head, body.len() as u64, || crc32c::crc32c_append(crc32c::crc32c(&head[..CRC_AT]), body))
}

/// The same, for a body of `body_bytes` whose checksum, begun with the head's, is `crc`.
fn checked(
    path: &Path,
    kind: Kind,
    head: &[u8],
    body_bytes: u64,
    crc: impl FnOnce() -> u32,
) -> Result<u16, StorageError> {
    let short = |error| StorageError::damaged(path, 0, format!("{error}"));
    let mut reader = Reader::new(head);
    if reader.bytes(kind.magic.len()).map_err(short)? != kind.magic {
        let name = String::from_utf8_lossy(&kind.magic).into_owned();
        return Err(StorageError::damaged(path, 0, format!("does not start with {name}")));
    }
    let version = reader.u16().map_err(short)?;
    let length = reader.u32().map_err(short)?;
    let stored = reader.u32().map_err(short)?;
    if u64::from(length) != body_bytes {
        return Err(StorageError::damaged(path, 10, format!("body of {length} bytes said, {body_bytes} there")));
    }
    let crc = crc();
    if crc != stored {
        return Err(StorageError::damaged(path, CRC_AT, format!("checksum {stored:08x} said, {crc:08x} computed")));
    }
    // After the checksum: a flipped bit in the version is damage, not a newer program.
    if version == 0 || version > kind.version {
        return Err(StorageError::UnsupportedVersion {
            path: path.to_path_buf(),
            found: version,
            newest: kind.version,
        });
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::OsDisk;

    const KIND: Kind = Kind { magic: *b"MIRRATS1", version: 2, body_bytes_max: 64 };

    #[test]
    fn every_flip_cut_and_extension_is_detected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_file(&OsDisk, &path, KIND, &[b"hello ", b"", b"world"]).unwrap();
        assert_eq!(read_file(&OsDisk, &path, KIND).unwrap(), (2, b"hello world".to_vec()));
        let good = std::fs::read(&path).unwrap();
        let refused = |bytes: &[u8]| matches!(open(&path, KIND, bytes), Err(StorageError::Damaged { .. }));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&bad), "bit {bit}");
        }
        for cut in 0..good.len() {
            assert!(refused(&good[..cut]), "cut at {cut}");
        }
        assert!(refused(&[&good[..], b"x"].concat()));
        assert!(refused(&[0; 64]));
    }

    #[test]
    fn newer_versions_and_long_bodies_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_file(&OsDisk, &path, Kind { version: 3, ..KIND }, &[b"x"]).unwrap();
        assert!(matches!(
            read_file(&OsDisk, &path, KIND),
            Err(StorageError::UnsupportedVersion { found: 3, newest: 2, .. })
        ));
        assert!(matches!(
            write_file(&OsDisk, &path, KIND, &[&[0; 65]]),
            Err(StorageError::TooLarge { bytes: 65, max: 64, .. })
        ));
        std::fs::write(&path, [0; 1_000]).unwrap();
        assert!(matches!(read_file(&OsDisk, &path, KIND), Err(StorageError::TooLarge { .. })));
    }

    #[test]
    fn a_hostile_length_inside_the_body_allocates_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        for length in [u64::MAX, 1 << 34, 1 << 21] {
            write_file(&OsDisk, &path, KIND, &[&length.to_le_bytes()]).unwrap();
            assert!(
                matches!(read_control::<Vec<u64>>(&OsDisk, &path, KIND), Err(StorageError::Damaged { .. })),
                "{length}"
            );
        }
        write_file(&OsDisk, &path, KIND, &[&0_u64.to_le_bytes(), b"?"]).unwrap();
        assert!(matches!(
            read_control::<Vec<u64>>(&OsDisk, &path, KIND),
            Err(StorageError::Damaged { offset: 26, .. })
        ));
    }
}
