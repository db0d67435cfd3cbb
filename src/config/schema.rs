//! The sections that are the schema: `[schema]`, `[cleaning]`, and those whose entries have names of their own.

use super::checks::Checker;
use super::raw::{self, Raw};
use crate::base::limits::{ATTRIBUTES_MAX, EMBEDDING_DIM_MAX, MODALITIES_MAX, TEXT_BYTES_MAX, TRAITS_MAX};
use crate::model::schema::RUNGS;
use crate::model::sound::{
    CHURN_HORIZON_S_MIN, LONG_S, OUTLIER_DEVIATIONS_MAX, SESSION_GAP_S_MIN, WEIGHT_MAX, are_half_lives,
};
use crate::model::{AttributeRule, AttributeType, Cleaning, Kind, Kinds, Modality, Role, Schema, TraitRule};

pub(super) fn check(raw: &Raw, c: &mut Checker<'_>) -> Schema {
    let raw::Schema { version, closed, session_gap_s, churn_horizon_s, ref half_lives_s } = raw.schema;
    Schema {
        version: c.whole("schema.version", version, 1..=u64::from(u32::MAX)),
        closed,
        session_gap_ms: (1_000.0 * c.real("schema.session_gap_s", session_gap_s, SESSION_GAP_S_MIN..=LONG_S)) as i64,
        churn_horizon_ms: (1_000.0 * c.real("schema.churn_horizon_s", churn_horizon_s, CHURN_HORIZON_S_MIN..=LONG_S))
            as i64,
        half_lives_s: half_lives(half_lives_s, c),
        kinds: kinds(raw, c),
        user: user_rules(raw, c),
        item: item_rules(raw, c),
        modalities: modalities(raw, c),
        traits: traits(raw, c),
        cleaning: cleaning(&raw.cleaning, c),
    }
}

fn half_lives(raw: &[f64], c: &mut Checker<'_>) -> [f64; RUNGS] {
    match <[f64; RUNGS]>::try_from(raw) {
        Ok(three) if are_half_lives(&three) => three,
        _ => {
            c.refuse("schema.half_lives_s", format!("must be three rising numbers of 1 to {LONG_S} seconds"), None);
            Schema::default().half_lives_s
        }
    }
}

fn cleaning(raw: &raw::Cleaning, c: &mut Checker<'_>) -> Cleaning {
    let late_s: i64 = c.whole("cleaning.late_s", raw.late_s, 0..=LONG_S as u64);
    Cleaning {
        burst_ms: c.whole("cleaning.burst_ms", raw.burst_ms, 0..=3_600_000),
        late_ms: 1_000 * late_s,
        outlier_deviations: c.real("cleaning.outlier_deviations", raw.outlier_deviations, 0.0..=OUTLIER_DEVIATIONS_MAX),
        impute: raw.impute,
        quarantine: raw.quarantine,
    }
}

fn kinds(raw: &Raw, c: &mut Checker<'_>) -> Kinds {
    let mut kinds: Vec<Kind> = Vec::new();
    for (name, kind) in &raw.kinds {
        let key = |last: &str| format!("kinds.{name}.{last}");
        if kind.sign.fract() != 0.0 || kind.sign.abs() > 1.0 {
            c.refuse(&key("sign"), "must be 1, -1 or 0".to_owned(), None);
        }
        if kind.unit.len() > TEXT_BYTES_MAX {
            c.refuse(&key("unit"), format!("must be at most {TEXT_BYTES_MAX} bytes"), None);
        }
        let checked = Kind {
            name: name.clone(),
            code: c.whole(&key("code"), kind.code, 0..=255),
            weight: c.real(&key("weight"), kind.weight, 0.0..=WEIGHT_MAX) as f32,
            explicit: kind.explicit,
            range: range(&key("range"), &kind.range, c).map(|(low, high)| (low as f32, high as f32)),
            sign: kind.sign.clamp(-1.0, 1.0) as i8,
            unit: kind.unit.clone(),
            half_life_s: c.real(&key("half_life_s"), kind.half_life_s, 0.0..=LONG_S),
        };
        if let Some(twin) = kinds.iter().find(|twin| twin.code == checked.code) {
            let why = format!("kinds.{} has the same code; each kind needs its own", twin.name);
            c.refuse(&key("code"), why, None);
        }
        kinds.push(checked);
    }
    Kinds::new(kinds)
}

fn range(key: &str, raw: &[f64], c: &mut Checker<'_>) -> Option<(f64, f64)> {
    match raw {
        [] => {}
        [low, high] if low < high && low.is_finite() && high.is_finite() => return Some((*low, *high)),
        _ => c.refuse(key, "must be [] or [lowest, highest]".to_owned(), None),
    }
    None
}

fn user_rules(raw: &Raw, c: &mut Checker<'_>) -> Vec<AttributeRule> {
    at_most("user_attributes", raw.user_attributes.len(), ATTRIBUTES_MAX, c);
    let rule = |(name, of): (&String, &raw::UserAttribute)| {
        let key = |last: &str| format!("user_attributes.{name}.{last}");
        let expiry_s = c.real(&key("expiry_s"), of.expiry_s, 0.0..=LONG_S);
        AttributeRule {
            holds: c.choice(&key("type"), &of.holds, &AttributeType::ALL.map(|holds| (holds.name(), holds))),
            range: range(&key("range"), &of.range, c),
            values: of.values.clone(),
            required: of.required,
            expiry_ms: (1_000.0 * expiry_s) as i64,
            sensitive: of.sensitive,
            ..AttributeRule::new(name, AttributeType::Text)
        }
    };
    raw.user_attributes.iter().map(rule).collect()
}

fn item_rules(raw: &Raw, c: &mut Checker<'_>) -> Vec<AttributeRule> {
    at_most("item_attributes", raw.item_attributes.len(), ATTRIBUTES_MAX, c);
    let mut rules = Vec::new();
    for (name, of) in &raw.item_attributes {
        let key = |last: &str| format!("item_attributes.{name}.{last}");
        let holds = c.choice(&key("type"), &of.holds, &AttributeType::ALL.map(|holds| (holds.name(), holds)));
        let role = c.choice(&key("role"), &of.role, &Role::ALL.map(|role| (role.name(), role)));
        if role == Role::Price && holds != AttributeType::Number {
            c.refuse(&key("role"), "a price must be of type \"number\"".to_owned(), None);
        }
        if role == Role::Facet && !matches!(holds, AttributeType::Category | AttributeType::List | AttributeType::Text)
        {
            c.refuse(&key("role"), "a facet must be of type \"category\", \"text\" or \"list\"".to_owned(), None);
        }
        let range = range(&key("range"), &of.range, c);
        let (values, required) = (of.values.clone(), of.required);
        rules.push(AttributeRule { range, values, required, role, ..AttributeRule::new(name, holds) });
    }
    if rules.iter().filter(|rule| rule.role == Role::Price).count() > 1 {
        c.refuse("item_attributes", "only one attribute of items can be the price".to_owned(), None);
    }
    rules
}

fn modalities(raw: &Raw, c: &mut Checker<'_>) -> Vec<Modality> {
    at_most("modalities", raw.modalities.len(), MODALITIES_MAX, c);
    let of = |(name, modality): (&String, &raw::Modality)| Modality {
        name: name.clone(),
        dim: c.whole(&format!("modalities.{name}.dim"), modality.dim, 1..=EMBEDDING_DIM_MAX as u64),
    };
    raw.modalities.iter().map(of).collect()
}

fn traits(raw: &Raw, c: &mut Checker<'_>) -> Vec<TraitRule> {
    at_most("traits", raw.traits.len(), TRAITS_MAX, c);
    let of = |(name, of): (&String, &raw::Trait)| TraitRule { name: name.clone(), formula: of.formula.clone() };
    raw.traits.iter().map(of).collect()
}

fn at_most(section: &str, count: usize, max: usize, c: &mut Checker<'_>) {
    if count > max {
        c.refuse(section, format!("holds {count} entries, at most {max} are allowed"), None);
    }
}
