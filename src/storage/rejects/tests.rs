//! The store of refused events: bounded, numbered over restarts, and never a wrong record, whatever the bytes are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::base::{Id, Rng};
use crate::model::SentEvent;
use crate::storage::OsDisk;
use crate::storage::files::list;

const CLUSTER: u64 = 0xC1;
const LIMIT: u64 = REJECTS_BYTES_MIN;

fn reject(number: u64) -> Reject {
    let reason = RejectReason::ALL[(number % 11) as usize];
    let user = Id::parse(&format!("user-{}", number % 7));
    let event = SentEvent {
        event_id: Id::Int(number),
        user,
        item: Id::Int(number * 3),
        kind: number as u8,
        value_bits: if number.is_multiple_of(3) { 0x7FC0_0001 } else { (number as f32).to_bits() },
        time_ms: number as i64 - 5,
    };
    Reject::new(reason, 1_700_000_000_000 + number as i64, "it", &format!("number {number} is refused"), event)
}

fn rejects(numbers: std::ops::Range<u64>) -> Vec<Reject> {
    numbers.map(reject).collect()
}

fn open(dir: &Path) -> RejectStore {
    RejectStore::open(dir, CLUSTER, LIMIT).unwrap()
}

fn keep(store: &mut RejectStore, numbers: std::ops::Range<u64>) {
    let some = rejects(numbers);
    let (kept, done) = store.append(&some);
    done.unwrap();
    assert_eq!(kept, some.len());
}

fn all(store: &RejectStore) -> RejectPage {
    read(&store.segments(), CLUSTER, RejectQuery { from: 0, max: usize::MAX, reason: None }).unwrap()
}

fn numbers(page: &RejectPage) -> Vec<u64> {
    page.rows.iter().map(|(_, reject)| (reject.at_ms - 1_700_000_000_000) as u64).collect()
}

fn bytes_in(dir: &Path) -> u64 {
    list(&OsDisk, dir).unwrap().iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

fn only_file(dir: &Path) -> PathBuf {
    let mut files = list(&OsDisk, dir).unwrap();
    assert_eq!(files.len(), 1);
    files.remove(0)
}

#[test]
fn golden_segment() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    keep(&mut store, 0..4);
    store.missed(&[0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    store.tell_totals().unwrap();
    keep(&mut store, 4..5);
    let path = only_file(dir.path());
    assert!(path.ends_with("0000000001.mrj"), "{}", path.display());
    let golden = crate::storage::fixture::golden("rejects-segment-14.mrj", &fs::read(&path).unwrap());
    // Totals say how many reasons they count: those of fewer are read as well.
    for known in [include_bytes!("../../../tests/fixtures/storage/v1/rejects-segment-12.mrj"), &golden[..]] {
        fs::write(&path, known).unwrap();
        opens_as_written(&open(dir.path()));
    }
}

fn opens_as_written(store: &RejectStore) {
    let page = all(store);
    assert_eq!((page.next, page.damaged), (0, 0));
    let sequences: Vec<u64> = page.rows.iter().map(|row| row.0).collect();
    assert_eq!(sequences, [2, 3, 4, 5, 7], "totals have sequences of their own");
    assert_eq!(page.rows.into_iter().map(|row| row.1).collect::<Vec<_>>(), rejects(0..5));
    assert_eq!((store.totals().sum(), store.totals().dropped, store.totals().counts[2]), (10, 5, 6));
}

#[test]
fn bounds_hold_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (mut from, mut rng) = (0, Rng::new(1));
    while from < 5_000 {
        let to = from + rng.below(60);
        keep(&mut store, from..to);
        assert!(bytes_in(dir.path()) <= LIMIT, "{} bytes after {to}", bytes_in(dir.path()));
        from = to;
    }
    let page = all(&store);
    let kept = numbers(&page);
    assert_eq!((page.damaged, *kept.last().unwrap()), (0, from - 1));
    assert!(kept.windows(2).all(|two| two[1] == two[0] + 1), "no hole: {kept:?}");
    assert!(kept[0] > 3_000 && kept.len() > 300 && store.segments().len() <= 8, "{} from {}", kept.len(), kept[0]);
    assert_eq!((store.totals().sum(), store.totals().dropped), (from, 0), "what is gone counts");

    // A smaller limit holds from the start on, a batch larger than the store keeps its end.
    let big = tempfile::tempdir().unwrap();
    let mut store = RejectStore::open(big.path(), CLUSTER, 4 * LIMIT).unwrap();
    keep(&mut store, 0..9_000);
    assert!((LIMIT..=4 * LIMIT).contains(&bytes_in(big.path())));
    drop(store);
    let store = open(big.path());
    assert!(bytes_in(big.path()) <= LIMIT && store.totals().sum() == 9_000);
    assert_eq!(numbers(&all(&store)).last(), Some(&8_999));
    RejectStore::clear(big.path()).unwrap();
    assert_eq!((bytes_in(big.path()), open(big.path()).totals().sum()), (0, 0));
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for start in 0..40 {
        let mut store = open(dir.path());
        assert_eq!((store.totals().sum(), store.totals().dropped), (start * 12, start * 2));
        keep(&mut store, start * 10..start * 10 + 10);
        store.missed(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        store.tell_totals().unwrap();
        let page = all(&store);
        assert!(page.rows.last().unwrap().0 > last && page.damaged == 0);
        last = page.rows.last().unwrap().0;
    }
    assert_eq!(numbers(&all(&open(dir.path()))), (0..400).collect::<Vec<_>>());
    assert!(open(dir.path()).segments().len() < 8, "a start begins no segment of its own");
}

#[test]
fn pages_go_on_where_they_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    keep(&mut store, 0..400);
    assert!(store.segments().len() > 2);
    for (reason, max) in [(None, 7), (Some(RejectReason::Burst), 3), (None, 1_000), (Some(RejectReason::Paused), 1)] {
        let expected: Vec<u64> =
            (0..400).filter(|number| reason.is_none_or(|reason| reject(*number).reason == reason)).collect();
        let (mut found, mut from) = (Vec::new(), 0);
        loop {
            let page = read(&store.segments(), CLUSTER, RejectQuery { from, max, reason }).unwrap();
            assert!(page.rows.len() <= max && page.damaged == 0);
            found.extend(numbers(&page));
            from = page.next;
            if from == 0 {
                break;
            }
            assert_eq!(page.rows.len(), max);
        }
        assert_eq!(found, expected, "{reason:?} by {max}");
        let newest = read(&store.segments(), CLUSTER, RejectQuery { from: NEWEST, max, reason }).unwrap();
        assert_eq!(numbers(&newest), expected[expected.len().saturating_sub(max)..], "{reason:?} by {max}");
        assert_eq!(newest.next, 0);
    }
    // A reader that has the list of segments goes on when they are removed under it.
    let segments = store.segments();
    keep(&mut store, 400..3_000);
    let page = read(&segments, CLUSTER, RejectQuery { from: 0, max: usize::MAX, reason: None }).unwrap();
    assert_eq!((page.rows, page.damaged), (Vec::new(), 0));
}

#[test]
fn a_torn_tail_is_cut_at_every_byte_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    keep(&mut store, 0..12);
    drop(store);
    let path = only_file(dir.path());
    let whole = fs::read(&path).unwrap();
    let mut counts = BTreeMap::new();
    for cut in (0..whole.len()).rev() {
        fs::write(&path, &whole[..cut]).unwrap();
        let mut store = open(dir.path());
        let page = all(&store);
        let kept = page.rows.len() as u64;
        assert_eq!(numbers(&page), (0..kept).collect::<Vec<_>>(), "cut at {cut}");
        *counts.entry(kept).or_insert(0) += 1;
        let header = cut < format::HEADER_BYTES;
        assert_eq!(page.damaged, u64::from(header && cut > 0), "cut at {cut}");
        assert_eq!(store.totals().sum(), kept);
        // What comes next follows it.
        keep(&mut store, 100..102);
        let expected: Vec<u64> = (0..kept).chain(100..102).collect();
        assert_eq!(numbers(&all(&store)), expected, "cut at {cut}");
        drop(store);
        let others = list(&OsDisk, dir.path()).unwrap().into_iter().filter(|other| *other != path);
        others.for_each(|other| fs::remove_file(other).unwrap());
    }
    assert_eq!(counts.len(), 12, "{counts:?}");
}

#[test]
fn a_damaged_byte_anywhere_costs_its_record_alone_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    keep(&mut store, 0..10);
    drop(store);
    let path = only_file(dir.path());
    let whole = fs::read(&path).unwrap();
    let last_begins = whole.len() - {
        let mut bytes = Vec::new();
        reject(9).encode(&mut bytes);
        format::record_bytes(bytes.len()) as usize
    };
    for at in 0..whole.len() {
        for bit in [0, 3, 7] {
            let mut bad = whole.clone();
            bad[at] ^= 1 << bit;
            fs::write(&path, &bad).unwrap();
            // As the next start finds it, which may cut the tail; and as a reader finds it while the server runs.
            let segments = vec![RejectSegment { path: path.clone(), first_sequence: 1, bytes: bad.len() as u64 }];
            let query = RejectQuery { from: 0, max: usize::MAX, reason: None };
            let page = read(&segments, CLUSTER, query).unwrap();
            check(&page, at, last_begins);
            let mut store = open(dir.path());
            check(&all(&store), at, last_begins);
            keep(&mut store, 50..51);
            assert_eq!(numbers(&all(&store)).last(), Some(&50), "byte {at}");
            for other in list(&OsDisk, dir.path()).unwrap() {
                fs::remove_file(other).unwrap();
            }
        }
    }
}

fn check(page: &RejectPage, at: usize, last_begins: usize) {
    for (sequence, found) in &page.rows {
        assert_eq!(*found, reject(sequence - 2), "byte {at}: every record is one that was written");
    }
    let whole_header = at >= format::HEADER_BYTES;
    assert!(page.rows.len() >= if whole_header { 9 } else { 0 }, "byte {at}: {} rows", page.rows.len());
    let told = page.damaged > 0;
    // The last record's damage cannot be told from a torn tail.
    assert_eq!(told, at < last_begins, "byte {at}: {} rows, {} damaged", page.rows.len(), page.damaged);
}

#[test]
fn garbage_is_read_as_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng::new(3);
    for round in 0..200 {
        let mut bytes = Vec::new();
        if round % 2 == 0 {
            format::put_header(&mut bytes, CLUSTER, 1);
        }
        bytes.extend((0..rng.below(3_000)).map(|_| if round % 3 == 0 { 0 } else { rng.bits() as u8 }));
        fs::write(dir.path().join("0000000001.mrj"), &bytes).unwrap();
        let mut store = open(dir.path());
        assert_eq!((all(&store).rows.len(), store.totals().sum()), (0, 0), "seed 3, round {round}");
        keep(&mut store, 0..3);
        assert_eq!(numbers(&all(&store)), [0, 1, 2]);
        list(&OsDisk, dir.path()).unwrap().iter().for_each(|path| fs::remove_file(path).unwrap());
    }
    // A segment of another cluster is none.
    let mut store = open(dir.path());
    keep(&mut store, 0..3);
    drop(store);
    let other = RejectStore::open(dir.path(), CLUSTER + 1, LIMIT).unwrap();
    let query = RejectQuery { from: 0, max: 10, reason: None };
    let page = read(&other.segments(), CLUSTER + 1, query).unwrap();
    assert_eq!((page.rows.len(), page.damaged), (0, 1));
}

#[test]
fn a_disk_that_fails_costs_what_came_meanwhile() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("rejects");
    let mut store = open(&dir);
    keep(&mut store, 0..5);
    // The next segment cannot be made.
    fs::rename(&dir, parent.path().join("away")).unwrap();
    let (kept, done) = store.append(&rejects(5..300));
    assert!(done.is_err() && (1..100).contains(&kept), "the segment that is open took {kept}");
    assert_eq!(store.append(&rejects(300..310)).0, 0);
    assert_eq!((store.totals().sum(), store.totals().dropped), (310, 305 - kept as u64));
    assert!(store.tell_totals().is_err());
    fs::rename(parent.path().join("away"), &dir).unwrap();
    keep(&mut store, 310..320);
    drop(store);
    let store = open(&dir);
    let expected: Vec<u64> = (0..5 + kept as u64).chain(310..320).collect();
    assert_eq!((numbers(&all(&store)), all(&store).damaged), (expected, 0));
    assert_eq!((store.totals().sum(), store.totals().dropped), (320, 305 - kept as u64));
}
