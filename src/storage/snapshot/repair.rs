//! Opening sled 0.34.7 so that a crash or damage does not keep the server from starting.
//!
//! sled takes a half-written `snap.*.generating` for its newest page table and refuses to open (its issue 1527), so
//! those go first; they only speed up opening. If it finds corruption (or panics: it has assertions on what it reads),
//! its page tables and its `conf` are moved aside, which makes it read its whole log; if that does not help, the whole
//! directory is moved aside, never deleted, and an empty store begun. A store that opens and forgets what it is given from then
//! on is written anew (`open_proven`). Chunks have their own checksums, so what sled
//! gives back is not trusted either way.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chunks::sync_tree;
use crate::storage::disk::OsDisk;
use crate::storage::error::StorageError;
use crate::storage::files::{list, make_private_dir, parent, sync_dir};

/// sled's segment, in bytes: values below a quarter of it stay in the log.
const SEGMENT_BYTES: usize = 8 << 20;

/// How sled says that a database is in use.
const IN_USE: &str = "could not acquire lock";
/// How often and how long an opening waits for that to end.
const WAITS: u32 = 1_000;
const WAIT: Duration = Duration::from_millis(10);

/// Says exactly what was done to open the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Unfinished page tables that were removed.
    pub removed: Vec<PathBuf>,
    /// Page tables and configuration that were moved aside, under their new names.
    pub set_aside: Vec<PathBuf>,
    /// Where the whole store was moved, if it could not be opened: the store is empty now.
    pub quarantined: Option<PathBuf>,
    /// Whether everything that could be read was written into a new store, because the old one forgot what it was given.
    pub rebuilt: bool,
    /// What sled said each time that it would not open.
    pub failures: Vec<String>,
}

impl OpenReport {
    /// Whether the store opened at once.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// Takes in what was done at a further opening.
    fn absorb(&mut self, later: Self) {
        self.removed.extend(later.removed);
        self.set_aside.extend(later.set_aside);
        self.quarantined = later.quarantined.or(self.quarantined.take());
        self.failures.extend(later.failures);
    }
}

/// Why sled did not open.
enum Refusal {
    /// Its bytes are wrong.
    Damage(String),
    /// The system refused, or the store is in use: moving things would not help.
    System(io::Error),
}

/// Opens the store in `dir` by all means.
pub(crate) fn open_store(dir: &Path, cache_bytes: u64) -> Result<(sled::Db, OpenReport), StorageError> {
    open_with(dir, || when_free(|| try_open(dir, cache_bytes)))
}

/// What a proof writes; longer than every key of ours, and removed again.
const PROOF_KEY: &[u8; 16] = b"proof of writing";

/// As [`open_store`], and proves that what is written now is there after the next opening: with damage in the part of its log
/// that sled goes on in, it opens by its page table, takes everything, and finds nothing of that later. Then all that can be
/// read goes into a new store, and the old one is moved aside.
pub(crate) fn open_proven(dir: &Path, cache_bytes: u64) -> Result<(sled::Db, OpenReport), StorageError> {
    let (db, mut report) = open_store(dir, cache_bytes)?;
    // Not what is there: a removal may have been forgotten, too.
    let before = quietly(|| db.get(PROOF_KEY)).ok().flatten();
    let before = before.and_then(|bytes| Some(u64::from_le_bytes(*bytes.first_chunk()?))).unwrap_or(0);
    let proof = before.wrapping_add(1).to_le_bytes();
    let forgets = |reason: String| StorageError::Store { path: dir.to_path_buf(), action: "take a write", reason };
    let mut of_the_system = false;
    let written = quietly(|| {
        let written = db.insert(PROOF_KEY, &proof).and_then(|_| db.flush());
        written.inspect_err(|error| of_the_system = matches!(error, sled::Error::Io(_)))
    });
    drop(db);
    let (db, again) = open_store(dir, cache_bytes)?;
    report.absorb(again);
    let found = quietly(|| db.get(PROOF_KEY));
    let said = match (written, found) {
        (Ok(_), Ok(Some(found))) if found == proof => {
            quietly(|| db.remove(PROOF_KEY)).map_err(forgets)?;
            return Ok((db, report));
        }
        // No room, say: a new store would not get any either, and snapshots fail in words of their own.
        (Err(said), _) if of_the_system => {
            report.failures.push(format!("nothing can be written: {said}"));
            return Ok((db, report));
        }
        (Err(said), _) | (Ok(_), Err(said)) => said,
        (Ok(_), Ok(_)) => "it is gone after the next opening".to_owned(),
    };
    report.failures.push(format!("what is written is not kept: {said}"));
    let place = free_name(parent(dir), "snapshots.rebuilding");
    if let Err(error) = copy_entries(db, &place, cache_bytes) {
        // It is a copy, and not whole.
        let _ = fs::remove_dir_all(&place);
        return Err(StorageError::Store { path: dir.to_path_buf(), action: "be written anew", reason: error });
    }
    quarantine(dir, &mut report)?;
    fs::remove_dir(dir).map_err(StorageError::io("remove", dir))?;
    fs::rename(&place, dir).map_err(StorageError::io("rename into place", &place))?;
    sync_dir(&OsDisk, parent(dir))?;
    report.rebuilt = true;
    let (db, again) = open_store(dir, cache_bytes)?;
    report.absorb(again);
    Ok((db, report))
}

/// Writes everything that can be read of a store, which is closed then, into a new one.
fn copy_entries(old: sled::Db, place: &Path, cache_bytes: u64) -> Result<(), String> {
    let (new, _) = open_store(place, cache_bytes).map_err(|error| error.to_string())?;
    let mut entries = old.iter();
    // It ends where something cannot be read; what is missing then is missed where chunks are verified.
    while let Ok(Some((key, value))) = quietly(|| entries.next().transpose()) {
        if key != PROOF_KEY {
            quietly(|| new.insert(key, value))?;
        }
    }
    quietly(|| new.flush())?;
    drop((entries, old, new));
    sync_tree(place).map_err(|error| error.to_string())
}

/// What sled says in words, a panic included.
pub(super) fn quietly<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("sled panicked".to_owned()),
    }
}

/// Tries for ten seconds while the store is in use: threads of sled let go of a database a moment after it was dropped (a long
/// one where they come after everybody else), and nobody else opens it, as the data directory has a lock of its own.
fn when_free<T>(mut try_open: impl FnMut() -> Result<T, Refusal>) -> Result<T, Refusal> {
    for _ in 0..WAITS {
        match try_open() {
            Err(Refusal::System(error)) if error.to_string().contains(IN_USE) => std::thread::sleep(WAIT),
            tried => return tried,
        }
    }
    try_open()
}

fn open_with<T>(dir: &Path, mut try_open: impl FnMut() -> Result<T, Refusal>) -> Result<(T, OpenReport), StorageError> {
    let mut report = OpenReport::default();
    if dir.exists() && !dir.is_dir() {
        report.failures.push("the store is no directory".to_owned());
        quarantine(dir, &mut report)?;
    }
    make_private_dir(&OsDisk, dir)?;
    for path in snap_files(dir)? {
        if path.as_os_str().to_string_lossy().ends_with(".generating") {
            fs::remove_file(&path).map_err(StorageError::io("remove", &path))?;
            report.removed.push(path);
        }
    }
    for attempt in 0..3 {
        let failure = match try_open() {
            Ok(db) => return Ok((db, report)),
            Err(Refusal::System(source)) => return Err(StorageError::io("open the snapshot store", dir)(source)),
            Err(Refusal::Damage(failure)) => failure,
        };
        report.failures.push(failure);
        match attempt {
            0 => set_aside(dir, &mut report)?,
            1 => quarantine(dir, &mut report)?,
            _ => break,
        }
    }
    let reason = report.failures.join("; then ");
    Err(StorageError::Store { path: dir.to_path_buf(), action: "open even an empty store", reason })
}

fn try_open(dir: &Path, cache_bytes: u64) -> Result<sled::Db, Refusal> {
    let config = sled::Config::new()
        .path(dir)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(cache_bytes)
        .mode(sled::Mode::LowSpace)
        .flush_every_ms(None)
        .use_compression(false);
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(error))) => {
            use io::ErrorKind as Kind;
            match error.kind() {
                // The latter: something of another type has the name of a file or directory of sled's.
                Kind::InvalidData | Kind::InvalidInput | Kind::UnexpectedEof => Err(Refusal::Damage(error.to_string())),
                Kind::NotADirectory | Kind::IsADirectory | Kind::AlreadyExists => {
                    Err(Refusal::Damage(error.to_string()))
                }
                _ => Err(Refusal::System(error)),
            }
        }
        Ok(Err(error)) => Err(Refusal::Damage(error.to_string())),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(Refusal::Damage(format!("panic: {said}")))
        }
    }
}

/// Moves page tables, configuration and what is of the wrong type into `aside-<n>/` within the store.
fn set_aside(dir: &Path, report: &mut OpenReport) -> Result<(), StorageError> {
    let aside = free_name(dir, "aside");
    make_private_dir(&OsDisk, &aside)?;
    let conf = dir.join("conf");
    let (blobs, log) = (dir.join("blobs"), dir.join("db"));
    let wrong = [(blobs.exists() && !blobs.is_dir()).then_some(blobs), log.is_dir().then_some(log)];
    let more = conf.exists().then_some(conf).into_iter().chain(wrong.into_iter().flatten());
    for path in snap_files(dir)?.into_iter().chain(more) {
        let Some(name) = path.file_name() else { continue };
        let target = aside.join(name);
        fs::rename(&path, &target).map_err(StorageError::io("set aside", &path))?;
        report.set_aside.push(target);
    }
    sync_dir(&OsDisk, &aside)?;
    sync_dir(&OsDisk, dir)
}

/// Moves the whole store away and makes an empty directory.
fn quarantine(dir: &Path, report: &mut OpenReport) -> Result<(), StorageError> {
    let name = dir.file_name().map_or_else(|| "snapshots".to_owned(), |name| name.to_string_lossy().into_owned());
    let target = free_name(parent(dir), &format!("{name}.quarantine"));
    fs::rename(dir, &target).map_err(StorageError::io("quarantine", dir))?;
    sync_dir(&OsDisk, parent(dir))?;
    report.quarantined = Some(target);
    make_private_dir(&OsDisk, dir)
}

fn snap_files(dir: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let mut files = list(&OsDisk, dir)?;
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap.")));
    Ok(files)
}

/// `<stem>-<n>` in `dir` with the first n from 1 that is free.
fn free_name(dir: &Path, stem: &str) -> PathBuf {
    let mut number = 1_u64;
    loop {
        let path = dir.join(format!("{stem}-{number}"));
        if !path.exists() {
            return path;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sled opens nearly anything (as an empty store), so the last steps are reached with an opener that refuses.
    fn refused(times: usize) -> (tempfile::TempDir, Result<((), OpenReport), StorageError>) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("snapshots");
        fs::create_dir(&dir).unwrap();
        for name in ["db", "conf", "snap.0000000000000001", "snap.0000000000000002.generating"] {
            fs::write(dir.join(name), name).unwrap();
        }
        let mut calls = 0;
        let result = open_with(&dir, || {
            calls += 1;
            if calls > times { Ok(()) } else { Err(Refusal::Damage(format!("refusal {calls}"))) }
        });
        (root, result)
    }

    /// Regression: a store that was dropped a moment ago was refused as in use.
    #[test]
    fn a_store_that_is_about_to_be_let_go_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let held = try_open(dir.path(), 1 << 20).ok().expect("it opens");
        let release = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(held);
        });
        assert!(
            matches!(try_open(dir.path(), 1 << 20), Err(Refusal::System(error)) if error.to_string().contains(IN_USE))
        );
        let (_, report) = open_store(dir.path(), 1 << 20).unwrap();
        assert!(report.is_clean());
        release.join().unwrap();
    }

    #[test]
    fn each_refusal_moves_more_out_of_the_way_and_deletes_nothing_finished() {
        let (root, result) = refused(0);
        let (dir, report) = (root.path().join("snapshots"), result.unwrap().1);
        assert_eq!(report.removed, [dir.join("snap.0000000000000002.generating")]);
        assert!(report.set_aside.is_empty() && report.quarantined.is_none());

        let (root, result) = refused(1);
        let (dir, report) = (root.path().join("snapshots"), result.unwrap().1);
        assert_eq!(report.set_aside, [dir.join("aside-1/snap.0000000000000001"), dir.join("aside-1/conf")]);
        assert!(dir.join("db").exists() && report.set_aside.iter().all(|path| path.exists()));
        assert_eq!((report.quarantined, report.failures.len()), (None, 1));

        let (root, result) = refused(2);
        let report = result.unwrap().1;
        let target = root.path().join("snapshots.quarantine-1");
        assert_eq!(report.quarantined.as_ref(), Some(&target));
        assert!(target.join("db").exists() && target.join("aside-1/conf").exists());
        assert_eq!(list(&OsDisk, &root.path().join("snapshots")).unwrap(), [] as [PathBuf; 0]);
        assert_eq!(report.failures, ["refusal 1", "refusal 2"]);

        assert!(matches!(refused(3).1, Err(StorageError::Store { .. })));
    }

    /// r11: a file in the place of the store, or of a directory in it, kept the server from starting: sled's refusal was taken for
    /// one of the system, which moving files does not help against.
    #[test]
    fn r11_what_is_of_the_wrong_type_is_moved_out_of_the_way() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("snapshots");
        fs::write(&dir, b"no directory").unwrap();
        let (store, report) = open_store(&dir, 1 << 20).unwrap();
        assert_eq!(report.quarantined.as_deref(), Some(&*root.path().join("snapshots.quarantine-1")));
        store.insert(b"key", b"value").unwrap();
        drop(store);
        let blobs = dir.join("blobs");
        fs::remove_dir_all(&blobs).unwrap();
        fs::write(&blobs, b"no directory").unwrap();
        let (store, report) = open_store(&dir, 1 << 20).unwrap();
        assert!(report.quarantined.is_none() && report.set_aside.contains(&dir.join("aside-1/blobs")), "{report:?}");
        assert_eq!(store.get(b"key").unwrap().as_deref(), Some(&b"value"[..]));
    }

    /// r12: with a flipped bit in the head of its log sled opened by its page table, gave back what was there, took a generation,
    /// and had nothing of it at the next opening, although everything was synced. Two of them, and older ones were let go.
    #[test]
    fn r12_a_store_that_forgets_what_it_is_given_is_written_anew() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("snapshots");
        let value = |n: u8| vec![n; 40_000];
        let (store, _) = open_store(&dir, 1 << 20).unwrap();
        for n in 0..5 {
            store.insert([n], value(n)).unwrap();
        }
        store.flush().unwrap();
        drop(store);
        drop(open_proven(&dir, 1 << 20).unwrap()); // leaves a page table, and in it a proof that was removed since
        let flip = || {
            let mut bytes = fs::read(dir.join("db")).unwrap();
            bytes[0] ^= 0x20;
            fs::write(dir.join("db"), bytes).unwrap();
        };
        flip();
        // So it is with sled alone.
        let alone = root.path().join("alone");
        fs::create_dir(&alone).unwrap();
        for path in list(&OsDisk, &dir).unwrap().iter().filter(|path| path.is_file()) {
            fs::copy(path, alone.join(path.file_name().unwrap())).unwrap();
        }
        let (store, report) = open_store(&alone, 1 << 20).unwrap();
        assert!(report.is_clean(), "{report:?}");
        store.insert(b"new", b"value").unwrap();
        store.flush().unwrap();
        drop(store);
        let (store, _) = open_store(&alone, 1 << 20).unwrap();
        assert_eq!(store.get(b"new").unwrap(), None);
        drop(store);
        let (store, report) = open_proven(&dir, 1 << 20).unwrap();
        assert!(report.rebuilt && report.quarantined.is_some() && report.failures.len() == 1, "{report:?}");
        assert!((0..5).all(|n| store.get([n]).unwrap().is_some_and(|found| found == value(n))));
        store.insert(b"new", b"value").unwrap();
        store.flush().unwrap();
        drop(store);
        let (store, report) = open_proven(&dir, 1 << 20).unwrap();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((store.len(), store.get(b"new").unwrap().as_deref()), (6, Some(&b"value"[..])));
    }

    /// Where moving files would not help, nothing is moved.
    #[test]
    fn a_store_in_use_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let (_db, _) = open_store(root.path(), 1 << 20).unwrap();
        let before = list(&OsDisk, root.path()).unwrap();
        assert!(matches!(open_store(root.path(), 1 << 20), Err(StorageError::Io { .. })));
        assert_eq!(list(&OsDisk, root.path()).unwrap(), before);
    }
}
