//! What the ranker sees of a candidate: 49 numbers, nearly all logarithms.
//!
//! Logarithms make products linear: the exponent of popularity or of a cosine, a trend (short over long half-life) and
//! recency become weights that are learned a stream, instead of settings that somebody has to choose.

use super::gather::{Asker, Factors, Gather, PAIR_SUMS, product};
use crate::learn::bank::Bank;
use crate::learn::bank::counts::GRID;
use crate::linalg::dense::{WIDTH, ln_all};

/// Numbers a candidate.
pub const FEATURES: usize = 50;
/// Floats from one candidate to the next; the rest are zero.
pub const STRIDE: usize = WIDTH;
/// Of them, how many are taken the logarithm of, in whole lanes.
const LOGS: usize = 48;
/// Added to a share of the largest before its logarithm.
const FLOOR: f32 = 0.003;

/// Fills `out` with a row of [`STRIDE`] a candidate of `gather`.
pub fn fill(gather: &Gather, bank: &Bank, factors: Factors<'_>, asker: Asker<'_>, out: &mut Vec<f32>) {
    out.clear();
    out.resize(gather.candidates.len() * STRIDE, 0.0);
    let moment = Gather::moment(bank);
    let bucket = Gather::cohort(bank, asker.user);
    let x = bank.events();
    let trail = asker.user.map(|user| bank.trail(user)).filter(|trail| !trail.is_empty());
    // Means over the user's newest ten.
    let (mut mean_count, mut mean_age, mut newest) = (0.0_f32, 0.0_f32, 0.0_f32);
    if let Some(trail) = trail {
        for item in trail.newest(10) {
            let counts = bank.counts.get(item as usize);
            mean_count += (counts.events as f32).ln();
            mean_age += ((x - counts.first) as f32 + 1.0).ln();
            newest += 1.0;
        }
        mean_count /= newest;
        mean_age /= newest;
    }
    let length = asker.user.map_or(0, |user| bank.trail(user).count());
    let gap = trail.map_or(0.0, |trail| {
        let since = asker.time_ms.saturating_sub(trail.last_ms()).max(0) as f64 / bank.spacing_ms();
        (since as f32).ln_1p()
    });
    let shared =
        [(length as f32).ln_1p(), gap, (gather.pair_max[0][0] + 0.01).ln(), (gather.pair_max[0][2] + 0.01).ln()];
    for (row, item) in out.chunks_exact_mut(STRIDE).zip(&gather.candidates) {
        let item = *item;
        let counts = bank.counts.get(item as usize);
        let raw = gather.raw(item);
        let norm = 1.0 / (counts.events.max(1) as f32).sqrt();
        for at in 0..GRID {
            row[at] = (counts.popularity[at] * moment.popularity[at] + 0.1) / (moment.totals[at] + 1.0);
        }
        let mut at = GRID;
        for sum in 0..PAIR_SUMS {
            if sum == 8 || sum == 11 {
                continue; // of the newest item alone, the ordered sums carry what there is
            }
            row[at] = FLOOR + raw.pairs[sum] / gather.pair_max[0][sum];
            row[at + 1] = FLOOR + raw.pairs[sum] * norm / gather.pair_max[1][sum];
            at += 2;
        }
        for sum in 0..2 {
            row[at] = FLOOR + raw.sessions[sum] / gather.session_max[0][sum];
            row[at + 1] = FLOOR + raw.sessions[sum] * norm / gather.session_max[1][sum];
            at += 2;
        }
        row[at] = (counts.cohorts[bucket] * moment.cohort + 0.1) / (moment.cohort_totals[bucket] + 1.0);
        row[at + 1] = (x - counts.first) as f32 + 1.0;
        row[at + 2] = (x - counts.last) as f32 + 1.0;
        row[at + 3] = counts.events as f32;
        at += 4;
        row[at..LOGS].fill(1.0);
        ln_all(&mut row[..LOGS]);
        let (age, count) = (row[at - 3], row[at - 1]);
        if trail.is_some() {
            row[at] = count - mean_count;
            row[at + 1] = (count - mean_count).abs();
            row[at + 2] = age - mean_age;
            row[at + 3] = (age - mean_age).abs();
        }
        at += 4;
        row[at] = raw.pairs[0] * norm / gather.pair_max[1][0];
        row[at + 1] = raw.pairs[4] * norm / gather.pair_max[1][4];
        row[at + 2] = raw.pairs[2] / gather.pair_max[0][2];
        at += 3;
        if let Some(folds) = &gather.folds {
            let column = factors.items.col(item as usize);
            for fold in 0..3 {
                row[at + fold] = product(&folds[fold], column);
            }
        }
        at += 3;
        if let Some(context) = &gather.context {
            row[at] = product(context, bank.sequence.output().col(item as usize));
        }
        at += 1;
        row[at..at + 4].copy_from_slice(&shared);
        debug_assert!(at + 4 <= STRIDE);
    }
}
