//! D12: the snapshot store, the manifests and what lies around them damaged in thirty ways, each over a copy of one directory.
//! Where the journal reaches back to the first event every start comes through unaided and loses nothing; where it was trimmed,
//! a start is what it was, or refuses and says what is lost, and never comes up as less.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mirra::base::Rng;

use crate::prepared::{Prepared, State, bytes_of, files};
use crate::support::told;

/// What became of starts.
#[derive(Clone, Debug, Default)]
pub struct Starts {
    pub variants: u64,
    /// Came up unaided.
    pub started: u64,
    /// Came up as less, or as another, than the undamaged directory.
    pub lost: u64,
    /// Said nothing of a repair, or of a generation that was passed over, although one was needed.
    pub silent: u64,
    /// Had no snapshot that the start after the next used.
    pub no_snapshot: u64,
    /// Where the journal was trimmed: came up as before, and refused in words that name what is missing.
    pub trimmed_started: u64,
    pub trimmed_refused: u64,
    /// Of these, came back whole from an archive of an older generation and the journals that were there.
    pub trimmed_rebuilt: u64,
    pub failed: BTreeMap<String, String>,
}

impl Starts {
    pub fn holds(&self) -> bool {
        let amiss = self.lost + self.silent + self.no_snapshot;
        let trimmed = self.trimmed_started + self.trimmed_refused;
        let rebuilt = self.trimmed_rebuilt == self.trimmed_refused;
        self.started == self.variants && trimmed == self.variants && amiss == 0 && rebuilt && self.failed.is_empty()
    }
}

/// One way of damaging a directory.
struct Variant {
    name: &'static str,
    damage: fn(&Path),
    /// Whether something is in the way that a start must tell of.
    tells: bool,
}

fn store(dir: &Path) -> PathBuf {
    dir.join("snapshots")
}

/// The newest page table of sled.
fn snap(dir: &Path) -> PathBuf {
    let mut snaps = files(&store(dir));
    snaps.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap.")));
    snaps.pop().expect("there is a page table")
}

fn manifests(dir: &Path) -> Vec<PathBuf> {
    files(&dir.join("manifests"))
}

fn newest_manifest(dir: &Path) -> PathBuf {
    manifests(dir).pop().expect("there is a manifest")
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("readable");
    change(&mut bytes);
    fs::write(path, bytes).expect("written");
}

fn flip(path: &Path, share: f64) {
    change(path, |bytes| {
        let at = ((bytes.len() as f64 * share) as usize).min(bytes.len() - 1);
        bytes[at] ^= 0x20;
    });
}

fn zero(path: &Path) {
    change(path, |bytes| bytes.fill(0));
}

fn cut(path: &Path, share: f64) {
    change(path, |bytes| bytes.truncate((bytes.len() as f64 * share) as usize));
}

fn remove(path: &Path) {
    fs::remove_file(path).expect("removed");
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("written");
}

/// A page table that never became whole, under a number above the newest.
fn generating(dir: &Path, bytes: &[u8]) {
    write(&store(dir).join("snap.00000000FFFFFFFF.generating"), bytes);
}

fn db(dir: &Path) -> PathBuf {
    store(dir).join("db")
}

fn conf(dir: &Path) -> PathBuf {
    store(dir).join("conf")
}

const VARIANTS: [Variant; 36] = [
    Variant { name: "generating, empty", damage: |dir| generating(dir, b""), tells: true },
    Variant { name: "generating, short", damage: |dir| generating(dir, b"half"), tells: true },
    Variant { name: "generating, long", damage: |dir| generating(dir, &[0xA5; 1 << 20]), tells: true },
    Variant {
        name: "generating, a copy of the newest cut short",
        damage: |dir| {
            let bytes = fs::read(snap(dir)).expect("readable");
            generating(dir, &bytes[..bytes.len() / 2]);
        },
        tells: true,
    },
    Variant { name: "page table cut", damage: |dir| cut(&snap(dir), 0.5), tells: false },
    Variant { name: "page table emptied", damage: |dir| cut(&snap(dir), 0.0), tells: false },
    Variant { name: "page table flipped in its head", damage: |dir| flip(&snap(dir), 0.0), tells: false },
    Variant { name: "page table flipped in its middle", damage: |dir| flip(&snap(dir), 0.5), tells: false },
    Variant { name: "page table zeroed", damage: |dir| zero(&snap(dir)), tells: false },
    Variant { name: "page table removed", damage: |dir| remove(&snap(dir)), tells: false },
    Variant {
        name: "every page table removed",
        damage: |dir| {
            let all = files(&store(dir));
            let snaps = all.iter().filter(|path| path.to_string_lossy().contains("snap."));
            snaps.for_each(|path| remove(path));
        },
        tells: false,
    },
    Variant { name: "conf flipped", damage: |dir| flip(&conf(dir), 0.5), tells: false },
    Variant { name: "conf emptied", damage: |dir| cut(&conf(dir), 0.0), tells: false },
    Variant { name: "conf zeroed", damage: |dir| zero(&conf(dir)), tells: false },
    Variant { name: "conf removed", damage: |dir| remove(&conf(dir)), tells: false },
    Variant { name: "log cut in half", damage: |dir| cut(&db(dir), 0.5), tells: false },
    Variant { name: "log cut by a sector", damage: |dir| cut(&db(dir), 0.999), tells: false },
    Variant { name: "log flipped in its head", damage: |dir| flip(&db(dir), 0.0), tells: false },
    Variant { name: "log flipped early", damage: |dir| flip(&db(dir), 0.001), tells: false },
    Variant { name: "log flipped in the middle", damage: |dir| flip(&db(dir), 0.5), tells: false },
    Variant {
        name: "log with a sector zeroed",
        damage: |dir| change(&db(dir), |b| b[65_536..66_048].fill(0)),
        tells: false,
    },
    Variant { name: "log zeroed", damage: |dir| zero(&db(dir)), tells: true },
    Variant { name: "log removed", damage: |dir| remove(&db(dir)), tells: true },
    Variant {
        name: "log and page tables of noise",
        damage: |dir| {
            for path in [db(dir), snap(dir)] {
                change(&path, |bytes| {
                    (0..).zip(bytes.iter_mut()).for_each(|(at, byte): (u32, _)| *byte = (at * 31) as u8);
                });
            }
        },
        tells: true,
    },
    Variant {
        name: "junk in blobs",
        damage: |dir| {
            fs::create_dir_all(store(dir).join("blobs")).expect("a directory");
            for name in ["7", "junk", "-1"] {
                write(&store(dir).join("blobs").join(name), b"junk");
            }
        },
        tells: false,
    },
    Variant { name: "blobs a file", damage: |dir| blobs_as_file(dir), tells: false },
    Variant { name: "store removed", damage: |dir| remove_store(dir), tells: true },
    Variant {
        name: "store an empty directory",
        damage: |dir| {
            remove_store(dir);
            fs::create_dir(store(dir)).expect("a directory");
        },
        tells: true,
    },
    Variant {
        name: "store a file",
        damage: |dir| {
            remove_store(dir);
            write(&store(dir), b"no directory");
        },
        tells: true,
    },
    Variant {
        name: "junk beside everything",
        damage: |dir| {
            for name in
                ["snapshots/junk", "snapshots/snap.junk", "manifests/junk", "epochs/junk", "journal/junk", "junk"]
            {
                write(&dir.join(name), b"junk");
            }
        },
        tells: false,
    },
    Variant { name: "newest manifest removed", damage: |dir| remove(&newest_manifest(dir)), tells: false },
    Variant { name: "newest manifest flipped", damage: |dir| flip(&newest_manifest(dir), 0.5), tells: true },
    Variant { name: "newest manifest emptied", damage: |dir| cut(&newest_manifest(dir), 0.0), tells: true },
    Variant {
        name: "every manifest removed",
        damage: |dir| manifests(dir).iter().for_each(|path| remove(path)),
        tells: false,
    },
    Variant {
        name: "unfinished files",
        damage: |dir| {
            for name in
                ["mirra.meta.tmp", "mirra.schema.tmp", "manifests/generation-0000000003.mmf.tmp", "epochs/x.tmp"]
            {
                write(&dir.join(name), b"half");
            }
        },
        tells: false,
    },
    Variant {
        name: "a half-written generation, and everything that a kill leaves",
        damage: |dir| {
            half_a_generation(dir);
            generating(dir, b"half");
            write(&dir.join("manifests/generation-0000000009.mmf.tmp"), b"half");
            cut(&snap(dir), 0.5);
        },
        tells: true,
    },
];

fn remove_store(dir: &Path) {
    fs::remove_dir_all(store(dir)).expect("removed");
}

fn blobs_as_file(dir: &Path) {
    let blobs = store(dir).join("blobs");
    if blobs.is_dir() {
        fs::remove_dir_all(&blobs).expect("removed");
    }
    write(&blobs, b"no directory");
}

/// Chunks of a generation that never got its manifest.
fn half_a_generation(dir: &Path) {
    use mirra::storage::{DataDir, SnapshotOptions, SnapshotStore};
    let data = DataDir::open(dir, false).expect("it is free");
    let meta = data.read_meta().expect("readable").expect("there is one");
    let (store, _) = SnapshotStore::open(&data, meta.cluster_id, SnapshotOptions::default()).expect("it opens");
    let mut writer = store.begin(9).expect("it is no generation yet");
    (0..20).for_each(|index| store.put_chunk(&mut writer, 0, index, &[7; 40_000]).expect("put"));
}

fn digests(state: &[(u64, u64)]) -> Vec<u64> {
    state.iter().map(|(_, digest)| *digest).collect()
}

/// Damages a file of the store at random, within what is used of it.
fn at_random(dir: &Path, seed: u64) {
    let mut rng = Rng::new(seed);
    let files = files(&store(dir));
    let path = &files[rng.below(files.len() as u64) as usize];
    change(path, |bytes| {
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let at = rng.below(used.max(1) as u64) as usize;
        let end = (at + 512).min(bytes.len());
        match rng.below(4) {
            0 if used > 0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at..end].fill(0),
            2 => bytes[at..end].fill_with(|| rng.bits() as u8),
            _ => bytes.truncate(at),
        }
    });
}

/// Tries every variant, and `chance` damages of files of the store at random.
pub fn starts(seed: u64, chance: u64) -> Starts {
    let mut found = Starts::default();
    let (whole, trimmed) = (Prepared::new(seed, false), Prepared::new(seed, true));
    // Of the older generation, which the journal still reaches back to.
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (archive, copy) = (folder.path().join("older.mra"), trimmed.copy());
    let older = ["--generation", "2", "--without-journal"];
    let base = ["snapshot", "export", "--data-dir", arg(copy.path()), "--to", arg(&archive)];
    let (code, _, error) = told(&[&base[..], &older].concat());
    assert_eq!(code, Some(0), "{error}");
    let prepared = (&whole, &trimmed, &*archive);
    for Variant { name, damage, tells } in &VARIANTS {
        start(&mut found, prepared, name, damage, *tells);
    }
    for n in 0..chance {
        let seed = seed.wrapping_mul(1_000_003) + n;
        start(&mut found, prepared, &format!("at random, {seed}"), &|dir: &Path| at_random(dir, seed), false);
    }
    found
}

fn arg(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

/// What a new directory of an archive and of the journals of a damaged one is.
fn rebuilt(damaged: &Path, archive: &Path) -> Result<State, String> {
    let into = tempfile::tempdir().expect("a temporary directory");
    let new = into.path().join("new");
    let arguments = ["--from", arg(archive), "--journal-from", arg(damaged), "--into", arg(&new)];
    let (code, _, error) = told(&[&["snapshot", "restore"], &arguments[..]].concat());
    if code != Some(0) {
        return Err(error);
    }
    Prepared::of(&new).map(|(_, state)| state)
}

/// Damages a copy of each and starts it.
fn start(
    found: &mut Starts,
    (whole, trimmed, archive): (&Prepared, &Prepared, &Path),
    name: &str,
    damage: &dyn Fn(&Path),
    tells: bool,
) {
    found.variants += 1;
    let copy = whole.copy();
    damage(copy.path());
    let fail = |found: &mut Starts, what: String| drop(found.failed.insert(name.to_owned(), what));
    match Prepared::with_snapshot(copy.path()) {
        Err(error) => fail(found, error),
        Ok((report, state)) => {
            found.started += 1;
            if state != whole.state {
                found.lost += 1;
                fail(found, format!("{state:?} in the place of {:?}: {report:?}", whole.state));
            }
            let said = !report.store.is_empty() || !report.passed_over.is_empty();
            // Without a manifest there is nothing that a start could miss.
            if (tells || report.generation == 0) && !said && name != "every manifest removed" {
                found.silent += 1;
                fail(found, format!("nothing is said of it: {report:?}"));
            }
            // What it wrote then is what the next start uses.
            match Prepared::of(copy.path()) {
                Ok((again, now)) if digests(&now) == digests(&whole.state) && again.generation > report.generation => {}
                other => {
                    found.no_snapshot += 1;
                    fail(found, format!("after a snapshot: {other:?}, before: {report:?}"));
                }
            }
        }
    }
    let copy = trimmed.copy();
    damage(copy.path());
    let journals = bytes_of(&copy.path().join("journal"));
    match Prepared::of(copy.path()) {
        Ok((_, state)) if state == trimmed.state => found.trimmed_started += 1,
        Ok((report, state)) => {
            found.lost += 1;
            fail(found, format!("trimmed: {state:?} in the place of {:?}: {report:?}", trimmed.state));
        }
        Err(error) if error.contains("snapshot restore") && journals == bytes_of(&copy.path().join("journal")) => {
            found.trimmed_refused += 1;
            match rebuilt(copy.path(), archive) {
                Ok(state) if state == trimmed.state => found.trimmed_rebuilt += 1,
                other => fail(found, format!("rebuilt from an archive: {other:?}")),
            }
        }
        Err(error) => fail(found, format!("trimmed: {error}")),
    }
}

#[test]
fn a_damaged_store_costs_nothing_that_was_acknowledged() {
    let found = starts(1, 8);
    assert!(found.holds(), "{found:#?}");
}
