//! What the ranker sees of a candidate: 75 numbers, most of them logarithms.
//!
//! Logarithms make products linear: the exponent of popularity or of a cosine, a trend (short over long half-life) and
//! recency become weights that are learned a stream, instead of settings that somebody has to choose.
//!
//! Columns, in order: popularity, pair sums, session sums, cohort, ages, count, what came right after, the sitting, support
//! (logarithms up to here); distance to the profile, three plain sums; products of vectors, likeness to the newest items;
//! the products once more, standardised within the query; tags; gates, which are the same for all candidates; the product
//! of the whole history, plain and standardised; what people alike turn to; the fused score of embeddings, plain,
//! standardised, and by the newest item alone; that score and tags once more, for as long as an item is new.

use super::gather::{Asker, DIM, Factors, Gather, bucket, moment, norm, sum};
use crate::learn::bank::counts::{GRID, ItemCounts, Moment};
use crate::learn::bank::trails::Trail;
use crate::learn::bank::{Bank, sequence};
use crate::linalg::Slab;
use crate::linalg::dense::ln_all;
use crate::linalg::scatter::{SUMS, Sums};
use crate::linalg::score::{inverse_lengths, score_some};

/// Numbers a candidate.
pub const FEATURES: usize = 75;
/// How many random first weights are drawn for: later ones begin at 0, so that where nothing is told by them all is as if
/// they were not there.
pub const FEATURES_DRAWN: usize = 69;
/// How many there were at first: weights over fewer are read as weights of 0 for the later ones.
pub const FEATURES_FIRST: usize = 67;
/// Floats from one candidate to the next, in whole lane groups; the rest are zero.
pub const STRIDE: usize = crate::linalg::padded(FEATURES);
/// Sums that are described as shares of the largest, plain and over the root of the item's count.
const SHARES: [usize; 12] =
    [0, 1, 2, 3, 4, 5, 6, 7, sum::AFTER_NEWEST, sum::AFTER_NEWEST_LATE, sum::LIKE, sum::FOLLOWED];
/// Of them, how many are taken the logarithm of, in whole lanes.
const LOGS: usize = 48;
/// Where they end.
const LOGS_END: usize = GRID + 2 * SHARES.len() + 4 + 6;
/// Where the products of vectors begin, and how many there are.
const PRODUCTS: usize = LOGS_END + 7;
const PRODUCT_COUNT: usize = 5;
/// Where likeness to the newest items stands: three cosines.
const LIKENESS: usize = PRODUCTS + PRODUCT_COUNT;
/// Where the products begin once more, standardised within the query.
const STANDARDISED: usize = LIKENESS + 3;
/// Where the tags stand, and the gates behind them.
const TAGS: usize = STANDARDISED + PRODUCT_COUNT;
const GATES: usize = TAGS + 1;
const GATE_COUNT: usize = 5;
/// Where the product of the whole history stands, and the same standardised.
const WHOLE: usize = GATES + GATE_COUNT;
/// Where the groups that the user belongs to stand.
const GROUP: usize = WHOLE + 2;
/// Where embeddings stand: the fused score, the same standardised, and by the newest item alone.
const CONTENT: usize = GROUP + 1;
/// Where the fused score and tags stand over one and the item's events: what they say of an item that nobody knows is
/// another thing than what they add to all that is known of an old one, and needs weights of its own.
const NEW: usize = CONTENT + 3;
/// What orders candidates as long as nobody has taught the ranker: columns and weights. Together with the newest items,
/// discounted slowly, and popularity of late.
pub const UNTAUGHT: [(usize, f32); 2] = [(GRID + 2 * sum::FAR, 1.0), (2, 0.5)];
/// Added to a share of the largest before its logarithm.
const FLOOR: f32 = 0.003;
/// The user's newest items whose mean count and age a candidate is compared with.
const PROFILE_ITEMS: usize = 10;

/// What all candidates of a query have in common.
struct Common {
    moment: Moment,
    /// What a sum is multiplied with to be a share of the largest, plain and over the root of the count.
    shares: [[f32; SUMS]; 2],
    /// What a decayed popularity is multiplied with to be a share of its total.
    popularity: [f32; GRID],
    bucket: usize,
    events: u64,
    /// Means of log count and log age over the user's newest items, if there are any.
    profile: Option<[f32; 2]>,
    /// 1 / sqrt(events) of the user's newest item.
    newest_norm: f32,
    /// Length of the history, gap since the last event in mean gaps, largest of two pair sums, length of
    /// the sitting: gates for the others.
    gates: [f32; GATE_COUNT],
}

impl Common {
    fn of(gather: &Gather, bank: &Bank, asker: Asker<'_>) -> Self {
        let trail = asker.user.map(|user| bank.trail(user)).filter(|trail| !trail.is_empty());
        let events = bank.events();
        let profile = trail.map(|trail| {
            let (mut sums, mut items) = ([0.0_f32; 2], 0.0_f32);
            for item in trail.newest(PROFILE_ITEMS) {
                let counts = bank.counts.get(item as usize);
                sums[0] += counts.log_events;
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
        let largest = &gather.largest[0];
        let moment = moment(bank);
        Self {
            shares: gather.largest.map(|sums| sums.map(|largest| 1.0 / largest)),
            popularity: moment.totals.map(|total| 1.0 / (total + 1.0)),
            moment,
            bucket: bucket(bank, asker.user),
            events,
            profile,
            newest_norm: trail.and_then(|trail| trail.newest(1).next()).map_or(0.0, |item| norm(bank, item)),
            gates: [
                (length as f32).ln_1p(),
                gap,
                (largest[sum::NEAR] + 0.01).ln(),
                (largest[sum::NEAR + 2] + 0.01).ln(),
                (gather.sitting as f32).ln_1p(),
            ],
        }
    }
}

/// Fills `out` with a row of [`STRIDE`] a candidate of `gather`, then one a newcomer.
pub fn fill(gather: &mut Gather, bank: &Bank, factors: Factors<'_>, asker: Asker<'_>, out: &mut Vec<f32>) {
    out.clear();
    out.resize((gather.candidates.len() + gather.newcomers.len()) * STRIDE, 0.0);
    let common = Common::of(gather, bank, asker);
    let rows = out.as_chunks_mut::<STRIDE>().0;
    let alike = asker.user.and_then(|user| bank.groups.alike(user));
    let describe = |row: &mut [f32; STRIDE], item: u32, counts: &ItemCounts, norm: f32, sums: &Sums| {
        fill_logs(row, counts, &common, norm, sums);
        fill_plain(row, &common, norm, sums);
        row[TAGS] = bank.tags.affinity(&gather.liking, item as usize);
        row[NEW + 1] = row[TAGS] * newness(counts);
        row[GATES..WHOLE].copy_from_slice(&common.gates);
    };
    for (row, item) in rows.iter_mut().zip(&gather.candidates) {
        describe(row, *item, bank.counts.get(*item as usize), norm(bank, *item), &gather.sums(*item));
        row[GROUP] = alike.as_ref().map_or(0.0, |alike| alike.affinity(*item));
    }
    for (row, item) in rows.iter_mut().skip(gather.candidates.len()).zip(&gather.newcomers) {
        describe(row, *item, &ItemCounts::default(), 1.0, &Sums::default());
    }
    fill_vectors(rows, gather, bank, factors);
    fill_content(rows, gather, bank);
    (0..PRODUCT_COUNT).for_each(|at| standardise(rows, gather.compared, PRODUCTS + at, STANDARDISED + at));
    standardise(rows, gather.compared, WHOLE, WHOLE + 1);
}

/// The logarithms, up to [`LOGS_END`].
fn fill_logs(row: &mut [f32; STRIDE], counts: &ItemCounts, common: &Common, norm: f32, Sums(sums): &Sums) {
    let moment = &common.moment;
    for at in 0..GRID {
        row[at] = (counts.popularity[at] * moment.popularity[at] + 0.1) * common.popularity[at];
    }
    let share = |at: usize| FLOOR + sums[at] * common.shares[0][at];
    let share_over_count = |at: usize| FLOOR + sums[at] * norm * common.shares[1][at];
    for (pair, sum) in row[GRID..].as_chunks_mut::<2>().0.iter_mut().zip(SHARES) {
        *pair = [share(sum), share_over_count(sum)];
    }
    let bucket = common.bucket;
    let met = [counts.first, counts.last].map(|x| if counts.events > 0 { x } else { common.events });
    let rest = [
        (counts.cohorts[bucket] * moment.cohort + 0.1) / (moment.cohort_totals[bucket] + 1.0),
        age(common.events, met[0]),
        age(common.events, met[1]),
        counts.events.max(1) as f32,
        FLOOR + sums[sum::AFTER_NEWEST] * common.newest_norm,
        FLOOR + sums[sum::AFTER_SECOND],
        share(sum::SITTING),
        share_over_count(sum::SITTING),
        1.0 + sums[sum::COUNT],
        1.0 + sums[sum::SUPPORT],
    ];
    row[LOGS_END - rest.len()..LOGS_END].copy_from_slice(&rest);
    row[LOGS_END..LOGS].fill(1.0);
    ln_all(&mut row[..LOGS]);
}

/// Distance to the user's profile, and three sums without a logarithm.
fn fill_plain(row: &mut [f32; STRIDE], common: &Common, norm: f32, Sums(sums): &Sums) {
    let (age, count) = (row[LOGS_END - 9], row[LOGS_END - 7]);
    let row = &mut row[LOGS_END..];
    if let Some([mean_count, mean_age]) = common.profile {
        row[0] = count - mean_count;
        row[1] = (count - mean_count).abs();
        row[2] = age - mean_age;
        row[3] = (age - mean_age).abs();
    }
    let [shares, shares_over_count] = &common.shares;
    row[4] = sums[sum::NEAR] * norm * shares_over_count[sum::NEAR];
    row[5] = sums[sum::FAR] * norm * shares_over_count[sum::FAR];
    row[6] = sums[sum::NEAR + 2] * shares[sum::NEAR + 2];
}

/// Products of the user's vectors and the item's, and how alike it is to the newest items: to the newest by factor, to
/// the most alike of them by factor, to the newest by embedding (cosines). A vector at a time, for all candidates.
fn fill_vectors(rows: &mut [[f32; STRIDE]], gather: &mut Gather, bank: &Bank, factors: Factors<'_>) {
    let Gather { vectors, candidates, scores, lengths, compared, .. } = gather;
    let mut put = |slab: &Slab, vector: &[f32], at: usize| {
        score_some(slab, vector, candidates, scores);
        rows.iter_mut().zip(&*scores).for_each(|(row, score)| row[at] = *score);
    };
    if let Some(whole) = &vectors.whole {
        put(factors.items, whole, WHOLE);
    }
    if let Some(folds) = &vectors.folds {
        folds.iter().enumerate().for_each(|(at, fold)| put(factors.items, fold, PRODUCTS + at));
    }
    if let Some([context, newest]) = &vectors.context {
        put(bank.sequence.output(), context, PRODUCTS + 3);
        put(bank.sequence.input(), newest, LIKENESS + 2);
    }
    if let (Some(vector), Some(attention)) = (&vectors.attention, &bank.attention) {
        put(attention.vectors(), vector, PRODUCTS + 4);
        rows.iter_mut().zip(&*candidates).for_each(|(row, item)| row[PRODUCTS + 4] += attention.bias(*item as usize));
    }
    // Of a newcomer, which stands behind all that come of events, these parts hold random first vectors: nothing is what
    // they say.
    let installed = bank.attention.as_ref().is_some_and(|attention| attention.stamp() != 0);
    for (row, item) in rows.iter_mut().zip(&*candidates).skip(*compared) {
        if bank.is_newcomer(*item) {
            (row[PRODUCTS + 3], row[LIKENESS + 2]) = (0.0, 0.0);
            row[PRODUCTS + 4] *= f32::from(u8::from(installed));
        }
    }
    if vectors.context.is_some() {
        inverse_lengths(bank.sequence.input(), sequence::DIM, candidates, lengths);
        rows.iter_mut().zip(&*lengths).for_each(|(row, inverse)| row[LIKENESS + 2] *= inverse);
    }
    if vectors.folds.is_some() {
        inverse_lengths(factors.items, DIM, candidates, lengths);
    }
    for (age, newest) in vectors.newest.iter().enumerate() {
        score_some(factors.items, newest, candidates, scores);
        for ((row, score), inverse) in rows.iter_mut().zip(&*scores).zip(&*lengths) {
            let alike = score * inverse;
            if age == 0 {
                row[LIKENESS] = alike;
            }
            row[LIKENESS + 1] = row[LIKENESS + 1].max(alike);
        }
    }
}

/// 1 for an item that nobody met yet, less for every event that it has.
fn newness(counts: &ItemCounts) -> f32 {
    1.0 / (1.0 + counts.events as f32)
}

/// Fused scores of embeddings; nothing where nothing is known of the user.
fn fill_content(rows: &mut [[f32; STRIDE]], gather: &mut Gather, bank: &Bank) {
    let Gather { taste, candidates, newcomers, fused, compared, .. } = gather;
    if taste.known() {
        let (met, new) = rows.split_at_mut(candidates.len());
        taste.score(&bank.embeddings, candidates, fused);
        for ((row, item), [all, newest]) in met.iter_mut().zip(&*candidates).zip(&*fused) {
            (row[CONTENT], row[CONTENT + 2], row[NEW]) =
                (*all, *newest, *all * newness(bank.counts.get(*item as usize)));
        }
        taste.score(&bank.embeddings, newcomers, fused);
        for (row, [all, newest]) in new.iter_mut().zip(&*fused) {
            (row[CONTENT], row[CONTENT + 2], row[NEW]) = (*all, *newest, *all);
        }
        standardise(rows, *compared, CONTENT, CONTENT + 1);
    }
}

/// A product once more, as standard deviations from its mean over the candidates that come of events: how large a product is
/// says less than how it stands among the others.
fn standardise(rows: &mut [[f32; STRIDE]], compared: usize, from: usize, to: usize) {
    let count = compared.max(1) as f32;
    let others = &rows[..compared];
    let mean = others.iter().map(|row| row[from]).sum::<f32>() / count;
    let square = others.iter().map(|row| (row[from] - mean).powi(2)).sum::<f32>() / count;
    let inverse = 1.0 / (square.sqrt() + 1e-6);
    rows.iter_mut().for_each(|row| row[to] = (row[from] - mean) * inverse);
}

/// Events since event `x`, and one; an item never met is as old as the stream.
#[inline]
fn age(events: u64, x: u64) -> f32 {
    (events - x) as f32 + 1.0
}

/// Where columns that belong together begin and end, by what they are about: the parts of an explanation.
pub const GROUPS: &[(&str, &[[usize; 2]])] = &[
    ("popularity", &[[0, GRID]]),
    (
        "pair sums",
        &[[GRID, SESSIONS], [SITTING - 2, SITTING], [SITTING + 2, SITTING + 4], [LOGS_END + 4, LOGS_END + 7]],
    ),
    ("session neighbours", &[[SESSIONS, COHORT]]),
    ("cohort", &[[COHORT, COHORT + 1]]),
    ("age and count", &[[COHORT + 1, COHORT + 4]]),
    ("sitting", &[[SITTING, SITTING + 2]]),
    ("profile", &[[LOGS_END, LOGS_END + 4]]),
    (
        "factors",
        &[[PRODUCTS, PRODUCTS + 3], [PRODUCTS + 5, PRODUCTS + 7], [STANDARDISED, STANDARDISED + 3], [WHOLE, GROUP]],
    ),
    ("sequence", &[[PRODUCTS + 3, PRODUCTS + 4], [PRODUCTS + 7, STANDARDISED], [STANDARDISED + 3, STANDARDISED + 4]]),
    ("attention", &[[PRODUCTS + 4, PRODUCTS + 5], [STANDARDISED + 4, STANDARDISED + 5]]),
    ("tags", &[[TAGS, GATES], [NEW + 1, NEW + 2]]),
    ("context", &[[GATES, WHOLE]]),
    ("groups", &[[GROUP, CONTENT]]),
    ("embeddings", &[[CONTENT, NEW + 1]]),
];
const SESSIONS: usize = GRID + 2 * (SHARES.len() - 2);
const COHORT: usize = SESSIONS + 4;
const SITTING: usize = COHORT + 6;

const _: () = assert!(LOGS_END <= LOGS && NEW + 2 == FEATURES && FEATURES <= STRIDE && DIM == 32);
