//! What the ranker sees of a candidate: 50 numbers, nearly all logarithms.
//!
//! Logarithms make products linear: the exponent of popularity or of a cosine, a trend (short over long half-life) and
//! recency become weights that are learned a stream, instead of settings that somebody has to choose.

use super::gather::{Asker, Factors, Gather, PAIR_SUMS, SESSION_SUMS, bucket, moment, norm};
use super::vectors::product;
use crate::learn::bank::Bank;
use crate::learn::bank::counts::{GRID, Moment};
use crate::learn::bank::trails::Trail;
use crate::linalg::dense::{WIDTH, ln_all};

/// Numbers a candidate.
pub const FEATURES: usize = 50;
/// Floats from one candidate to the next; the rest are zero.
pub const STRIDE: usize = WIDTH;
/// Of them, how many are taken the logarithm of, in whole lanes.
const LOGS: usize = 48;
/// Where they end: popularity, pair sums, session sums, cohort, two ages, count.
const LOGS_END: usize = GRID + 2 * PAIR_SUMS + 2 * SESSION_SUMS + 4;
/// Added to a share of the largest before its logarithm.
const FLOOR: f32 = 0.003;
/// The user's newest items whose mean count and age a candidate is compared with.
const PROFILE_ITEMS: usize = 10;

/// What all candidates of a query have in common.
struct Common {
    moment: Moment,
    bucket: usize,
    events: u64,
    /// Means of log count and log age over the user's newest items, if there are any.
    profile: Option<[f32; 2]>,
    /// Length of the history, gap since the last event in mean gaps, largest of two pair sums: gates for the others.
    gates: [f32; 4],
}

impl Common {
    fn of(gather: &Gather, bank: &Bank, asker: Asker<'_>) -> Self {
        let trail = asker.user.map(|user| bank.trail(user)).filter(|trail| !trail.is_empty());
        let events = bank.events();
        let profile = trail.map(|trail| {
            let (mut sums, mut items) = ([0.0_f32; 2], 0.0_f32);
            for item in trail.newest(PROFILE_ITEMS) {
                let counts = bank.counts.get(item as usize);
                sums[0] += (counts.events as f32).ln();
                sums[1] += age(events, counts.first).ln();
                items += 1.0;
            }
            sums.map(|sum| sum / items)
        });
        let gap = trail.map_or(0.0, |trail| {
            let since = asker.time_ms.saturating_sub(trail.last_ms()).max(0) as f64 / bank.spacing_ms();
            (since as f32).ln_1p()
        });
        let length = trail.map_or(0, Trail::count);
        let sums = &gather.pair_max[0];
        Self {
            moment: moment(bank),
            bucket: bucket(bank, asker.user),
            events,
            profile,
            gates: [(length as f32).ln_1p(), gap, (sums[0] + 0.01).ln(), (sums[2] + 0.01).ln()],
        }
    }
}

/// Fills `out` with a row of [`STRIDE`] a candidate of `gather`.
pub fn fill(gather: &Gather, bank: &Bank, factors: Factors<'_>, asker: Asker<'_>, out: &mut Vec<f32>) {
    out.clear();
    out.resize(gather.candidates.len() * STRIDE, 0.0);
    let common = Common::of(gather, bank, asker);
    for (row, item) in out.as_chunks_mut::<STRIDE>().0.iter_mut().zip(&gather.candidates) {
        fill_logs(row, gather, bank, &common, *item);
        let at = fill_plain(row, gather, bank, &common, *item);
        let at = fill_vectors(row, at, gather, bank, factors, *item);
        row[at..at + common.gates.len()].copy_from_slice(&common.gates);
        debug_assert_eq!(at + common.gates.len(), FEATURES);
    }
}

/// The logarithms, up to [`LOGS_END`].
fn fill_logs(row: &mut [f32; STRIDE], gather: &Gather, bank: &Bank, common: &Common, item: u32) {
    let counts = bank.counts.get(item as usize);
    let (raw, norm) = (gather.raw(item), norm(bank, item));
    let moment = &common.moment;
    for at in 0..GRID {
        row[at] = (counts.popularity[at] * moment.popularity[at] + 0.1) / (moment.totals[at] + 1.0);
    }
    let mut at = GRID;
    let mut put = |sum: f32, largest: [f32; 2]| {
        row[at] = FLOOR + sum / largest[0];
        row[at + 1] = FLOOR + sum * norm / largest[1];
        at += 2;
    };
    for sum in 0..PAIR_SUMS {
        put(raw.pairs[sum], [gather.pair_max[0][sum], gather.pair_max[1][sum]]);
    }
    for sum in 0..SESSION_SUMS {
        put(raw.sessions[sum], [gather.session_max[0][sum], gather.session_max[1][sum]]);
    }
    let bucket = common.bucket;
    row[at] = (counts.cohorts[bucket] * moment.cohort + 0.1) / (moment.cohort_totals[bucket] + 1.0);
    row[at + 1] = age(common.events, counts.first);
    row[at + 2] = age(common.events, counts.last);
    row[at + 3] = counts.events.max(1) as f32;
    debug_assert_eq!(at + 4, LOGS_END);
    row[LOGS_END..LOGS].fill(1.0);
    ln_all(&mut row[..LOGS]);
}

/// Distance to the user's profile, and three sums without a logarithm; says where it ended.
fn fill_plain(row: &mut [f32; STRIDE], gather: &Gather, bank: &Bank, common: &Common, item: u32) -> usize {
    let mut at = LOGS_END;
    let (age, count) = (row[at - 3], row[at - 1]);
    if let Some([mean_count, mean_age]) = common.profile {
        row[at] = count - mean_count;
        row[at + 1] = (count - mean_count).abs();
        row[at + 2] = age - mean_age;
        row[at + 3] = (age - mean_age).abs();
    }
    at += 4;
    let (raw, norm) = (gather.raw(item), norm(bank, item));
    row[at] = raw.pairs[0] * norm / gather.pair_max[1][0];
    row[at + 1] = raw.pairs[4] * norm / gather.pair_max[1][4];
    row[at + 2] = raw.pairs[2] / gather.pair_max[0][2];
    at + 3
}

/// Products of the user's vectors and the item's; says where it ended.
fn fill_vectors(
    row: &mut [f32; STRIDE],
    at: usize,
    gather: &Gather,
    bank: &Bank,
    factors: Factors<'_>,
    item: u32,
) -> usize {
    if let Some(folds) = &gather.folds {
        let column = factors.items.col(item as usize);
        for (fold, vector) in folds.iter().enumerate() {
            row[at + fold] = product(vector, column);
        }
    }
    if let Some(context) = &gather.context {
        row[at + 3] = product(context, bank.sequence.output().col(item as usize));
    }
    at + 4
}

/// Events since event `x`, and one; an item never met is as old as the stream.
#[inline]
fn age(events: u64, x: u64) -> f32 {
    (events - x) as f32 + 1.0
}

/// Which columns belong together, for explanations: name, and ranges of columns. Together they are all, each once.
pub const GROUPS: &[(&str, &[[usize; 2]])] = &[
    ("popularity", &[[0, GRID]]),
    ("pair sums", &[[GRID, SESSIONS], [PLAIN + 4, PLAIN + 7]]),
    ("session neighbours", &[[SESSIONS, COHORT]]),
    ("cohort", &[[COHORT, COHORT + 1]]),
    ("age and count", &[[COHORT + 1, PLAIN]]),
    ("profile", &[[PLAIN, PLAIN + 4]]),
    ("factors", &[[PLAIN + 7, PLAIN + 10]]),
    ("sequence", &[[PLAIN + 10, PLAIN + 11]]),
    ("context", &[[PLAIN + 11, FEATURES]]),
];
const SESSIONS: usize = GRID + 2 * PAIR_SUMS;
const COHORT: usize = SESSIONS + 2 * SESSION_SUMS;
const PLAIN: usize = LOGS_END;
