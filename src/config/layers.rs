//! Layers of configuration: built-in file, user's file, `MIRRA__` variables, command line; later ones win.
//!
//! Every upper layer is checked against the built-in table *before* it is merged, so that an error names the layer it
//! stands in. Invariants: the merged table has exactly the keys of the built-in one (and whole kinds under `kinds`),
//! every value has the type of the built-in value, whole numbers are not negative, and floats are finite; `Origins`
//! knows the layer of every leaf.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::error::ConfigError;

/// What `MIRRA__` variables begin with.
pub const ENV_PREFIX: &str = "MIRRA__";

const KIND_KEYS: [&str; 3] = ["code", "weight", "explicit"];

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The file compiled into the binary.
    BuiltIn,
    /// A user's file.
    File(PathBuf),
    /// An environment variable, by name.
    Environment(String),
    /// An option of the command line, as written: `--listen`.
    CommandLine(String),
}

impl fmt::Display for Layer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => out.write_str("built-in"),
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Environment(name) | Self::CommandLine(name) => out.write_str(name),
        }
    }
}

/// A value that the command line sets over all other layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// The key, dotted: `server.listen`.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// What set it, for messages: `--listen`.
    pub source: String,
}

impl Override {
    /// An override of `key`.
    pub fn new(key: &str, value: impl Into<Value>, source: &str) -> Self {
        Self { key: key.to_owned(), value: value.into(), source: source.to_owned() }
    }
}

/// One effective value.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The key, dotted.
    pub key: String,
    /// Its effective value.
    pub value: Value,
    /// The built-in value; `None` for keys of a user's own behaviour kinds.
    pub default: Option<Value>,
    /// The layer that set the effective value.
    pub layer: Layer,
}

/// Every effective value with the layer that set it, by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origins {
    settings: BTreeMap<String, Setting>,
}

impl Origins {
    /// All settings, by key.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.settings.values()
    }

    /// The setting of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.get(key)
    }

    /// Settings whose value differs from the built-in one: what a server logs when it starts.
    pub fn changed(&self) -> impl Iterator<Item = &Setting> {
        self.iter().filter(|setting| setting.default.as_ref() != Some(&setting.value))
    }
}

/// The layers while they are being merged.
pub(super) struct Layers {
    defaults: Table,
    merged: Table,
    set_by: BTreeMap<String, Layer>,
}

impl Layers {
    /// The bottom layer alone.
    pub(super) fn new(defaults: Table) -> Self {
        Self { merged: defaults.clone(), defaults, set_by: BTreeMap::new() }
    }

    /// Lays the text of a user's file over what is there.
    pub(super) fn file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table: Table =
            text.parse().map_err(|source| ConfigError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        self.table(&table, &mut Vec::new(), &Layer::File(path.to_owned()))
    }

    /// Lays one variable over what is there; one without the prefix is not ours and is left alone.
    pub(super) fn variable(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
            return Ok(());
        };
        let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        let layer = Layer::Environment(name.to_owned());
        let known = self.known(&path, &layer)?.clone();
        let value =
            from_text(text, &known).ok_or_else(|| mismatch(&path, &Value::String(text.to_owned()), &known, &layer))?;
        self.leaf(&path, &value, &layer)
    }

    /// Lays one option of the command line over what is there.
    pub(super) fn option(&mut self, option: &Override) -> Result<(), ConfigError> {
        let path: Vec<String> = option.key.split('.').map(str::to_owned).collect();
        self.leaf(&path, &option.value, &Layer::CommandLine(option.source.clone()))
    }

    /// The merged table and where its values come from. A kind without a range has none. Fails if a kind that a layer added lacks a key.
    pub(super) fn finish(mut self) -> Result<(Table, Origins), ConfigError> {
        if let Some(Value::Table(kinds)) = self.merged.get_mut("kinds") {
            for (name, kind) in kinds {
                if let Value::Table(kind) = kind {
                    kind.entry("range").or_insert_with(|| Value::Array(Vec::new()));
                }
                let missing = KIND_KEYS.into_iter().find(|key| kind.get(key).is_none());
                if let Some(missing) = missing {
                    let start = format!("kinds.{name}.");
                    let layer = self.set_by.iter().find(|(key, _)| key.starts_with(&start));
                    let layer = layer.map_or(Layer::BuiltIn, |(_, layer)| layer.clone());
                    return Err(ConfigError::IncompleteKind { kind: name.clone(), missing, layer });
                }
            }
        }
        let mut defaults = BTreeMap::new();
        leaves(&self.defaults, "", &mut defaults);
        let mut values = BTreeMap::new();
        leaves(&self.merged, "", &mut values);
        let setting = |(key, value): (String, Value)| {
            let layer = self.set_by.get(&key).cloned().unwrap_or(Layer::BuiltIn);
            let default = defaults.get(&key).cloned();
            (key.clone(), Setting { key, value, default, layer })
        };
        let settings = values.into_iter().map(setting).collect();
        Ok((self.merged, Origins { settings }))
    }

    fn table(&mut self, table: &Table, path: &mut Vec<String>, layer: &Layer) -> Result<(), ConfigError> {
        for (key, value) in table {
            path.push(key.clone());
            match (self.known(path, layer)?.is_table(), value) {
                (true, Value::Table(inner)) => {
                    if let [section, _] = path.as_slice()
                        && section == "kinds"
                    {
                        // Begun even when empty, so that `[kinds.like]` alone is refused as incomplete.
                        insert(&mut self.merged, path, None);
                    }
                    self.table(inner, path, layer)?;
                }
                _ => self.leaf(path, value, layer)?,
            }
            path.pop();
        }
        Ok(())
    }

    fn leaf(&mut self, path: &[String], value: &Value, layer: &Layer) -> Result<(), ConfigError> {
        let known = self.known(path, layer)?;
        let value = fitted(value, known).ok_or_else(|| mismatch(path, value, known, layer))?;
        insert(&mut self.merged, path, Some(value));
        self.set_by.insert(path.join("."), layer.clone());
        Ok(())
    }

    /// The built-in value at `path`. Under `kinds` any name stands for a kind, whose keys are those of `event`.
    fn known(&self, path: &[String], layer: &Layer) -> Result<&Value, ConfigError> {
        let mut keys = path.iter().map(String::as_str);
        let pattern: Vec<&str> = match path {
            [section, name, ..] if section == "kinds" && is_kind_name(name) => {
                ["kinds", "event"].into_iter().chain(keys.by_ref().skip(2)).collect()
            }
            _ => keys.collect(),
        };
        let mut at = self.defaults.get(pattern.first().copied().unwrap_or_default());
        for key in pattern.iter().skip(1) {
            at = at.and_then(|value| value.get(key));
        }
        at.ok_or_else(|| ConfigError::UnknownKey {
            key: path.join("."),
            layer: layer.clone(),
            nearest: self.nearest(path),
        })
    }

    /// The known key most like the one at `path`: all keys and sections are candidates, as the section may be the
    /// part that is misspelt, or missing. Less than 0.7 of similarity is no help to anybody.
    fn nearest(&self, path: &[String]) -> Option<String> {
        let written = path.join(".");
        let mut candidates = Vec::new();
        names(&self.defaults, "", &mut candidates);
        if let [section, name, _, ..] = path
            && section == "kinds"
        {
            candidates = KIND_KEYS.iter().chain(&["range"]).map(|key| format!("kinds.{name}.{key}")).collect();
        }
        let likeness = |candidate: &str| {
            let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
            // A right name in a wrong section counts almost as much as a misspelt one in the right section.
            let whole = strsim::normalized_damerau_levenshtein(&written, candidate);
            whole.max(0.9 * strsim::normalized_damerau_levenshtein(&last(&written), &last(candidate)))
        };
        candidates
            .into_iter()
            .map(|candidate| (likeness(&candidate), candidate))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(likeness, _)| *likeness >= 0.7)
            .map(|(_, candidate)| candidate)
    }
}

/// `value` as the type of `known`, or nothing if it has another. Whole numbers serve as floats.
pub(super) fn fitted(value: &Value, known: &Value) -> Option<Value> {
    match (known, value) {
        (Value::Float(_), Value::Float(number)) if number.is_finite() => Some(value.clone()),
        (Value::Float(_), Value::Integer(number)) => i32::try_from(*number).ok().map(|n| Value::Float(f64::from(n))),
        (Value::Integer(_), Value::Integer(number)) if *number >= 0 => Some(value.clone()),
        (Value::Boolean(_), Value::Boolean(_)) | (Value::String(_), Value::String(_)) => Some(value.clone()),
        // An empty list is one of numbers (the range of a kind without a scale); the others are of texts.
        (Value::Array(known), Value::Array(items)) if known.is_empty() => {
            let number = |item: &Value| fitted(item, &Value::Float(0.0));
            items.iter().map(number).collect::<Option<_>>().map(Value::Array)
        }
        (Value::Array(_), Value::Array(items)) if items.iter().all(Value::is_str) => Some(value.clone()),
        _ => None,
    }
}

/// Text of a variable or a strategy parameter as the type of `known`: text needs no quotes, a list of one no brackets.
pub(super) fn from_text(text: &str, known: &Value) -> Option<Value> {
    // One key only: a text of several lines must not smuggle in more.
    let parsed = || {
        let mut table = format!("value = {text}").parse::<Table>().ok().filter(|table| table.len() == 1)?;
        table.remove("value")
    };
    match known {
        Value::String(_) => Some(Value::String(text.to_owned())),
        Value::Array(_) if !text.trim_start().starts_with('[') => {
            Some(Value::Array(vec![Value::String(text.to_owned())]))
        }
        _ => fitted(&parsed()?, known),
    }
}

/// What a key with this built-in value takes, in words.
pub(super) fn expected(known: &Value) -> &'static str {
    match known {
        Value::Float(_) => "a finite number",
        Value::Integer(_) => "a whole number, 0 or more",
        Value::Boolean(_) => "true or false",
        Value::String(_) => "text in quotes",
        Value::Array(known) if known.is_empty() => "a list of numbers, such as [1.0, 5.0]",
        Value::Array(_) => "a list of texts, such as [\"decay\"]",
        Value::Table(_) => "a section of keys",
        Value::Datetime(_) => "a date",
    }
}

fn mismatch(path: &[String], value: &Value, known: &Value, layer: &Layer) -> ConfigError {
    ConfigError::Type { key: path.join("."), value: value.to_string(), expected: expected(known), layer: layer.clone() }
}

/// Names of kinds are lower case, so that a variable can name them.
fn is_kind_name(name: &str) -> bool {
    !name.is_empty()
        && !name.contains("__")
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Sets `path` to `value`, or makes it a table where there is no value; sections on the way are made.
fn insert(table: &mut Table, path: &[String], value: Option<Value>) {
    let Some((first, rest)) = path.split_first() else { return };
    match value {
        Some(value) if rest.is_empty() => {
            table.insert(first.clone(), value);
        }
        value => {
            let inner = table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn leaves(table: &Table, at: &str, into: &mut BTreeMap<String, Value>) {
    for (key, value) in table {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match value {
            Value::Table(inner) => leaves(inner, &path, into),
            value => {
                into.insert(path, value.clone());
            }
        }
    }
}

fn names(table: &Table, at: &str, into: &mut Vec<String>) {
    for (key, value) in table {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        if let Value::Table(inner) = value {
            names(inner, &path, into);
        }
        into.push(path);
    }
}
