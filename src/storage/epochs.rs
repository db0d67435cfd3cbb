//! Epochs of the item model: one file each, opaque bytes in a checksummed [`envelope`].
//!
//! The body is the epoch's number (`u32`) and then the bytes, so that a file under another's name is found out.
//! An epoch that is listed and reads without error is whole; a crash while writing leaves none.

use std::path::PathBuf;

use super::data_dir::DataDir;
use super::envelope::{self, ENVELOPE_BYTES, Kind};
use super::error::StorageError;
use super::files::{list_numbered, remove_durably};
use crate::base::Reader;

/// Longest epoch, in bytes: a million items of 512 `f32` with room to spare.
pub const EPOCH_BYTES_MAX: u64 = 3 << 30;

pub(crate) const EPOCH: Kind = Kind { magic: *b"MIRRAEP1", version: 1, body_bytes_max: EPOCH_BYTES_MAX };
const PREFIX: &str = "epoch-";
const SUFFIX: &str = ".mep";

impl DataDir {
    /// Writes epoch `number`, atomically and durably; one that is there is replaced.
    ///
    /// # Errors
    /// [`StorageError::TooLarge`], [`StorageError::Io`].
    pub fn put_epoch(&self, number: u32, bytes: &[u8]) -> Result<(), StorageError> {
        envelope::write_file(self.disk(), &self.epoch_path(number), EPOCH, &[&number.to_le_bytes(), bytes])
    }

    /// Reads epoch `number`.
    ///
    /// # Errors
    /// [`StorageError::Io`] if it is not there, [`StorageError::Damaged`], [`StorageError::UnsupportedVersion`].
    pub fn get_epoch(&self, number: u32) -> Result<Vec<u8>, StorageError> {
        let path = self.epoch_path(number);
        let (_version, mut body) = envelope::read_file(self.disk(), &path, EPOCH)?;
        let damaged = |reason: String| StorageError::damaged(&path, ENVELOPE_BYTES, reason);
        let inside = Reader::new(&body).u32().map_err(|error| damaged(error.to_string()))?;
        if inside != number {
            return Err(damaged(format!("the file holds epoch {inside}, its name says {number}")));
        }
        body.drain(..size_of::<u32>());
        Ok(body)
    }

    /// The numbers of the epochs that are there, ascending. Nothing is read.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn list_epochs(&self) -> Result<Vec<u32>, StorageError> {
        let files = list_numbered(self.disk(), &self.epochs_dir(), PREFIX, SUFFIX)?;
        Ok(files.into_iter().filter_map(|(number, _)| u32::try_from(number).ok()).collect())
    }

    /// Removes every epoch below `number`; says which.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn remove_epochs_below(&self, number: u32) -> Result<Vec<u32>, StorageError> {
        let old: Vec<u32> = self.list_epochs()?.into_iter().filter(|epoch| *epoch < number).collect();
        for epoch in &old {
            remove_durably(self.disk(), &self.epoch_path(*epoch))?;
        }
        Ok(old)
    }

    /// The file of epoch `number`.
    #[must_use]
    pub fn epoch_path(&self, number: u32) -> PathBuf {
        self.epochs_dir().join(format!("{PREFIX}{number:010}{SUFFIX}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_round_trip_and_are_removed_from_below() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path(), true).unwrap();
        for number in [1, 2, 10, u32::MAX] {
            data.put_epoch(number, format!("epoch {number}").as_bytes()).unwrap();
        }
        data.put_epoch(2, b"").unwrap();
        assert_eq!(data.list_epochs().unwrap(), [1, 2, 10, u32::MAX]);
        assert_eq!(data.get_epoch(10).unwrap(), b"epoch 10");
        assert_eq!(data.get_epoch(2).unwrap(), b"");
        assert_eq!(data.remove_epochs_below(10).unwrap(), [1, 2]);
        assert_eq!(data.list_epochs().unwrap(), [10, u32::MAX]);
        assert!(matches!(data.get_epoch(1), Err(StorageError::Io { .. })));
    }

    #[test]
    fn golden_epoch() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path(), true).unwrap();
        data.put_epoch(7, b"item factors").unwrap();
        let golden = crate::storage::fixture::golden("epoch.mep", &std::fs::read(data.epoch_path(7)).unwrap());
        std::fs::write(data.epoch_path(7), golden).unwrap();
        assert_eq!(data.get_epoch(7).unwrap(), b"item factors");
    }

    #[test]
    fn damaged_and_misplaced_epochs_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path(), true).unwrap();
        data.put_epoch(1, &[7; 1_000]).unwrap();
        std::fs::copy(data.epoch_path(1), data.epoch_path(2)).unwrap();
        assert!(matches!(data.get_epoch(2), Err(StorageError::Damaged { .. })));
        let good = std::fs::read(data.epoch_path(1)).unwrap();
        for at in [0, 9, 12, 16, 20, 500, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(data.epoch_path(1), &bad).unwrap();
            assert!(matches!(data.get_epoch(1), Err(StorageError::Damaged { .. })), "byte {at}");
        }
    }
}
