//! Behaviour kinds: what an event can be, and what it weighs.

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
}

impl Kind {
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
        let kind =
            |code, name: &str, explicit| Kind { code, name: name.to_owned(), weight: 1.0, explicit, range: None };
        Self::new([kind(0, "event", false), kind(5, "rate", true)])
    }
}
