//! `[strategy]`: the parameters of each update strategy, and specifications such as `fold_in:dim=64,recency=0.9`.
//!
//! A specification is the name of a section and, after a colon, keys of that section with other values. The same text
//! serves in `strategy.active` and in `--strategy` of the command line.

use toml::{Table, Value};

use super::checks::{Checker, shape};
use super::error::ConfigError;
use super::layers::{Origins, expected, from_text};
use super::raw;
use crate::base::limits::{ARMS_MAX, AUDIENCE_MAX, DIM_MAX, HISTORY_MAX, NEGATIVES_MAX};
use crate::learn::{BiasedMf, Bpr, Decay, Eals, FoldIn, Isgd, Mean, Popularity, Raisgd, Strategy};

/// A century, in seconds: the longest half-life.
const HALF_LIFE_S_MAX: f64 = 100.0 * 365.0 * 86_400.0;

/// `[strategy]`.
#[derive(Clone, Debug, PartialEq)]
pub struct StrategyOptions {
    /// Strategies that learn side by side, the primary first; 1 to `ARMS_MAX`, labels differ.
    pub active: Vec<ActiveStrategy>,
    /// Where specifications of `mean` start.
    pub mean: Mean,
    /// Where specifications of `decay` start.
    pub decay: Decay,
    /// Where specifications of `biased_mf` start.
    pub biased_mf: BiasedMf,
    /// Where specifications of `fold_in` start.
    pub fold_in: FoldIn,
    /// Where specifications of `isgd` start.
    pub isgd: Isgd,
    /// Where specifications of `raisgd` start.
    pub raisgd: Raisgd,
    /// Where specifications of `bpr` start.
    pub bpr: Bpr,
    /// Where specifications of `eals` start.
    pub eals: Eals,
    /// Where specifications of `popularity` start.
    pub popularity: Popularity,
    /// The sections as merged, in TOML: a specification is laid over a copy.
    sections: Table,
}

/// One strategy with all of its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveStrategy {
    /// As written: `fold_in:dim=64`.
    pub label: String,
    /// What it means.
    pub strategy: Strategy,
}

impl StrategyOptions {
    /// The strategy that `spec` (`NAME[:key=value,...]`) means, over the parameters of its section.
    ///
    /// # Errors
    /// [`ConfigError::Strategy`] for an unknown name or key (with the nearest), a value of another type or out of its
    /// limits.
    pub fn resolve(&self, spec: &str) -> Result<ActiveStrategy, ConfigError> {
        let strategy = resolve(&self.sections, spec)
            .map_err(|problem| ConfigError::Strategy { spec: spec.to_owned(), problem })?;
        Ok(ActiveStrategy { label: spec.to_owned(), strategy })
    }

    /// Checks all sections, active or not (the command line may start from any), then the active specifications.
    pub(super) fn check(raw: &raw::Strategy, sections: Table, c: &mut Checker<'_>) -> Self {
        let before = c.problems().len();
        let mut options = Self {
            active: Vec::new(),
            mean: mean(&raw.mean, c),
            decay: decay(&raw.decay, c),
            biased_mf: biased_mf(&raw.biased_mf, c),
            fold_in: fold_in(&raw.fold_in, c),
            isgd: isgd(&raw.isgd, c),
            raisgd: raisgd(&raw.raisgd, c),
            bpr: bpr(&raw.bpr, c),
            eals: eals(&raw.eals, c),
            popularity: popularity(&raw.popularity, c),
            sections,
        };
        if !(1..=ARMS_MAX).contains(&raw.active.len()) {
            let why = format!("must name 1 to {ARMS_MAX} strategies, names {}", raw.active.len());
            c.refuse("strategy.active", why, None);
        }
        // A section out of its limits has been reported under its own key: once is enough.
        if c.problems().len() == before {
            for spec in &raw.active {
                match options.resolve(spec) {
                    Ok(one) => options.active.push(one),
                    Err(error) => c.refuse("strategy.active", error.to_string(), None),
                }
            }
        }
        options
    }
}

fn resolve(sections: &Table, spec: &str) -> Result<Strategy, String> {
    let (name, overrides) = spec.split_once(':').map_or((spec, None), |(name, rest)| (name, Some(rest)));
    let Some(Value::Table(section)) = sections.get(name) else {
        let names: Vec<&str> = sections.iter().filter(|(_, value)| value.is_table()).map(|(key, _)| &**key).collect();
        return Err(unknown("strategy", name, &names));
    };
    let mut section = section.clone();
    for one in overrides.into_iter().flat_map(|text| text.split(',')) {
        set(&mut section, one)?;
    }
    let origins = Origins::default();
    let mut checker = Checker::new(&origins);
    let parameters = parameters(name, section, &mut checker).map_err(|error| error.to_string())?;
    match checker.problems().first() {
        Some(problem) => {
            let key = problem.key.rsplit('.').next().unwrap_or_default();
            Err(format!("`{key}` {}", problem.why))
        }
        None => Ok(parameters),
    }
}

fn parameters(name: &str, section: Table, c: &mut Checker<'_>) -> Result<Strategy, ConfigError> {
    Ok(match name {
        "mean" => Strategy::Mean(mean(&section.try_into().map_err(shape)?, c)),
        "decay" => Strategy::Decay(decay(&section.try_into().map_err(shape)?, c)),
        "biased_mf" => Strategy::BiasedMf(biased_mf(&section.try_into().map_err(shape)?, c)),
        "fold_in" => Strategy::FoldIn(fold_in(&section.try_into().map_err(shape)?, c)),
        "isgd" => Strategy::Isgd(isgd(&section.try_into().map_err(shape)?, c)),
        "raisgd" => Strategy::Raisgd(raisgd(&section.try_into().map_err(shape)?, c)),
        "bpr" => Strategy::Bpr(bpr(&section.try_into().map_err(shape)?, c)),
        "eals" => Strategy::Eals(eals(&section.try_into().map_err(shape)?, c)),
        "popularity" => Strategy::Popularity(popularity(&section.try_into().map_err(shape)?, c)),
        other => {
            let problem = "has a section but no parameters".to_owned();
            return Err(ConfigError::Strategy { spec: other.to_owned(), problem });
        }
    })
}

fn mean(raw: &raw::Mean, c: &mut Checker<'_>) -> Mean {
    Mean {
        dim: dim("mean", raw.dim, c),
        weight_floor: c.positive("strategy.mean.weight_floor", raw.weight_floor, 1.0) as f32,
    }
}

fn decay(raw: &raw::Decay, c: &mut Checker<'_>) -> Decay {
    Decay {
        dim: dim("decay", raw.dim, c),
        half_life_s: c.positive("strategy.decay.half_life_s", raw.half_life_s, HALF_LIFE_S_MAX),
        recency: c.positive("strategy.decay.recency", raw.recency, 1.0) as f32,
    }
}

fn biased_mf(raw: &raw::BiasedMf, c: &mut Checker<'_>) -> BiasedMf {
    let mut unit = |key: &str, value: f64| c.real(&format!("strategy.biased_mf.{key}"), value, 0.0..=1.0) as f32;
    BiasedMf {
        step_bias_user: unit("step_bias_user", raw.step_bias_user),
        step_bias_item: unit("step_bias_item", raw.step_bias_item),
        boost_bias_user: unit("boost_bias_user", raw.boost_bias_user),
        boost_bias_item: unit("boost_bias_item", raw.boost_bias_item),
        step_factor: unit("step_factor", raw.step_factor),
        boost_factor: unit("boost_factor", raw.boost_factor),
        l2_bias: unit("l2_bias", raw.l2_bias),
        l2_factor: unit("l2_factor", raw.l2_factor),
        dim: dim("biased_mf", raw.dim, c),
        init_std: c.positive("strategy.biased_mf.init_std", raw.init_std, 10.0) as f32,
        passes: c.whole("strategy.biased_mf.passes", raw.passes, 1..=100),
    }
}

fn fold_in(raw: &raw::FoldIn, c: &mut Checker<'_>) -> FoldIn {
    FoldIn {
        dim: dim("fold_in", raw.dim, c),
        recency: c.positive("strategy.fold_in.recency", raw.recency, 1.0) as f32,
        history: c.whole("strategy.fold_in.history", raw.history, 1..=HISTORY_MAX as u64),
        l2: c.positive("strategy.fold_in.l2", raw.l2, 1e6),
        unobserved_weight: c.real("strategy.fold_in.unobserved_weight", raw.unobserved_weight, 0.0..=1e6),
    }
}

fn isgd(raw: &raw::Isgd, c: &mut Checker<'_>) -> Isgd {
    Isgd {
        dim: dim("isgd", raw.dim, c),
        step: c.positive("strategy.isgd.step", raw.step, 1.0) as f32,
        l2: c.real("strategy.isgd.l2", raw.l2, 0.0..=10.0) as f32,
        init_std: c.positive("strategy.isgd.init_std", raw.init_std, 10.0) as f32,
    }
}

fn raisgd(raw: &raw::Raisgd, c: &mut Checker<'_>) -> Raisgd {
    Raisgd {
        dim: dim("raisgd", raw.dim, c),
        step: c.positive("strategy.raisgd.step", raw.step, 1.0) as f32,
        l2: c.real("strategy.raisgd.l2", raw.l2, 0.0..=10.0) as f32,
        init_std: c.positive("strategy.raisgd.init_std", raw.init_std, 10.0) as f32,
        negatives: c.whole("strategy.raisgd.negatives", raw.negatives, 0..=NEGATIVES_MAX as u64),
    }
}

fn bpr(raw: &raw::Bpr, c: &mut Checker<'_>) -> Bpr {
    Bpr {
        dim: dim("bpr", raw.dim, c),
        step: c.positive("strategy.bpr.step", raw.step, 1.0) as f32,
        l2: c.real("strategy.bpr.l2", raw.l2, 0.0..=1.0) as f32,
        init_std: c.positive("strategy.bpr.init_std", raw.init_std, 10.0) as f32,
        negatives: c.whole("strategy.bpr.negatives", raw.negatives, 1..=NEGATIVES_MAX as u64),
    }
}

fn eals(raw: &raw::Eals, c: &mut Checker<'_>) -> Eals {
    Eals {
        dim: dim("eals", raw.dim, c),
        missing_weight: c.positive("strategy.eals.missing_weight", raw.missing_weight, 1e6) as f32,
        popularity_power: c.real("strategy.eals.popularity_power", raw.popularity_power, 0.0..=2.0) as f32,
        l2: c.positive("strategy.eals.l2", raw.l2, 1e3) as f32,
        init_std: c.positive("strategy.eals.init_std", raw.init_std, 10.0) as f32,
        history: c.whole("strategy.eals.history", raw.history, 1..=HISTORY_MAX as u64),
        audience: c.whole("strategy.eals.audience", raw.audience, 1..=AUDIENCE_MAX as u64),
        recency: c.positive("strategy.eals.recency", raw.recency, 1.0) as f32,
    }
}

fn popularity(raw: &raw::Popularity, c: &mut Checker<'_>) -> Popularity {
    let half_life_s = c.real("strategy.popularity.half_life_s", raw.half_life_s, 0.0..=HALF_LIFE_S_MAX);
    Popularity { half_life_s }
}

fn dim(strategy: &str, dim: u64, c: &mut Checker<'_>) -> usize {
    c.whole(&format!("strategy.{strategy}.dim"), dim, 1..=DIM_MAX as u64)
}

fn set(section: &mut Table, parameter: &str) -> Result<(), String> {
    let Some((key, text)) = parameter.split_once('=') else {
        return Err(format!("`{parameter}` is not key=value"));
    };
    let keys: Vec<&str> = section.keys().map(String::as_str).collect();
    let Some(known) = section.get(key) else {
        return Err(unknown("parameter", key, &keys));
    };
    let value = from_text(text, known).ok_or_else(|| format!("`{key}` is `{text}`, expected {}", expected(known)))?;
    section.insert(key.to_owned(), value);
    Ok(())
}

fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(name, candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness >= 0.6);
    match nearest {
        Some((_, candidate)) => format!("unknown {what} `{name}`, did you mean `{candidate}`?"),
        None => format!("unknown {what} `{name}`, known are {}", known.join(", ")),
    }
}
