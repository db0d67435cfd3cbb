//! Reads an archive part by part, one in memory at a time, and trusts nothing of it.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::Part;
use super::format::{
    Footer, HEADER_BYTES, Head, SECTION_HEAD_BYTES, decode_bytes, decode_header, decode_manifest, decode_meta, kind,
    name, payload_bytes_max, section_checksum,
};
use super::order::{Contents, Order};
use crate::base::Reader;
use crate::storage::data_dir::Meta;
use crate::storage::disk::Disk;
use crate::storage::error::StorageError;
use crate::storage::snapshot::Manifest;

/// An archive that is being read.
pub struct ArchiveReader {
    path: PathBuf,
    input: BufReader<Box<dyn Read + Send>>,
    /// Bytes of the file that were not read yet, by its size when it was opened.
    left: u64,
    /// Where the next section begins.
    offset: u64,
    head: Head,
    order: Order,
    /// What the footer must say, as far as it came.
    seen: Footer,
    payload: Vec<u8>,
    ended: bool,
}

impl ArchiveReader {
    /// Opens an archive and reads its header.
    ///
    /// # Errors
    /// [`StorageError::Io`], [`StorageError::Damaged`], [`StorageError::UnsupportedVersion`].
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, StorageError> {
        let left = disk.size(path).map_err(StorageError::io("read the size of", path))?;
        let mut input = BufReader::new(disk.open(path).map_err(StorageError::io("read", path))?);
        let mut header = Vec::new();
        take(&mut input, HEADER_BYTES as u64, &mut header).map_err(StorageError::io("read", path))?;
        let (head, checksum) = decode_header(path, &header)?;
        let seen = Footer { crc: crc32c::crc32c(&checksum.to_le_bytes()), ..Footer::default() };
        let (left, offset) = (left.saturating_sub(HEADER_BYTES as u64), HEADER_BYTES as u64);
        let (path, order) = (path.to_path_buf(), Order::new(head));
        Ok(Self { path, input, left, offset, head, order, seen, payload: Vec::new(), ended: false })
    }

    /// The generation that it is of.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.head.generation
    }

    /// The cluster that it is of.
    #[must_use]
    pub fn cluster_id(&self) -> u64 {
        self.head.cluster_id
    }

    /// What its data belong to; `None` before that was read.
    #[must_use]
    pub fn meta(&self) -> Option<&Meta> {
        self.order.meta()
    }

    /// Its manifest; `None` before that was read.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.order.manifest()
    }

    /// What was read so far; all of it, after the last part.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.order.contents()
    }

    /// The next part; `None` behind the footer, when everything was there and right.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] with offset and section, [`StorageError::UnsupportedVersion`], [`StorageError::Io`]:
    /// then nothing of the archive is to be used.
    pub fn next_part(&mut self) -> Result<Option<Part<'_>>, StorageError> {
        if self.ended {
            return Ok(None);
        }
        let (at, index) = (self.offset, self.seen.sections);
        let kind = self.read_section()?;
        if kind == kind::FOOTER {
            self.check_footer(at)?;
            self.ended = true;
            return Ok(None);
        }
        let (path, payload) = (&self.path, &self.payload[..]);
        // Meta and manifest are kept by the order of parts; what is handed out is what it keeps.
        let decoded = match kind {
            kind::META => decode_meta(path, payload).map(|meta| self.order.take(&Part::Meta(&meta))),
            kind::MANIFEST => {
                decode_manifest(path, payload).map(|manifest| self.order.take(&Part::Manifest(&manifest)))
            }
            _ => decode_bytes(path, kind, payload).map(|part| self.order.take(&part)),
        };
        let within = (at, index, kind);
        match decoded {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => return Err(damaged(path, within, &reason)),
            Err(StorageError::Damaged { reason, .. }) => return Err(damaged(path, within, &reason)),
            Err(error) => return Err(error),
        }
        Ok(match kind {
            kind::META => self.order.meta().map(Part::Meta),
            kind::MANIFEST => self.order.manifest().map(Part::Manifest),
            _ => Some(decode_bytes(path, kind, payload)?),
        })
    }

    /// Hands every part to `take_part`, and comes back when the footer was read and everything was right.
    ///
    /// # Errors
    /// As [`next_part`](Self::next_part), or what `take_part` says.
    pub fn each_part<E: From<StorageError>>(
        &mut self,
        mut take_part: impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(part) = self.next_part()? {
            take_part(part)?;
        }
        Ok(())
    }

    /// Reads the next section into `payload` and checks length and checksum; gives its kind.
    fn read_section(&mut self) -> Result<u8, StorageError> {
        let (at, index) = (self.offset, self.seen.sections);
        let mut raw = Vec::with_capacity(SECTION_HEAD_BYTES);
        take(&mut self.input, SECTION_HEAD_BYTES as u64, &mut raw).map_err(StorageError::io("read", &self.path))?;
        let mut from = Reader::new(&raw);
        let (Ok(kind), Ok(length), Ok(stored)) = (from.u8(), from.u32(), from.u32()) else {
            let reason = format!("the archive is cut: {} bytes there, and no footer came", raw.len());
            return Err(damaged(&self.path, (at, index, 0), &reason));
        };
        let within = (at, index, kind);
        let Some(max) = payload_bytes_max(kind) else {
            return Err(damaged(&self.path, within, &format!("there is no kind {kind} of sections")));
        };
        let left = self.left.saturating_sub(SECTION_HEAD_BYTES as u64);
        if length as usize > max {
            return Err(damaged(&self.path, within, &format!("length {length}, limit {max}")));
        }
        if u64::from(length) > left {
            return Err(damaged(
                &self.path,
                within,
                &format!("length {length}, the archive is cut after {left} of them"),
            ));
        }
        self.payload.clear();
        self.payload.reserve_exact(length as usize); // as much is there
        take(&mut self.input, u64::from(length), &mut self.payload).map_err(StorageError::io("read", &self.path))?;
        let computed = section_checksum(self.head, index, kind, &self.payload);
        if self.payload.len() != length as usize || stored != computed {
            let reason = format!("checksum {stored:08x} said, {computed:08x} computed for this place in this archive");
            return Err(damaged(&self.path, within, &reason));
        }
        self.left = left - u64::from(length);
        self.offset += (SECTION_HEAD_BYTES + length as usize) as u64;
        if kind != kind::FOOTER {
            self.seen.sections += 1;
            self.seen.bytes += u64::from(length);
            self.seen.crc = crc32c::crc32c_append(self.seen.crc, &stored.to_le_bytes());
        }
        Ok(kind)
    }

    fn check_footer(&mut self, at: u64) -> Result<(), StorageError> {
        let within = (at, self.seen.sections, kind::FOOTER);
        let found = self.order.finish().map_err(|reason| damaged(&self.path, within, &reason))?;
        let seen = Footer { sections: self.seen.sections, bytes: self.seen.bytes, crc: self.seen.crc, ..found };
        let said = Footer::decode(&self.payload).map_err(|error| damaged(&self.path, within, &error.to_string()))?;
        if said != seen {
            return Err(damaged(&self.path, within, &format!("it says {said:?}, there are {seen:?}")));
        }
        let mut behind = [0];
        let more = self.input.read(&mut behind).map_err(StorageError::io("read", &self.path))?;
        match more + usize::from(self.left > 0) {
            0 => Ok(()),
            _ => Err(damaged(&self.path, within, &format!("{} bytes behind it", self.left.max(1)))),
        }
    }
}

impl std::fmt::Debug for ArchiveReader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, head, offset, .. } = self;
        out.debug_struct("ArchiveReader").field("path", path).field("head", head).field("offset", offset).finish()
    }
}

fn take(input: &mut impl Read, bytes: u64, out: &mut Vec<u8>) -> std::io::Result<()> {
    input.take(bytes).read_to_end(out).map(drop)
}

fn damaged(path: &Path, (at, index, kind): (u64, u64, u8), reason: &str) -> StorageError {
    StorageError::damaged(path, at as usize, format!("section {index} ({}): {reason}", name(kind)))
}
