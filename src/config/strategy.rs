//! `[strategy]`: the parameters of each update strategy, and specifications such as `fold_in:dim=64,recency=0.9`.
//!
//! A specification is the name of a section and, after a colon, keys of that section with other values. The same text
//! serves in `strategy.active` and in `--strategy` of the command line. Which parameters a strategy has, and their
//! limits, is said once, in `learn/parameters.rs`.

use toml::{Table, Value};

use super::checks::Checker;
use super::error::ConfigError;
use super::layers::{expected, from_text};
use super::raw;
use crate::base::limits::ARMS_MAX;
use crate::learn::parameters::ABOVE_ZERO;
use crate::learn::{ParameterError, Strategy};

/// `[strategy]`.
#[derive(Clone, Debug, PartialEq)]
pub struct StrategyOptions {
    /// Strategies that learn side by side, the primary first; 1 to `ARMS_MAX`, labels differ.
    pub active: Vec<ActiveStrategy>,
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

    /// The value of a parameter in the section of a strategy; `None` for a name that is not there.
    #[must_use]
    pub fn parameter(&self, strategy: &str, key: &str) -> Option<f64> {
        let parameters = self.resolve(strategy).ok()?.strategy.parameters();
        parameters.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// Checks all sections, active or not (the command line may start from any), then the active specifications.
    pub(super) fn check(raw: &raw::Strategy, sections: Table, c: &mut Checker<'_>) -> Self {
        let before = c.problems().len();
        for (name, section) in sections.iter().filter_map(|(name, value)| Some((name, value.as_table()?))) {
            let Some(mut strategy) = Strategy::default_named(name) else { continue };
            for (key, value) in section {
                if let Err(why) = set(&mut strategy, key, value) {
                    c.refuse(&format!("strategy.{name}.{key}"), why, None);
                }
            }
        }
        let mut options = Self { active: Vec::new(), sections };
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
        overlay(&mut section, one)?;
    }
    let mut strategy = Strategy::default_named(name).ok_or("has a section but no parameters")?;
    for (key, value) in &section {
        set(&mut strategy, key, value).map_err(|why| format!("`{key}` {why}"))?;
    }
    Ok(strategy)
}

/// Sets one parameter from its TOML value; says what it must be if it cannot.
#[expect(clippy::cast_precision_loss, reason = "limits of parameters are far below 2^52")]
fn set(strategy: &mut Strategy, key: &str, value: &Value) -> Result<(), String> {
    let number = match value {
        Value::Integer(whole) => *whole as f64,
        Value::Float(number) => *number,
        Value::Boolean(flag) => f64::from(u8::from(*flag)),
        _ => f64::NAN,
    };
    strategy.set(key, number).map_err(|error| match error {
        ParameterError::OutOfRange { lowest, highest, .. } if lowest == ABOVE_ZERO => {
            format!("must be above 0, at most {highest}")
        }
        ParameterError::OutOfRange { lowest, highest, .. } => format!("must be {lowest} to {highest}"),
        unknown @ ParameterError::Unknown { .. } => unknown.to_string(),
    })
}

fn overlay(section: &mut Table, parameter: &str) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BUILT_IN;

    /// The built-in file documents the parameters of every strategy, no others, at the values that the code begins with.
    #[test]
    fn sections_say_what_the_code_says() {
        let root: Table = BUILT_IN.parse().expect("the built-in file is TOML");
        let sections = root["strategy"].as_table().expect("a section");
        let mut names: Vec<&str> = sections.keys().map(String::as_str).filter(|name| *name != "active").collect();
        let mut known = Strategy::NAMES.to_vec();
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
        for name in known {
            let strategy = Strategy::default_named(name).expect("listed");
            let section = sections[name].as_table().expect("a section");
            assert_eq!(section.len(), strategy.parameters().len(), "keys of strategy.{name}");
            for (key, value) in strategy.parameters() {
                let mut copy = strategy.clone();
                set(&mut copy, key, &section[key]).unwrap_or_else(|why| panic!("strategy.{name}.{key} {why}"));
                assert_eq!(copy, strategy, "strategy.{name}.{key} is not {value}");
            }
        }
    }
}
