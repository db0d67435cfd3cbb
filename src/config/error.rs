//! What can be wrong with a configuration: always with the key, the value, what was expected and the layer that set it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::layers::Layer;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is longer than any configuration can sensibly be.
    #[error("{} is longer than {bytes_max} bytes: is it a configuration file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// The file is not TOML.
    #[error("{} is not valid TOML", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A key that does not exist.
    #[error("unknown key `{key}` in {layer}{}", did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// The key, dotted.
        key: String,
        /// Where it stands.
        layer: Layer,
        /// The known key that is most like it, if any is.
        nearest: Option<String>,
    },
    /// A value of another type than the key has.
    #[error("`{key}` is {value} in {layer}, expected {expected}")]
    Type {
        /// The key, dotted.
        key: String,
        /// The value, as TOML.
        value: String,
        /// What the key takes.
        expected: &'static str,
        /// Where it stands.
        layer: Layer,
    },
    /// An entry of the user's own that lacks a key.
    #[error("`{entry}` in {layer} is new and lacks `{missing}`")]
    Incomplete {
        /// Section and name.
        entry: String,
        /// The first key that it lacks.
        missing: &'static str,
        /// The layer that began it.
        layer: Layer,
    },
    /// A strategy that does not exist, or a parameter of one that does not parse.
    #[error("strategy `{spec}`: {problem}")]
    Strategy {
        /// As written.
        spec: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Values out of their limits or at odds with each other: all of them, not only the first.
    #[error("the configuration has {} problem{}{}", problems.len(), if problems.len() == 1 { "" } else { "s" }, listed(problems))]
    Invalid {
        /// Each with its key.
        problems: Vec<Problem>,
    },
    /// The merged layers do not have the shape that the checks promise: a fault of Mirra's own.
    #[error("the merged configuration does not have the expected shape")]
    Shape(#[source] Box<toml::de::Error>),
}

impl ConfigError {
    /// What to do about it, where that does not follow from the message.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { key, .. } if key.starts_with("kinds.") => Some(
                "a kind's name is lower case letters, digits and single `_`; its keys are code, weight, explicit"
                    .to_owned(),
            ),
            Self::UnknownKey { .. } => Some("`mirra config check` without a file lists every key".to_owned()),
            Self::Invalid { problems } => problems.iter().find_map(|problem| problem.hint.map(str::to_owned)),
            _ => None,
        }
    }
}

/// One value that cannot be.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The key, dotted.
    pub key: String,
    /// Its value, as TOML.
    pub value: String,
    /// Why it cannot be, with the limit.
    pub why: String,
    /// The layer that set it.
    pub layer: Layer,
    /// What to do about it, if that needs saying.
    pub hint: Option<&'static str>,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{}` is {} in {}: {}", self.key, self.value, self.layer, self.why)
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!(", did you mean `{key}`?"))
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}
