//! Strategies over the bank: what they rank by, and their parameters. Their memory is the shard's one [`Bank`]
//! ([`super::bank`]), so that any number of them costs what one costs; `auto` uses all of its parts.

use super::auto::gather::{Asker, Factors, Gather, sum};
use super::bank::attention::AttentionOptions;
use super::bank::counts::{GRID, cohort};
use super::bank::taste::LOOKED;
use super::bank::{Bank, sequence};
use super::{ItemSide, Learner, Shape};
use crate::linalg::attention::LENGTH;

/// Item-based collaborative filtering: sums over pairs of the user's newest items and the candidate (Sarwar et al.
/// 2001; incremental: Papagelis et al. 2005).
#[derive(Clone, Debug, PartialEq)]
pub struct ItemKnn {
    /// Which sum: 0 together, 1 the candidate after the item, 2 the same of late, 3 together of late, by sitting.
    pub sum: u32,
    /// Discount of older items of the user: 0 quick (.5 a step), 1 slow (.85 a step).
    pub slow: u32,
    /// Power of the candidate's count by which its sum is divided; .5 makes a cosine.
    pub popularity_power: f32,
}

impl Default for ItemKnn {
    fn default() -> Self {
        Self { sum: 0, slow: 1, popularity_power: 0.5 }
    }
}

/// Neighbours among sessions (Jannach & Ludewig 2017): what users who met the same items lately met.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionKnn {
    /// 1 counts only what they met after the shared item, sooner more; 0 all of their newest items.
    pub followed: u32,
    /// Power of the candidate's count by which its sum is divided.
    pub popularity_power: f32,
}

impl Default for SessionKnn {
    fn default() -> Self {
        Self { followed: 0, popularity_power: 0.25 }
    }
}

/// Decayed popularity on the event clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Trend {
    /// Grid point: half-life 100 x 4^grid events for 0 to 5; 6 plain counts; 7 among users of like experience.
    pub grid: u32,
}

impl Default for Trend {
    fn default() -> Self {
        Self { grid: 3 }
    }
}

/// The online sequence embedding (see [`sequence`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// Weight of the logarithm of the candidate's count beside the product.
    pub popularity_power: f32,
}

impl Default for Sequence {
    fn default() -> Self {
        Self { popularity_power: 0.5 }
    }
}

/// What items look, read or sound like (see [`super::bank::embeddings`]): the fused score of embeddings. Items that nobody
/// met yet are ranked like others.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// Weight of the logarithm of the candidate's count, and one, beside the fused score.
    pub popularity_power: f32,
}

impl Default for Content {
    fn default() -> Self {
        Self { popularity_power: 0.5 }
    }
}

/// Attention over the newest items, learned online (see [`super::bank::attention`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Weight of the logarithm of the candidate's count beside the product of vectors.
    pub popularity_power: f32,
    /// Replayed events for each new one.
    pub replays: usize,
    /// Events up to which every one is learned.
    pub train_full: u64,
    /// Share of the events after that which are learned.
    pub train_share: f64,
}

impl Default for Attention {
    fn default() -> Self {
        Self { popularity_power: 0.5, replays: 1, train_full: 1_000_000, train_share: 0.25 }
    }
}

impl Attention {
    /// How much the part of the bank learns.
    #[must_use]
    pub fn options(&self) -> AttentionOptions {
        let Self { replays, train_full, train_share, .. } = *self;
        AttentionOptions { replays, train_full, train_share }
    }
}

/// All parts propose and describe candidates, a small network learned online ranks them (see [`super::auto`]); explicit
/// values are predicted by the stacked ensemble.
#[derive(Clone, Debug, PartialEq)]
pub struct Auto {
    /// Candidates that each source proposes.
    pub candidates: usize,
    /// Whether attention is among the parts: 1 or 0.
    pub attention: u32,
    /// Candidates that an example holds beside the item that came.
    pub negatives: usize,
    /// Networks that learn side by side; their scores are added.
    pub networks: usize,
    /// Replayed examples for each new one.
    pub replays: usize,
    /// Events up to which every one is an example.
    pub train_full: u64,
    /// Share of the events after that which are examples.
    pub train_share: f64,
}

impl Default for Auto {
    fn default() -> Self {
        Self {
            candidates: 50,
            attention: 1,
            negatives: 40,
            networks: 2,
            replays: 2,
            train_full: 100_000,
            train_share: 0.125,
        }
    }
}

/// A bank strategy has no column of its own: nothing to query with.
macro_rules! over_bank {
    ($type:ty, $name:literal, $shape:expr) => {
        impl Learner for $type {
            const NAME: &'static str = $name;

            fn shape(&self) -> Shape {
                $shape
            }

            fn query(&self, _user: &[f32], _mean: f32, _query: &mut [f32]) -> f32 {
                0.0
            }
        }
    };
}

const BARE: Shape = Shape { user_rows: 0, item_rows: 0, items: ItemSide::Absent, predicts_value: false };
over_bank!(ItemKnn, "item_knn", BARE);
over_bank!(SessionKnn, "session_knn", BARE);
over_bank!(Trend, "trend", BARE);
over_bank!(Sequence, "sequence", BARE);
over_bank!(Content, "content", BARE);
over_bank!(Attention, "attention", BARE);
over_bank!(
    Auto,
    "auto",
    Shape { user_rows: 0, item_rows: super::auto::gather::MODEL_DIM, items: ItemSide::Model, predicts_value: true }
);

/// Items and scores, in no order: what a strategy over the bank has an opinion of.
pub type Opinions = Vec<(u32, f32)>;

/// What a strategy ranks by.
pub trait OverBank {
    /// Appends its opinions for a user.
    fn opine(&self, bank: &Bank, gather: &mut Gather, factors: Factors<'_>, asker: Asker<'_>, out: &mut Opinions);
}

impl OverBank for ItemKnn {
    fn opine(&self, bank: &Bank, gather: &mut Gather, _: Factors<'_>, asker: Asker<'_>, out: &mut Opinions) {
        gather.begin(bank.items(), asker.excluded);
        let Some(user) = asker.user else { return };
        gather.sum_pairs(bank, user);
        let at = (4 * self.slow + self.sum) as usize;
        out.extend(gather.found().map(|(item, sums)| (item, sums.0[at] / power(bank, item, self.popularity_power))));
    }
}

impl OverBank for SessionKnn {
    fn opine(&self, bank: &Bank, gather: &mut Gather, _: Factors<'_>, asker: Asker<'_>, out: &mut Opinions) {
        gather.begin(bank.items(), asker.excluded);
        let Some(user) = asker.user else { return };
        gather.sum_sessions(bank, user);
        let at = sum::LIKE + self.followed as usize;
        out.extend(gather.found().map(|(item, sums)| (item, sums.0[at] / power(bank, item, self.popularity_power))));
    }
}

impl OverBank for Trend {
    fn opine(&self, bank: &Bank, _: &mut Gather, _: Factors<'_>, asker: Asker<'_>, out: &mut Opinions) {
        let grid = self.grid as usize;
        let bucket = asker.user.map_or(0, |user| cohort(bank.trail(user).count()));
        let sum = |item: u32| {
            let counts = bank.counts.get(item as usize);
            if grid < GRID { counts.popularity[grid] } else { counts.cohorts[bucket] }
        };
        out.extend((0..bank.items() as u32).map(|item| (item, sum(item))));
    }
}

impl OverBank for Sequence {
    fn opine(&self, bank: &Bank, _: &mut Gather, _: Factors<'_>, asker: Asker<'_>, out: &mut Opinions) {
        let Some(user) = asker.user else { return };
        let mut context = [0.0; sequence::DIM];
        if !bank.sequence.context(bank.trail(user).newest(usize::MAX), &mut context) {
            return;
        }
        let mut scores = Vec::new();
        crate::linalg::score::score_all(bank.sequence.output(), &context, 0.0, &mut scores);
        let known = scores.into_iter().zip(0_u32..).filter(|(_, item)| bank.counts.get(*item as usize).events > 0);
        let prior = |item: u32| self.popularity_power * (bank.counts.get(item as usize).events as f32).ln();
        out.extend(known.map(|(score, item)| (item, score + prior(item))));
    }
}

impl OverBank for Content {
    fn opine(&self, bank: &Bank, gather: &mut Gather, _: Factors<'_>, asker: Asker<'_>, out: &mut Opinions) {
        let Some(user) = asker.user else { return };
        let Gather { taste, fused, candidates, .. } = gather;
        taste.of(&bank.embeddings, bank.trail(user).newest(LOOKED));
        if !taste.known() {
            return;
        }
        *candidates = bank.embeddings.embedded();
        taste.score(&bank.embeddings, candidates, fused);
        let prior = |item: u32| self.popularity_power * (bank.counts.get(item as usize).events as f32).ln_1p();
        out.extend(candidates.iter().zip(&*fused).map(|(item, [score, _])| (*item, score + prior(*item))));
    }
}

impl OverBank for Attention {
    fn opine(&self, bank: &Bank, _: &mut Gather, _: Factors<'_>, asker: Asker<'_>, out: &mut Opinions) {
        let (Some(attention), Some(user)) = (&bank.attention, asker.user) else { return };
        let Some(vector) = attention.user(bank.trail(user).newest(LENGTH)) else { return };
        let mut scores = Vec::new();
        crate::linalg::score::score_all(attention.vectors(), &vector, 0.0, &mut scores);
        for (score, item) in scores.into_iter().zip(0_u32..) {
            let events = bank.counts.get(item as usize).events;
            if events > 0 {
                let prior = self.popularity_power * (events as f32).ln();
                out.push((item, score + attention.bias(item as usize) + prior));
            }
        }
    }
}

fn power(bank: &Bank, item: u32, power: f32) -> f32 {
    (bank.counts.get(item as usize).events.max(1) as f32).powf(power)
}
