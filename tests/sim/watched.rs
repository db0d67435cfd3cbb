//! Real files whose changing calls are watched and whose syncs are only told: what tests of power loss, of failing calls and of
//! slow syncs have in common. The journal's own tests (`storage/journal/watched.rs`) take this file in by its path.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile, Lock, OsDisk};

/// A call that changes something.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// A file that is not there yet, or a directory.
    CreateNew(&'a Path),
    Create(&'a Path),
    Write,
    /// Of a file or a directory.
    Sync(&'a Path),
    Rename(&'a Path, &'a Path),
    Remove,
}

/// Who watches.
pub trait Watch: Debug + Send + Sync {
    /// Is told of a call before it is made; with an error it is not made, but for half of a write.
    fn before(&self, call: Call<'_>) -> io::Result<()>;
}

/// The disk.
#[derive(Debug)]
pub struct WatchedDisk<W>(pub Arc<W>);

#[derive(Debug)]
struct WatchedFile<W> {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    watch: Arc<W>,
}

impl<W: Watch> DiskFile for WatchedFile<W> {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let allowed = self.watch.before(Call::Write);
        self.file.write(if allowed.is_ok() { bytes } else { &bytes[..bytes.len() / 2] })?;
        allowed
    }

    fn sync(&self) -> io::Result<()> {
        self.watch.before(Call::Sync(&self.path))
    }
}

impl<W: Watch + 'static> WatchedDisk<W> {
    fn file(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(WatchedFile { file, path: path.to_path_buf(), watch: Arc::clone(&self.0) })
    }
}

impl<W: Watch + 'static> Disk for WatchedDisk<W> {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.0.before(Call::CreateNew(path))?;
        Ok(self.file(path, OsDisk.create_new(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.0.before(Call::Create(path))?;
        Ok(self.file(path, OsDisk.create(path)?))
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        OsDisk.size(path)
    }

    fn read(&self, path: &Path, most: u64, out: &mut Vec<u8>) -> io::Result<()> {
        OsDisk.read(path, most, out)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn io::Read + Send>> {
        OsDisk.open(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        OsDisk.exists(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        OsDisk.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.before(Call::Rename(from, to))?;
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.before(Call::Remove)?;
        OsDisk.remove(path)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.0.before(Call::Sync(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.before(Call::Sync(dir))
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.before(Call::CreateNew(dir))?;
        OsDisk.make_dir(dir)
    }

    fn lock(&self, path: &Path, text: &str) -> io::Result<Result<Box<dyn Lock>, String>> {
        OsDisk.lock(path, text)
    }
}
