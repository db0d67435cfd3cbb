//! Bars of what is kept: archives, and snapshot stores that were damaged.

use serde_json::json;

use crate::{Found, Work, archives, formats, store_damage};

/// 10 rounds of every kind of bad archive that chance has a part in, and all the others.
pub fn restores(work: Work) -> Found {
    let found = archives::restores(work.seed, work.of(10));
    let figures = json!({
        "good": found.good,
        "hash_mismatches": found.hash_mismatches,
        "bad_tried": found.tried,
        "bad_refused": found.refused,
        "leftovers": found.leftovers,
        "source_changed": found.source_changed,
        "source_starts_otherwise": found.source_starts_otherwise,
        "wrong": found.wrong,
    });
    (found.holds(), figures)
}

/// Every variant, and 200 damages at random.
pub fn starts(work: Work) -> Found {
    let found = store_damage::starts(work.seed, work.of(200));
    let figures = json!({
        "variants": found.variants,
        "started_unaided": found.started,
        "acknowledged_lost": found.lost,
        "repaired_in_silence": found.silent,
        "no_snapshot_afterwards": found.no_snapshot,
        "trimmed_started": found.trimmed_started,
        "trimmed_refused": found.trimmed_refused,
        "refused_rebuilt_from_archive_and_journal": found.trimmed_rebuilt,
        "failed": found.failed,
    });
    (found.holds(), figures)
}

/// 20 second processes, and every file of a newer program.
pub fn formats(work: Work) -> Found {
    let found = formats::cases(work.of(20));
    let figures = json!({
        "cases": found.tried,
        "passed": found.passed,
        "refused_ms_max": found.refused_ms_max,
        "failed": found.failed,
    });
    (found.holds(), figures)
}
