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
