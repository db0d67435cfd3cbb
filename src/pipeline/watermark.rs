//! How far each source of events has come in time, and which events come late.
//!
//! ```text
//! watermark = largest event time seen - allowed lateness          late: event time < watermark, by the difference
//! ```
//!
//! The watermark of the dataflow model (Akidau et al., *The dataflow model*, VLDB 2015) in its heuristic form, one a
//! source: a slow source does not make the events of a fast one late. What a door does with a late event is its own
//! business; here it is told and counted. Times in the future move the watermark like any other: keep them back before.

use std::collections::BTreeMap;

use crate::base::limits::TEXT_BYTES_MAX;

/// Most sources that are kept by name; the one heard of longest ago makes room, and [`Sources::total`] alone remembers it.
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

/// One source: how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// Largest event time seen, in milliseconds since 1970-01-01 UTC; `i64::MIN` before any.
    pub largest_ms: i64,
    /// What came.
    pub counts: Counts,
}

impl Default for Watermark {
    fn default() -> Self {
        Self { largest_ms: i64::MIN, counts: Counts::default() }
    }
}

impl Watermark {
    /// Takes note of an event, which may be `lateness_ms` older than the newest before it. The first is on time.
    #[inline]
    pub fn observe(&mut self, time_ms: i64, lateness_ms: u64) -> Arrival {
        self.counts.events += 1;
        if time_ms >= self.largest_ms {
            self.largest_ms = time_ms;
            return Arrival::OnTime;
        }
        match self.largest_ms.abs_diff(time_ms).saturating_sub(lateness_ms) {
            0 => Arrival::OnTime,
            by_ms => {
                self.counts.late += 1;
                self.counts.late_max_ms = self.counts.late_max_ms.max(by_ms);
                Arrival::Late { by_ms }
            }
        }
    }

    /// Adds what came by another way from the same source.
    pub fn join(&mut self, other: &Self) {
        self.largest_ms = self.largest_ms.max(other.largest_ms);
        self.counts.events += other.counts.events;
        self.counts.late += other.counts.late;
        self.counts.late_max_ms = self.counts.late_max_ms.max(other.counts.late_max_ms);
    }
}

/// Sources by name: at most [`SOURCES_MAX`], names of at most [`TEXT_BYTES_MAX`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// With the number of the newest addition.
    by_name: BTreeMap<String, (u64, Watermark)>,
    added: u64,
    total: Watermark,
}

impl Sources {
    /// Adds what came from a source. Of a name over [`TEXT_BYTES_MAX`] bytes the beginning counts.
    pub fn add(&mut self, source: &str, came: &Watermark) {
        self.total.join(came);
        self.added += 1;
        let name = &source[..source.floor_char_boundary(TEXT_BYTES_MAX)];
        if !self.by_name.contains_key(name) && self.by_name.len() >= SOURCES_MAX {
            // A scan of microseconds, and for a new source only.
            let oldest = self.by_name.iter().min_by_key(|(_, (added, _))| *added).map(|(name, _)| name.clone());
            if let Some(name) = oldest {
                self.by_name.remove(&name);
            }
        }
        let (added, known) = self.by_name.entry(name.to_owned()).or_default();
        *added = self.added;
        known.join(came);
    }

    /// The sources by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Watermark)> {
        self.by_name.iter().map(|(name, (_, mark))| (name.as_str(), mark))
    }

    /// All sources together, those that made room too.
    #[must_use]
    pub fn total(&self) -> &Watermark {
        &self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn late_is_behind_the_newest_by_more_than_is_allowed() {
        let mut mark = Watermark::default();
        for (time_ms, expected) in [
            (1_000, Arrival::OnTime),
            (900, Arrival::OnTime),
            (899, Arrival::Late { by_ms: 1 }),
            (2_000, Arrival::OnTime),
            (1_000, Arrival::Late { by_ms: 900 }),
            (1_950, Arrival::OnTime),
        ] {
            assert_eq!(mark.observe(time_ms, 100), expected, "{time_ms}");
        }
        let counts = Counts { events: 6, late: 2, late_max_ms: 900 };
        assert_eq!(mark, Watermark { largest_ms: 2_000, counts });
        // One that is slow does not make another late.
        assert_eq!(Watermark::default().observe(-50, 100), Arrival::OnTime);
    }

    #[test]
    fn sources_are_bounded_and_nothing_is_lost_from_the_total() {
        let (mut sources, mut rng, mut late) = (Sources::default(), Rng::new(5), 0);
        for turn in 0..20_000_i64 {
            let mut came = Watermark::default();
            came.observe(turn, 10);
            late += u64::from(came.observe(turn - i64::from(rng.below(400) as u32), 10) != Arrival::OnTime);
            sources.add(&format!("source {}", rng.below(3_000)), &came);
            assert!(sources.iter().count() <= SOURCES_MAX);
        }
        let total = sources.total();
        assert_eq!((total.counts.events, total.counts.late, total.largest_ms), (40_000, late, 19_999));
        let told: u64 = sources.iter().map(|(_, mark)| mark.counts.events).sum();
        assert!(late > 0 && told < 40_000, "{late} {told}");
        let (kept, one) = (|sources: &Sources| sources.iter().any(|(name, _)| name == "kept"), Watermark::default());
        sources.add("kept", &one);
        (1..SOURCES_MAX).for_each(|number| sources.add(&format!("new {number}"), &one));
        assert!(kept(&sources), "younger than all that made room");
        sources.add("one more", &one);
        assert!(!kept(&sources));
    }

    #[test]
    fn ends_of_time_and_of_names() {
        let mut mark = Watermark::default();
        mark.observe(i64::MAX, 0);
        assert_eq!(mark.observe(i64::MIN, u64::MAX), Arrival::OnTime);
        assert_eq!(mark.observe(i64::MIN, 0), Arrival::Late { by_ms: u64::MAX });
        let mut sources = Sources::default();
        sources.add(&"ä".repeat(TEXT_BYTES_MAX), &mark);
        assert!(sources.iter().all(|(name, _)| name.len() <= TEXT_BYTES_MAX));
    }
}
