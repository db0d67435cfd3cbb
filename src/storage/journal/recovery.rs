//! What is done to a whole journal: verify it, trim what snapshots cover, salvage what damage left.

use std::path::{Path, PathBuf};

use super::JournalPlace;
use super::reader::{Counts, JournalReader, TornTail};
use super::segments::{ASIDE_SUFFIX, SEGMENT_FILE_BYTES_MAX, SUFFIX, list_segments, start_index};
use crate::storage::error::StorageError;
use crate::storage::files::{list_numbered, read_bounded, remove_durably, sync_dir, write_atomically};

/// What [`verify`] found in a journal that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalReport {
    /// Segments, records, gaps, sequences and bytes.
    pub counts: Counts,
    /// The first sequence that is there; `None` if there is no segment with a whole header.
    pub first_sequence: Option<u64>,
    /// The sequence with which a writer goes on; `None` as above.
    pub next_sequence: Option<u64>,
    /// Torn tails that were cut, oldest first.
    pub torn: Vec<TornTail>,
}

/// What [`salvage`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SalvageReport {
    /// The damage, in words; `None` if there was none and nothing was touched.
    pub damage: Option<String>,
    /// The sequence with which the journal goes on; `None` if nothing is left.
    pub next_sequence: Option<u64>,
    /// The files that were moved out of the way, under their new names.
    pub set_aside: Vec<PathBuf>,
}

/// Reads every byte of a journal and checks everything; changes nothing.
///
/// # Errors
/// As [`JournalReader::open`] and [`JournalReader::next_record`].
pub fn verify(place: &JournalPlace) -> Result<JournalReport, StorageError> {
    let segments = list_segments(place)?;
    let first_sequence = segments.iter().find_map(|segment| Some(segment.header?.first_sequence));
    let mut reader = JournalReader::over(place, segments, first_sequence.unwrap_or(1));
    while reader.next_record()?.is_some() {}
    Ok(JournalReport {
        counts: reader.counts(),
        first_sequence,
        next_sequence: first_sequence.map(|_| reader.next_sequence()),
        torn: reader.torn().to_vec(),
    })
}

/// Removes the segments that hold only sequences below `keep_from_sequence`, oldest first, so that a crash leaves a
/// journal without holes. The newest segment always stays. Gives the numbers of the segments removed.
///
/// # Errors
/// [`StorageError::Io`], or what a segment's header says (see [`JournalReader::open`]).
pub fn trim(place: &JournalPlace, keep_from_sequence: u64) -> Result<Vec<u64>, StorageError> {
    let segments = list_segments(place)?;
    let keep = start_index(&segments, keep_from_sequence).unwrap_or(0);
    let mut removed = Vec::new();
    for segment in &segments[..keep] {
        // Each removal is made durable before the next: after power loss no younger one is gone while this is back.
        remove_durably(place.disk(), &segment.path)?;
        removed.push(segment.id);
    }
    Ok(removed)
}

/// Ends a damaged journal before its first damage, so that it opens again: LOSES every later sequence. The damaged
/// segment and all younger ones are kept beside it, called `*.mjl.damaged`. A good journal is not touched.
///
/// # Errors
/// [`StorageError::Io`], and headers of other clusters or versions; a crash or error in between leaves a journal that
/// can be salvaged again.
pub fn salvage(place: &JournalPlace) -> Result<SalvageReport, StorageError> {
    let mut done = SalvageReport { damage: None, next_sequence: None, set_aside: Vec::new() };
    loop {
        let (path, offset, text) = match verify(place) {
            Ok(report) => {
                done.next_sequence = report.next_sequence;
                return Ok(done);
            }
            Err(error) => {
                let text = error.to_string();
                let StorageError::JournalDamaged { path, offset, .. } = error else { return Err(error) };
                (path, offset, text)
            }
        };
        done.damage.get_or_insert(text);
        set_aside_from(place, &path, offset, &mut done.set_aside)?;
    }
}

/// Moves the segments from `damaged` on out of the way, youngest first, and puts back its first `offset` bytes.
fn set_aside_from(
    place: &JournalPlace,
    damaged: &Path,
    offset: u64,
    moved: &mut Vec<PathBuf>,
) -> Result<(), StorageError> {
    let disk = place.disk();
    let files = list_numbered(disk, &place.dir, "", SUFFIX)?;
    for (_, path) in files.iter().rev().take_while(|(_, path)| path.as_path() >= damaged) {
        let mut aside = path.as_os_str().to_owned();
        aside.push(&ASIDE_SUFFIX[SUFFIX.len()..]);
        let aside = PathBuf::from(aside);
        if path.as_path() == damaged && offset > 0 {
            let mut bytes = Vec::new();
            read_bounded(disk, path, "journal segment", SEGMENT_FILE_BYTES_MAX, &mut bytes)?;
            write_atomically(disk, &aside, &bytes)?;
            bytes.truncate(usize::try_from(offset).unwrap_or(usize::MAX));
            write_atomically(disk, path, &bytes)?;
        } else {
            disk.rename(path, &aside).map_err(StorageError::io("set aside", path))?;
            sync_dir(disk, &place.dir)?;
        }
        moved.push(aside);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::format::{HEADER_BYTES, RECORD_HEAD_BYTES};
    use super::super::segments::segment_path;
    use super::super::testing::{Owned, SHARD, fill, fill_synced, open, place, put, read};
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// A journal of three runs, every record synced before the next; its records, and how many lie in segments before
    /// the last.
    fn three_runs() -> (TempDir, Vec<Owned>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let (mut records, mut next, mut before) = (Vec::new(), 1, 0);
        for run in 0..3 {
            let mut writer = open(dir.path(), next);
            before = records.len();
            records.extend(fill_synced(&mut writer, 6 + run));
            next = writer.next_sequence();
        }
        (dir, records, before)
    }

    fn end(records: &[Owned]) -> u64 {
        records.last().map_or(1, |(first, count, _)| first + u64::from(*count))
    }

    #[test]
    fn cut_at_every_byte_drops_only_the_incomplete_record() {
        let (dir, records, _) = three_runs();
        let path = segment_path(dir.path(), 3);
        let good = fs::read(&path).unwrap();
        // Where each of the last three records ends, from the back.
        let mut ends = vec![good.len()];
        for (_, _, payload) in records.iter().rev().take(3) {
            ends.push(ends[ends.len() - 1] - payload.len() - RECORD_HEAD_BYTES);
        }
        let mut outcomes = 0;
        for cut in ends[3]..=good.len() {
            put(&path, &good[..cut]);
            let kept = records.len() - ends.iter().filter(|end| **end > cut).count();
            let (read_back, reader) = read(dir.path(), 1).unwrap();
            assert_eq!(read_back, records[..kept], "cut at {cut}");
            match reader.torn() {
                [] => assert!(ends.contains(&cut), "cut at {cut}"),
                [torn] => {
                    assert!(!ends.contains(&cut), "cut at {cut}");
                    let dropped = (torn.segment, torn.offset + torn.bytes_dropped, torn.next_sequence);
                    assert_eq!(dropped, (3, cut as u64, end(&records[..kept])));
                }
                more => panic!("cut at {cut}: {more:?}"),
            }
            outcomes += 1;
            if cut % 8 == 0 {
                // The next run goes on in a new segment, and the old tail stays what it is.
                let added = fill(&mut open(dir.path(), reader.next_sequence()), 2);
                assert_eq!(read(dir.path(), 1).unwrap().0, [&records[..kept], &added].concat(), "cut at {cut}");
                fs::remove_file(segment_path(dir.path(), 4)).unwrap();
            }
        }
        assert!(outcomes > 100, "{outcomes}");
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let (dir, records, before) = three_runs();
        let (mut damaged, mut torn) = (0, 0);
        for segment in 1..=3 {
            let path = segment_path(dir.path(), segment);
            let good = fs::read(&path).unwrap();
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                put(&path, &bad);
                match read(dir.path(), 1) {
                    Err(StorageError::JournalDamaged { path: blamed, .. }) => {
                        assert_eq!(blamed, path, "bit {bit}");
                        damaged += 1;
                    }
                    Err(other) => panic!("segment {segment}, bit {bit}: {other}"),
                    Ok((read_back, reader)) => {
                        // Only the very last record may be taken for torn.
                        assert_eq!(reader.torn().len(), 1, "segment {segment}, bit {bit}");
                        assert_eq!(segment, 3);
                        assert_eq!(read_back, records[..records.len() - 1], "bit {bit}");
                        torn += 1;
                    }
                }
            }
            put(&path, &good);
        }
        assert_eq!(torn, (RECORD_HEAD_BYTES + records[records.len() - 1].2.len()) * 8, "{damaged} damaged");
        assert!(before > 0 && damaged > 1_000);
    }

    #[test]
    fn spliced_records_and_misplaced_segments_are_detected() {
        let (dir, ..) = three_runs();
        let path = segment_path(dir.path(), 3);
        let good = fs::read(&path).unwrap();
        // The same records, in another shard's journal and in another segment of the same shard.
        let other = tempfile::tempdir().unwrap();
        let next = read(dir.path(), 1).unwrap().1.next_sequence();
        fill_synced(&mut open(dir.path(), next), 3);
        let mut writer = super::super::JournalWriter::open(
            &JournalPlace { shard: SHARD + 1, ..place(other.path()) },
            next,
            Default::default(),
        )
        .unwrap();
        fill_synced(&mut writer, 3);
        fs::remove_file(&path).unwrap();
        assert!(
            matches!(read(dir.path(), 1), Err(StorageError::JournalDamaged { offset: 0, .. })),
            "a missing segment"
        );
        put(&path, &good);
        let own = fs::read(segment_path(dir.path(), 4)).unwrap();
        let foreign = fs::read(segment_path(other.path(), 1)).unwrap();
        assert_eq!(own.len(), foreign.len());
        let fourth = segment_path(dir.path(), 4);
        // Records of another shard behind our own header: none validates.
        fs::write(&fourth, [&own[..HEADER_BYTES], &foreign[HEADER_BYTES..]].concat()).unwrap();
        let (_, reader) = read(dir.path(), 1).unwrap();
        assert_eq!((reader.next_sequence(), reader.torn()[0].offset), (next, HEADER_BYTES as u64));
        // The oldest segment is torn away whole: what follows starts too late, and that is said.
        let first = segment_path(dir.path(), 1);
        let whole = fs::read(&first).unwrap();
        fs::write(&first, &whole[..20]).unwrap();
        assert!(matches!(read(dir.path(), 1), Err(StorageError::MissingHistory { needed: 1, .. })));
        fs::write(&first, whole).unwrap();
        // One foreign record in the middle.
        let first_bytes = u32::from_le_bytes(*own[HEADER_BYTES..].first_chunk().unwrap()) as usize + 8;
        let second = HEADER_BYTES + first_bytes;
        let mut spliced = own.clone();
        spliced[HEADER_BYTES..second].copy_from_slice(&foreign[HEADER_BYTES..second]);
        fs::write(&fourth, spliced).unwrap();
        let at = HEADER_BYTES as u64;
        assert!(matches!(read(dir.path(), 1), Err(StorageError::JournalDamaged { offset, .. }) if offset == at));
        // Valid records of this very segment a second time, in the middle and at the end, where they take nothing away.
        fs::write(&fourth, [&own[..second], &own[HEADER_BYTES..]].concat()).unwrap();
        let at = second as u64;
        assert!(matches!(read(dir.path(), 1), Err(StorageError::JournalDamaged { offset, .. }) if offset == at));
        fs::write(&fourth, [&own[..], &own[HEADER_BYTES..]].concat()).unwrap();
        let (_, reader) = read(dir.path(), 1).unwrap();
        let [torn] = reader.torn() else { panic!("{:?}", reader.torn()) };
        assert_eq!((torn.offset, torn.records_dropped), (own.len() as u64, 3));
        assert!(reader.next_sequence() > next + 2 && torn.next_sequence == reader.next_sequence());
        // A whole segment under another name, or of another shard.
        for wrong in [&good, &foreign] {
            fs::write(&fourth, wrong).unwrap();
            assert!(matches!(read(dir.path(), 1), Err(StorageError::JournalDamaged { offset: 0, .. })));
        }
    }

    /// Before a gap the sequences do not tell that a record is missing: the chain does.
    #[test]
    fn a_record_that_was_cut_out_before_a_gap_is_missed() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path(), 1);
        let mut ends = vec![HEADER_BYTES];
        for _ in 0..3 {
            fill_synced(&mut writer, 1);
            ends.push(fs::metadata(segment_path(dir.path(), 1)).unwrap().len() as usize);
        }
        writer.gap(1_000).unwrap();
        fill(&mut writer, 1);
        let good = fs::read(segment_path(dir.path(), 1)).unwrap();
        for (from, to) in [(ends[0], ends[3]), (ends[1], ends[3]), (ends[2], ends[3])] {
            fs::write(segment_path(dir.path(), 1), [&good[..from], &good[to..]].concat()).unwrap();
            let missed = read(dir.path(), 1);
            assert!(matches!(missed, Err(StorageError::JournalDamaged { offset, .. }) if offset == from as u64));
        }
    }

    /// Zeroed, swapped and repeated sectors: an error, or a reported cut after which nothing but a prefix is read.
    #[test]
    fn random_sector_damage_is_never_silent() {
        let dir = tempfile::tempdir().unwrap();
        let (mut records, mut next) = (Vec::new(), 1);
        for _ in 0..3 {
            let mut writer = open(dir.path(), next);
            records.extend(fill(&mut writer, 60));
            writer.sync().unwrap();
            records.extend(fill(&mut writer, 60));
            next = writer.next_sequence();
        }
        let mut rng = crate::base::Rng::new(77);
        let (mut refused, mut cut) = (0, 0);
        for round in 0..600 {
            let path = segment_path(dir.path(), 1 + rng.below(3));
            let good = fs::read(&path).unwrap();
            let mut bad = good.clone();
            let sectors = good.len() as u64 / 512;
            let (one, two) = (rng.below(sectors) as usize * 512, rng.below(sectors) as usize * 512);
            match rng.below(4) {
                0 => bad[one..one + 512].fill(0),
                1 => bad[one..].fill(0),
                2 => bad.copy_within(two..two + 512, one),
                _ => {
                    bad[one..one + 512].copy_from_slice(&good[two..two + 512]);
                    bad[two..two + 512].copy_from_slice(&good[one..one + 512]);
                }
            }
            if bad == good {
                continue;
            }
            put(&path, &bad);
            match read(dir.path(), 1) {
                Err(StorageError::JournalDamaged { .. }) => refused += 1,
                // The oldest segment was zeroed whole.
                Err(StorageError::MissingHistory { needed: 1, .. }) if bad.iter().all(|byte| *byte == 0) => {
                    refused += 1;
                }
                Err(other) => panic!("round {round}, seed 77: {other}"),
                Ok((read_back, reader)) => {
                    assert_eq!(reader.torn().len(), 1, "round {round}, seed 77");
                    assert!(path.ends_with("0000000003.mjl") && read_back.len() < records.len());
                    assert_eq!(read_back, records[..read_back.len()], "round {round}, seed 77");
                    cut += 1;
                }
            }
            put(&path, &good);
        }
        assert!(refused > 300 && cut > 10, "refused {refused}, cut {cut}");
    }

    #[test]
    fn zeros_empty_files_and_short_headers_at_the_end_are_torn() {
        let (dir, records, _) = three_runs();
        let path = segment_path(dir.path(), 3);
        let good = fs::read(&path).unwrap();
        fs::write(&path, [&good[..], &[0; 4_096]].concat()).unwrap();
        let (read_back, reader) = read(dir.path(), 1).unwrap();
        assert_eq!((&read_back, reader.torn()[0].bytes_dropped), (&records, 4_096));
        for tail in [&[][..], &[0; 4_096], &good[..17], &good[..HEADER_BYTES - 1]] {
            fs::write(segment_path(dir.path(), 4), tail).unwrap();
            let (read_back, reader) = read(dir.path(), 1).unwrap();
            assert_eq!((&read_back, reader.torn().len()), (&records, 2));
            assert_eq!(reader.torn()[1].bytes_dropped, tail.len() as u64);
            let mut writer = open(dir.path(), end(&records));
            assert_eq!((writer.segment(), writer.set_aside().len()), (5, 1));
            assert_eq!(fs::read(&writer.set_aside()[0]).unwrap(), tail, "set aside, not deleted");
            let added = fill(&mut writer, 1);
            assert_eq!(read(dir.path(), 1).unwrap().0, [&records[..], &added].concat());
            fs::remove_file(segment_path(dir.path(), 5)).unwrap();
        }
    }

    #[test]
    fn trim_keeps_what_is_needed_and_verify_counts() {
        let (dir, records, before) = three_runs();
        let report = verify(&place(dir.path())).unwrap();
        let sequences: u64 = records.iter().map(|(_, count, _)| u64::from(*count)).sum();
        assert_eq!((report.counts.records, report.counts.sequences), (records.len() as u64, sequences));
        assert_eq!((report.first_sequence, report.next_sequence), (Some(1), Some(end(&records))));
        let third = records[before].0;
        assert_eq!(trim(&place(dir.path()), 1).unwrap(), [0_u64; 0]);
        assert_eq!(trim(&place(dir.path()), third - 1).unwrap(), [1]);
        let (tail, _) = read(dir.path(), third - 1).unwrap();
        assert_eq!(tail.last(), records.last());
        assert!(matches!(read(dir.path(), 1), Err(StorageError::MissingHistory { .. })));
        assert_eq!(trim(&place(dir.path()), u64::MAX).unwrap(), [2], "the newest stays");
        assert_eq!(read(dir.path(), third).unwrap().0, records[before..]);
        assert_eq!(verify(&place(dir.path())).unwrap().first_sequence, Some(third));
    }

    #[test]
    fn salvage_keeps_what_is_before_the_damage() {
        let (dir, records, _) = three_runs();
        assert_eq!(salvage(&place(dir.path())).unwrap().damage, None);
        let path = segment_path(dir.path(), 2);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let Err(StorageError::JournalDamaged { sequence, .. }) = read(dir.path(), 1) else { panic!("not detected") };
        let report = salvage(&place(dir.path())).unwrap();
        assert_eq!((report.next_sequence, report.set_aside.len()), (Some(sequence), 2));
        let kept: Vec<_> = records.iter().filter(|(first, ..)| *first < sequence).cloned().collect();
        let (read_back, reader) = read(dir.path(), 1).unwrap();
        assert!(read_back == kept && kept.len() > 6 && reader.torn().is_empty());
        assert_eq!(fs::read(&report.set_aside[1]).unwrap(), bytes, "the damaged bytes are kept");
        let mut writer = open(dir.path(), sequence);
        assert_eq!(writer.segment(), 4, "numbers are not used twice");
        let added = fill(&mut writer, 2);
        assert_eq!(read(dir.path(), 1).unwrap().0, [kept, added].concat());
    }
}
