//! Files done carefully: private modes, atomic replacement, directory syncs, bounded reads, numbered names.
//!
//! A file written by [`write_atomically`] is, after any crash, the old one or the new one, never a mixture: temp file,
//! fsync, rename, fsync of the directory. Leftover temps end in [`TEMP_SUFFIX`] and are removed by [`sweep_temps`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::error::StorageError;

/// How the name of an unfinished file ends.
pub const TEMP_SUFFIX: &str = ".tmp";

/// Writes `bytes` as the file `path`, wholly or not at all; when this returns, the file survives power loss.
///
/// # Errors
/// [`StorageError::Io`]; the old file, if there was one, is then still there (unless the last step, the sync of the
/// directory, failed: then either may be there).
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    write_parts_atomically(path, &[bytes])
}

/// As [`write_atomically`], for bytes that lie in several pieces.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_parts_atomically(path: &Path, parts: &[&[u8]]) -> Result<(), StorageError> {
    let mut temp = path.as_os_str().to_owned();
    temp.push(TEMP_SUFFIX);
    let temp = PathBuf::from(temp);
    let written = (|| {
        let mut file = private_file(OpenOptions::new().write(true).create(true).truncate(true), &temp)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()
    })();
    if let Err(source) = written {
        // The failure to write is what is reported; a leftover is swept at the next start.
        let _ = fs::remove_file(&temp);
        return Err(StorageError::io("write", &temp)(source));
    }
    fs::rename(&temp, path).map_err(StorageError::io("rename into place", path))?;
    sync_dir(parent(path))
}

/// Makes the names in a directory survive power loss.
///
/// # Errors
/// [`StorageError::Io`].
pub fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(StorageError::io("sync the directory", dir))
}

/// Makes a directory and its parents, readable by the owner only (mode 0700), and syncs the directory above it.
/// One that is there already is left as it is.
///
/// # Errors
/// [`StorageError::Io`].
pub fn make_private_dir(dir: &Path) -> Result<(), StorageError> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(StorageError::io("create the directory", dir))?;
    sync_dir(parent(dir))
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

/// Reads a whole file into `out` (cleared first), refusing one of more than `max` bytes before anything is allocated.
///
/// # Errors
/// [`StorageError::Io`], [`StorageError::TooLarge`].
pub fn read_bounded(path: &Path, what: &'static str, max: u64, out: &mut Vec<u8>) -> Result<(), StorageError> {
    out.clear();
    let file = File::open(path).map_err(StorageError::io("open", path))?;
    let bytes = file.metadata().map_err(StorageError::io("read the size of", path))?.len();
    if bytes > max {
        return Err(StorageError::TooLarge { what, path: path.to_path_buf(), bytes, max });
    }
    out.reserve(usize::try_from(bytes).unwrap_or(0));
    // `take`: the file may have grown since it was measured.
    file.take(max).read_to_end(out).map_err(StorageError::io("read", path))?;
    Ok(())
}

/// Removes a file and makes that survive power loss. One that is not there is fine.
///
/// # Errors
/// [`StorageError::Io`].
pub fn remove_durably(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", path)(source)),
        _ => sync_dir(parent(path)),
    }
}

/// The numbered files of a directory: those called `<prefix><digits><suffix>`, by number. A directory that is not
/// there has none; other names are not ours and are skipped.
///
/// # Errors
/// [`StorageError::Io`].
pub fn list_numbered(dir: &Path, prefix: &str, suffix: &str) -> Result<Vec<(u64, PathBuf)>, StorageError> {
    let mut found = Vec::new();
    for path in list(dir)? {
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
pub fn list(dir: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let entries = match fs::read_dir(dir) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(StorageError::io("list", dir))?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(StorageError::io("list", dir))?;
    paths.sort_unstable();
    Ok(paths)
}

/// Removes what crashed writers left behind in a directory; says how many.
///
/// # Errors
/// [`StorageError::Io`].
pub fn sweep_temps(dir: &Path) -> Result<usize, StorageError> {
    let mut removed = 0;
    for path in list(dir)? {
        if path.as_os_str().to_string_lossy().ends_with(TEMP_SUFFIX) && path.is_file() {
            fs::remove_file(&path).map_err(StorageError::io("remove", &path))?;
            removed += 1;
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

    #[test]
    fn atomic_writes_replace_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for bytes in [&b"one"[..], b"", b"three"] {
            write_atomically(&path, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        assert_eq!(list(dir.path()).unwrap(), std::slice::from_ref(&path));
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_atomically(&path, b"old").unwrap();
        // The temp cannot be created, because a directory has its name.
        fs::create_dir(dir.path().join("a.tmp")).unwrap();
        assert!(matches!(write_atomically(&path, b"new"), Err(StorageError::Io { .. })));
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
        let listed = list_numbered(dir.path(), "x-", ".m").unwrap();
        assert_eq!(listed.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 10]);
        let mut out = Vec::new();
        assert!(matches!(read_bounded(&listed[0].1, "x", 4, &mut out), Err(StorageError::TooLarge { bytes: 5, .. })));
        read_bounded(&listed[0].1, "x", 5, &mut out).unwrap();
        assert_eq!(out, b"12345");
        assert_eq!(sweep_temps(dir.path()).unwrap(), 1);
    }
}
