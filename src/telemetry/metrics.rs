//! Counters and gauges: one table. From it come the names in STATS and `docs/metrics.md`.
//!
//! Every shard has an instance of its own, written by its thread and read by whoever asks; relaxed atomics, because
//! each is a figure by itself.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal $kind:ident $merge:ident;)*) => {
        /// One figure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Metric { $($(#[doc = $doc])+ $variant,)* }

        impl Metric {
            /// All figures, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in STATS; the unit stands last.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name,)* } }

            /// `counter` or `gauge`.
            #[must_use]
            pub const fn kind(self) -> &'static str { match self { $(Self::$variant => stringify!($kind),)* } }

            /// What it tells.
            #[must_use]
            pub fn help(self) -> String { match self { $(Self::$variant => concat!($($doc),+).trim().to_owned(),)* } }

            /// The figure over shards.
            #[must_use]
            pub fn over(self, shards: impl Iterator<Item = u64>) -> u64 { match self { $(Self::$variant => metrics!(@$merge shards),)* } }
        }
    };
    (@sum $shards:ident) => { $shards.sum() };
    (@max $shards:ident) => { $shards.max().unwrap_or(0) };
}

metrics! {
    /// Events learned since the start of the process.
    EventsApplied "events_applied" counter sum;
    /// Events whose id had been learned before.
    EventsDuplicate "events_duplicate" counter sum;
    /// Events and questions refused because the shard's queue was full or would have kept them waiting too long.
    EventsOverloaded "events_overloaded" counter sum;
    /// Events and questions dropped, not begun, because their deadline had passed.
    EventsExpired "events_expired" counter sum;
    /// Events and other writes refused because the disk had too little room.
    WritesDiskFull "writes_disk_full" counter sum;
    /// Events refused, whatever the reason; each is counted by its reason too (`rejected_...`).
    EventsRejected "events_rejected" counter sum;
    /// Questions answered: profiles, predictions, recommendations and the like.
    Queries "queries" counter sum;
    /// Turns: messages of one or more requests that a shard carried out.
    Turns "turns" counter sum;
    /// Events and queries waiting in the queues now.
    Queued "queued" gauge sum;
    /// How long what comes now waits for its shard, in microseconds, by the pace of late.
    QueueWaitUs "queue_wait_us" gauge max;
    /// Users known.
    Users "users" gauge sum;
    /// Items known to the shard that knows most.
    Items "items" gauge max;
    /// Bytes of memory that the process holds.
    MemoryBytes "memory_bytes" gauge max;
    /// Bytes near which no new users and items are taken; 0: no limit.
    MemoryLimitBytes "memory_limit_bytes" gauge max;
    /// 0 there is room, 1 new users and items are refused, 2 nothing is learned.
    MemoryLevel "memory_level" gauge max;
    /// Bytes that are free where the data directory is.
    DiskFreeBytes "disk_free_bytes" gauge max;
    /// 1 while writes are refused because fewer bytes are free than are to stay.
    DiskFull "disk_full" gauge max;
    /// Bytes mapped for vectors.
    ColumnBytes "column_bytes" gauge sum;
    /// Operations in the journals, ever (newest sequences).
    Sequence "sequence" gauge sum;
    /// Operations that are synced to the device.
    DurableSequence "durable_sequence" gauge sum;
    /// Bytes appended to the journals since the start of the process.
    JournalBytes "journal_bytes" counter sum;
    /// Epoch of the item model.
    Epoch "epoch" gauge max;
    /// Refits of the item model since the start of the process.
    Refits "refits" counter sum;
    /// Refits that failed; the log says why.
    RefitsFailed "refits_failed" counter sum;
    /// How far the refit under way is, in per cent; 0 without one.
    RefitPercent "refit_percent" gauge max;
    /// Time that the newest refit took, in milliseconds.
    RefitMs "refit_ms" gauge max;
    /// Panics caught in a shard; after each it was rebuilt from disk.
    Panics "panics" counter sum;
    /// Lists recommended since the start of the process.
    ListsServed "lists_served" counter sum;
    /// Lists that wait now, outside the state, for an exposure or an outcome to name them.
    ListsWaiting "lists_waiting" gauge sum;
    /// Lists reported as shown (EXPOSURE).
    ListsShown "lists_shown" counter sum;
    /// Outcomes of an item of the list that they named.
    OutcomesListed "outcomes_listed" counter sum;
    /// Outcomes of an item that the list named did not hold.
    OutcomesNotListed "outcomes_not_listed" counter sum;
    /// Exposures and outcomes that named a list too old, or pushed out by newer ones.
    DecisionsExpired "decisions_expired" counter sum;
    /// Exposures and outcomes that named no list served to that user, or one from before a restart.
    DecisionsUnknown "decisions_unknown" counter sum;
    /// Refused events that could not be read. Reserved.
    RejectedUnreadable "rejected_unreadable" counter sum;
    /// Refused events whose value is NaN or infinite.
    RejectedValueNotFinite "rejected_value_not_finite" counter sum;
    /// Refused events whose value is larger than any may be, or outside the range of its kind.
    RejectedValueOutOfRange "rejected_value_out_of_range" counter sum;
    /// Refused events of a kind that is not configured.
    RejectedUnknownKind "rejected_unknown_kind" counter sum;
    /// Refused events from before 1970.
    RejectedBefore1970 "rejected_before_1970" counter sum;
    /// Refused events too far ahead of the server's clock.
    RejectedInTheFuture "rejected_in_the_future" counter sum;
    /// Refused events older than the user's sums and the window of duplicates allow.
    RejectedTooLate "rejected_too_late" counter sum;
    /// Refused events that repeat user, item and kind within the burst window.
    RejectedBurst "rejected_burst" counter sum;
    /// Refused events of users who are quarantined for abuse.
    RejectedQuarantined "rejected_quarantined" counter sum;
    /// Refused events of users who have paused learning.
    RejectedPaused "rejected_paused" counter sum;
    /// Refused events whose attributes are not what their schema says. Reserved for upserts.
    RejectedAttribute "rejected_attribute" counter sum;
    /// Refused events of users who were merged into others while the events were on their way.
    RejectedMerged "rejected_merged" counter sum;
    /// Refused events of users or items that there was no memory for.
    RejectedMemory "rejected_memory" counter sum;
    /// Refused events that a shard broke at.
    RejectedPoison "rejected_poison" counter sum;
    /// Refused events that were kept for inspection (REJECTS).
    RejectsKept "rejects_kept" counter sum;
    /// Refused events that were counted and not kept: too many at once, or the disk failed.
    RejectsDropped "rejects_dropped" counter sum;
    /// Journals that failed and take no more writes.
    JournalsPoisoned "journals_poisoned" gauge sum;
}

/// The figures of one shard.
#[derive(Debug)]
pub struct Metrics {
    values: Vec<AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { values: Metric::ALL.iter().map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Metrics {
    /// Adds to a counter.
    #[inline]
    pub fn add(&self, metric: Metric, count: u64) {
        self.values[metric as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, metric: Metric, value: u64) {
        self.values[metric as usize].store(value, Ordering::Relaxed);
    }

    /// Reads a figure.
    #[must_use]
    pub fn get(&self, metric: Metric) -> u64 {
        self.values[metric as usize].load(Ordering::Relaxed)
    }
}

/// The table as a page for `docs/metrics.md`.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\nWhat STATS and `mirra stats` tell. Written by a test from `src/telemetry/metrics.rs`.\n\n| name | kind | what it tells |\n|---|---|---|\n",
    );
    for metric in Metric::ALL {
        page.push_str(&format!("| `{}` | {} | {} |\n", metric.name(), metric.kind(), metric.help()));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_figures_merge_as_the_table_says() {
        let mut names: Vec<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metric::ALL.len());
        let (one, two) = (Metrics::default(), Metrics::default());
        for (metrics, count) in [(&one, 3), (&two, 4)] {
            metrics.add(Metric::EventsApplied, count);
            metrics.set(Metric::Epoch, count);
        }
        let over = |metric: Metric| metric.over([&one, &two].iter().map(|metrics| metrics.get(metric)));
        assert_eq!((over(Metric::EventsApplied), over(Metric::Epoch)), (7, 4));
    }
}
