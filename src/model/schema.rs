//! The schema: what one field of use says of events, users and items. It comes from a file, stands in the journal, and is
//! changed while serving by an operation, so that a replay weighs every event as it was weighed.
//!
//! A change is *compatible* if everything that is kept keeps its meaning: [`Schema::follow`] says so, or why not.

use super::kind::Kinds;
use super::rule::{AttributeRule, RuleFault};
use super::{Kind, Value};
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::limits::{ATTRIBUTES_MAX, MODALITIES_MAX, TRAITS_MAX};

/// Half-lives at which sums are kept side by side.
pub const RUNGS: usize = 3;

/// Version of the schema's bytes.
const FORMAT: u8 = 1;

/// A way in which items are embedded: text, image, audio...
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modality {
    /// Its name.
    pub name: String,
    /// Length of its vectors.
    pub dim: u16,
}

/// A trait of the user's own, as an expression (`docs/traits.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraitRule {
    /// Its name.
    pub name: String,
    /// The expression.
    pub formula: String,
}

/// How events are cleaned before they are learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Cleaning {
    /// Milliseconds within which a second event without an id, of the same user, item and kind, is a repeat; 0: never.
    pub burst_ms: i64,
    /// Milliseconds behind the user's newest event at which an event is too late; 0: never.
    pub late_ms: i64,
    /// Deviations from what is usual for the user beyond which an event's weight falls (Huber 1964); 0: never.
    pub outlier_deviations: f64,
    /// Whether a value that is missing (NaN) is made up from the user's and the population's mean, or refused.
    pub impute: bool,
    /// Whether users that behave like machines are quarantined.
    pub quarantine: bool,
}

impl Default for Cleaning {
    /// Nothing but what was always done: repeats by id alone.
    fn default() -> Self {
        Self { burst_ms: 0, late_ms: 0, outlier_deviations: 0.0, impute: false, quarantine: false }
    }
}

/// What a field of use says of its events, users and items.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// Chosen by who writes the file; never goes back.
    pub version: u32,
    /// Whether attributes that are not declared are refused.
    pub closed: bool,
    /// Milliseconds without an event that end a session.
    pub session_gap_ms: i64,
    /// Milliseconds without an event after which a user counts as gone: what churn risk foretells.
    pub churn_horizon_ms: i64,
    /// Short, middle and long half-life of sums, in seconds, rising.
    pub half_lives_s: [f64; RUNGS],
    /// Behaviour kinds.
    pub kinds: Kinds,
    /// Attributes of users, by name.
    pub user: Vec<AttributeRule>,
    /// Attributes of items, by name.
    pub item: Vec<AttributeRule>,
    /// Ways of embedding items, by name.
    pub modalities: Vec<Modality>,
    /// Traits beside the built-in ones, by name.
    pub traits: Vec<TraitRule>,
    /// How events are cleaned.
    pub cleaning: Cleaning,
}

impl Default for Schema {
    fn default() -> Self {
        Self {
            version: 1,
            closed: false,
            session_gap_ms: 1_800_000,
            churn_horizon_ms: 14 * 86_400_000,
            half_lives_s: [3_600.0, 86_400.0, 2_592_000.0],
            kinds: Kinds::default(),
            user: Vec::new(),
            item: Vec::new(),
            modalities: Vec::new(),
            traits: Vec::new(),
            cleaning: Cleaning::default(),
        }
    }
}

/// Why a schema cannot take the place of another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("schema version {to} cannot follow version {from}: {what}; {advice}")]
pub struct Incompatible {
    /// Version in force.
    pub from: u32,
    /// Version that was to follow.
    pub to: u32,
    /// What would lose its meaning.
    pub what: String,
    /// What to do.
    pub advice: &'static str,
}

impl Schema {
    /// A schema of these kinds, and otherwise as it is by default.
    #[must_use]
    pub fn of(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self { kinds: Kinds::new(kinds), ..Self::default() }
    }

    /// Whether `next` may take this one's place.
    ///
    /// # Errors
    /// [`Incompatible`]: what is kept would lose its meaning.
    pub fn follow(&self, next: &Self) -> Result<(), Incompatible> {
        let refuse = |what: String, advice| Err(Incompatible { from: self.version, to: next.version, what, advice });
        if next.version < self.version {
            return refuse("it is older".to_owned(), "raise [schema] version");
        }
        if next.half_lives_s != self.half_lives_s {
            let what = format!("half_lives_s {:?} are those of the sums that are kept", self.half_lives_s);
            return refuse(what, "keep them, or begin a new data directory and replay the events into it");
        }
        for kind in self.kinds.iter() {
            let name = &kind.name;
            match next.kinds.get(kind.code) {
                None => {
                    return refuse(
                        format!("kind `{name}` is gone"),
                        "keep it, with weight 0 if it should count no more",
                    );
                }
                Some(new) if new.explicit != kind.explicit || new.unit != kind.unit => {
                    let what = format!("values of kind `{name}` would mean something else (`explicit`, `unit`)");
                    return refuse(what, "add a kind with a code of its own instead");
                }
                Some(new) if new.half_life_s != kind.half_life_s => {
                    let what = format!("half_life_s of kind `{name}` is that of the sums that are kept");
                    return refuse(what, "keep it, or add a kind with a code of its own");
                }
                Some(_) => {}
            }
        }
        for (old, new, of) in [(&self.user, &next.user, "user"), (&self.item, &next.item, "item")] {
            for rule in old {
                let changed = new.iter().find(|other| other.name == rule.name);
                if let Some(other) = changed.filter(|other| other.holds != rule.holds) {
                    let (name, was, is) = (&rule.name, rule.holds.name(), other.holds.name());
                    let what = format!("attribute `{name}` of {of}s is a {was} and would be a {is}");
                    return refuse(what, "add an attribute with a name of its own instead");
                }
            }
        }
        for old in &self.modalities {
            let changed = next.modalities.iter().find(|other| other.name == old.name);
            if changed.is_some_and(|other| other.dim != old.dim) {
                let what = format!("vectors of modality `{}` have {} numbers", old.name, old.dim);
                return refuse(what, "add a modality with a name of its own instead");
            }
        }
        Ok(())
    }

    /// The modality of this name.
    ///
    /// # Errors
    /// The names of those that there are, for messages, where it is none of them.
    pub fn modality(&self, name: &str) -> Result<&Modality, String> {
        self.modalities.iter().find(|modality| modality.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.modalities.iter().map(|modality| modality.name.as_str()).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        })
    }

    /// The modalities: name and length of vectors.
    pub fn modalities(&self) -> impl Iterator<Item = (&str, usize)> {
        self.modalities.iter().map(|modality| (modality.name.as_str(), usize::from(modality.dim)))
    }

    /// The value of a user's attribute as it is kept.
    ///
    /// # Errors
    /// [`RuleFault`] if the schema says otherwise.
    pub fn check_user(&self, name: &str, value: Value) -> Result<Value, RuleFault> {
        self.check(&self.user, name, value)
    }

    /// The value of an item's attribute as it is kept.
    ///
    /// # Errors
    /// [`RuleFault`] if the schema says otherwise.
    pub fn check_item(&self, name: &str, value: Value) -> Result<Value, RuleFault> {
        self.check(&self.item, name, value)
    }

    fn check(&self, rules: &[AttributeRule], name: &str, value: Value) -> Result<Value, RuleFault> {
        match rules.iter().find(|rule| rule.name == name) {
            Some(rule) => rule.check(value),
            None if self.closed => {
                let known: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
                Err(RuleFault::Unknown { name: name.to_owned(), known: known.join(", ") })
            }
            None => Ok(value),
        }
    }

    /// The rule of a user's attribute.
    #[must_use]
    pub fn user_rule(&self, name: &str) -> Option<&AttributeRule> {
        self.user.iter().find(|rule| rule.name == name)
    }

    /// Whether a user's attribute is told only to those who ask for sensitive ones, and never counted on.
    #[must_use]
    pub fn is_sensitive(&self, name: &str) -> bool {
        self.user_rule(name).is_some_and(|rule| rule.sensitive)
    }

    /// The schema's bytes, as journals and requests carry them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut Writer::new(&mut bytes));
        bytes
    }

    /// Appends the schema.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u8(FORMAT).u32(self.version).u8(u8::from(self.closed)).i64(self.session_gap_ms).i64(self.churn_horizon_ms);
        for half_life_s in self.half_lives_s {
            out.f64(half_life_s);
        }
        out.count(self.kinds.iter().count());
        self.kinds.iter().for_each(|kind| kind.encode(out));
        for rules in [&self.user, &self.item] {
            out.count(rules.len());
            rules.iter().for_each(|rule| rule.encode(out));
        }
        out.count(self.modalities.len());
        for Modality { name, dim } in &self.modalities {
            out.text(name).u16(*dim);
        }
        out.count(self.traits.len());
        for TraitRule { name, formula } in &self.traits {
            out.text(name).text(formula);
        }
        let Cleaning { burst_ms, late_ms, outlier_deviations, impute, quarantine } = self.cleaning;
        out.i64(burst_ms).i64(late_ms).f64(outlier_deviations).u8(u8::from(impute)).u8(u8::from(quarantine));
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no schema, or one of a newer format.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let offset = from.at();
        match from.u8()? {
            FORMAT => {}
            found => {
                let (what, found, allowed) = ("schema format", u64::from(found), "1");
                return Err(CursorError::Bad { what, offset, found, allowed });
            }
        }
        let (version, closed) = (from.u32()?, from.u8()? != 0);
        let (session_gap_ms, churn_horizon_ms) = (from.i64()?, from.i64()?);
        let mut half_lives_s = [0.0; RUNGS];
        for half_life_s in &mut half_lives_s {
            *half_life_s = from.f64()?;
        }
        let count = from.count(20, 256)?;
        let kinds = (0..count).map(|_| Kind::decode(from)).collect::<Result<Vec<_>, _>>()?;
        let mut rules = || {
            let count = from.count(20, ATTRIBUTES_MAX)?;
            (0..count).map(|_| AttributeRule::decode(from)).collect::<Result<Vec<_>, _>>()
        };
        let (user, item) = (rules()?, rules()?);
        let count = from.count(4, MODALITIES_MAX)?;
        let modality = |from: &mut Reader<'_>| Ok(Modality { name: from.text()?.to_owned(), dim: from.u16()? });
        let modalities = (0..count).map(|_| modality(from)).collect::<Result<_, CursorError>>()?;
        let count = from.count(4, TRAITS_MAX)?;
        let of_trait =
            |from: &mut Reader<'_>| Ok(TraitRule { name: from.text()?.to_owned(), formula: from.text()?.to_owned() });
        let traits = (0..count).map(|_| of_trait(from)).collect::<Result<_, CursorError>>()?;
        let cleaning = Cleaning {
            burst_ms: from.i64()?,
            late_ms: from.i64()?,
            outlier_deviations: from.f64()?,
            impute: from.u8()? != 0,
            quarantine: from.u8()? != 0,
        };
        let kinds = Kinds::new(kinds);
        Ok(Self {
            version,
            closed,
            session_gap_ms,
            churn_horizon_ms,
            half_lives_s,
            kinds,
            user,
            item,
            modalities,
            traits,
            cleaning,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rule::AttributeType;

    fn sample() -> Schema {
        let buy = Kind { unit: "money".into(), ..Kind::new(4, "purchase", 2.0) };
        let rate = Kind { explicit: true, range: Some((1.0, 5.0)), ..Kind::new(5, "rate", 1.0) };
        Schema {
            user: vec![AttributeRule::new("age", AttributeType::Number)],
            item: vec![AttributeRule::new("brand", AttributeType::Category)],
            modalities: vec![Modality { name: "text".into(), dim: 384 }],
            traits: vec![TraitRule { name: "big".into(), formula: "sum(\"purchase\")".into() }],
            ..Schema::of([buy, rate])
        }
    }

    #[test]
    fn a_schema_comes_back_and_a_cut_one_does_not() {
        let mut bytes = Vec::new();
        sample().encode(&mut Writer::new(&mut bytes));
        assert_eq!(Schema::decode(&mut Reader::new(&bytes)), Ok(sample()));
        for cut in 0..bytes.len() {
            assert!(Schema::decode(&mut Reader::new(&bytes[..cut])).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn what_keeps_its_meaning_may_follow() {
        let now = sample();
        let mut next = Schema { version: 2, ..sample() };
        next.kinds = Kinds::new(now.kinds.iter().cloned().chain([Kind::new(9, "share", 1.5)]));
        next.user.push(AttributeRule::new("city", AttributeType::Text));
        next.item.clear();
        assert_eq!(now.follow(&next), Ok(()));
        assert_eq!(now.follow(&now), Ok(()));
    }

    #[test]
    fn what_would_lose_its_meaning_may_not() {
        let now = sample();
        type Change = fn(&mut Schema);
        let cases: [(&str, Change); 6] = [
            ("older", |next| next.version = 0),
            ("half_lives_s", |next| next.half_lives_s[0] = 1.0),
            ("kind `rate` is gone", |next| next.kinds = Kinds::new(next.kinds.iter().take(1).cloned())),
            ("values of kind `purchase`", |next| {
                next.kinds = Kinds::new(next.kinds.iter().map(|kind| Kind { unit: "count".into(), ..kind.clone() }));
            }),
            ("attribute `age` of users is a number and would be a text", |next| {
                next.user[0].holds = AttributeType::Text;
            }),
            ("vectors of modality `text` have 384 numbers", |next| next.modalities[0].dim = 8),
        ];
        for (expected, change) in cases {
            let mut next = Schema { version: 2, ..sample() };
            change(&mut next);
            let said = now.follow(&next).expect_err(expected).to_string();
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn opinions_stand_on_the_scale() {
        let schema = sample();
        let rate = schema.kinds.named("rate").expect("there");
        assert_eq!([1.0, 3.0, 5.0].map(|value| rate.opinion(value)), [-1.0, 0.0, 1.0]);
        assert_eq!(schema.kinds.named("purchase").expect("there").opinion(99.0), 1.0);
    }
}
