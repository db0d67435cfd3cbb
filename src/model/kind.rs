//! Behaviour kinds: what an event can be, and what it weighs.

use crate::base::cursor::{CursorError, Reader, Writer};

/// One behaviour kind, as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// The code that events carry.
    pub code: u8,
    /// Its name: view, click, cart, purchase, rate...
    pub name: String,
    /// Importance of one such event to what is learned of interest; 0 teaches nothing, at most 1,000.
    pub weight: f32,
    /// Whether the value is a judgement that can be predicted (a rating), not a mere amount.
    pub explicit: bool,
    /// Smallest and largest value, where the kind has a scale: predictions are clipped to it when they are scored, and
    /// values outside are refused.
    pub range: Option<(f32, f32)>,
    /// Whether an event speaks for its item (1), against it (-1), or says nothing of liking (0).
    pub sign: i8,
    /// What the value measures: "money", "seconds", "rating"...; empty for values that mean nothing.
    pub unit: String,
    /// Half-life of this kind's own long sums, in seconds; 0 is the schema's.
    pub half_life_s: f64,
}

/// The unit of values that are amounts spent.
pub const MONEY: &str = "money";

/// The unit of values that are times spent.
pub const SECONDS: &str = "seconds";

impl Kind {
    /// A kind that speaks for its items, whose values have no scale and no unit.
    #[must_use]
    pub fn new(code: u8, name: &str, weight: f32) -> Self {
        let (explicit, range, sign, half_life_s) = (false, None, 1, 0.0);
        Self { code, name: name.to_owned(), weight, explicit, range, sign, unit: String::new(), half_life_s }
    }

    /// Whether its values are amounts of money.
    #[must_use]
    pub fn spends(&self) -> bool {
        self.unit == MONEY
    }

    /// What one event says of liking its item, within -1 and 1. A judgement with a scale speaks by where it stands on it,
    /// from -1 at the lowest to 1 at the highest value; every other event says its kind's sign. Nothing but the event has a
    /// say, so that sums of opinions do not depend on the order of events.
    #[must_use]
    pub fn opinion(&self, value: f32) -> f64 {
        let sign = f64::from(self.sign);
        match self.range {
            Some((low, high)) if self.explicit => {
                let (low, high) = (f64::from(low), f64::from(high));
                sign * ((2.0 * f64::from(value) - low - high) / (high - low)).clamp(-1.0, 1.0)
            }
            _ => sign,
        }
    }

    /// Appends the kind.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u8(self.code).text(&self.name).f32(self.weight).u8(u8::from(self.explicit));
        let (low, high) = self.range.unwrap_or((f32::NAN, f32::NAN));
        out.f32(low).f32(high).u8(self.sign.cast_unsigned()).text(&self.unit).f64(self.half_life_s);
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no kind.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let (code, name, weight, explicit) = (from.u8()?, from.text()?.to_owned(), from.f32()?, from.u8()? != 0);
        let (low, high) = (from.f32()?, from.f32()?);
        let range = (low < high).then_some((low, high));
        let (sign, unit) = (from.u8()?.cast_signed().signum(), from.text()?.to_owned());
        Ok(Self { code, name, weight, explicit, range, sign, unit, half_life_s: from.f64()? })
    }

    /// `prediction`, clipped to the scale.
    #[must_use]
    pub fn clip(&self, prediction: f32) -> f32 {
        self.range.map_or(prediction, |(low, high)| prediction.clamp(low, high))
    }
}

/// The kinds of one server, by code.
#[derive(Clone, Debug, PartialEq)]
pub struct Kinds {
    by_code: Vec<Option<Kind>>,
}

impl Kinds {
    /// A table of these kinds; a later one replaces an earlier one with the same code.
    #[must_use]
    pub fn new(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let mut by_code = vec![None; 256];
        for kind in kinds {
            let at = usize::from(kind.code);
            by_code[at] = Some(kind);
        }
        Self { by_code }
    }

    /// The kind with this code.
    #[must_use]
    #[inline]
    pub fn get(&self, code: u8) -> Option<&Kind> {
        self.by_code[usize::from(code)].as_ref()
    }

    /// The kind with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Kind> {
        self.iter().find(|kind| kind.name == name)
    }

    /// All kinds, by rising code.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.by_code.iter().flatten()
    }
}

impl Default for Kinds {
    /// `event` (code 0, weight 1) and `rate` (code 5, weight 1, explicit): enough for tests and evaluation.
    fn default() -> Self {
        Self::new([Kind::new(0, "event", 1.0), Kind { explicit: true, ..Kind::new(5, "rate", 1.0) }])
    }
}
