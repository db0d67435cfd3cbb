//! What the schema says of one attribute, and the check of a value against it.

use super::Value;
use crate::base::cursor::{CursorError, Reader, Writer};
use crate::base::limits::LIST_MAX;

/// What an attribute's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AttributeType {
    /// A finite number, within the rule's range if there is one.
    Number = 1,
    /// One of a few texts: of the rule's values if there are any.
    Category = 2,
    /// Yes or no.
    Boolean = 3,
    /// A day or moment: text `YYYY-MM-DD` or a number of milliseconds since 1970-01-01 UTC; kept as the number.
    Date = 4,
    /// Any text.
    Text = 5,
    /// Several texts, each of the rule's values if there are any.
    List = 6,
    /// A place: text `latitude,longitude` in degrees.
    Geo = 7,
}

impl AttributeType {
    /// All types.
    pub const ALL: [Self; 7] =
        [Self::Number, Self::Category, Self::Boolean, Self::Date, Self::Text, Self::List, Self::Geo];

    /// Its name in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Category => "category",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Text => "text",
            Self::List => "list",
            Self::Geo => "geo",
        }
    }
}

/// What an item's attribute is to the profiles of those who turn to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Nothing.
    #[default]
    None = 0,
    /// Its values are counted like tags: brand, category, author...
    Facet = 1,
    /// What the item costs.
    Price = 2,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::None, Self::Facet, Self::Price];

    /// Its name in configuration; none is empty.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Facet => "facet",
            Self::Price => "price",
        }
    }
}

/// One attribute of users or items, as the schema declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeRule {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub holds: AttributeType,
    /// Least and greatest number, for numbers.
    pub range: Option<(f64, f64)>,
    /// Allowed texts, for categories and lists; empty: any.
    pub values: Vec<String>,
    /// Whether a profile without it is told to be incomplete, and it may not be removed.
    pub required: bool,
    /// Milliseconds after its time at which a value is no longer told; 0: never.
    pub expiry_ms: i64,
    /// Whether it is told only to those who ask for sensitive attributes, and is never counted on.
    pub sensitive: bool,
    /// For items: what it is to profiles.
    pub role: Role,
}

/// Why a value is not what the schema says.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RuleFault {
    /// Of another type.
    #[error("attribute `{name}` is a {expected} by the schema, not {found}")]
    Type {
        /// Which attribute.
        name: String,
        /// What it should be.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// Outside the range.
    #[error("attribute `{name}` is {value}, outside {low} to {high}")]
    Range {
        /// Which attribute.
        name: String,
        /// What came.
        value: f64,
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
    },
    /// None of the allowed values.
    #[error("attribute `{name}` is `{value}`; allowed are {allowed}")]
    Value {
        /// Which attribute.
        name: String,
        /// What came.
        value: String,
        /// The allowed ones.
        allowed: String,
    },
    /// A date that is none.
    #[error(
        "attribute `{name}` is `{value}`, which is no date: write YYYY-MM-DD, or milliseconds since 1970-01-01 UTC"
    )]
    Date {
        /// Which attribute.
        name: String,
        /// What came.
        value: String,
    },
    /// A place that is none.
    #[error(
        "attribute `{name}` is `{value}`, which is no place: write latitude,longitude in degrees, such as 59.33,18.07"
    )]
    Geo {
        /// Which attribute.
        name: String,
        /// What came.
        value: String,
    },
    /// A required attribute may not be taken away.
    #[error("attribute `{name}` is required by the schema: it can be set to another value and not removed")]
    Required {
        /// Which attribute.
        name: String,
    },
    /// The schema is closed and does not know it.
    #[error("attribute `{name}` is not in the schema, which is closed; known are {known}")]
    Unknown {
        /// Which attribute.
        name: String,
        /// The known ones.
        known: String,
    },
}

impl AttributeRule {
    /// A rule that allows every value of a type.
    #[must_use]
    pub fn new(name: &str, holds: AttributeType) -> Self {
        let (range, values, role) = (None, Vec::new(), Role::None);
        let (required, expiry_ms, sensitive) = (false, 0, false);
        Self { name: name.to_owned(), holds, range, values, required, expiry_ms, sensitive, role }
    }

    /// The value as it is kept.
    ///
    /// # Errors
    /// [`RuleFault`], which says what was expected.
    pub fn check(&self, value: Value) -> Result<Value, RuleFault> {
        use AttributeType as Type;
        match (self.holds, value) {
            (_, Value::Removed) if self.required => Err(RuleFault::Required { name: self.name.clone() }),
            (_, Value::Removed) => Ok(Value::Removed),
            (Type::Number, Value::Number(number)) => self.in_range(number).map(Value::Number),
            (Type::Category, Value::Text(text)) => self.allowed(&text).map(|()| Value::Text(text)),
            (Type::Boolean, Value::Bool(yes)) => Ok(Value::Bool(yes)),
            (Type::Date, Value::Number(number)) => self.in_range(number).map(Value::Number),
            (Type::Date, Value::Text(text)) => match date_ms(&text) {
                Some(ms) => self.in_range(ms).map(Value::Number),
                None => Err(RuleFault::Date { name: self.name.clone(), value: text }),
            },
            (Type::Text, Value::Text(text)) => Ok(Value::Text(text)),
            (Type::List, Value::List(texts)) => {
                texts.iter().try_for_each(|text| self.allowed(text)).map(|()| Value::List(texts))
            }
            (Type::Geo, Value::Text(text)) if is_place(&text) => Ok(Value::Text(text)),
            (Type::Geo, Value::Text(value)) => Err(RuleFault::Geo { name: self.name.clone(), value }),
            (holds, value) => {
                let (name, expected, found) = (self.name.clone(), holds.name(), describe(&value));
                Err(RuleFault::Type { name, expected, found })
            }
        }
    }

    fn in_range(&self, value: f64) -> Result<f64, RuleFault> {
        match self.range {
            Some((low, high)) if !(low..=high).contains(&value) => {
                Err(RuleFault::Range { name: self.name.clone(), value, low, high })
            }
            _ => Ok(value),
        }
    }

    fn allowed(&self, text: &str) -> Result<(), RuleFault> {
        if self.values.is_empty() || self.values.iter().any(|value| value == text) {
            return Ok(());
        }
        let (name, value, allowed) = (self.name.clone(), text.to_owned(), self.values.join(", "));
        Err(RuleFault::Value { name, value, allowed })
    }

    /// Whether a value of `time_ms` has run out at `now_ms`.
    #[must_use]
    pub fn expired(&self, time_ms: i64, now_ms: i64) -> bool {
        self.expiry_ms > 0 && now_ms.saturating_sub(time_ms) > self.expiry_ms
    }

    /// Appends the rule.
    pub fn encode(&self, out: &mut Writer<'_>) {
        let (low, high) = self.range.unwrap_or((f64::NAN, f64::NAN));
        out.text(&self.name).u8(self.holds as u8).f64(low).f64(high).count(self.values.len());
        for value in &self.values {
            out.text(value);
        }
        out.u8(u8::from(self.required)).i64(self.expiry_ms).u8(u8::from(self.sensitive)).u8(self.role as u8);
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no rule.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let name = from.text()?.to_owned();
        let offset = from.at();
        let code = from.u8()?;
        let bad = |what, found| CursorError::Bad { what, offset, found: u64::from(found), allowed: "a listed code" };
        let holds = AttributeType::ALL.into_iter().find(|holds| *holds as u8 == code);
        let holds = holds.ok_or_else(|| bad("attribute type", code))?;
        let (low, high) = (from.f64()?, from.f64()?);
        let count = from.count(2, LIST_MAX)?;
        let values = (0..count).map(|_| Ok(from.text()?.to_owned())).collect::<Result<_, CursorError>>()?;
        let (required, expiry_ms, sensitive, code) = (from.u8()? != 0, from.i64()?, from.u8()? != 0, from.u8()?);
        let role = Role::ALL.into_iter().find(|role| *role as u8 == code).ok_or_else(|| bad("role", code))?;
        let range = (low < high).then_some((low, high));
        Ok(Self { name, holds, range, values, required, expiry_ms, sensitive, role })
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Removed => "removed".to_owned(),
        Value::Number(number) => format!("the number {number}"),
        Value::Text(text) => format!("the text `{text}`"),
        Value::Bool(yes) => format!("{yes}"),
        Value::List(texts) => format!("a list of {}", texts.len()),
    }
}

/// Midnight UTC of `YYYY-MM-DD`, in milliseconds since 1970-01-01 (Hinnant, "chrono-compatible low-level date
/// algorithms", `days_from_civil`).
fn date_ms(text: &str) -> Option<f64> {
    let mut parts = text.splitn(3, '-');
    let mut part = |digits: usize| {
        let part = parts.next()?;
        (part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse::<i64>().ok())?
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let last = *days.get(usize::try_from(month - 1).ok()?)?;
    if !(1..=last).contains(&day) {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days as f64 * 86_400_000.0)
}

fn is_place(text: &str) -> bool {
    let Some((latitude, longitude)) = text.split_once(',') else { return false };
    let within = |text: &str, most: f64| text.trim().parse::<f64>().is_ok_and(|degrees| degrees.abs() <= most);
    within(latitude, 90.0) && within(longitude, 180.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn values_are_checked_and_dates_become_numbers() {
        let rule = AttributeRule::new("born", AttributeType::Date);
        assert_eq!(rule.check(text("1970-01-02")), Ok(Value::Number(86_400_000.0)));
        assert_eq!(rule.check(text("2024-02-29")), Ok(Value::Number(1_709_164_800_000.0)));
        assert_eq!(rule.check(text("1912-06-23")), Ok(Value::Number(-1_815_350_400_000.0)));
        for wrong in ["2023-02-29", "2023-13-01", "2023-1-01", "yesterday", "2023-01-001", ""] {
            assert!(rule.check(text(wrong)).is_err(), "{wrong}");
        }
        let rule = AttributeRule { range: Some((0.0, 130.0)), ..AttributeRule::new("age", AttributeType::Number) };
        assert_eq!(rule.check(Value::Number(41.0)), Ok(Value::Number(41.0)));
        let said = rule.check(Value::Number(412.0)).expect_err("too old").to_string();
        assert_eq!(said, "attribute `age` is 412, outside 0 to 130");
        let said = rule.check(text("old")).expect_err("no number").to_string();
        assert_eq!(said, "attribute `age` is a number by the schema, not the text `old`");
        let rule = AttributeRule {
            values: vec!["free".into(), "paid".into()],
            required: true,
            ..AttributeRule::new("plan", AttributeType::Category)
        };
        assert!(rule.check(text("paid")).is_ok() && rule.check(text("gold")).is_err());
        assert!(matches!(rule.check(Value::Removed), Err(RuleFault::Required { .. })));
        let rule = AttributeRule::new("home", AttributeType::Geo);
        assert!(rule.check(text("59.33, 18.07")).is_ok());
        assert!(rule.check(text("91,0")).is_err() && rule.check(text("59.33")).is_err());
    }

    #[test]
    fn a_rule_comes_back() {
        let rule = AttributeRule {
            range: Some((0.0, 1.0)),
            values: vec!["a".into()],
            required: true,
            expiry_ms: 5,
            sensitive: true,
            role: Role::Facet,
            ..AttributeRule::new("x", AttributeType::List)
        };
        let mut bytes = Vec::new();
        rule.encode(&mut Writer::new(&mut bytes));
        assert_eq!(AttributeRule::decode(&mut Reader::new(&bytes)), Ok(rule));
        for cut in 0..bytes.len() {
            assert!(AttributeRule::decode(&mut Reader::new(&bytes[..cut])).is_err());
        }
    }
}
