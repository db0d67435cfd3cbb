//! What storage needs of a file system, call by call, so that tests can stand in for it: let any call fail, lose power at
//! any point, and run a year of crashes in memory (`tests/sim`).
//!
//! [`OsDisk`] is the real one. sled has files of its own; what the snapshots need of it is [`ChunkStore`](super::ChunkStore).

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that is written from its beginning to its end.
pub trait DiskFile: Debug + Send + Sync {
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

/// Held as long as the directory is ours.
pub trait Lock: Debug + Send + Sync {}

/// A file system. Every error is what the system says.
#[expect(clippy::missing_errors_doc, reason = "said above, once for all")]
pub trait Disk: Debug + Send + Sync {
    /// Creates a file that must not be there yet, for its owner only.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates a file, or empties the one that is there, for its owner only.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Length of a file, in bytes.
    fn size(&self, path: &Path) -> io::Result<u64>;

    /// Appends the first `most` bytes of a file to `out`, or all if it has no more.
    fn read(&self, path: &Path, most: u64, out: &mut Vec<u8>) -> io::Result<()>;

    /// A file as a stream, for those that are too long to be held.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;

    /// Whether a file or directory is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Every entry of a directory, in any order; `NotFound` if it is not there.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Gives a file another name, in the place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes what was written to a file, by whomever, survive power loss.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory survive power loss.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes a directory and those above it, for their owner only.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// Locks a file, making it if need be, and writes `text` into it; `Err` of what the owner has written there if it is
    /// locked.
    fn lock(&self, path: &Path, text: &str) -> io::Result<Result<Box<dyn Lock>, String>>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl DiskFile for File {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file: &File = self;
        file.write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Lock for File {}

impl Disk for OsDisk {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(private_file(OpenOptions::new().append(true).create_new(true), path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(private_file(OpenOptions::new().write(true).create(true).truncate(true), path)?))
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn read(&self, path: &Path, most: u64, out: &mut Vec<u8>) -> io::Result<()> {
        File::open(path)?.take(most).read_to_end(out).map(drop)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(path)?))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_data()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(dir)
    }

    fn lock(&self, path: &Path, text: &str) -> io::Result<Result<Box<dyn Lock>, String>> {
        let mut options = OpenOptions::new();
        let mut file = private_file(options.read(true).write(true).create(true).truncate(false), path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut held = String::new();
                // It only helps the operator: what cannot be read is nothing.
                let _ = (&file).take(32).read_to_string(&mut held);
                return Ok(Err(held));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(text.as_bytes())?;
        Ok(Ok(Box::new(file)))
    }
}

/// Opens a file; if that creates it, with mode 0600.
///
/// # Errors
/// What the system says.
pub fn private_file(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path)
}
