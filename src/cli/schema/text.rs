//! A schema as the sections of a configuration file: to print it, and to tell what differs between two.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::json;
use toml::Value;

use crate::model::{AttributeRule, Kind, Modality, Schema, TraitRule};

/// Milliseconds of a second.
const SECOND_MS: f64 = 1_000.0;

/// A section: its path (`kinds`, `view`) and its keys, in the order in which they are printed.
pub(super) struct Section {
    path: Vec<String>,
    keys: Vec<(&'static str, Value)>,
}

impl Section {
    fn new(path: &[&str], keys: Vec<(&'static str, Value)>) -> Self {
        Self { path: path.iter().map(|part| (*part).to_owned()).collect(), keys }
    }

    /// The path as a heading has it: `kinds.view`, `user_attributes."home town"`.
    fn name(&self) -> String {
        self.path.iter().map(|part| key(part)).collect::<Vec<_>>().join(".")
    }
}

/// A key, in quotes where it needs them.
fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { Value::from(name).to_string() }
}

/// The sections of a schema, every key of each.
pub(super) fn sections(schema: &Schema) -> Vec<Section> {
    let cleaning = &schema.cleaning;
    let mut sections = vec![
        Section::new(
            &["schema"],
            vec![
                ("version", i64::from(schema.version).into()),
                ("closed", schema.closed.into()),
                ("session_gap_s", seconds(schema.session_gap_ms)),
                ("churn_horizon_s", seconds(schema.churn_horizon_ms)),
                ("half_lives_s", schema.half_lives_s.to_vec().into()),
            ],
        ),
        Section::new(
            &["cleaning"],
            vec![
                ("burst_ms", cleaning.burst_ms.into()),
                ("late_s", (cleaning.late_ms / 1_000).into()),
                ("outlier_deviations", cleaning.outlier_deviations.into()),
                ("impute", cleaning.impute.into()),
                ("quarantine", cleaning.quarantine.into()),
            ],
        ),
    ];
    sections.extend(schema.kinds.iter().map(kind));
    sections.extend(schema.user.iter().map(user_attribute));
    sections.extend(schema.item.iter().map(item_attribute));
    sections.extend(
        schema
            .modalities
            .iter()
            .map(|Modality { name, dim }| Section::new(&["modalities", name], vec![("dim", i64::from(*dim).into())])),
    );
    sections.extend(schema.traits.iter().map(|TraitRule { name, formula }| {
        Section::new(&["traits", name], vec![("formula", formula.as_str().into())])
    }));
    sections
}

fn kind(kind: &Kind) -> Section {
    let range = kind.range.map_or_else(Vec::new, |(low, high)| vec![double(low), double(high)]);
    let keys = vec![
        ("code", i64::from(kind.code).into()),
        ("weight", double(kind.weight).into()),
        ("explicit", kind.explicit.into()),
        ("range", range.into()),
        ("sign", f64::from(kind.sign).into()),
        ("unit", kind.unit.as_str().into()),
        ("half_life_s", kind.half_life_s.into()),
    ];
    Section::new(&["kinds", &kind.name], keys)
}

fn of_both(rule: &AttributeRule) -> Vec<(&'static str, Value)> {
    let range = rule.range.map_or_else(Vec::new, |(low, high)| vec![low, high]);
    vec![
        ("type", rule.holds.name().into()),
        ("range", range.into()),
        ("values", rule.values.clone().into()),
        ("required", rule.required.into()),
    ]
}

fn user_attribute(rule: &AttributeRule) -> Section {
    let more = [("expiry_s", seconds(rule.expiry_ms)), ("sensitive", rule.sensitive.into())];
    Section::new(&["user_attributes", &rule.name], of_both(rule).into_iter().chain(more).collect())
}

fn item_attribute(rule: &AttributeRule) -> Section {
    let more = [("role", rule.role.name().into())];
    Section::new(&["item_attributes", &rule.name], of_both(rule).into_iter().chain(more).collect())
}

#[expect(clippy::cast_precision_loss, reason = "a time of at most ten years")]
fn seconds(ms: i64) -> Value {
    (ms as f64 / SECOND_MS).into()
}

/// A single with the digits that it has: 0.2 stays 0.2.
fn double(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

/// The sections as the text of a configuration file.
pub(super) fn toml(sections: &[Section]) -> String {
    let key = |(name, value): &(&str, Value)| format!("{name} = {value}\n");
    let section = |of: &Section| format!("[{}]\n{}", of.name(), of.keys.iter().map(key).collect::<String>());
    sections.iter().map(section).collect::<Vec<_>>().join("\n")
}

/// The sections as one object.
pub(super) fn json(sections: &[Section]) -> serde_json::Value {
    let mut all = json!({});
    for section in sections {
        let at = section.path.iter().fold(&mut all, |at, part| &mut at[part.as_str()]);
        *at = section.keys.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    }
    all
}

/// One difference between two schemas.
pub(super) struct Change {
    /// Section, or section and key.
    key: String,
    from: Option<String>,
    to: Option<String>,
}

impl Change {
    /// For machines: `from` is null for what is new, `to` for what is gone.
    pub(super) fn json(&self) -> serde_json::Value {
        json!({ "key": self.key, "from": self.from, "to": self.to })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.from, &self.to) {
            (None, Some(to)) => write!(out, "+ {}: {to}", self.key),
            (Some(from), None) => write!(out, "- {}: {from}", self.key),
            (from, to) => {
                let side = |side: &Option<String>| side.clone().unwrap_or_default();
                write!(out, "~ {}: {} -> {}", self.key, side(from), side(to))
            }
        }
    }
}

/// What differs: sections that are new or gone as a whole, else key by key.
pub(super) fn changes(from: &[Section], to: &[Section]) -> Vec<Change> {
    let by_name = |sections: &[Section]| -> BTreeMap<String, usize> {
        sections.iter().enumerate().map(|(at, section)| (section.name(), at)).collect()
    };
    let (old, new) = (by_name(from), by_name(to));
    let mut changes = Vec::new();
    for (name, at) in &new {
        let after = &to[*at];
        let Some(before) = old.get(name).map(|at| &from[*at]) else {
            changes.push(Change { key: name.clone(), from: None, to: Some(inline(after)) });
            continue;
        };
        for ((key, was), (_, is)) in before.keys.iter().zip(&after.keys).filter(|(was, is)| was != is) {
            let key = format!("{name}.{key}");
            changes.push(Change { key, from: Some(was.to_string()), to: Some(is.to_string()) });
        }
    }
    let gone = old.iter().filter(|(name, _)| !new.contains_key(*name));
    changes.extend(gone.map(|(name, at)| Change { key: name.clone(), from: Some(inline(&from[*at])), to: None }));
    changes
}

/// The keys of a section in one line, without those that say nothing.
fn inline(section: &Section) -> String {
    let says = |value: &Value| match value {
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    };
    let keys = section.keys.iter().filter(|(_, value)| says(value));
    keys.map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::model::AttributeType;

    fn loaded(path: &Path) -> Schema {
        Config::load(Some(path), [], &[]).unwrap_or_else(|error| panic!("{}: {error:?}", path.display())).0.schema
    }

    #[test]
    fn what_is_shown_is_a_configuration_of_the_same_schema() {
        let dir = tempfile::tempdir().unwrap();
        let shown = dir.path().join("shown.toml");
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config");
        for field in ["ecommerce", "finance", "health", "media", "social"] {
            let mut schema = loaded(&examples.join(format!("{field}.toml")));
            schema.user.push(AttributeRule::new("home \"town\".1", AttributeType::Text));
            schema.user.sort_by(|a, b| a.name.cmp(&b.name));
            std::fs::write(&shown, toml(&sections(&schema))).unwrap();
            assert_eq!(loaded(&shown), schema, "{field}");
        }
    }

    #[test]
    fn differences_are_told_key_by_key() {
        let built_in = Config::built_in().unwrap().schema;
        let mut next = Schema { version: 2, ..built_in.clone() };
        let wave = Kind { unit: "seconds".into(), ..Kind::new(77, "wave", 0.25) };
        let changed = |kind: &Kind| Kind { weight: if kind.code == 1 { 0.5 } else { kind.weight }, ..kind.clone() };
        next.kinds = crate::model::Kinds::new(built_in.kinds.iter().map(changed).chain([wave]));
        let told = |from: &Schema, to: &Schema| -> Vec<String> {
            changes(&sections(from), &sections(to)).iter().map(ToString::to_string).collect()
        };
        let wave = "code = 77, weight = 0.25, explicit = false, sign = 1.0, unit = \"seconds\", half_life_s = 0.0";
        let expected =
            ["~ kinds.view.weight: 0.2 -> 0.5", &format!("+ kinds.wave: {wave}"), "~ schema.version: 1 -> 2"];
        assert_eq!(told(&built_in, &next), expected);
        assert_eq!(told(&next, &built_in)[2], format!("- kinds.wave: {wave}"));
        assert!(told(&next, &next).is_empty());
        assert_eq!(json(&sections(&next))["kinds"]["wave"]["weight"], 0.25);
    }
}
