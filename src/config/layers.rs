//! Layers of configuration: built-in file, user's file, `MIRRA__` variables, command line; later ones win.
//!
//! Every upper layer is checked against the built-in table *before* it is merged, so that an error names the layer it
//! stands in. Invariants: the merged table has exactly the keys of the built-in one (and whole entries in the sections whose
//! entries have names of their own, such as `kinds`), every value has the type of the built-in value, whole numbers are not negative, and floats are finite; `Origins`
//! knows the layer of every leaf.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::error::ConfigError;

/// What `MIRRA__` variables begin with.
pub const ENV_PREFIX: &str = "MIRRA__";

/// Sections whose entries have names of their own, each with the keys that an entry may not leave out. What it may leave
/// out stands in `templates.toml`.
pub(super) const NAMED: [(&str, &[&str]); 5] = [
    ("kinds", &["code", "weight", "explicit"]),
    ("user_attributes", &["type"]),
    ("item_attributes", &["type"]),
    ("modalities", &["dim"]),
    ("traits", &["formula"]),
];

/// What entries of [`NAMED`] sections are filled up with.
const TEMPLATES: &str = include_str!("templates.toml");

fn is_named(section: &str) -> bool {
    NAMED.iter().any(|(name, _)| *name == section)
}

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
    /// The built-in value; `None` for keys of entries that a user added.
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
    templates: Table,
    merged: Table,
    set_by: BTreeMap<String, Layer>,
}

impl Layers {
    /// The bottom layer alone.
    pub(super) fn new(defaults: Table) -> Self {
        let templates = TEMPLATES.parse().expect("compiled in, and loaded by every test of this module");
        Self { merged: defaults.clone(), defaults, templates, set_by: BTreeMap::new() }
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

    /// The merged table and where its values come from, every entry filled up. Fails if an entry that a layer added lacks
    /// a key that it needs.
    pub(super) fn finish(mut self) -> Result<(Table, Origins), ConfigError> {
        for (section, needed) in NAMED {
            let template = self.template(section);
            let Value::Table(entries) = self.merged.entry(section).or_insert_with(|| Value::Table(Table::new())) else {
                continue;
            };
            for (name, entry) in entries {
                if let Some(missing) = needed.iter().find(|key| entry.get(key).is_none()) {
                    let start = format!("{section}.{name}.");
                    let layer = self.set_by.iter().find(|(key, _)| key.starts_with(&start));
                    let layer = layer.map_or(Layer::BuiltIn, |(_, layer)| layer.clone());
                    return Err(ConfigError::Incomplete { entry: format!("{section}.{name}"), missing, layer });
                }
                if let Value::Table(entry) = entry {
                    for (key, value) in template.iter().filter(|(key, _)| !needed.contains(&key.as_str())) {
                        entry.entry(key.clone()).or_insert_with(|| left_out(value));
                    }
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
                        && is_named(section)
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

    /// The built-in value at `path`. In a section of named entries any name stands for an entry, whose keys are those of the
    /// template.
    fn known(&self, path: &[String], layer: &Layer) -> Result<&Value, ConfigError> {
        let found = match path {
            [section] if is_named(section) => self.templates.get(section),
            [section, name, keys @ ..] if is_named(section) && is_entry_name(section, name) => {
                let entry = self.templates.get(section).and_then(|section| section.get("entry"));
                keys.iter().fold(entry, |at, key| at.and_then(|value| value.get(key)))
            }
            _ => {
                let mut keys = path.iter();
                let first = keys.next().and_then(|key| self.defaults.get(key));
                keys.fold(first, |at, key| at.and_then(|value| value.get(key)))
            }
        };
        found.ok_or_else(|| ConfigError::UnknownKey {
            key: path.join("."),
            layer: layer.clone(),
            nearest: self.nearest(path),
        })
    }

    fn template(&self, section: &str) -> Table {
        let entry = self.templates.get(section).and_then(|section| section.get("entry"));
        entry.and_then(Value::as_table).cloned().unwrap_or_default()
    }

    /// The known key most like the one at `path`: all keys and sections are candidates, as the section may be the
    /// part that is misspelt, or missing. Less than 0.7 of similarity is no help to anybody.
    fn nearest(&self, path: &[String]) -> Option<String> {
        let written = path.join(".");
        let mut candidates = Vec::new();
        names(&self.defaults, "", &mut candidates);
        if let [section, name, _, ..] = path
            && is_named(section)
        {
            candidates = self.template(section).keys().map(|key| format!("{section}.{name}.{key}")).collect();
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
        (Value::Array(known), Value::Array(items)) if holds_numbers(known) => {
            let number = |item: &Value| fitted(item, &Value::Float(0.0));
            items.iter().map(number).collect::<Option<_>>().map(Value::Array)
        }
        (Value::Array(_), Value::Array(items)) if items.iter().all(Value::is_str) => Some(value.clone()),
        _ => None,
    }
}

/// Whether a built-in list is one of numbers: an empty one is (the range of a kind without a scale).
fn holds_numbers(known: &[Value]) -> bool {
    !known.iter().any(Value::is_str)
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
        Value::Array(known) if holds_numbers(known) => "a list of numbers, such as [1.0, 5.0]",
        Value::Array(_) => "a list of texts, such as [\"decay\"]",
        Value::Table(_) => "a section of keys",
        Value::Datetime(_) => "a date",
    }
}

fn mismatch(path: &[String], value: &Value, known: &Value, layer: &Layer) -> ConfigError {
    ConfigError::Type { key: path.join("."), value: value.to_string(), expected: expected(known), layer: layer.clone() }
}

/// What stands for a key that an entry leaves out. A template shows that a list is one of texts by an empty text in it.
fn left_out(template: &Value) -> Value {
    match template {
        Value::Array(_) => Value::Array(Vec::new()),
        value => value.clone(),
    }
}

/// Names of entries are lower case, so that a variable can name them. Attributes are named by callers, as they like.
fn is_entry_name(section: &str, name: &str) -> bool {
    section.ends_with("_attributes") && !name.is_empty()
        || !name.is_empty()
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
