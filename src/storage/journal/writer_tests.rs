//! A journal that is written: batches, gaps, full segments, syncs, wrong arguments.

use super::format::PAYLOAD_BYTES_MAX;
use super::testing::{fill, open, place, read};
use super::writer::*;
use crate::storage::StorageError;

fn small() -> JournalOptions {
    JournalOptions { segment_bytes: 0, buffer_bytes: 512 }
}

#[test]
fn batches_gaps_and_rotation_round_trip() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = JournalWriter::open(&place(dir.path()), 1, small()).unwrap();
    let mut written = Vec::new();
    for batch in 0..60_u64 {
        for _ in 0..10 {
            let first = writer.next_sequence();
            let payload = vec![batch as u8; (first % 50) as usize];
            writer.append(1, first, 2, 5, &[&payload[..payload.len() / 2], &payload[payload.len() / 2..]]).unwrap();
            written.push((first, 2, payload));
        }
        if batch % 7 == 0 {
            writer.gap(writer.next_sequence() + batch).unwrap();
        }
        assert!(writer.buffered_bytes() > 0 && writer.written_sequence() < writer.next_sequence());
        writer.write().unwrap();
        assert_eq!((writer.buffered_bytes(), writer.written_sequence()), (0, writer.next_sequence()));
    }
    assert!(writer.segment() > 5, "4 KiB segments rotate: {}", writer.segment());
    let (records, reader) = read(dir.path(), 1).unwrap();
    assert_eq!((records, reader.next_sequence()), (written, writer.next_sequence()));
    assert_eq!((reader.counts().gaps, reader.torn().len()), (8, 0));
}

#[test]
fn durable_follows_syncs_and_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = JournalWriter::open(&place(dir.path()), 1, small()).unwrap();
    fill(&mut writer, 3);
    let handle = writer.sync_handle();
    let early = writer.written_sequence();
    fill(&mut writer, 1);
    assert_eq!(writer.durable_sequence(), 1);
    assert_eq!(std::thread::spawn(move || handle.sync().unwrap()).join().unwrap(), early);
    assert_eq!(writer.durable_sequence(), early);
    assert_eq!(writer.sync().unwrap(), writer.written_sequence());
    assert_eq!(writer.durable_sequence(), writer.written_sequence());
    let old = writer.sync_handle();
    let segment = writer.segment();
    while writer.segment() == segment {
        fill(&mut writer, 1);
    }
    assert!(writer.awaits_sync() && writer.durable_sequence() < writer.written_sequence(), "nobody has synced it");
    let new = writer.sync_handle();
    assert_eq!(old.sync().unwrap(), writer.durable_sequence(), "an old handle knows of what it was made for");
    assert_eq!(new.sync().unwrap(), writer.written_sequence(), "a new one syncs the full segment, too");
    assert!(!writer.awaits_sync());
    assert!(old.sync().unwrap() < writer.durable_sequence(), "an old handle takes nothing back");
}

/// A device that is slow must neither be asked for by the shard's thread nor waited for without end.
#[test]
fn full_segments_wait_for_a_sync_and_not_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = JournalWriter::open(&place(dir.path()), 1, small()).unwrap();
    let first = writer.segment();
    let fill_to = |writer: &mut JournalWriter, segment| {
        while writer.segment() < segment {
            fill(writer, 1);
        }
    };
    fill_to(&mut writer, first + FULL_MANY as u64 - 1);
    assert!(writer.awaits_sync() && !writer.is_behind());
    fill_to(&mut writer, first + FULL_MANY as u64);
    assert!(writer.is_behind());
    fill_to(&mut writer, first + FULL_MAX as u64);
    assert_eq!(writer.durable_sequence(), 1, "nothing is synced here");
    fill_to(&mut writer, first + FULL_MAX as u64 + 1);
    assert!(writer.durable_sequence() > 1 && !writer.is_behind(), "too many: they were waited for");
}

#[test]
fn wrong_arguments_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path(), 10);
    let big = vec![0; PAYLOAD_BYTES_MAX + 1];
    assert!(matches!(writer.append(1, 9, 1, 0, &[]), Err(StorageError::OutOfSequence { expected: 10, given: 9, .. })));
    assert!(matches!(writer.append(0, 10, 1, 0, &[]), Err(StorageError::BadRecord { .. })));
    assert!(matches!(writer.append(1, 10, 0, 0, &[]), Err(StorageError::BadRecord { .. })));
    assert!(matches!(writer.append(1, 10, 1, 0, &[&big]), Err(StorageError::TooLarge { .. })));
    assert!(matches!(writer.gap(9), Err(StorageError::OutOfSequence { .. })));
    writer.gap(10).unwrap();
    assert_eq!((writer.buffered_bytes(), writer.next_sequence()), (0, 10));
    for _ in 0..3 {
        writer.append(1, writer.next_sequence(), 1, 0, &[&big[1..]]).unwrap();
    }
    let full = writer.append(1, 13, 1, 0, &[&big[1..]]);
    assert!(matches!(full, Err(StorageError::TooLarge { what: "unwritten buffer", .. })));
    writer.write().unwrap();
    writer.gap(u64::MAX - 1).unwrap();
    assert!(matches!(writer.append(1, u64::MAX - 1, 2, 0, &[]), Err(StorageError::BadRecord { .. })));
    writer.append(1, u64::MAX - 1, 1, 0, &[]).unwrap();
    writer.write().unwrap();
    assert_eq!(read(dir.path(), 10).unwrap().1.next_sequence(), u64::MAX);
}

#[test]
fn a_new_open_begins_a_segment_where_the_journal_ends_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path(), 1);
    fill(&mut writer, 4);
    let end = writer.next_sequence();
    drop(writer);
    for wrong in [1, end - 1, end + 1] {
        let refused = JournalWriter::open(&place(dir.path()), wrong, JournalOptions::default());
        assert!(matches!(refused, Err(StorageError::OutOfSequence { expected, .. }) if expected == end));
    }
    assert_eq!([open(dir.path(), end).segment(), open(dir.path(), end).segment()], [2, 3]);
    let mut writer = open(dir.path(), end);
    writer.gap(end + 100).unwrap();
    writer.append(1, end + 100, 1, 0, &[b"x"]).unwrap();
    writer.write().unwrap();
    assert_eq!(read(dir.path(), 1).unwrap().1.next_sequence(), end + 101);
}
