//! What the demonstration sends: the rows of a file, or the generated stream of users who change their minds.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::DemoError;
use crate::base::Id;
use crate::ingest::{DriftOptions, DriftStream, IngestError, Row, Table, TableOptions};
use crate::model::Kinds;
use crate::wire::types::Event;

/// Events needed to show anything.
pub const EVENTS_MIN: usize = 1_000;
/// Most events kept back for the last act.
const RESERVE_MAX: usize = 3_000;

/// An item, and what it is.
#[derive(Clone, Debug)]
pub struct DemoItem {
    /// Its id.
    pub id: Id,
    /// Its tags, the main one first; none in a file.
    pub tags: Vec<String>,
}

/// Events and their items.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Where they come from, in words.
    pub name: String,
    /// The items, in the order of first mention (generated ones: of their ids).
    pub items: Vec<DemoItem>,
    /// The events of the stream, in order.
    pub events: Vec<Event>,
    /// The events after them, for the last act.
    pub reserve: Vec<Event>,
    /// Users.
    pub users: usize,
    /// Rows of the file that are no events.
    pub bad_rows: u64,
}

/// How much to make.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Events of the stream.
    pub events: usize,
    /// Users of a generated stream; `None`: one for every 100 events, 30 to 5,000.
    pub users: Option<u32>,
    /// Items of a generated stream.
    pub items: u32,
    /// Seed of a generated stream.
    pub seed: u64,
}

/// Temper of the generated stream: a taste wanders a little with every event of its user, and turns over after 50 of
/// them, on average: users of 100 events change their minds twice.
fn drift(size: Size) -> DriftOptions {
    let fitting = u32::try_from(size.events / 100).unwrap_or(u32::MAX).clamp(30, 5_000);
    DriftOptions {
        users: size.users.unwrap_or(fitting),
        items: size.items,
        events: (size.events + reserve(size.events)) as u64,
        seed: size.seed,
        genres: 8,
        walk: 0.02,
        jump: 0.02,
        ..DriftOptions::default()
    }
}

fn reserve(events: usize) -> usize {
    (events / 4).min(RESERVE_MAX)
}

/// The generated stream.
///
/// # Errors
/// [`DemoError::TooFew`].
pub fn generated(size: Size, kinds: &Kinds) -> Result<Workload, DemoError> {
    let options = drift(size);
    let name = format!("generated stream, seed {}", size.seed);
    let stream = DriftStream::new(options);
    let items = stream.items().iter().map(|item| DemoItem { id: item.id.clone(), tags: item.tags.clone() }).collect();
    let mut bad_rows = 0;
    let events = stream.filter_map(|row| event(row, "event", kinds, &mut bad_rows)).collect();
    finish(name, items, events, size.events, bad_rows)
}

/// The first events of a file, in the order of their times. Where the file names no kinds, events whose values vary are
/// ratings.
///
/// # Errors
/// [`DemoError::Ingest`], [`DemoError::TooFew`].
pub fn file(path: &Path, events_max: usize, kinds: &Kinds) -> Result<Workload, DemoError> {
    let (mut rows, mut bad_rows) = (Vec::new(), 0);
    for row in Table::open(path, TableOptions::default())? {
        match row {
            Ok(row) => rows.push(row),
            Err(IngestError::Row(_)) => bad_rows += 1,
            Err(error) => return Err(error.into()),
        }
        if rows.len() == events_max {
            break;
        }
    }
    rows.sort_by_key(|row: &Row| row.time_ms);
    let varies = rows.windows(2).any(|pair| pair[0].value.to_bits() != pair[1].value.to_bits());
    let fallback = if varies { "rate" } else { "event" };
    let events: Vec<Event> = rows.into_iter().filter_map(|row| event(row, fallback, kinds, &mut bad_rows)).collect();
    let mut met = HashSet::new();
    let firsts = events.iter().filter(|event| met.insert(&event.item));
    let items = firsts.map(|event| DemoItem { id: event.item.clone(), tags: Vec::new() }).collect();
    let kept = events.len().saturating_sub(reserve(events.len()));
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    finish(name, items, events, kept, bad_rows)
}

fn event(row: Row, fallback: &str, kinds: &Kinds, bad_rows: &mut u64) -> Option<Event> {
    let Row { line, user, item, value, time_ms, kind, .. } = row;
    let Some(kind) = kinds.named(kind.as_deref().unwrap_or(fallback)) else {
        *bad_rows += 1;
        return None;
    };
    Some(Event { event_id: Id::Int(line), user, item, kind: kind.code, value, time_ms })
}

fn finish(
    name: String,
    items: Vec<DemoItem>,
    mut events: Vec<Event>,
    kept: usize,
    bad_rows: u64,
) -> Result<Workload, DemoError> {
    let reserve = events.split_off(kept.min(events.len()));
    if events.len() < EVENTS_MIN {
        return Err(DemoError::TooFew { name, found: events.len(), least: EVENTS_MIN });
    }
    let users = events.iter().map(|event| &event.user).collect::<BTreeSet<_>>().len();
    Ok(Workload { name, items, events, reserve, users, bad_rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    fn kinds() -> Kinds {
        let named = ["event", "view", "click", "cart", "purchase", "rate"];
        Kinds::new((0..).zip(named).map(|(code, name)| Kind { explicit: name == "rate", ..Kind::new(code, name, 1.0) }))
    }

    #[test]
    fn a_generated_stream_has_its_size_and_a_reserve() {
        let size = Size { events: 2_000, users: None, items: 300, seed: 3 };
        let workload = generated(size, &kinds()).unwrap();
        assert_eq!((workload.events.len(), workload.reserve.len(), workload.items.len()), (2_000, 500, 300));
        assert!(workload.users <= 30 && workload.bad_rows == 0);
        assert!(workload.events.iter().chain(&workload.reserve).all(|event| event.event_id != Id::Int(0)));
        let few = generated(Size { events: 10, ..size }, &kinds());
        assert!(matches!(few, Err(DemoError::TooFew { found: 10, .. })), "{few:?}");
    }

    #[test]
    fn a_file_is_sorted_by_time_and_its_bad_rows_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ratings.tsv");
        let rows: String = (0..2_000).rev().map(|n| format!("{}\t{}\t{}\t{}\n", n % 7, n % 31, n % 5, n + 1)).collect();
        std::fs::write(&path, format!("user\titem\tvalue\ttimestamp\nx\ty\tnone\t5\n{rows}")).unwrap();
        let workload = file(&path, 10_000, &kinds()).unwrap();
        assert_eq!((workload.events.len(), workload.reserve.len(), workload.bad_rows), (1_500, 500, 1));
        assert_eq!((workload.users, workload.items.len()), (7, 31));
        assert!(workload.events.is_sorted_by_key(|event| event.time_ms));
        assert!(workload.events.iter().all(|event| event.kind == 5), "values vary: ratings");
    }
}
