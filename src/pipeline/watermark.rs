//! How far each source of events has come in time, and which events come late.
//!
//! ```text
//! watermark = largest event time seen - allowed lateness          late: event time < watermark, by the difference
//! ```
//!
//! The watermark of the dataflow model (Akidau et al., *The dataflow model*, VLDB 2015) in its heuristic form, one a
//! source: a slow source does not make the events of a fast one late. What a door does with a late event is its own
//! business; here it is told and counted. Times in the future move the watermark like any other: refuse them before.

use std::collections::BTreeMap;

use crate::base::limits::TEXT_BYTES_MAX;

/// Most sources that are kept; the one heard of longest ago makes room, and its counts go into [`Watermarks::forgotten`].
pub const SOURCES_MAX: usize = 1_024;

/// When an event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Within the allowed lateness.
    OnTime,
    /// Behind the watermark.
    Late {
        /// How far behind it, in milliseconds; at least 1.
        by_ms: u64,
    },
}

/// What is known of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Largest event time seen, in milliseconds since 1970-01-01 UTC.
    pub largest_ms: i64,
    /// What came.
    pub counts: Counts,
    /// Number of the newest event among those of all sources.
    heard: u64,
}

/// Events, and those that came late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Those behind the watermark.
    pub late: u64,
    /// Farthest behind it, in milliseconds.
    pub late_max_ms: u64,
}

impl Counts {
    fn count(&mut self, arrival: Arrival) {
        self.events += 1;
        if let Arrival::Late { by_ms } = arrival {
            self.late += 1;
            self.late_max_ms = self.late_max_ms.max(by_ms);
        }
    }

    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.late += other.late;
        self.late_max_ms = self.late_max_ms.max(other.late_max_ms);
    }
}

/// The watermarks of all sources: at most [`SOURCES_MAX`], names of at most [`TEXT_BYTES_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermarks {
    lateness_ms: u64,
    sources: BTreeMap<String, Source>,
    heard: u64,
    forgotten: Counts,
}

impl Watermarks {
    /// Without sources; events may be `lateness_ms` older than the newest of their source.
    #[must_use]
    pub fn new(lateness_ms: u64) -> Self {
        Self { lateness_ms, sources: BTreeMap::new(), heard: 0, forgotten: Counts::default() }
    }

    /// Takes note of an event. The first of a source is on time. Of a name over [`TEXT_BYTES_MAX`] bytes the beginning
    /// counts.
    pub fn observe(&mut self, source: &str, time_ms: i64) -> Arrival {
        self.heard += 1;
        let heard = self.heard;
        let name = &source[..source.floor_char_boundary(TEXT_BYTES_MAX)];
        if let Some(known) = self.sources.get_mut(name) {
            let arrival = arrival(mark(known.largest_ms, self.lateness_ms), time_ms);
            known.largest_ms = known.largest_ms.max(time_ms);
            known.heard = heard;
            known.counts.count(arrival);
            return arrival;
        }
        if self.sources.len() >= SOURCES_MAX {
            self.forget();
        }
        let counts = Counts { events: 1, ..Counts::default() };
        self.sources.insert(name.to_owned(), Source { largest_ms: time_ms, counts, heard });
        Arrival::OnTime
    }

    /// Watermark of a source, in milliseconds since 1970-01-01 UTC: older events of it are late. `None` if it is not
    /// known.
    #[must_use]
    pub fn watermark_ms(&self, source: &str) -> Option<i64> {
        let name = &source[..source.floor_char_boundary(TEXT_BYTES_MAX)];
        self.sources.get(name).map(|source| mark(source.largest_ms, self.lateness_ms))
    }

    /// The smallest watermark: all sources that are known have come that far.
    #[must_use]
    pub fn all_past_ms(&self) -> Option<i64> {
        self.sources.values().map(|source| mark(source.largest_ms, self.lateness_ms)).min()
    }

    /// The sources by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.sources.iter().map(|(name, source)| (name.as_str(), source))
    }

    /// Counts of the sources that made room for others.
    #[must_use]
    pub fn forgotten(&self) -> Counts {
        self.forgotten
    }

    /// Counts of all sources, forgotten ones too.
    #[must_use]
    pub fn total(&self) -> Counts {
        self.sources.values().fold(self.forgotten, |mut total, source| {
            total.add(source.counts);
            total
        })
    }

    /// Lets go of the source heard of longest ago. A scan: it takes microseconds, and comes with a new source only.
    fn forget(&mut self) {
        let oldest = self.sources.iter().min_by_key(|(_, source)| source.heard).map(|(name, _)| name.clone());
        if let Some(gone) = oldest.and_then(|name| self.sources.remove(&name)) {
            self.forgotten.add(gone.counts);
        }
    }
}

fn mark(largest_ms: i64, lateness_ms: u64) -> i64 {
    largest_ms.saturating_sub_unsigned(lateness_ms)
}

fn arrival(mark_ms: i64, time_ms: i64) -> Arrival {
    if time_ms >= mark_ms { Arrival::OnTime } else { Arrival::Late { by_ms: mark_ms.abs_diff(time_ms) } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn late_is_behind_the_watermark_of_ones_own_source() {
        let mut marks = Watermarks::new(100);
        for (source, time_ms, expected) in [
            ("app", 1_000, Arrival::OnTime),
            ("app", 900, Arrival::OnTime),
            ("app", 899, Arrival::Late { by_ms: 1 }),
            ("batch", -50, Arrival::OnTime),
            ("batch", -500, Arrival::Late { by_ms: 350 }),
            ("app", 2_000, Arrival::OnTime),
            ("app", 1_000, Arrival::Late { by_ms: 900 }),
            ("app", 1_950, Arrival::OnTime),
        ] {
            assert_eq!(marks.observe(source, time_ms), expected, "{source} {time_ms}");
        }
        let seen: Vec<_> = marks.iter().map(|(name, source)| (name, source.largest_ms, source.counts)).collect();
        let app = Counts { events: 6, late: 2, late_max_ms: 900 };
        assert_eq!(seen, [("app", 2_000, app), ("batch", -50, Counts { events: 2, late: 1, late_max_ms: 350 })]);
        assert_eq!((marks.watermark_ms("app"), marks.watermark_ms("web")), (Some(1_900), None));
        assert_eq!((marks.all_past_ms(), marks.total().late), (Some(-150), 3));
    }

    #[test]
    fn the_map_is_bounded_and_nothing_is_lost_from_the_counts() {
        let (mut marks, mut rng, mut late) = (Watermarks::new(10), Rng::new(5), 0);
        for turn in 0..20_000_u64 {
            let name = format!("source {}", rng.below(3_000));
            let known = marks.watermark_ms(&name);
            let time_ms = i64::try_from(turn).unwrap() - i64::try_from(rng.below(400)).unwrap();
            let arrival = marks.observe(&name, time_ms);
            assert_eq!(arrival != Arrival::OnTime, known.is_some_and(|mark| time_ms < mark), "{name} {time_ms}");
            late += u64::from(arrival != Arrival::OnTime);
            assert!(marks.iter().count() <= SOURCES_MAX);
        }
        assert_eq!((marks.total().events, marks.total().late), (20_000, late));
        assert!(late > 0 && marks.forgotten().events > 0);
        marks.observe("kept", 1);
        for number in 0..SOURCES_MAX - 1 {
            marks.observe(&format!("new {number}"), 1);
        }
        assert!(marks.watermark_ms("kept").is_some(), "younger than all that made room");
        marks.observe("one more", 1);
        assert_eq!(marks.watermark_ms("kept"), None);
    }

    #[test]
    fn ends_of_time_and_of_names() {
        let mut marks = Watermarks::new(u64::MAX);
        marks.observe("x", i64::MAX);
        assert_eq!(marks.observe("x", i64::MIN), Arrival::OnTime);
        let mut strict = Watermarks::new(0);
        strict.observe("x", i64::MAX);
        assert_eq!(strict.observe("x", i64::MIN), Arrival::Late { by_ms: u64::MAX });
        let long = "ä".repeat(TEXT_BYTES_MAX);
        strict.observe(&long, 7);
        assert_eq!(strict.watermark_ms(&long[..TEXT_BYTES_MAX]), Some(7));
        assert!(strict.iter().all(|(name, _)| name.len() <= TEXT_BYTES_MAX));
    }
}
