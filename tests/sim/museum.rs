//! The bug museum: mistakes that somebody could make, each a few words of the real source put in the place of others. The
//! simulator must catch at least [`CAUGHT_MIN`] of them.
//!
//! ```sh
//! cargo test --test sim -- --ignored museum --nocapture          # half an hour: each is built and run
//! MIRRA_MUTANT=7 cargo test --test sim -- --ignored museum --nocapture
//! ```
//!
//! That every one still fits the source is checked with the other tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The least that must be caught, of all.
const CAUGHT_MIN: usize = 18;

/// A mistake: which file, what stands there, what stands there instead.
struct Mutant {
    name: &'static str,
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
}

const fn mutant(name: &'static str, file: &'static str, right: &'static str, wrong: &'static str) -> Mutant {
    Mutant { name, file, right, wrong }
}

const MUTANTS: [Mutant; 20] = [
    mutant(
        "a full segment is not synced before what stands in the next",
        "src/storage/journal/writer.rs",
        "        let parts = self.unsynced().cloned().chain([newest]).collect();\n",
        "        let parts = vec![newest];\n",
    ),
    mutant(
        "what an earlier process wrote is not made durable",
        "src/storage/journal/writer.rs",
        "        if torn || reader.synced() < next_sequence {\n",
        "        if torn {\n",
    ),
    mutant(
        "the name of a new segment is not synced",
        "src/storage/journal/sync.rs",
        "            sync_dir(self.place.disk(), &self.place.dir).map_err(|error| self.shared.poison(error))?;\n",
        "",
    ),
    mutant(
        "a small file is renamed into place before it is synced",
        "src/storage/files.rs",
        "        file.sync()\n",
        "        Ok(())\n",
    ),
    mutant(
        "the name of a small file is not synced",
        "src/storage/files.rs",
        "    disk.rename(&temp, path).map_err(StorageError::io(\"rename into place\", path))?;\n    sync_dir(disk, parent(path))\n",
        "    disk.rename(&temp, path).map_err(StorageError::io(\"rename into place\", path))\n",
    ),
    mutant(
        "chunks are not synced before their manifest is there",
        "src/storage/snapshot/store.rs",
        "        self.chunks.sync().map_err(|reason| self.store(\"sync\", reason))?;\n",
        "",
    ),
    mutant(
        "journals are not synced as far as the images of a generation",
        "src/engine/snapshot.rs",
        "        image.sync.sync()?;\n",
        "        let _ = &image.sync;\n",
    ),
    mutant(
        "answers go though the journal could not be written",
        "src/shard/journaled.rs",
        "            _ if !well => Self::Refused,\n",
        "            Durability::Applied if !well => Self::Refused,\n",
    ),
    mutant(
        "a sync that failed counts",
        "src/storage/journal/sync.rs",
        "            synced.map_err(|source| self.shared.poison(StorageError::io(\"sync\", &part.path)(source)))?;\n",
        "        let _ = synced;\n",
    ),
    mutant(
        "a failure poisons nothing",
        "src/storage/journal/sync.rs",
        "        self.poison.get_or_init(|| error.to_string());\n",
        "",
    ),
    mutant(
        "journals are trimmed to the newest generation",
        "src/engine/snapshot.rs",
        ".map(|entry| entry.sequence).min();",
        ".map(|entry| entry.sequence + 1_000).max();",
    ),
    mutant(
        "a parcel that comes again is merged again",
        "src/state/trade.rs",
        "            let fresh = observation.sequence > newest;\n",
        "            let fresh = observation.sequence > 0 || newest > 0;\n",
    ),
    mutant(
        "a parcel leaves before its events are written",
        "src/shard/journaled.rs",
        "        (waits && self.write_journal()).then(",
        "        waits.then(",
    ),
    mutant(
        "a parcel that did not arrive is forgotten",
        "src/state/exchange.rs",
        "    pub fn unsend(&mut self) {\n        self.sent = false;\n",
        "    pub fn unsend(&mut self) {\n        self.acknowledge(u64::MAX);\n",
    ),
    mutant(
        "sequences that peers have merged are used again",
        "src/engine/bring_back.rs",
        "    skip_what_peers_merged(&mut recovered);\n",
        "    skip_what_peers_merged(&mut recovered[..0]);\n",
    ),
    mutant(
        "records within the snapshot are replayed",
        "src/shard/recovery.rs",
        "end <= shard.sequence() + 1)",
        "end + 50 <= shard.sequence() + 1)",
    ),
    mutant(
        "an event that comes again is learned again",
        "src/model/history.rs",
        "            && self.entries.iter().any(|entry| entry.event_id == event_id)\n",
        "            && self.entries.iter().rev().take(3).any(|entry| entry.event_id == event_id)\n",
    ),
    mutant(
        "an image takes users as they are later",
        "src/state/image.rs",
        "            && image.users.take(slot)\n",
        "            && slot == usize::MAX\n            && image.users.take(slot)\n",
    ),
    mutant("a machine is used on after a panic", "src/shard/journaled.rs", "        self.recover();\n", ""),
    mutant(
        "a clean stop does not sync",
        "src/shard/journaled.rs",
        "        self.write_journal() && self.journal.sync().is_ok() && self.journal.mark().is_ok() && self.write_journal()\n",
        "        self.write_journal()\n",
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_mutant_still_fits_the_source() {
    for Mutant { name, file, right, wrong } in &MUTANTS {
        let source =
            std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{name}: {file}: {error}"));
        assert_eq!(source.matches(right).count(), 1, "{name}: {file} must have once {right:?}");
        assert_ne!(right, wrong, "{name}");
    }
}

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Caught,
    Missed,
    /// It does not compile: it must be written anew.
    Broken,
}

/// A copy of what is built, with a folder of its own for what comes of it.
struct Workshop {
    dir: PathBuf,
}

impl Workshop {
    fn open() -> Self {
        let dir = root().join("target/museum");
        let _ = std::fs::remove_dir_all(&dir); // of an earlier run; what is left is written over
        for name in ["src", "tests", "benches", "examples", "docs"] {
            copy(&root().join(name), &dir.join(name));
        }
        for name in ["Cargo.toml", "Cargo.lock", "config.toml", "README.md"] {
            std::fs::copy(root().join(name), dir.join(name)).expect("copied");
        }
        Self { dir }
    }

    fn cargo(&self, arguments: &[&str]) -> bool {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(&self.dir).args(["test", "--test", "sim", "--locked", "--quiet"]).args(arguments);
        cargo.env("CARGO_TARGET_DIR", root().join("target/museum-target")).env("MIRRA_SIM_RUNS", "300");
        cargo.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("cargo runs").success()
    }

    fn fate(&self, mutant: &Mutant) -> Fate {
        let path = self.dir.join(mutant.file);
        let source = std::fs::read_to_string(&path).expect("copied");
        std::fs::write(&path, source.replacen(mutant.right, mutant.wrong, 1)).expect("written");
        let built = self.cargo(&["--no-run"]);
        let passed = built && self.cargo(&["nothing_acknowledged"]);
        std::fs::write(&path, source).expect("written");
        match (built, passed) {
            (false, _) => Fate::Broken,
            (true, true) => Fate::Missed,
            (true, false) => Fate::Caught,
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
#[ignore = "builds the library twenty times"]
fn the_museum_is_caught() {
    let only = crate::from_environment("MIRRA_MUTANT");
    let workshop = Workshop::open();
    assert!(only.is_some() || workshop.cargo(&["nothing_acknowledged"]), "it fails without any mistake");
    let mut fates = Vec::new();
    for (number, mutant) in (1..).zip(&MUTANTS).filter(|(number, _)| only.is_none_or(|only| only == *number)) {
        let began = Instant::now();
        let fate = workshop.fate(mutant);
        println!("{number:>2} {fate:?} in {:.0} s: {}", began.elapsed().as_secs_f64(), mutant.name);
        fates.push(fate);
    }
    let count = |wanted: Fate| fates.iter().filter(|fate| **fate == wanted).count();
    println!("{} of {} caught", count(Fate::Caught), fates.len());
    assert_eq!(count(Fate::Broken), 0, "some do not compile");
    assert!(only.is_some() || count(Fate::Caught) >= CAUGHT_MIN, "fewer than {CAUGHT_MIN}");
}
