//! Bars of what is kept: archives, and snapshot stores that were damaged.

use serde_json::json;

use crate::{Found, Work, store_damage};

pub fn starts(work: Work) -> Found {
    let found = store_damage::starts(work.seed, work.of(36));
    let figures = json!({
        "variants": found.variants,
        "started_unaided": found.started,
        "acknowledged_lost": found.lost,
        "repaired_in_silence": found.silent,
        "no_snapshot_afterwards": found.no_snapshot,
        "trimmed_started": found.trimmed_started,
        "trimmed_refused": found.trimmed_refused,
        "failed": found.failed,
    });
    (found.holds(), figures)
}
