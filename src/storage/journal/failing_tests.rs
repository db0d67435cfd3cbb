//! The journal on a disk whose n-th call fails (bars D5, D6): what was acknowledged before is there, nothing is after.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::segments::list_segments;
use super::testing::{fill, open, place, read};
use super::watched::{Call, Watch, watched_place};
use super::{JournalOptions, JournalWriter};
use crate::storage::StorageError;

/// Counts the changing calls down; the one that finds 0 fails, and later ones succeed again.
#[derive(Debug, Default)]
struct Countdown {
    calls_left: AtomicU64,
}

impl Watch for Countdown {
    fn before(&self, _call: Call<'_>) -> io::Result<()> {
        match self.calls_left.fetch_sub(1, Ordering::SeqCst) {
            0 => Err(io::Error::other("injected failure")),
            _ => Ok(()),
        }
    }
}

fn small() -> JournalOptions {
    JournalOptions { segment_bytes: 0, buffer_bytes: 512 }
}

#[test]
fn an_open_makes_durable_what_earlier_processes_wrote_before_it_makes_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    fill(&mut open(dir.path(), 1), 2);
    let end = read(dir.path(), 1).unwrap().1.next_sequence();
    let disk = Arc::new(Countdown::default());
    let refused = JournalWriter::open(&watched_place(&disk, dir.path()), end, small()).map(drop);
    assert!(matches!(refused, Err(StorageError::Io { action: "write", .. })), "{refused:?}");
    assert_eq!(list_segments(&place(dir.path())).unwrap().len(), 1);
    assert_eq!(open(dir.path(), end).durable_sequence(), end);
}

/// The n-th call fails, for every n: what was acknowledged before is there, nothing is acknowledged after.
#[test]
fn any_failed_call_poisons_and_loses_nothing_acknowledged() {
    // Past two rotations.
    for n in 0..170 {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path(), 1));
        let disk = Arc::new(Countdown::default());
        disk.calls_left.store(n, Ordering::SeqCst);
        let (mut written, mut durable) = (1, 1);
        if let Ok(mut writer) = JournalWriter::open(&watched_place(&disk, dir.path()), 1, small()) {
            let mut failed = false;
            for step in 0..500_u64 {
                writer.append(1, writer.next_sequence(), 1, 0, &[&[7; 40]]).unwrap();
                let result = writer.write().and_then(|()| if step % 3 == 0 { writer.sync().map(drop) } else { Ok(()) });
                (written, durable) = (writer.written_sequence(), writer.durable_sequence());
                if result.is_err() {
                    failed = true;
                    break;
                }
            }
            assert_eq!(failed, writer.is_poisoned(), "call {n}");
            assert!(failed, "call {n} was never made");
            // Later calls would succeed, and are not made.
            let left = disk.calls_left.load(Ordering::SeqCst);
            let next = writer.next_sequence();
            assert!(matches!(writer.append(1, next, 1, 0, &[]), Err(StorageError::Poisoned { .. })));
            assert!(matches!(writer.gap(next + 1), Err(StorageError::Poisoned { .. })));
            assert!(matches!(writer.write(), Err(StorageError::Poisoned { .. })));
            assert!(matches!(writer.sync(), Err(StorageError::Poisoned { .. })));
            assert_eq!(disk.calls_left.load(Ordering::SeqCst), left, "call {n}");
            assert_eq!((writer.written_sequence(), writer.durable_sequence()), (written, durable));
        }
        let (records, reader) = read(dir.path(), 1).unwrap();
        assert!(reader.next_sequence() >= written && durable <= written, "call {n}");
        assert_eq!(records.len() as u64, reader.next_sequence() - 1);
        fill(&mut open(dir.path(), reader.next_sequence()), 2);
        assert_eq!(read(dir.path(), 1).unwrap().0.len(), records.len() + 2, "call {n}");
    }
}

/// r3: a sync that failed in an earlier process leaves bytes that the next process reads from the page cache and that no
/// later sync writes, as the kernel calls them clean; then power was lost, and the journal had a hole below what was called
/// durable since. Found by the simulator. Where an open cannot know that a segment was synced, it writes it anew.
#[test]
#[cfg(unix)]
fn r3_what_is_not_known_to_be_synced_is_written_anew() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = super::segments::segment_path(dir.path(), 1);
    let file = || (std::fs::metadata(&path).unwrap().ino(), std::fs::read(&path).unwrap());
    let mut writer = open(dir.path(), 1);
    fill(&mut writer, 3);
    writer.sync().unwrap();
    writer.mark().unwrap();
    writer.write().unwrap();
    let (end, synced) = (writer.next_sequence(), file());
    drop(writer);
    let mut writer = open(dir.path(), end);
    assert_eq!(file(), synced, "a record says that all of it was synced");
    let path = super::segments::segment_path(dir.path(), 2);
    let file = || (std::fs::metadata(&path).unwrap().ino(), std::fs::read(&path).unwrap());
    fill(&mut writer, 3);
    let (end, written) = (writer.next_sequence(), file());
    drop(writer);
    drop(open(dir.path(), end));
    let anew = file();
    assert!(anew.0 != written.0 && anew.1 == written.1, "another file of the same bytes");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "and nothing beside the segments");
}

/// r9: a record that was cut off, and not synced, became whole when power loss left zeros behind it, as its last bytes were
/// zeros; by then the next segment began with its sequence, and the journal was refused. Found by the simulator. A tail that
/// is cut off is written anew as well, so that it stays what it is.
#[test]
#[cfg(unix)]
fn r9_a_tail_that_is_cut_off_is_written_anew() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = super::segments::segment_path(dir.path(), 1);
    let mut writer = open(dir.path(), 1);
    fill(&mut writer, 3);
    writer.sync().unwrap();
    writer.mark().unwrap();
    let end = writer.next_sequence();
    writer.append(1, end, 1, 0, &[b"its end is", &[0; 40]]).unwrap();
    writer.write().unwrap();
    drop(writer);
    let whole = std::fs::read(&path).unwrap();
    super::testing::put(&path, &whole[..whole.len() - 30]);
    let before = std::fs::metadata(&path).unwrap().ino();
    drop(open(dir.path(), end));
    assert_ne!(std::fs::metadata(&path).unwrap().ino(), before);
    assert_eq!(std::fs::read(&path).unwrap(), whole[..whole.len() - 30]);
    assert_eq!(read(dir.path(), 1).unwrap().1.torn().len(), 1, "and it is told as what it is");
}
