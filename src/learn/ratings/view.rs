//! One look at a user and an item: everything the ensemble has to say, as inputs of the stack and of the finish.
//!
//! The order of inputs is part of the image (weights are kept by position): append, do not move.

use super::bank::{self, MODELS, ONCE, PLAIN, SLOWEST};
use super::columns::{Columns, FIGURES, UNKNOWN};
use super::mlp::{Pass, WIDTH};
use super::neighbours::{Asked, Memory, Row, Votes, keeper};
use super::residuals::{self, Common, item, user};
use super::rls::INPUTS;
use super::scale::{BINS, Scale};
use crate::learn::SITTING_MS;

/// The constant input. Small, so that its weight is free to grow.
const CONSTANT: f32 = 0.1;

/// What belongs together when a prediction is explained: a name and ranges of inputs.
pub(super) const GROUPS: [(&str, &[[usize; 2]]); 7] = [
    ("biases", &[[0, PLAIN]]),
    ("factors", &[[PLAIN, ONCE]]),
    ("replayed_factors", &[[ONCE, MODELS]]),
    ("neighbours", &[[10, 14], [44, 46]]),
    ("recent_residuals", &[[14, 20], [22, 23], [24, 26], [34, 40]]),
    ("counts", &[[9, 10], [20, 22], [23, 24], [26, 34]]),
    ("averages", &[[40, 44], [46, 48]]),
];

/// What was seen; scratch that nobody keeps.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Models of the bank, clipped to the range.
    pub models: [f32; MODELS],
    /// Mean of the models that learn once.
    pub bank: f32,
    /// Whether the user's last rating is of the same sitting.
    pub near: bool,
    /// Inputs of the stack.
    pub inputs: [f64; INPUTS],
    /// What the stack says.
    pub stacked: f32,
    /// Inputs of the finish.
    pub raw: [f32; WIDTH],
    /// What the finish says.
    pub pass: Pass,
}

impl Default for View {
    fn default() -> Self {
        let (inputs, raw) = ([0.0; INPUTS], [0.0; WIDTH]);
        Self { models: [0.0; MODELS], bank: 0.0, near: false, inputs, stacked: 0.0, raw, pass: Pass::default() }
    }
}

/// What a look is at. Columns and memory are None for strangers.
pub(super) struct Scene<'a> {
    pub scale: &'a Scale,
    pub common: &'a Common,
    pub items: &'a Columns,
    pub rows: &'a [Row],
    pub user: Option<&'a [f32]>,
    pub memory: Option<&'a Memory>,
    /// Row and column of the item.
    pub item: Option<(u32, usize)>,
    pub time_ms: i64,
}

impl View {
    /// Fills the inputs of the stack, and those of the finish but for the stack's own word.
    pub fn look(&mut self, scene: &Scene<'_>) {
        let user = scene.user.unwrap_or(&UNKNOWN);
        let item = scene.item.map_or(&UNKNOWN[..], |(_, column)| scene.items.get(column));
        bank::predict(user, item, &mut self.models);
        let (low, high) = scene.scale.inner_ends();
        self.models = self.models.map(|model| if model.is_finite() { model.clamp(low, high) } else { 0.0 });
        self.bank = self.models[..ONCE].iter().sum::<f32>() / ONCE as f32;
        let votes = Votes::count(&ask(scene));
        let gap_ms = scene.memory.map(|memory| scene.time_ms.saturating_sub(memory.last_ms));
        self.near = gap_ms.is_some_and(|gap| gap < SITTING_MS);
        let (user, item) = (&user[FIGURES..], &item[FIGURES..]);
        let stack: &mut [f32] = &mut self.raw[1..=INPUTS];
        let mut fill = Fill { rest: stack };
        fill.put(&self.models);
        fill.put(&[CONSTANT]);
        fill.put(&votes.pairs);
        figures(&mut fill, user, item, scene.common, self.bank, self.near);
        fill.put(&votes.careful);
        let spread = residuals::spread(user);
        let relative = item[item::RELATIVE] / (item[item::COUNT] + 3.0);
        fill.put(&[relative * spread, relative * (spread - 1.0)]);
        debug_assert!(fill.rest.is_empty(), "{} inputs not filled", fill.rest.len());
        for (input, value) in self.inputs.iter_mut().zip(&self.raw[1..]) {
            *input = f64::from(*value);
        }
        self.look_closer(user, item, &votes, gap_ms);
    }

    /// Inputs that only the finish gets: histograms, support of the neighbours, the gap, the length of the sitting.
    fn look_closer(&mut self, user: &[f32], item: &[f32], votes: &Votes, gap_ms: Option<i64>) {
        let mut fill = Fill { rest: &mut self.raw[1 + INPUTS..] };
        let (of_user, of_item) = (user[user::COUNT] + 2.0, item[item::COUNT] + 2.0);
        for bin in 0..BINS {
            fill.put(&[user[user::BINS + bin] / of_user, item[item::BINS + bin] / of_item]);
        }
        fill.put(&votes.support);
        let gap_s = gap_ms.map_or(0.0, |gap| gap.max(0) as f32 / 1_000.0);
        fill.put(&[gap_s.ln_1p(), user[user::SITTING].ln_1p()]);
        debug_assert!(fill.rest.is_empty(), "{} inputs of the finish not filled", fill.rest.len());
    }
}

/// Hands values out one after the other.
struct Fill<'a> {
    rest: &'a mut [f32],
}

impl Fill<'_> {
    #[inline]
    fn put(&mut self, values: &[f32]) {
        let (now, rest) = std::mem::take(&mut self.rest).split_at_mut(values.len());
        now.copy_from_slice(values);
        self.rest = rest;
    }
}

/// Inputs from the running figures: 30 of them.
fn figures(fill: &mut Fill<'_>, user: &[f32], item: &[f32], common: &Common, bank: f32, near: bool) {
    let (of_user, of_item) = (user[user::COUNT], item[item::COUNT]);
    let (log_user, log_item) = (of_user.ln_1p() / 5.0, of_item.ln_1p() / 5.0);
    let sitting = |value: f32| if near { value } else { 0.0 };
    let excess = (1.0 + user[user::EXCESS]).max(0.0).sqrt() - 1.0;
    fill.put(&[user[user::FAST], user[user::MIDDLE], user[user::WHOLE]]);
    fill.put(&[item[item::MIDDLE], item[item::WHOLE], common.residual, log_user, log_item]);
    fill.put(&[sitting(user[user::FAST]), log_user * log_item, excess, bank * excess]);
    for (count, half) in [(of_user, 5.0), (of_item, 5.0), (of_user, 30.0), (of_item, 30.0)] {
        let young = (-count / half).exp();
        fill.put(&[bank * young, CONSTANT * young]);
    }
    let mean_sitting = user[user::SITTING_SUM] / (user[user::SITTING] + 2.0);
    fill.put(&[sitting(user[user::LAST]), sitting(mean_sitting), user[user::SLOW], item[item::SLOW]]);
    let excess = (1.0 + item[item::EXCESS]).max(0.0).sqrt() - 1.0;
    fill.put(&[excess, bank * excess]);
    let (mean_user, mean_item) = (user[user::SUM] / (of_user + 3.0), item[item::SUM] / (of_item + 3.0));
    fill.put(&[mean_user, mean_item, mean_user * mean_item, bank * bank]);
}

/// Asks the user's recent items about this one.
fn ask(scene: &Scene<'_>) -> Asked {
    let mut asked = Asked::new();
    let (Some(memory), Some((row, column))) = (scene.memory, scene.item) else { return asked };
    let own = &scene.rows[column];
    for past in memory.recent.iter().rev() {
        let Some(other) = scene.items.find(past.item as usize) else { continue };
        let theirs = &scene.rows[other];
        let (keeps, key) = keeper(row, past.item);
        let pair = if keeps == row { own.find(key) } else { theirs.find(key) };
        asked.push(past.residual, pair, own.inverse * theirs.inverse);
    }
    asked
}

/// The residual of a value against the slow bias model, pulled in.
pub(super) fn slow_residual(view: &View, value: f32) -> f32 {
    (value - view.models[SLOWEST]).clamp(-3.0, 3.0)
}
