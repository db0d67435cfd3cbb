//! Parameters of strategies by name: one table a strategy, for command lines and configuration.
//!
//! A table row knows the name, the allowed range, and how to read and write the field; nothing else in the house lists
//! parameters. Every number is an `f64` here; whole ones are checked to be whole.

use super::auto::ranker::NETWORKS_MAX;
use super::{
    Attention, Auto, BiasedMf, Bpr, Content, Decay, Eals, FoldIn, Isgd, ItemKnn, Mean, Popularity, Raisgd, Sequence,
    SessionKnn, Strategy, Trend,
};
use crate::base::limits::{AUDIENCE_MAX, DIM_MAX, HISTORY_MAX, NEGATIVES_MAX};

/// A century: the longest half-life, in seconds.
pub const HALF_LIFE_S_MAX: f64 = 100.0 * 365.0 * 86_400.0;

/// One parameter of `T`.
#[derive(Debug)]
pub struct Parameter<T: 'static> {
    /// Its name.
    pub name: &'static str,
    /// Smallest value.
    pub lowest: f64,
    /// Largest value.
    pub highest: f64,
    /// Whether only whole numbers are allowed.
    pub whole: bool,
    /// Reads it.
    pub get: fn(&T) -> f64,
    /// Writes it, unchecked.
    pub set: fn(&mut T, f64),
}

/// Why a parameter was not set.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParameterError {
    /// There is no such parameter.
    #[error("{of} has no parameter {name:?}, it has {}", known.join(", "))]
    Unknown {
        /// The strategy.
        of: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// The value is not allowed.
    #[error("{name} is {value}, expected {}{lowest} to {highest}", if *whole { "a whole number, " } else { "" })]
    OutOfRange {
        /// The parameter.
        name: &'static str,
        /// What was asked for.
        value: f64,
        /// Smallest value.
        lowest: f64,
        /// Largest value.
        highest: f64,
        /// Whether only whole numbers are allowed.
        whole: bool,
    },
}

/// Smallest of what must be above 0.
pub const ABOVE_ZERO: f64 = 1e-6;

/// The table row of a field.
macro_rules! parameter {
    ($type:ty, $field:ident: whole $number:ty, $lowest:expr, $highest:expr) => {
        parameter!($type, $field, $number, $lowest, $highest, true)
    };
    ($type:ty, $field:ident: $number:ty, $lowest:expr, $highest:expr) => {
        parameter!($type, $field, $number, $lowest, $highest, false)
    };
    ($type:ty, $field:ident, $number:ty, $lowest:expr, $highest:expr, $whole:literal) => {
        Parameter::<$type> {
            name: stringify!($field),
            lowest: $lowest,
            highest: $highest,
            whole: $whole,
            get: |of| of.$field as f64,
            set: |of, value| of.$field = value as $number,
        }
    };
}

/// Parameters of `decay`.
static DECAY: [Parameter<Decay>; 3] = [
    parameter!(Decay, dim: whole usize, 1.0, DIM_MAX as f64),
    parameter!(Decay, half_life_s: f64, 0.0, HALF_LIFE_S_MAX),
    parameter!(Decay, recency: f32, ABOVE_ZERO, 1.0),
];

/// Parameters of `mean`.
static MEAN: [Parameter<Mean>; 2] =
    [parameter!(Mean, dim: whole usize, 1.0, DIM_MAX as f64), parameter!(Mean, weight_floor: f32, ABOVE_ZERO, 1.0)];

/// Parameters of `biased_mf`.
static BIASED_MF: [Parameter<BiasedMf>; 11] = [
    parameter!(BiasedMf, dim: whole usize, 1.0, DIM_MAX as f64),
    parameter!(BiasedMf, step_bias_user: f32, 0.0, 1.0),
    parameter!(BiasedMf, step_bias_item: f32, 0.0, 1.0),
    parameter!(BiasedMf, boost_bias_user: f32, 0.0, 1.0),
    parameter!(BiasedMf, boost_bias_item: f32, 0.0, 1.0),
    parameter!(BiasedMf, step_factor: f32, 0.0, 1.0),
    parameter!(BiasedMf, boost_factor: f32, 0.0, 1.0),
    parameter!(BiasedMf, l2_bias: f32, 0.0, 1.0),
    parameter!(BiasedMf, l2_factor: f32, 0.0, 1.0),
    parameter!(BiasedMf, init_std: f32, ABOVE_ZERO, 10.0),
    parameter!(BiasedMf, passes: whole u32, 1.0, 100.0),
];

/// Parameters of `fold_in`.
static FOLD_IN: [Parameter<FoldIn>; 5] = [
    parameter!(FoldIn, dim: whole usize, 1.0, DIM_MAX as f64),
    parameter!(FoldIn, recency: f32, ABOVE_ZERO, 1.0),
    parameter!(FoldIn, history: whole usize, 1.0, HISTORY_MAX as f64),
    parameter!(FoldIn, l2: f64, ABOVE_ZERO, 1e6),
    parameter!(FoldIn, unobserved_weight: f64, 0.0, 1e6),
];

/// Parameters of `popularity`.
static POPULARITY: [Parameter<Popularity>; 1] = [parameter!(Popularity, half_life_s: f64, 0.0, HALF_LIFE_S_MAX)];

/// Parameters of `auto`.
static AUTO: [Parameter<Auto>; 7] = [
    parameter!(Auto, candidates: whole usize, 1.0, 1_000.0),
    parameter!(Auto, attention: whole u32, 0.0, 1.0),
    parameter!(Auto, negatives: whole usize, 1.0, 1_000.0),
    parameter!(Auto, networks: whole usize, 1.0, NETWORKS_MAX as f64),
    parameter!(Auto, replays: whole usize, 0.0, 100.0),
    parameter!(Auto, train_full: whole u64, 0.0, 1e9),
    parameter!(Auto, train_share: f64, 0.0, 1.0),
];

/// Parameters of `item_knn`.
static ITEM_KNN: [Parameter<ItemKnn>; 3] = [
    parameter!(ItemKnn, sum: whole u32, 0.0, 3.0),
    parameter!(ItemKnn, slow: whole u32, 0.0, 1.0),
    parameter!(ItemKnn, popularity_power: f32, 0.0, 1.0),
];

/// Parameters of `session_knn`.
static SESSION_KNN: [Parameter<SessionKnn>; 2] =
    [parameter!(SessionKnn, followed: whole u32, 0.0, 1.0), parameter!(SessionKnn, popularity_power: f32, 0.0, 1.0)];

/// Parameters of `trend`.
static TREND: [Parameter<Trend>; 1] = [parameter!(Trend, grid: whole u32, 0.0, 7.0)];

/// Parameters of `content`.
static CONTENT: [Parameter<Content>; 1] = [parameter!(Content, popularity_power: f32, 0.0, 2.0)];
/// Parameters of `sequence`.
static SEQUENCE: [Parameter<Sequence>; 1] = [parameter!(Sequence, popularity_power: f32, 0.0, 1.0)];

/// Parameters of `attention`.
static ATTENTION: [Parameter<Attention>; 4] = [
    parameter!(Attention, popularity_power: f32, 0.0, 1.0),
    parameter!(Attention, replays: whole usize, 0.0, 100.0),
    parameter!(Attention, train_full: whole u64, 0.0, 1e9),
    parameter!(Attention, train_share: f64, 0.0, 1.0),
];

/// Parameters of `isgd`.
static ISGD: [Parameter<Isgd>; 4] = [
    parameter!(Isgd, dim: whole usize, 1.0, DIM_MAX as f64),
    parameter!(Isgd, step: f32, ABOVE_ZERO, 1.0),
    parameter!(Isgd, l2: f32, 0.0, 10.0),
    parameter!(Isgd, init_std: f32, ABOVE_ZERO, 10.0),
];

/// Parameters of `raisgd`.
static RAISGD: [Parameter<Raisgd>; 5] = [
    parameter!(Raisgd, dim: whole usize, 1.0, DIM_MAX as f64),
    parameter!(Raisgd, step: f32, ABOVE_ZERO, 1.0),
    parameter!(Raisgd, l2: f32, 0.0, 10.0),
    parameter!(Raisgd, init_std: f32, ABOVE_ZERO, 10.0),
    parameter!(Raisgd, negatives: whole usize, 0.0, NEGATIVES_MAX as f64),
];

/// Parameters of `bpr`.
static BPR: [Parameter<Bpr>; 5] = [
    parameter!(Bpr, dim: whole usize, 1.0, DIM_MAX as f64),
    parameter!(Bpr, step: f32, ABOVE_ZERO, 1.0),
    parameter!(Bpr, l2: f32, 0.0, 1.0),
    parameter!(Bpr, init_std: f32, ABOVE_ZERO, 10.0),
    parameter!(Bpr, negatives: whole usize, 1.0, NEGATIVES_MAX as f64),
];

/// Parameters of `eals`.
static EALS: [Parameter<Eals>; 8] = [
    parameter!(Eals, dim: whole usize, 1.0, DIM_MAX as f64),
    parameter!(Eals, missing_weight: f32, ABOVE_ZERO, 1e6),
    parameter!(Eals, popularity_power: f32, 0.0, 2.0),
    parameter!(Eals, l2: f32, ABOVE_ZERO, 1e3),
    parameter!(Eals, init_std: f32, ABOVE_ZERO, 10.0),
    parameter!(Eals, history: whole usize, 1.0, HISTORY_MAX as f64),
    parameter!(Eals, audience: whole usize, 1.0, AUDIENCE_MAX as f64),
    parameter!(Eals, recency: f32, ABOVE_ZERO, 1.0),
];

/// Runs the same expression on every strategy with its table.
macro_rules! with_table {
    ($strategy:expr, |$inner:ident, $table:ident| $body:expr) => {
        match $strategy {
            Strategy::Decay($inner) => {
                let $table = &DECAY[..];
                $body
            }
            Strategy::Mean($inner) => {
                let $table = &MEAN[..];
                $body
            }
            Strategy::BiasedMf($inner) => {
                let $table = &BIASED_MF[..];
                $body
            }
            Strategy::FoldIn($inner) => {
                let $table = &FOLD_IN[..];
                $body
            }
            Strategy::Popularity($inner) => {
                let $table = &POPULARITY[..];
                $body
            }
            Strategy::Auto($inner) => {
                let $table = &AUTO[..];
                $body
            }
            Strategy::ItemKnn($inner) => {
                let $table = &ITEM_KNN[..];
                $body
            }
            Strategy::SessionKnn($inner) => {
                let $table = &SESSION_KNN[..];
                $body
            }
            Strategy::Trend($inner) => {
                let $table = &TREND[..];
                $body
            }
            Strategy::Content($inner) => {
                let $table = &CONTENT[..];
                $body
            }
            Strategy::Sequence($inner) => {
                let $table = &SEQUENCE[..];
                $body
            }
            Strategy::Attention($inner) => {
                let $table = &ATTENTION[..];
                $body
            }
            Strategy::Isgd($inner) => {
                let $table = &ISGD[..];
                $body
            }
            Strategy::Raisgd($inner) => {
                let $table = &RAISGD[..];
                $body
            }
            Strategy::Bpr($inner) => {
                let $table = &BPR[..];
                $body
            }
            Strategy::Eals($inner) => {
                let $table = &EALS[..];
                $body
            }
        }
    };
}

impl Strategy {
    /// Names and values of all parameters.
    #[must_use]
    pub fn parameters(&self) -> Vec<(&'static str, f64)> {
        with_table!(self, |inner, table| table.iter().map(|row| (row.name, (row.get)(inner))).collect())
    }

    /// Sets a parameter by name.
    ///
    /// # Errors
    /// [`ParameterError::Unknown`] names those there are, [`ParameterError::OutOfRange`] tells the range.
    pub fn set(&mut self, name: &str, value: f64) -> Result<(), ParameterError> {
        let of = self.name();
        with_table!(self, |inner, table| set_in(of, table, inner, name, value))
    }
}

/// Sets the parameter `name` of `table` on `target`; `of` is whose parameters they are, for the message.
///
/// # Errors
/// As [`Strategy::set`].
pub fn set_in<T>(
    of: &'static str,
    table: &[Parameter<T>],
    target: &mut T,
    name: &str,
    value: f64,
) -> Result<(), ParameterError> {
    let Some(row) = table.iter().find(|row| row.name == name) else {
        let known = table.iter().map(|row| row.name).collect();
        return Err(ParameterError::Unknown { of, name: name.to_owned(), known });
    };
    let Parameter { name, lowest, highest, whole, set, .. } = *row;
    if !(lowest..=highest).contains(&value) || (whole && value.fract() != 0.0) {
        return Err(ParameterError::OutOfRange { name, value, lowest, highest, whole });
    }
    set(target, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_can_be_set_and_read_and_has_a_default_within_its_range() {
        for name in Strategy::NAMES {
            let start = Strategy::default_named(name).expect("listed");
            for (key, value) in start.parameters() {
                let mut strategy = start.clone();
                assert_eq!(strategy.set(key, value), Ok(()), "{name}:{key}={value}");
                assert_eq!(strategy, start, "{name}:{key}: reading and writing are one field");
                let other = if value == 1.0 { 0.5 } else { 1.0 };
                if strategy.set(key, other).is_ok() {
                    let read = strategy.parameters().into_iter().find(|row| row.0 == key).expect("listed").1;
                    assert_eq!(read.to_bits(), other.to_bits(), "{name}:{key}");
                    let others =
                        |of: &Strategy| -> Vec<_> { of.parameters().into_iter().filter(|row| row.0 != key).collect() };
                    assert_eq!(others(&strategy), others(&start), "{name}:{key} changes itself alone");
                }
                for wrong in [f64::NAN, f64::INFINITY, -1.0, 1e12] {
                    let error = strategy.clone().set(key, wrong);
                    assert!(matches!(error, Err(ParameterError::OutOfRange { .. })), "{name}:{key}={wrong}: {error:?}");
                }
            }
        }
    }

    /// A field that is added to a strategy and not to its table is noticed: `Debug` shows every field.
    #[test]
    fn tables_are_complete() {
        for name in Strategy::NAMES {
            let strategy = Strategy::default_named(name).expect("listed");
            let shown = format!("{strategy:?}").matches(": ").count();
            assert_eq!(strategy.parameters().len(), shown, "{strategy:?}");
        }
    }

    #[test]
    fn messages_tell_what_is_allowed() {
        let mut decay = Strategy::Decay(Decay::default());
        let message = decay.set("half_life", 1.0).unwrap_err().to_string();
        assert_eq!(message, "decay has no parameter \"half_life\", it has dim, half_life_s, recency");
        let message = decay.set("dim", 2.5).unwrap_err().to_string();
        assert_eq!(message, "dim is 2.5, expected a whole number, 1 to 512");
    }
}
