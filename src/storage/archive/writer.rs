//! Writes an archive beside its place, and puts it there when it is whole and on the device.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Part;
use super::format::{
    FORMAT_VERSION, Footer, Head, encode_header, encode_part, encode_section, kind, payload_bytes_max,
};
use super::order::{Contents, Order};
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::error::StorageError;
use crate::storage::files::{TEMP_SUFFIX, exists, parent, sync_dir};

/// Bytes that are gathered for one write.
const WRITE_BYTES: usize = 256 << 10;

/// An archive that is being written. If it is dropped before [`finish`](Self::finish), nothing is left of it.
#[derive(Debug)]
pub struct ArchiveWriter {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    temp: PathBuf,
    file: Option<Arc<dyn DiskFile>>,
    head: Head,
    order: Order,
    footer: Footer,
    payload: Vec<u8>,
    pending: Vec<u8>,
}

impl ArchiveWriter {
    /// Begins the archive of a generation.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if something has the name already; [`StorageError::Io`].
    pub fn create(disk: Arc<dyn Disk>, path: &Path, cluster_id: u64, generation: u64) -> Result<Self, StorageError> {
        if exists(disk.as_ref(), path)? {
            let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(StorageError::io("write a new archive over", path)(source));
        }
        let mut temp = path.as_os_str().to_owned();
        temp.push(TEMP_SUFFIX);
        let temp = PathBuf::from(temp);
        let file = disk.create(&temp).map_err(StorageError::io("create", &temp))?;
        let head = Head { version: FORMAT_VERSION, cluster_id, generation };
        let (pending, checksum) = encode_header(head);
        let footer = Footer { crc: crc32c::crc32c(&checksum.to_le_bytes()), ..Footer::default() };
        let (path, order) = (path.to_path_buf(), Order::new(head));
        Ok(Self { disk, path, temp, file: Some(file), head, order, footer, payload: Vec::new(), pending })
    }

    /// Writes the next part.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] for one that has no place there; [`StorageError::TooLarge`]; [`StorageError::Io`].
    pub fn put(&mut self, part: &Part<'_>) -> Result<(), StorageError> {
        let misplaced = |reason| StorageError::damaged(&self.path, 0, format!("cannot be written: {reason}"));
        self.order.take(part).map_err(misplaced)?;
        let mut payload = std::mem::take(&mut self.payload);
        let kind = encode_part(&self.path, part, &mut payload)?;
        let (bytes, max) = (payload.len() as u64, payload_bytes_max(kind).unwrap_or(0) as u64);
        if bytes > max {
            return Err(StorageError::TooLarge { what: "section", path: self.path.clone(), bytes, max });
        }
        self.section(kind, &payload)?;
        self.footer.bytes += bytes;
        self.payload = payload;
        Ok(())
    }

    /// Writes the footer, brings everything to the device and gives the archive its name.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if parts are missing; [`StorageError::Io`]. The name is not there then, unless the very
    /// last sync failed.
    pub fn finish(mut self) -> Result<(Contents, u64), StorageError> {
        let missing = |reason| StorageError::damaged(&self.path, 0, format!("cannot be written: {reason}"));
        let Footer { chunks, epochs, segments, .. } = self.order.finish().map_err(missing)?;
        self.footer = Footer { chunks, epochs, segments, ..self.footer };
        let footer = self.footer.encode();
        self.section(kind::FOOTER, &footer)?;
        self.flush()?;
        if let Some(file) = self.file.take() {
            file.sync().map_err(StorageError::io("sync", &self.temp))?;
        }
        let bytes = self.disk.size(&self.temp).map_err(StorageError::io("read the size of", &self.temp))?;
        self.disk.rename(&self.temp, &self.path).map_err(StorageError::io("rename into place", &self.path))?;
        sync_dir(self.disk.as_ref(), parent(&self.path))?;
        Ok((self.order.contents(), bytes))
    }

    fn section(&mut self, kind: u8, payload: &[u8]) -> Result<(), StorageError> {
        let checksum = encode_section(&mut self.pending, self.head, self.footer.sections, kind, payload);
        self.footer.sections += 1;
        self.footer.crc = crc32c::crc32c_append(self.footer.crc, &checksum.to_le_bytes());
        if self.pending.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        if let Some(file) = &self.file {
            file.write(&self.pending).map_err(StorageError::io("write", &self.temp))?;
        }
        self.pending.clear();
        Ok(())
    }
}

impl Drop for ArchiveWriter {
    fn drop(&mut self) {
        // Once it has its name there is nothing under this one.
        let _ = self.disk.remove(&self.temp);
    }
}
