//! Files done carefully: private modes, atomic replacement, directory syncs, bounded reads, numbered names.
//!
//! A file written by [`write_atomically`] is, after any crash, the old one or the new one, never a mixture: temp file,
//! fsync, rename, fsync of the directory. Leftover temps end in [`TEMP_SUFFIX`] and are removed by [`sweep_temps`].

use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::error::StorageError;

/// How the name of an unfinished file ends.
pub const TEMP_SUFFIX: &str = ".tmp";

/// Writes `bytes` as the file `path`, wholly or not at all; when this returns, the file survives power loss.
///
/// # Errors
/// [`StorageError::Io`]; the old file, if there was one, is then still there (unless the last step, the sync of the
/// directory, failed: then either may be there).
pub fn write_atomically(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    write_parts_atomically(disk, path, &[bytes])
}

/// As [`write_atomically`], for bytes that lie in several pieces.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_parts_atomically(disk: &dyn Disk, path: &Path, parts: &[&[u8]]) -> Result<(), StorageError> {
    let mut temp = path.as_os_str().to_owned();
    temp.push(TEMP_SUFFIX);
    let temp = PathBuf::from(temp);
    let written = (|| {
        let file = disk.create(&temp)?;
        for part in parts {
            file.write(part)?;
        }
        file.sync()
    })();
    if let Err(source) = written {
        // The failure to write is what is reported; a leftover is swept at the next start.
        let _ = disk.remove(&temp);
        return Err(StorageError::io("write", &temp)(source));
    }
    disk.rename(&temp, path).map_err(StorageError::io("rename into place", path))?;
    sync_dir(disk, parent(path))
}

/// Makes the names in a directory survive power loss.
///
/// # Errors
/// [`StorageError::Io`].
pub fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    disk.sync_dir(dir).map_err(StorageError::io("sync the directory", dir))
}

/// Makes a directory and its parents, readable by the owner only (mode 0700), and syncs the directory above it.
/// One that is there already is left as it is.
///
/// # Errors
/// [`StorageError::Io`].
pub fn make_private_dir(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    if exists(disk, dir)? {
        return Ok(());
    }
    disk.make_dir(dir).map_err(StorageError::io("create the directory", dir))?;
    sync_dir(disk, parent(dir))
}

/// Whether a file or directory is there.
///
/// # Errors
/// [`StorageError::Io`].
pub fn exists(disk: &dyn Disk, path: &Path) -> Result<bool, StorageError> {
    disk.exists(path).map_err(StorageError::io("look for", path))
}

/// Reads a whole file into `out` (cleared first), refusing one of more than `max` bytes before anything is allocated.
///
/// # Errors
/// [`StorageError::Io`], [`StorageError::TooLarge`].
pub fn read_bounded(
    disk: &dyn Disk,
    path: &Path,
    what: &'static str,
    max: u64,
    out: &mut Vec<u8>,
) -> Result<(), StorageError> {
    out.clear();
    let bytes = disk.size(path).map_err(StorageError::io("read the size of", path))?;
    if bytes > max {
        return Err(StorageError::TooLarge { what, path: path.to_path_buf(), bytes, max });
    }
    out.reserve(usize::try_from(bytes).unwrap_or(0));
    // `max`: the file may have grown since it was measured.
    disk.read(path, max, out).map_err(StorageError::io("read", path))
}

/// Removes a file and makes that survive power loss. One that is not there is fine.
///
/// # Errors
/// [`StorageError::Io`].
pub fn remove_durably(disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
    match disk.remove(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", path)(source)),
        _ => sync_dir(disk, parent(path)),
    }
}

/// The numbered files of a directory: those called `<prefix><digits><suffix>`, by number. A directory that is not
/// there has none; other names are not ours and are skipped.
///
/// # Errors
/// [`StorageError::Io`].
pub fn list_numbered(
    disk: &dyn Disk,
    dir: &Path,
    prefix: &str,
    suffix: &str,
) -> Result<Vec<(u64, PathBuf)>, StorageError> {
    let mut found = Vec::new();
    for path in list(disk, dir)? {
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| {
            let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
            let all_digits = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
            all_digits.then(|| digits.parse::<u64>().ok()).flatten()
        });
        if let Some(number) = number {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Every entry of a directory, sorted by name; none if it is not there.
///
/// # Errors
/// [`StorageError::Io`].
pub fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let mut paths = match disk.list(dir) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        paths => paths.map_err(StorageError::io("list", dir))?,
    };
    paths.sort_unstable();
    Ok(paths)
}

/// Removes what crashed writers left behind in a directory; says how many.
///
/// # Errors
/// [`StorageError::Io`].
pub fn sweep_temps(disk: &dyn Disk, dir: &Path) -> Result<usize, StorageError> {
    let mut removed = 0;
    for path in list(disk, dir)? {
        if path.as_os_str().to_string_lossy().ends_with(TEMP_SUFFIX) {
            match disk.remove(&path) {
                Ok(()) => removed += 1,
                Err(source) if source.kind() == io::ErrorKind::IsADirectory => {} // none of ours
                Err(source) => return Err(StorageError::io("remove", &path)(source)),
            }
        }
    }
    Ok(removed)
}

/// The directory that a file stands in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::OsDisk;
    use std::fs;

    #[test]
    fn atomic_writes_replace_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for bytes in [&b"one"[..], b"", b"three"] {
            write_atomically(&OsDisk, &path, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        assert_eq!(list(&OsDisk, dir.path()).unwrap(), std::slice::from_ref(&path));
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_atomically(&OsDisk, &path, b"old").unwrap();
        // The temp cannot be created, because a directory has its name.
        fs::create_dir(dir.path().join("a.tmp")).unwrap();
        assert!(matches!(write_atomically(&OsDisk, &path, b"new"), Err(StorageError::Io { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn reads_are_bounded_and_names_are_parsed_strictly() {
        let dir = tempfile::tempdir().unwrap();
        let names =
            ["x-0000000002.m", "x-0000000010.m", "x-3.m", "x-00000000a1.m", "x-0000000004.m.tmp", "x--000000001.m"];
        for name in names {
            fs::write(dir.path().join(name), b"12345").unwrap();
        }
        let listed = list_numbered(&OsDisk, dir.path(), "x-", ".m").unwrap();
        assert_eq!(listed.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 10]);
        let mut out = Vec::new();
        assert!(matches!(
            read_bounded(&OsDisk, &listed[0].1, "x", 4, &mut out),
            Err(StorageError::TooLarge { bytes: 5, .. })
        ));
        read_bounded(&OsDisk, &listed[0].1, "x", 5, &mut out).unwrap();
        assert_eq!(out, b"12345");
        assert_eq!(sweep_temps(&OsDisk, dir.path()).unwrap(), 1);
    }
}
