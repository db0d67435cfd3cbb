//! D18: who has the directory, and who wrote it. A second process is refused at once, with the pid of the first; formats of a
//! newer program are refused, by name of the file and with both versions, before anything is written. Files of old versions are
//! opened, and compared with golden bytes, by the unit tests of what reads them (`golden_*` in `storage` and `state`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::prepared::{Prepared, bytes_of, files};
use crate::support::{ServeProcess, told};

/// What became of the cases.
#[derive(Clone, Debug, Default)]
pub struct Cases {
    pub tried: u64,
    pub passed: u64,
    /// Longest that a second process took until it was refused, in milliseconds.
    pub refused_ms_max: f64,
    pub failed: Vec<String>,
}

impl Cases {
    pub fn holds(&self) -> bool {
        self.tried > 0 && self.passed == self.tried && self.refused_ms_max < 1_000.0
    }

    fn judge(&mut self, what: &str, well: bool, found: &str) {
        self.tried += 1;
        match well {
            true => self.passed += 1,
            false => self.failed.push(format!("{what}: {found}")),
        }
    }
}

/// Changes the version of a file in an envelope, and puts its checksum right.
fn version_of_envelope(path: &Path, version: u16) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[8..10].copy_from_slice(&version.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..14]), &bytes[18..]);
    bytes[14..18].copy_from_slice(&crc.to_le_bytes());
    fs::write(path, bytes).expect("written");
}

/// Changes the version in a header that ends with its masked checksum.
fn version_of_header(path: &Path, version: u16, header: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[8..10].copy_from_slice(&version.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..header - 4]).rotate_right(15).wrapping_add(0xA282_EAD8);
    bytes[header - 4..header].copy_from_slice(&crc.to_le_bytes());
    fs::write(path, bytes).expect("written");
}

/// A server that should be refused: what it said, and how long it took.
fn second(data_dir: &Path) -> (Option<i32>, String, Duration) {
    let began = Instant::now();
    let mut program = Command::new(env!("CARGO_BIN_EXE_mirra"));
    program.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir).env_clear();
    let mut child = program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    while child.try_wait().expect("a child can be asked").is_none() {
        if began.elapsed() > Duration::from_secs(20) {
            child.kill().expect("it can be killed");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let took = began.elapsed();
    let output = child.wait_with_output().expect("it has ended");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), took)
}

fn owners(found: &mut Cases, tries: u64) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    for _ in 0..tries {
        let server = ServeProcess::start(&data, &[]);
        let owner = format!("in use by process {}", server.pid());
        let (code, error, took) = second(&data);
        found.refused_ms_max = found.refused_ms_max.max(1_000.0 * took.as_secs_f64());
        found.judge("a second server", code == Some(1) && error.contains(&owner), &error);
        let data_dir = data.to_str().expect("UTF-8");
        let (code, _, error) = told(&["snapshot", "export", "--data-dir", data_dir, "--to", "/dev/null/no"]);
        found.judge("an export", code == Some(1) && error.contains(&owner), &error);
        // However the first dies, the directory is free.
        server.kill();
    }
    ServeProcess::start(&data, &[]).stop();
    found.judge("a start after owners that were killed", true, "");
}

/// A file of the directory, its newest version, and how it is changed to one more.
type Newer = (&'static str, fn(&Path) -> PathBuf, u16, fn(&Path, u16));

const NEWER: [Newer; 4] = [
    ("meta", |dir| dir.join("mirra.meta"), 2, version_of_envelope),
    ("schema", |dir| dir.join("mirra.schema"), 1, version_of_envelope),
    ("journal", |dir| dir.join("journal/shard-001/0000000001.mjl"), 1, |path, to| version_of_header(path, to, 48)),
    ("item model", |dir| dir.join("epochs/epoch-0000000001.mep"), 1, version_of_envelope),
];

fn newer(found: &mut Cases) {
    let prepared = Prepared::new(18, false);
    let told = |error: &str, path: &Path, newest: u16| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let versions = format!("has format version {}, this program reads 1 to {newest}: use a newer", newest + 1);
        error.contains(&name) && error.contains(&versions)
    };
    for (what, path, newest, change) in NEWER {
        let copy = prepared.copy();
        let path = path(copy.path());
        change(&path, newest + 1);
        if what == "item model" {
            // Otherwise the generation stands for it: the replay of a refit reads it.
            fs::remove_dir_all(copy.path().join("manifests")).expect("removed");
        }
        let kept = ["journal", "epochs"].map(|folder| copy.path().join(folder));
        let before = kept.each_ref().map(|folder| bytes_of(folder));
        let started = Prepared::of(copy.path());
        let untouched = before == kept.each_ref().map(|folder| bytes_of(folder));
        let well = untouched && started.as_ref().is_err_and(|error| told(error, &path, newest));
        found.judge(what, well, &format!("untouched: {untouched}, {started:?}"));
    }
    // The newest manifest alone: the older generation and more journal are the same, and it is said. All of them: the journal.
    for newer in [1, 2] {
        let copy = prepared.copy();
        let manifests = files(&copy.path().join("manifests"));
        for path in manifests.iter().rev().take(newer) {
            version_of_envelope(path, 2);
        }
        let started = Prepared::of(copy.path());
        let well = started.as_ref().is_ok_and(|(report, state)| {
            let said = report.passed_over.iter().filter(|line| line.contains("has format version 2")).count();
            *state == prepared.state && said == newer && report.generation as usize == 2 - newer
        });
        found.judge("manifests", well, &format!("{started:?}"));
    }
    // Where the journal does not make up for it there is no start.
    let trimmed = Prepared::new(19, true);
    files(&trimmed.dir.path().join("manifests")).iter().for_each(|path| version_of_envelope(path, 2));
    let started = Prepared::of(trimmed.dir.path());
    let well = started.as_ref().is_err_and(|error| error.matches("has format version 2").count() == 2);
    found.judge("manifests, the journal trimmed", well, &format!("{started:?}"));
}

/// Tries all of it, with so many second processes.
pub fn cases(tries: u64) -> Cases {
    let mut found = Cases::default();
    owners(&mut found, tries);
    newer(&mut found);
    found
}

#[test]
fn second_owners_and_newer_formats_are_refused() {
    let found = cases(2);
    assert!(found.holds(), "{found:#?}");
}
