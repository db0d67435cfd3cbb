//! Whether the numbers of a schema can be reckoned with. The configuration says so of what a file holds; bytes of a request
//! come from elsewhere and are held to the same limits: a weight that is no number would be in every sum after it.

use super::Role;
use super::schema::Schema;
use crate::base::limits::{EMBEDDING_DIM_MAX, TEXT_BYTES_MAX};

/// Ten years, in seconds: the longest of times that mean anything here.
pub const LONG_S: f64 = 10.0 * 365.25 * 86_400.0;

/// The same, in milliseconds.
const LONG_MS: i64 = (1_000.0 * LONG_S) as i64;

/// Shortest session gap and churn horizon, in seconds.
pub const SESSION_GAP_S_MIN: f64 = 1.0;
/// See [`SESSION_GAP_S_MIN`].
pub const CHURN_HORIZON_S_MIN: f64 = 60.0;

/// Most that a behaviour kind weighs.
pub const WEIGHT_MAX: f64 = 1_000.0;

/// Most deviations from which on a value is an outlier.
pub const OUTLIER_DEVIATIONS_MAX: f64 = 100.0;

/// Whether numbers can be the half-lives that sums fade at.
#[must_use]
pub fn are_half_lives(half_lives_s: &[f64]) -> bool {
    let rising = half_lives_s.windows(2).all(|pair| pair[0] < pair[1]);
    rising && half_lives_s.iter().all(|one| (1.0..=LONG_S).contains(one))
}

/// A number or a name of a schema that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} {must}")]
pub struct Unsound {
    /// Where it stands.
    pub key: String,
    /// What it has to be.
    pub must: String,
}

impl Schema {
    /// Checks every number and name.
    ///
    /// # Errors
    /// [`Unsound`]: the first that cannot be.
    pub fn check_sound(&self) -> Result<(), Unsound> {
        span("session_gap", self.session_gap_ms, (1_000.0 * SESSION_GAP_S_MIN) as i64)?;
        span("churn_horizon", self.churn_horizon_ms, (1_000.0 * CHURN_HORIZON_S_MIN) as i64)?;
        must(are_half_lives(&self.half_lives_s), "half_lives_s", || {
            format!("must be rising numbers of 1 to {LONG_S} seconds")
        })?;
        for kind in self.kinds.iter() {
            let key = |last: &str| format!("kinds.{}.{last}", kind.name);
            number(&key("weight"), f64::from(kind.weight), WEIGHT_MAX)?;
            number(&key("half_life_s"), kind.half_life_s, LONG_S)?;
            let range = kind.range.map(|(low, high)| (f64::from(low), f64::from(high)));
            finite(&key("range"), range)?;
            short(&key("unit"), &kind.unit)?;
        }
        for rule in self.user.iter().chain(&self.item) {
            let key = |last: &str| format!("attributes.{}.{last}", rule.name);
            finite(&key("range"), rule.range)?;
            span(&key("expiry"), rule.expiry_ms, 0)?;
            rule.values.iter().try_for_each(|value| short(&key("values"), value))?;
        }
        let prices = self.item.iter().filter(|rule| rule.role == Role::Price).count();
        must(prices <= 1, "item_attributes", || "can have one price".to_owned())?;
        for modality in &self.modalities {
            let fits = (1..=EMBEDDING_DIM_MAX).contains(&usize::from(modality.dim));
            must(fits, &format!("modalities.{}.dim", modality.name), || format!("must be 1 to {EMBEDDING_DIM_MAX}"))?;
        }
        names("kinds", self.kinds.iter().map(|kind| kind.name.as_str()))?;
        names("user_attributes", self.user.iter().map(|rule| rule.name.as_str()))?;
        names("item_attributes", self.item.iter().map(|rule| rule.name.as_str()))?;
        names("modalities", self.modalities.iter().map(|modality| modality.name.as_str()))?;
        names("traits", self.traits.iter().map(|of| of.name.as_str()))?;
        span("cleaning.burst", self.cleaning.burst_ms, 0)?;
        span("cleaning.late", self.cleaning.late_ms, 0)?;
        number("cleaning.outlier_deviations", self.cleaning.outlier_deviations, OUTLIER_DEVIATIONS_MAX)
    }
}

fn must(holds: bool, key: &str, what: impl FnOnce() -> String) -> Result<(), Unsound> {
    if holds { Ok(()) } else { Err(Unsound { key: key.to_owned(), must: what() }) }
}

fn number(key: &str, found: f64, most: f64) -> Result<(), Unsound> {
    must((0.0..=most).contains(&found), key, || format!("must be 0 to {most}, not {found}"))
}

fn finite(key: &str, range: Option<(f64, f64)>) -> Result<(), Unsound> {
    let holds = range.is_none_or(|(low, high)| low.is_finite() && high.is_finite());
    must(holds, key, || "must have finite ends".to_owned())
}

fn span(key: &str, found_ms: i64, least_ms: i64) -> Result<(), Unsound> {
    must((least_ms..=LONG_MS).contains(&found_ms), key, || {
        format!("must be {least_ms} to {LONG_MS} ms, not {found_ms}")
    })
}

fn short(key: &str, text: &str) -> Result<(), Unsound> {
    must(text.len() <= TEXT_BYTES_MAX, key, || format!("must be at most {TEXT_BYTES_MAX} bytes"))
}

/// Names that can be told apart.
fn names<'a>(key: &str, of: impl Iterator<Item = &'a str>) -> Result<(), Unsound> {
    let mut all: Vec<&str> = of.collect();
    all.sort_unstable();
    must(all.windows(2).all(|pair| pair[0] != pair[1]), key, || "must have a name each".to_owned())?;
    must(all.first() != Some(&""), key, || "must have names".to_owned())?;
    all.into_iter().try_for_each(|name| short(key, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AttributeRule, AttributeType, Kind, Kinds, Modality};

    #[test]
    fn what_cannot_be_reckoned_with_is_told_by_its_key() {
        assert_eq!(Schema::default().check_sound(), Ok(()));
        type Change = fn(&mut Schema);
        let cases: [(&str, Change); 9] = [
            ("session_gap", |of| of.session_gap_ms = i64::MIN),
            ("churn_horizon", |of| of.churn_horizon_ms = 0),
            ("half_lives_s", |of| of.half_lives_s[1] = f64::NAN),
            ("kinds.x.weight", |of| of.kinds = Kinds::new([Kind::new(1, "x", f32::NAN)])),
            ("kinds.x.range", |of| {
                of.kinds = Kinds::new([Kind { range: Some((f32::NEG_INFINITY, 1.0)), ..Kind::new(1, "x", 1.0) }]);
            }),
            ("attributes.x.expiry", |of| {
                of.user.push(AttributeRule { expiry_ms: -1, ..AttributeRule::new("x", AttributeType::Text) });
            }),
            ("modalities.m.dim", |of| of.modalities.push(Modality { name: "m".into(), dim: 0 })),
            ("kinds must have a name each", |of| of.kinds = Kinds::new([1, 2].map(|code| Kind::new(code, "x", 1.0)))),
            ("cleaning.outlier_deviations", |of| of.cleaning.outlier_deviations = f64::INFINITY),
        ];
        for (expected, change) in cases {
            let mut schema = Schema::default();
            change(&mut schema);
            let said = schema.check_sound().expect_err(expected).to_string();
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
