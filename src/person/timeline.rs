//! The retained history of a user in the order of time: sessions, pauses, returns to items.
//!
//! What follows from it rests on the newest events that are kept, and on nothing else: it is made when it is asked for.
//! Among events of one time the item decides, so that order of arrival has no say as long as all events are kept.

use crate::model::{Entry, History};

/// A run of events without a pause as long as the schema's session gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Places of its events in the timeline.
    pub first: usize,
    /// One past its last event.
    pub end: usize,
    /// When it began.
    pub begin_ms: i64,
    /// When its last event was.
    pub last_ms: i64,
}

impl Session {
    /// Events.
    #[must_use]
    pub fn events(&self) -> usize {
        self.end - self.first
    }

    /// From its first event to its last.
    #[must_use]
    pub fn length_ms(&self) -> i64 {
        self.last_ms - self.begin_ms
    }
}

/// The retained events of one user, oldest first, and its sessions.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    entries: Vec<Entry>,
    sessions: Vec<Session>,
}

impl Timeline {
    /// The timeline of a history.
    #[must_use]
    pub fn of(history: &History, session_gap_ms: i64) -> Self {
        let mut entries: Vec<Entry> = history.oldest_first().copied().collect();
        // Mostly in order already: a stable sort then costs one pass.
        entries.sort_by_key(|entry| (entry.time_ms, entry.item, entry.kind, entry.event_id));
        let mut sessions: Vec<Session> = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            match sessions.last_mut() {
                Some(session) if entry.time_ms - session.last_ms < session_gap_ms => {
                    (session.end, session.last_ms) = (at + 1, entry.time_ms);
                }
                _ => {
                    let (begin_ms, last_ms) = (entry.time_ms, entry.time_ms);
                    sessions.push(Session { first: at, end: at + 1, begin_ms, last_ms });
                }
            }
        }
        Self { entries, sessions }
    }

    /// All events, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All sessions, oldest first.
    #[must_use]
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// Times from one session's begin to the next one's, in milliseconds.
    pub fn returns_ms(&self) -> impl Iterator<Item = i64> + '_ {
        self.sessions.windows(2).map(|pair| pair[1].begin_ms - pair[0].begin_ms)
    }

    /// Different items.
    #[must_use]
    pub fn items(&self) -> usize {
        let mut items: Vec<u32> = self.entries.iter().map(|entry| entry.item).collect();
        items.sort_unstable();
        items.dedup();
        items.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(times: &[(i64, u32)], gap_ms: i64) -> Timeline {
        let mut history = History::default();
        for (time_ms, item) in times {
            history.push(Entry { time_ms: *time_ms, item: *item, ..Entry::default() }, 100);
        }
        Timeline::of(&history, gap_ms)
    }

    #[test]
    fn a_pause_ends_a_session_and_order_of_arrival_has_no_say() {
        let times = [(0, 1), (10, 2), (15, 1), (100, 3), (101, 3), (300, 4)];
        let straight = timeline(&times, 50);
        let ends: Vec<_> = straight.sessions().iter().map(|session| (session.events(), session.length_ms())).collect();
        assert_eq!(ends, [(3, 15), (2, 1), (1, 0)]);
        assert_eq!(straight.returns_ms().collect::<Vec<_>>(), [100, 200]);
        assert_eq!(straight.items(), 4);
        let mut turned = times;
        turned.reverse();
        let turned = timeline(&turned, 50);
        assert_eq!((turned.entries(), turned.sessions()), (straight.entries(), straight.sessions()));
        assert!(timeline(&[], 50).sessions().is_empty());
    }
}
