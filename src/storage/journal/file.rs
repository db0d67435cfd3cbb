//! What the journal's writer needs of a file system: four calls, so that tests can let any of them fail.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use crate::storage::files::private_file;

/// A segment file, as the writer needs it: real ([`DiskFiles`]) or, in tests, failing on purpose.
pub trait JournalFile: Send + Sync {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// What the system says; any part may then have been written.
    fn write(&self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written so far survive power loss.
    ///
    /// # Errors
    /// What the system says; nothing is then known about what survives.
    fn sync(&self) -> io::Result<()>;
}

/// Makes segment files.
pub trait JournalFiles: Send {
    /// Creates a file that must not be there yet.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn JournalFile>>;

    /// Makes what an earlier process wrote to a file survive power loss.
    ///
    /// # Errors
    /// What the system says.
    fn sync_existing(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` survive power loss.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFiles;

impl JournalFiles for DiskFiles {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn JournalFile>> {
        Ok(Arc::new(private_file(OpenOptions::new().append(true).create_new(true), path)?))
    }

    fn sync_existing(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_data()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl JournalFile for File {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file: &File = self;
        file.write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A file system whose n-th call fails, and, for a write, leaves half of the bytes behind.
#[cfg(test)]
pub(crate) mod failing {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Counts calls down; the one that finds 0 fails, later ones succeed again.
    #[derive(Clone, Default)]
    pub(crate) struct FailingFiles {
        pub(crate) calls_left: Arc<AtomicU64>,
    }

    struct FailingFile {
        file: File,
        calls_left: Arc<AtomicU64>,
    }

    fn spend(calls_left: &AtomicU64) -> io::Result<()> {
        match calls_left.fetch_sub(1, Ordering::SeqCst) {
            0 => Err(io::Error::other("injected failure")),
            _ => Ok(()),
        }
    }

    impl JournalFile for FailingFile {
        fn write(&self, bytes: &[u8]) -> io::Result<()> {
            let spent = spend(&self.calls_left);
            let part = if spent.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
            JournalFile::write(&self.file, part)?;
            spent
        }

        fn sync(&self) -> io::Result<()> {
            spend(&self.calls_left)
        }
    }

    impl JournalFiles for FailingFiles {
        fn create(&self, path: &Path) -> io::Result<Arc<dyn JournalFile>> {
            spend(&self.calls_left)?;
            let file = private_file(OpenOptions::new().append(true).create_new(true), path)?;
            Ok(Arc::new(FailingFile { file, calls_left: Arc::clone(&self.calls_left) }))
        }

        fn sync_existing(&self, _path: &Path) -> io::Result<()> {
            spend(&self.calls_left)
        }

        fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
            spend(&self.calls_left)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::segments::list_segments;
    use super::super::testing::{CLUSTER, SHARD, fill, open, read};
    use super::super::{JournalOptions, JournalWriter};
    use super::failing::FailingFiles;
    use crate::storage::StorageError;
    use std::sync::atomic::Ordering;

    fn small() -> JournalOptions {
        JournalOptions { segment_bytes: 0, buffer_bytes: 512 }
    }

    #[test]
    fn an_open_syncs_what_earlier_processes_wrote_before_it_makes_a_segment() {
        let dir = tempfile::tempdir().unwrap();
        fill(&mut open(dir.path(), 1), 2);
        let end = read(dir.path(), 1).unwrap().1.next_sequence();
        let files = FailingFiles::default();
        let refused =
            JournalWriter::open_with(dir.path(), SHARD, CLUSTER, end, small(), Box::new(files.clone())).map(drop);
        assert!(matches!(refused, Err(StorageError::Io { action: "sync", .. })), "{refused:?}");
        assert_eq!(list_segments(dir.path(), SHARD, CLUSTER).unwrap().len(), 1);
        assert_eq!(open(dir.path(), end).durable_sequence(), end);
    }

    /// The n-th call fails, for every n: what was acknowledged before is there, nothing is acknowledged after.
    #[test]
    fn any_failed_call_poisons_and_loses_nothing_acknowledged() {
        // Past two rotations.
        for n in 0..170 {
            let dir = tempfile::tempdir().unwrap();
            drop(open(dir.path(), 1));
            let files = FailingFiles::default();
            files.calls_left.store(n, Ordering::SeqCst);
            let (mut written, mut durable) = (1, 1);
            if let Ok(mut writer) =
                JournalWriter::open_with(dir.path(), SHARD, CLUSTER, 1, small(), Box::new(files.clone()))
            {
                let mut failed = false;
                for step in 0..500_u64 {
                    writer.append(1, writer.next_sequence(), 1, 0, &[&[7; 40]]).unwrap();
                    let result =
                        writer.write().and_then(|()| if step % 3 == 0 { writer.sync().map(drop) } else { Ok(()) });
                    (written, durable) = (writer.written_sequence(), writer.durable_sequence());
                    if result.is_err() {
                        failed = true;
                        break;
                    }
                }
                assert_eq!(failed, writer.is_poisoned(), "call {n}");
                assert!(failed, "call {n} was never made");
                // Later calls would succeed, and are not made.
                let left = files.calls_left.load(Ordering::SeqCst);
                let next = writer.next_sequence();
                assert!(matches!(writer.append(1, next, 1, 0, &[]), Err(StorageError::Poisoned { .. })));
                assert!(matches!(writer.gap(next + 1), Err(StorageError::Poisoned { .. })));
                assert!(matches!(writer.write(), Err(StorageError::Poisoned { .. })));
                assert!(matches!(writer.sync(), Err(StorageError::Poisoned { .. })));
                assert_eq!(files.calls_left.load(Ordering::SeqCst), left, "call {n}");
                assert_eq!((writer.written_sequence(), writer.durable_sequence()), (written, durable));
            }
            let (records, reader) = read(dir.path(), 1).unwrap();
            assert!(reader.next_sequence() >= written && durable <= written, "call {n}");
            assert_eq!(records.len() as u64, reader.next_sequence() - 1);
            fill(&mut open(dir.path(), reader.next_sequence()), 2);
            assert_eq!(read(dir.path(), 1).unwrap().0.len(), records.len() + 2, "call {n}");
        }
    }
}
