//! `NAME[:key=value,...]`: a strategy with its parameters, and those of what stands around it.
//!
//! Keys are those of the strategy ([`Strategy::set`]); for others than `popularity`, `popularity_half_life_s` of the
//! item table; for strategies over an item model, those of the fit; `user_table` and `item_table`, 1 or 0, say whether it is
//! told what stands in the tables beside the events ([`Told`]). `l2` and `unobserved_weight` of `fold_in` set the fit
//! as well: a user is folded into the model that the same objective made.

use std::path::PathBuf;
use std::sync::Arc;

use super::EvaluateError;
use super::side::Told;
use crate::learn::bank::pretrained::Pretrained;
use crate::learn::parameters::{HALF_LIFE_S_MAX, set_in};
use crate::learn::{ItemSide, Parameter, ParameterError, Strategy};
use crate::linalg::IalsOptions;

/// One strategy to evaluate.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// As written.
    pub label: String,
    /// The strategy.
    pub strategy: Strategy,
    /// What surrounds it.
    pub around: Around,
}

/// Parameters that are not the strategy's own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Around {
    /// Half-life of popularity in seconds; 0 means plain counts.
    pub popularity_half_life_s: f64,
    /// How the item model is fitted.
    pub fit: IalsOptions,
    /// What attention goes on from.
    pub weights: Option<Arc<Pretrained>>,
    /// Where what attention learned is written at the end.
    pub save_weights: Option<PathBuf>,
    /// Which tables it is told of.
    pub told: Told,
}

/// Which tables a strategy is told of: for every strategy.
static TOLD: [Parameter<Around>; 3] = {
    macro_rules! told {
        ($name:literal, $field:ident) => {
            Parameter {
                name: $name,
                lowest: 0.0,
                highest: 1.0,
                whole: true,
                get: |around| f64::from(u8::from(around.told.$field)),
                set: |around, value| around.told.$field = value > 0.0,
            }
        };
    }
    [told!("user_table", users), told!("item_table", items), told!("embeddings", embeddings)]
};

static TABLE: [Parameter<Around>; 1] = [Parameter {
    name: "popularity_half_life_s",
    lowest: 0.0,
    highest: HALF_LIFE_S_MAX,
    whole: false,
    get: |around| around.popularity_half_life_s,
    set: |around, value| around.popularity_half_life_s = value,
}];

static FIT: [Parameter<Around>; 4] = [
    Parameter {
        name: "iterations",
        lowest: 1.0,
        highest: 1_000.0,
        whole: true,
        get: |around| around.fit.iterations as f64,
        set: |around, value| around.fit.iterations = value as usize,
    },
    Parameter {
        name: "init_std",
        lowest: 1e-6,
        highest: 10.0,
        whole: false,
        get: |around| around.fit.init_std,
        set: |around, value| around.fit.init_std = value,
    },
    Parameter {
        name: "l2",
        lowest: 1e-6,
        highest: 1e3,
        whole: false,
        get: |around| around.fit.l2,
        set: |around, value| around.fit.l2 = value,
    },
    Parameter {
        name: "unobserved_weight",
        lowest: 1e-6,
        highest: 1e3,
        whole: false,
        get: |around| around.fit.unobserved_weight,
        set: |around, value| around.fit.unobserved_weight = value,
    },
];

impl Spec {
    /// Reads a specification; `seed` is for the fit.
    ///
    /// # Errors
    /// [`EvaluateError::UnknownStrategy`], [`EvaluateError::UnknownParameter`], [`EvaluateError::NotAssignment`],
    /// [`EvaluateError::Parameter`].
    pub fn parse(text: &str, seed: u64) -> Result<Self, EvaluateError> {
        let (name, rest) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let Some(strategy) = Strategy::default_named(name) else {
            let (name, nearest) = (name.to_owned(), nearest(name, Strategy::NAMES));
            return Err(EvaluateError::UnknownStrategy { name, nearest, known: Strategy::NAMES.to_vec() });
        };
        let fit = IalsOptions { seed, ..IalsOptions::default() };
        let mut spec = Self { label: text.to_owned(), strategy, around: Around { fit, ..Around::default() } };
        for found in rest.into_iter().flat_map(|rest| rest.split(',')) {
            let assignment = found.split_once('=');
            let number = assignment.and_then(|(key, value)| Some((key.trim(), value.trim().parse::<f64>().ok()?)));
            let Some((key, value)) = number else {
                return Err(EvaluateError::NotAssignment { spec: text.to_owned(), found: found.to_owned() });
            };
            spec.set(key, value)?;
        }
        Ok(spec)
    }

    /// Whether its items come from a model that is to be fitted for it; `auto` fits its own as it goes.
    #[must_use]
    pub fn needs_model(&self) -> bool {
        self.strategy.shape().items == ItemSide::Model && !self.trains()
    }

    /// Whether it learns off the path of the acknowledgement as well.
    #[must_use]
    pub fn trains(&self) -> bool {
        matches!(self.strategy, Strategy::Auto(_))
    }

    /// Half-life of popularity in seconds: the strategy's own if it is `popularity`.
    #[must_use]
    pub fn popularity_half_life_s(&self) -> f64 {
        match &self.strategy {
            Strategy::Popularity(popularity) => popularity.half_life_s,
            _ => self.around.popularity_half_life_s,
        }
    }

    /// Sets every parameter of this name: the strategy's, the table's, the fit's.
    fn set(&mut self, key: &str, value: f64) -> Result<(), EvaluateError> {
        let of = self.strategy.name();
        let table = if self.strategy.ranks_by_popularity() { &[] } else { &TABLE[..] };
        let fit = if self.needs_model() { &FIT[..] } else { &[] };
        let results = [
            self.strategy.set(key, value),
            set_in(of, table, &mut self.around, key, value),
            set_in(of, fit, &mut self.around, key, value),
            set_in(of, &TOLD, &mut self.around, key, value),
        ];
        let mut names = Vec::new();
        let mut done = false;
        for result in results {
            match result {
                Ok(()) => done = true,
                Err(ParameterError::Unknown { known, .. }) => names.extend(known),
                Err(source) => return Err(EvaluateError::Parameter { spec: self.label.clone(), source }),
            }
        }
        if done {
            return Ok(());
        }
        names.sort_unstable();
        names.dedup();
        let (name, nearest) = (key.to_owned(), nearest(key, &names));
        Err(EvaluateError::UnknownParameter { strategy: of, name, nearest, known: names })
    }
}

/// The most similar name.
fn nearest(name: &str, known: &[&'static str]) -> &'static str {
    let alike = |one: &&&str, two: &&&str| strsim::jaro_winkler(name, one).total_cmp(&strsim::jaro_winkler(name, two));
    known.iter().max_by(alike).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_reach_strategy_table_and_fit() {
        let spec = Spec::parse("fold_in:dim=32,recency=0.8,l2=0.02,iterations=3", 7).unwrap();
        let parameters = spec.strategy.parameters();
        for (name, value) in [("dim", 32.0), ("recency", 0.8), ("l2", 0.02), ("history", 40.0)] {
            let found = parameters.iter().find(|row| row.0 == name).unwrap().1;
            assert!((found - value).abs() < 1e-7, "{name} is {found}");
        }
        assert_eq!((spec.around.fit.iterations, spec.around.fit.seed), (3, 7));
        assert_eq!(spec.around.fit.l2.to_bits(), 0.02_f64.to_bits(), "the fit has the fold-in's");
        let spec = Spec::parse("popularity:half_life_s=600", 1).unwrap();
        assert_eq!(spec.popularity_half_life_s().to_bits(), 600.0_f64.to_bits());
        let spec = Spec::parse("decay:half_life_s=5,popularity_half_life_s=60", 1).unwrap();
        assert_eq!(spec.popularity_half_life_s().to_bits(), 60.0_f64.to_bits());
        assert_eq!(Spec::parse("decay", 1).unwrap().around, Around::default());
        let told = Spec::parse("auto:user_table=0,item_table=1", 1).unwrap().around.told;
        assert_eq!(told, Told { users: false, ..Told::default() });
    }

    #[test]
    fn what_is_not_known_is_told_with_the_nearest_and_all() {
        let cases = [
            ("decya", "no strategy is called \"decya\", nearest is \"decay\", there are auto, decay, mean, "),
            ("", "no strategy is called \"\""),
            (
                "decay:half_life=3",
                "decay has no parameter \"half_life\", nearest is \"half_life_s\", it has dim, embeddings, \
                 half_life_s, init_std, item_table, iterations, l2, popularity_half_life_s, recency, unobserved_weight, user_table",
            ),
            (
                "popularity:halflife=3",
                "popularity has no parameter \"halflife\", nearest is \"half_life_s\", it has embeddings, half_life_s, item_table, \
                 user_table",
            ),
            ("biased_mf:iterations=3", "biased_mf has no parameter \"iterations\""),
            ("decay:", "\"\" in strategy \"decay:\" is not KEY=NUMBER"),
            ("decay:dim", "\"dim\" in strategy \"decay:dim\" is not KEY=NUMBER"),
            ("decay:dim=x", "\"dim=x\" in strategy"),
            ("decay:dim=0", "strategy \"decay:dim=0\": dim is 0, expected a whole number, 1 to 512"),
            ("decay:recency=2", "strategy \"decay:recency=2\": recency is 2, expected 0.000001 to 1"),
            ("fold_in:l2=nan", "strategy \"fold_in:l2=nan\": l2 is NaN"),
        ];
        for (text, expected) in cases {
            let error = Spec::parse(text, 1).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }
}
