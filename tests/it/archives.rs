//! D9: a restore gives what was there, or nothing: every bad archive and every bad source is refused with what is wrong and
//! where, and leaves neither a directory nor a trace of one.

use std::fs;
use std::path::{Path, PathBuf};

use mirra::base::{Reader, Rng};
use mirra::storage::archive::format::{HEADER_BYTES, SECTION_HEAD_BYTES};

use crate::prepared::{Prepared, bytes_of};
use crate::stamp;
use crate::support::told;

/// What became of restores.
#[derive(Clone, Debug, Default)]
pub struct Restores {
    /// Good ones, and those of them that came back as another than the source.
    pub good: u64,
    pub hash_mismatches: u64,
    /// Bad ones: tried, and refused with a message that says where.
    pub tried: u64,
    pub refused: u64,
    /// Directories and files that were left.
    pub leftovers: u64,
    /// Times that the source's bytes changed.
    pub source_changed: u64,
    /// Times that the source did not start as before.
    pub source_starts_otherwise: u64,
    /// What did not go as it should.
    pub wrong: Vec<String>,
}

impl Restores {
    pub fn holds(&self) -> bool {
        let amiss = self.leftovers + self.source_changed + self.source_starts_otherwise + self.hash_mismatches;
        self.good > 0 && self.tried == self.refused && amiss == 0 && self.wrong.is_empty()
    }
}

fn arg(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

/// Where the sections of an archive begin and end.
fn sections(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut at, mut found) = (HEADER_BYTES, Vec::new());
    while at < bytes.len() {
        let length = Reader::new(&bytes[at + 1..]).u32().expect("a section") as usize;
        found.push(at..at + SECTION_HEAD_BYTES + length);
        at += SECTION_HEAD_BYTES + length;
    }
    found
}

/// An archive with its sections in another order, or some of them left out or repeated.
fn ordered(bytes: &[u8], order: &[usize]) -> Vec<u8> {
    let sections = sections(bytes);
    let parts = order.iter().flat_map(|at| bytes[sections[*at].clone()].iter());
    bytes[..HEADER_BYTES].iter().chain(parts).copied().collect()
}

fn stamped(mut bytes: Vec<u8>) -> Vec<u8> {
    stamp::archive(&mut bytes);
    bytes
}

/// Bad archives by name: `rounds` of each kind that chance has a part in. `other` is of another cluster.
fn bad_archives(good: &[u8], other: &[u8], rounds: u64, rng: &mut Rng) -> Vec<(String, Vec<u8>)> {
    let mut bad: Vec<(String, Vec<u8>)> = Vec::new();
    let all = sections(good);
    let last = all.len() - 1;
    let below = |rng: &mut Rng, limit: usize| rng.below(limit as u64) as usize;
    let of_kind = |kind: u8| all.iter().position(|section| good[section.start] == kind).expect("every kind is there");
    let (chunk, epoch, segment) = (of_kind(4), of_kind(5), of_kind(6));
    let in_order: Vec<usize> = (0..all.len()).collect();
    for round in 0..rounds {
        let cut = below(rng, good.len());
        bad.push((format!("cut at {cut}"), good[..cut].to_vec()));
        let section = &all[below(rng, all.len())];
        bad.push((format!("cut where a section ends, {}", section.start), good[..section.start].to_vec()));
        let mut flipped = good.to_vec();
        let at = below(rng, good.len());
        flipped[at] ^= 1 << rng.below(8);
        bad.push((format!("flipped at {at}"), flipped));
        let mut zeroed = good.to_vec();
        let at = below(rng, good.len()) / 512 * 512;
        let end = (at + 512).min(good.len());
        if zeroed[at..end].iter().any(|byte| *byte != 0) {
            zeroed[at..end].fill(0);
            bad.push((format!("zeroed at {at}"), zeroed));
        }
        let (one, two) = (below(rng, last), below(rng, last));
        if one != two {
            let mut order = in_order.clone();
            order.swap(one, two);
            bad.push((format!("sections {one} and {two} swapped"), ordered(good, &order)));
            bad.push((format!("sections {one} and {two} swapped and stamped"), stamped(ordered(good, &order))));
        }
        let lost = below(rng, last);
        let without: Vec<usize> = in_order.iter().copied().filter(|at| *at != lost).collect();
        bad.push((format!("section {lost} left out and stamped"), stamped(ordered(good, &without))));
        let mut twice = in_order.clone();
        twice.insert(lost, lost);
        bad.push((format!("section {lost} twice and stamped"), stamped(ordered(good, &twice))));
        let mut garbage = good.to_vec();
        let at = below(rng, good.len() - 64);
        garbage[at..at + 64].fill_with(|| rng.bits() as u8);
        bad.push((format!("garbage at {at}, round {round}"), garbage));
    }
    let mut changed = |what: &str, restamp: bool, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.to_vec();
        change(&mut bytes);
        bad.push((what.to_owned(), if restamp { stamped(bytes) } else { bytes }));
    };
    let body = |section: usize| all[section].start + SECTION_HEAD_BYTES;
    let header = |bytes: &mut Vec<u8>, version: u16| {
        bytes[8..10].copy_from_slice(&version.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..26]).rotate_right(15).wrapping_add(0xA282_EAD8);
        bytes[26..30].copy_from_slice(&crc.to_le_bytes());
    };
    changed("version 2", false, &|bytes| header(bytes, 2));
    changed("version 0", false, &|bytes| header(bytes, 0));
    changed("version 65535", false, &|bytes| header(bytes, u16::MAX));
    changed("no bytes", false, &|bytes| bytes.clear());
    changed("a header alone", false, &|bytes| bytes.truncate(HEADER_BYTES));
    changed("a text", false, &|bytes| *bytes = b"user\titem\n7\t3\n".repeat(100));
    changed("a byte behind the footer", false, &|bytes| bytes.push(0));
    changed("an archive behind the archive", false, &|bytes| bytes.extend_from_slice(good));
    changed("a length of 4 GiB", false, &|bytes| bytes[all[chunk].start + 1..][..4].fill(0xFF));
    changed("a chunk of 1 MiB that is not there", false, &|bytes| {
        bytes[all[chunk].start + 1..][..4].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    });
    changed("a kind that is none", true, &|bytes| bytes[all[chunk].start] = 200);
    changed("another generation in the header", true, &|bytes| bytes[18] ^= 1);
    changed("another cluster in the header", true, &|bytes| bytes[10] ^= 1);
    changed("a chunk's bytes changed and stamped", true, &|bytes| bytes[body(chunk) + 10] ^= 1);
    changed("a chunk of shard 65535", true, &|bytes| bytes[body(chunk)..][..2].fill(0xFF));
    changed("a chunk of index 2^32 - 1", true, &|bytes| bytes[body(chunk) + 2..][..4].fill(0xFF));
    changed("an item model's bytes changed and stamped", true, &|bytes| bytes[body(epoch) + 60] ^= 1);
    changed("an item model of another number", true, &|bytes| bytes[body(epoch)] ^= 1);
    changed("a piece of an item model from 2^64 - 1 on", true, &|bytes| bytes[body(epoch) + 4..][..8].fill(0xFF));
    changed("a journal of shard 65535", true, &|bytes| bytes[body(segment)..][..2].fill(0xFF));
    changed("a segment under another number", true, &|bytes| bytes[body(segment) + 2] ^= 0x40);
    changed("a segment's header changed and stamped", true, &|bytes| bytes[body(segment) + 18 + 20] ^= 1);
    changed("a segment's first record changed and stamped", true, &|bytes| bytes[body(segment) + 18 + 60] ^= 1);
    changed("counts of the footer", true, &|bytes| bytes[body(last)..][..40].fill(0xFF));
    changed("a manifest changed and stamped", true, &|bytes| bytes[body(of_kind(3)) + 40] ^= 1);
    changed("a meta changed and stamped", true, &|bytes| bytes[body(of_kind(1)) + 20] ^= 1);
    // Of another cluster: sections as they are and stamped, one and all of them.
    let foreign = sections(other);
    let kind_of = |bytes: &[u8], section: &std::ops::Range<usize>, kind: u8| bytes[section.start] == kind;
    for (name, kind) in [("meta", 1), ("manifest", 3), ("chunks", 4), ("item model", 5), ("journal", 6)] {
        let theirs = foreign.iter().filter(|section| kind_of(other, section, kind));
        let theirs: Vec<u8> = theirs.flat_map(|section| &other[section.clone()]).copied().collect();
        let before = all.iter().take_while(|section| good[section.start] < kind).last().map_or(HEADER_BYTES, |s| s.end);
        let behind = all.iter().find(|section| good[section.start] > kind).map_or(good.len(), |s| s.start);
        let spliced = [&good[..before], &theirs, &good[behind..]].concat();
        bad.push((format!("{name} of another cluster"), spliced.clone()));
        // An item model says of which epoch it is and not of which cluster: one that is stamped anew is forged.
        if kind != 5 {
            bad.push((format!("{name} of another cluster, stamped"), stamped(spliced)));
        }
    }
    bad
}

/// Bad sources and targets, as arguments, each over a fresh copy where something is changed.
fn bad_sources(prepared: &Prepared) -> Vec<(&'static str, tempfile::TempDir)> {
    let copied = |change: &dyn Fn(&Path)| {
        let copy = prepared.copy();
        change(copy.path());
        copy
    };
    let flip = |path: PathBuf, at: usize| {
        let mut bytes = fs::read(&path).expect("readable");
        bytes[at] ^= 1;
        fs::write(&path, bytes).expect("written");
    };
    vec![
        ("a damaged journal", copied(&|dir| flip(dir.join("journal/shard-000/0000000001.mjl"), 60))),
        ("a damaged meta", copied(&|dir| flip(dir.join("mirra.meta"), 30))),
        ("a damaged schema", copied(&|dir| flip(dir.join("mirra.schema"), 30))),
        ("a damaged item model", copied(&|dir| flip(dir.join("epochs/epoch-0000000001.mep"), 60))),
        ("no meta", copied(&|dir| fs::remove_file(dir.join("mirra.meta")).expect("removed"))),
        ("no generation", copied(&|dir| fs::remove_dir_all(dir.join("manifests")).expect("removed"))),
    ]
}

/// Tries good and bad restores.
pub fn restores(seed: u64, rounds: u64) -> Restores {
    let mut found = Restores::default();
    let mut rng = Rng::new(seed);
    let (prepared, foreign) = (Prepared::new(rng.bits(), false), Prepared::new(rng.bits(), false));
    let place = tempfile::tempdir().expect("a temporary directory");
    let archive = |name: &str, of: &Prepared| {
        let path = place.path().join(name);
        let arguments = ["snapshot", "export", "--data-dir", arg(of.dir.path()), "--to", arg(&path)];
        let (code, _, error) = told(&arguments);
        assert_eq!(code, Some(0), "{error}");
        path
    };
    let (good, other) = (archive("good.mra", &prepared), archive("other.mra", &foreign));
    let into = place.path().join("new");
    // Good: by the file, and by the directory.
    for source in [["--from", arg(&good)], ["--data-dir", arg(prepared.dir.path())]] {
        found.good += 1;
        let (code, _, error) = told(&[&["snapshot", "restore"], &source[..], &["--into", arg(&into)]].concat());
        assert_eq!(code, Some(0), "{error}");
        let (report, state) = Prepared::of(&into).expect("what was restored starts");
        found.hash_mismatches += u64::from(state != prepared.state || report.generation != 2);
        fs::remove_dir_all(&into).expect("removed");
    }
    let (bad, good) = (place.path().join("bad.mra"), fs::read(good).expect("readable"));
    let other = fs::read(other).expect("readable");
    let before = bytes_of(prepared.dir.path());
    let refused = |found: &mut Restores, what: &str, arguments: &[&str], keep: &Path, allowed: &[&str]| {
        let names = || -> Vec<_> {
            let entries = fs::read_dir(place.path()).expect("a directory");
            let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
            names.sort();
            names
        };
        let (names_before, kept) = (names(), keep.is_dir().then(|| bytes_of(keep)));
        let (code, _, error) = told(&[&["snapshot", "restore"], arguments].concat());
        found.tried += 1;
        let said = error.starts_with("error: ") && allowed.iter().any(|place| error.contains(place));
        match code == Some(1) && said {
            true => found.refused += 1,
            false => found.wrong.push(format!("{what}: exit code {code:?}, {error}")),
        }
        let names_after = names();
        let left = names_after.len().abs_diff(names_before.len()) as u64;
        found.leftovers += left.max(u64::from(names_after != names_before));
        found.source_changed += u64::from(kept.is_some_and(|kept| kept != bytes_of(keep)));
        if names_after != names_before {
            found.wrong.push(format!("{what}: left {names_after:?}"));
        }
    };
    for (what, bytes) in bad_archives(&good, &other, rounds, &mut rng) {
        assert!(bytes != good, "{what} is no change");
        fs::write(&bad, bytes).expect("written");
        // A journal is told by its segment below the new directory, which is gone again.
        let told_by = ["bad.mra", ".mjl"];
        refused(&mut found, &what, &["--from", arg(&bad), "--into", arg(&into)], prepared.dir.path(), &told_by);
    }
    fs::write(&bad, &good).expect("written");
    let full = place.path().join("full");
    fs::create_dir(&full).expect("a directory");
    fs::write(full.join("mine"), b"mine").expect("written");
    let targets = [
        ("a target that is not empty", full.clone(), "full"),
        ("a target that is a file", bad.clone(), "bad.mra"),
        ("a target in no directory", place.path().join("no/new"), "no"),
    ];
    for (what, target, named) in targets {
        refused(&mut found, what, &["--from", arg(&bad), "--into", arg(&target)], &full, &[named]);
    }
    let foreign_journal = ["--from", arg(&bad), "--journal-from", arg(foreign.dir.path()), "--into", arg(&into)];
    refused(&mut found, "journals of another cluster", &foreign_journal, foreign.dir.path(), &["mirra.meta"]);
    for (what, source) in bad_sources(&prepared) {
        let named = source.path().to_str().expect("UTF-8").to_owned();
        let told_by = [&named[..], ".mjl"];
        refused(&mut found, what, &["--data-dir", arg(source.path()), "--into", arg(&into)], source.path(), &told_by);
    }
    found.source_changed += u64::from(before != bytes_of(prepared.dir.path()));
    let started = Prepared::of(prepared.dir.path()); // the last: it goes on
    found.source_starts_otherwise += u64::from(!started.is_ok_and(|(_, state)| state == prepared.state));
    found
}

#[test]
fn restores_give_what_was_there_or_nothing() {
    let found = restores(1, 2);
    assert!(found.holds() && found.tried >= 50, "{found:#?}");
}
