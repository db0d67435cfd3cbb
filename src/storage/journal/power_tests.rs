//! Power loss, simulated (bar D2): a writer with syncs at random points, then images of the disk on which every synced
//! byte is there and of the rest any block is kept, zero, torn, stale or cut off, in any order. The reader must give a
//! prefix without holes that has everything below the last sync; then the journal goes on, and power is lost again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::format::{
    FORMAT_VERSION, KIND_GAP, RECORD_HEAD_BYTES, Record, SegmentHeader, encode_header, encode_record, segment_seed,
};
use super::segments::segment_path;
use super::testing::{CLUSTER, Owned, SHARD, fill, fill_synced, open, place, put, read};
use super::watched::{Call, Watch, watched_place};
use super::{JournalOptions, JournalWriter, verify};
use crate::base::Rng;
use crate::storage::{OsDisk, StorageError};

#[path = "../../../tests/sim/power.rs"]
mod power;

/// What power loss keeps of each file.
#[derive(Debug, Default)]
struct Synced(Mutex<BTreeMap<PathBuf, Kept>>);

#[derive(Debug, Default)]
struct Kept {
    bytes: usize,
    /// Whether the directory was synced since it has its name.
    name: bool,
}

impl Watch for Synced {
    fn before(&self, call: Call<'_>) -> io::Result<()> {
        let mut synced = self.0.lock().unwrap();
        match call {
            Call::CreateNew(path) | Call::Create(path) => drop(synced.insert(path.to_path_buf(), Kept::default())),
            Call::Sync(path) if path.is_file() => {
                synced.entry(path.to_path_buf()).or_default().bytes = fs::metadata(path)?.len() as usize;
            }
            Call::Sync(dir) => {
                let there = synced.iter_mut().filter(|(path, _)| path.parent() == Some(dir));
                there.for_each(|(_, kept)| kept.name = true);
            }
            Call::Rename(from, to) => {
                let kept = synced.remove(from);
                synced.extend(kept.map(|Kept { bytes, .. }| (to.to_path_buf(), Kept { bytes, name: false })));
            }
            Call::Write | Call::Remove => {}
        }
        Ok(())
    }
}

/// What was written, and below which sequence it was acknowledged as durable.
struct History {
    records: Vec<Owned>,
    next: u64,
    durable: u64,
}

/// Opens the journal and appends, with gaps, rotations, and syncs of now and of a while ago; gives how many segments
/// were set aside.
fn run(dir: &Path, disk: &Arc<Synced>, rng: &mut Rng, history: &mut History) -> usize {
    let options = JournalOptions { segment_bytes: 0, buffer_bytes: 512 };
    let mut writer = JournalWriter::open(&watched_place(disk, dir), history.next, options).unwrap();
    let (mut earlier, syncs) = (None, 2 + rng.below(30));
    for _ in 0..rng.below(30) {
        for _ in 0..=rng.below(4) {
            if rng.below(30) == 0 {
                writer.gap(writer.next_sequence() + rng.below(5)).unwrap();
            }
            let longest = if rng.below(8) == 0 { 3_000 } else { 120 };
            let payload: Vec<u8> = (0..rng.below(longest)).map(|_| rng.bits() as u8).collect();
            let (first, count) = (writer.next_sequence(), 1 + rng.below(3) as u32);
            writer.append(1, first, count, 0, &[&payload]).unwrap();
            history.records.push((first, count, payload));
        }
        writer.write().unwrap();
        match rng.below(syncs) {
            0 => assert_eq!(writer.sync().unwrap(), writer.next_sequence()),
            1 => earlier = Some(writer.sync_handle()),
            2 => assert!(earlier.take().is_none_or(|handle| handle.sync().is_ok())),
            _ => {}
        }
    }
    (history.next, history.durable) = (writer.next_sequence(), writer.durable_sequence());
    writer.set_aside().len()
}

/// Makes of every file what power loss could leave of it; that then stays.
fn lose_power(disk: &Synced, rng: &mut Rng) {
    let mut synced = disk.0.lock().unwrap();
    synced.retain(|path, _| path.is_file());
    let stale = synced.keys().next().map(|path| fs::read(path).unwrap()).unwrap_or_default();
    synced.retain(|path, keep| {
        if !keep.name && rng.below(2) == 0 {
            fs::remove_file(path).unwrap();
            return false;
        }
        let live = fs::read(path).unwrap();
        let image = if live.len() == keep.bytes { live } else { power::image(live, keep.bytes, &stale, rng) };
        put(path, &image);
        *keep = Kept { bytes: image.len(), name: true };
        true
    });
}

/// Flips bits all over: what is read still has everything that the marks call synced, or it is refused; never silent.
fn flip_bits(dir: &Path, history: &History, synced: u64, at: &str, rng: &mut Rng) -> u64 {
    let mut refused = 0;
    for _ in 0..5 {
        let files = crate::storage::files::list_numbered(&OsDisk, dir, "", ".mjl").unwrap();
        let Some((_, path)) = files.get(rng.below(files.len().max(1) as u64) as usize) else { return 0 };
        let good = fs::read(path).unwrap();
        let mut bad = good.clone();
        let bit = rng.below((good.len() * 8).max(1) as u64) as usize;
        let Some(byte) = bad.get_mut(bit / 8) else { continue };
        *byte ^= 1 << (bit % 8);
        put(path, &bad);
        match read(dir, 1) {
            Err(StorageError::JournalDamaged { .. } | StorageError::MissingHistory { .. }) => refused += 1,
            Err(other) => panic!("{at}, bit {bit} of {}: {other}", path.display()),
            Ok((records, reader)) => {
                assert!(reader.next_sequence() >= synced, "{at}, bit {bit} of {}", path.display());
                assert_eq!(records, history.records[..records.len()], "{at}, bit {bit} of {}", path.display());
                assert!(reader.next_sequence() == history.next || !reader.torn().is_empty(), "{at}, bit {bit}");
            }
        }
        put(path, &good);
    }
    refused
}

/// 700 journals, three crashes on top of each other each.
#[test]
fn power_loss_leaves_a_prefix_with_everything_durable() {
    let (mut images, mut lost, mut disordered, mut aside, mut refused) = (0, 0, 0, 0, 0);
    for seed in 0..700 {
        let mut rng = Rng::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let disk = Arc::new(Synced::default());
        let mut history = History { records: Vec::new(), next: 1, durable: 1 };
        for crash in 0..3 {
            let at = format!("seed {seed}, crash {crash}");
            aside += run(dir, &disk, &mut rng, &mut history);
            lose_power(&disk, &mut rng);
            let (records, reader) = read(dir, 1).unwrap_or_else(|error| panic!("{at}: {error}"));
            let next = reader.next_sequence();
            assert!(next >= history.durable, "{at}: {next}, durable {}", history.durable);
            assert!(reader.synced() <= history.durable, "{at}: marks say {}", reader.synced());
            let kept = history.records.iter().filter(|(first, count, _)| first + u64::from(*count) <= next).count();
            assert!(records == history.records[..kept], "{at}: {} of {kept}", records.len());
            // Every way to look at it ends at the same place.
            let (_, late) = read(dir, history.durable).unwrap_or_else(|error| panic!("{at}: {error}"));
            let report = verify(&place(dir)).unwrap_or_else(|error| panic!("{at}: {error}"));
            assert!(reader.end().is_none() || (late.end(), report.next_sequence) == (reader.end(), Some(next)), "{at}");
            images += 1;
            lost += u64::from(kept < history.records.len());
            disordered += u64::from(reader.torn().iter().any(|torn| torn.records_dropped > 0));
            history.records.truncate(kept);
            history.next = next;
            let flips = flip_bits(dir, &history, reader.synced(), &at, &mut rng);
            refused += flips;
        }
    }
    println!("{images} images, {lost} lost records, {disordered} disordered, {aside} aside, {refused} flips refused");
    assert!(images >= 2_000 && lost > 500 && disordered > 200 && aside > 50 && refused > 3_000);
}

/// In an unsynced tail any order is fine; one mark behind it that says otherwise, and it is damage.
#[test]
fn a_mark_behind_a_bad_record_tells_damage_from_a_tail() {
    for synced in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path(), 1);
        fill_synced(&mut writer, 4);
        let known = writer.next_sequence();
        // Its marks are those of before.
        let lost = fill(&mut writer, 1);
        let offset =
            fs::metadata(segment_path(dir.path(), 1)).unwrap().len() as usize - lost[0].2.len() - RECORD_HEAD_BYTES;
        if synced {
            writer.sync().unwrap();
        }
        fill(&mut writer, 3);
        let path = segment_path(dir.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        bytes[offset + 20] ^= 1;
        fs::write(&path, &bytes).unwrap();
        match read(dir.path(), 1) {
            Ok((records, reader)) => {
                assert!(!synced);
                assert_eq!((records.len(), reader.next_sequence(), reader.synced()), (4, known, records[3].0));
                let [torn] = reader.torn() else { panic!("{:?}", reader.torn()) };
                assert_eq!((torn.offset, torn.records_dropped, torn.next_sequence), (offset as u64, 3, known));
                // The tail stays behind the cut, and the journal goes on with marks that are far above it.
                fill_synced(&mut open(dir.path(), known), 5);
                let (records, reader) = read(dir.path(), 1).unwrap();
                assert_eq!((records.len(), reader.torn().len()), (9, 1));
                // Without the segment that goes on there, those marks would tell of a loss.
                let header = &mut fs::read(segment_path(dir.path(), 2)).unwrap();
                header[30] ^= 1;
                fs::write(segment_path(dir.path(), 2), header).unwrap();
                let refused = read(dir.path(), 1).map(|_| ());
                assert!(matches!(refused, Err(StorageError::JournalDamaged { sequence, .. }) if sequence == known));
            }
            Err(StorageError::JournalDamaged { offset: found, sequence, reason, .. }) => {
                assert!(synced && reason.contains("was synced"), "{reason}");
                assert_eq!((found, sequence), (offset as u64, known));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Our writer syncs a segment before it begins the next. One that did not may leave a later segment without the
/// earlier one's end: it is dropped and set aside, unless a mark says that what lies between was synced.
#[test]
fn a_later_segment_without_what_was_before_it_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let written = fill(&mut open(dir.path(), 1), 5);
    let end = read(dir.path(), 1).unwrap().1.next_sequence();
    let stray = |synced: u64| {
        let first_sequence = end + 7;
        let header = SegmentHeader {
            version: FORMAT_VERSION,
            shard: SHARD,
            segment: 2,
            cluster_id: CLUSTER,
            first_sequence,
            synced: end,
        };
        let (mut bytes, chain) = encode_header(&header);
        let record = Record { kind: KIND_GAP, first_sequence: end + 9, count: 0, stamp_ms: 0, payload: &[] };
        encode_record(&mut bytes, segment_seed(2, SHARD), (chain, synced), &record, &[], 0);
        bytes
    };
    let path = segment_path(dir.path(), 2);
    fs::write(&path, stray(end + 1)).unwrap();
    let refused = read(dir.path(), 1).map(|_| ());
    assert!(matches!(refused, Err(StorageError::JournalDamaged { offset: 0, .. })), "{refused:?}");
    for number in 1..3 {
        fs::write(&path, stray(end)).unwrap();
        let (records, reader) = read(dir.path(), 1).unwrap();
        let torn: Vec<_> = reader
            .torn()
            .iter()
            .map(|torn| (torn.segment, torn.offset, torn.records_dropped, torn.next_sequence))
            .collect();
        assert_eq!((&records, torn), (&written, vec![(2, 0, 1, end)]));
        let mut writer = open(dir.path(), end);
        let aside = dir.path().join(format!("0000000002.mjl.dropped-{number}"));
        assert_eq!((writer.segment(), writer.set_aside()), (3, &[aside.clone()][..]));
        assert_eq!(fs::read(aside).unwrap(), stray(end));
        let added = fill_synced(&mut writer, 2);
        let (records, reader) = read(dir.path(), 1).unwrap();
        assert_eq!((records, reader.torn().len()), ([&written[..], &added].concat(), 0));
        fs::remove_file(segment_path(dir.path(), 3)).unwrap();
    }
}
