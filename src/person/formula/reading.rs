//! What a formula may read of a profile: one list of names, from which the parser, messages and `docs/traits.md` live.

use std::fmt;

/// Half-lives that counts are kept at, named 0 (shortest) to 2 in formulas.
pub const HALF_LIVES: u8 = 3;

/// What stands in the parentheses of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing, and no parentheses.
    Nothing,
    /// A text in quotes, or no parentheses.
    MaybeText,
    /// A text in quotes.
    Text,
    /// A text in quotes, and a half-life where the decayed figure is asked for.
    TextMaybeHalfLife,
}

macro_rules! readings {
    ($($variant:ident $name:literal $takes:ident $usage:literal $meaning:literal)*) => {
        /// The names of readings.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ReadingName {
            $(#[doc = $meaning] $variant,)*
        }

        impl ReadingName {
            /// All, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As formulas write it.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What it is, with its unit.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }

            /// How it is written, with its arguments.
            #[must_use]
            pub const fn usage(self) -> &'static str {
                match self { $(Self::$variant => $usage),* }
            }

            pub(super) const fn takes(self) -> Takes {
                match self { $(Self::$variant => Takes::$takes),* }
            }
        }
    };
}

readings! {
    Events "events" Nothing "`events`"
        "Events of all kinds, ever."
    Sessions "sessions" Nothing "`sessions`"
        "Sessions among the retained events."
    TenureS "tenure_s" Nothing "`tenure_s`"
        "Seconds since the first event."
    RecencyS "recency_s" MaybeText "`recency_s` or `recency_s(\"view\")`"
        "Seconds since the latest event, of any kind or of one."
    GapS "gap_s" Nothing "`gap_s`"
        "Mean seconds between two retained events that follow each other."
    GapDeviationS "gap_deviation_s" Nothing "`gap_deviation_s`"
        "Standard deviation of the seconds between two events that follow each other."
    Breadth "breadth" Nothing "`breadth`"
        "Entropy of the shares of tags, in nats: 0 is one tag only, ln n is n tags alike."
    Count "count" TextMaybeHalfLife "`count(\"purchase\")` or, decayed, `count(\"purchase\", 0)` to `2`"
        "Events of a kind: ever, or decayed with the half-life 0, 1 or 2."
    Sum "sum" TextMaybeHalfLife "`sum(\"purchase\")` or, decayed, `sum(\"purchase\", 0)` to `2`"
        "Sum of the values of events of a kind: ever, or decayed."
    Mean "mean" TextMaybeHalfLife "`mean(\"rate\")` or, decayed, `mean(\"rate\", 0)` to `2`"
        "Mean value of events of a kind: ever, or decayed."
    Share "share" TextMaybeHalfLife "`share(\"tag:comedy\")` or, decayed, `share(\"tag:comedy\", 0)` to `2`"
        "Share of a tag, or of `attribute=value`, in what the user met, 0 to 1: of events ever, or of liking, decayed with the half-life 1 or 2."
    Attribute "attribute" Text "`attribute(\"age\")`"
        "A stated attribute: its number, or 1 and 0 for yes and no. Texts cannot be read."
    Trait "trait" Text "`trait(\"novelty_seeking\")`"
        "Another trait, built in or of the schema."
}

impl ReadingName {
    /// The reading with this name.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|name| name.text() == text)
    }
}

/// One thing to be read of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reading<'a> {
    /// What.
    pub name: ReadingName,
    /// Of which kind, tag, attribute or trait; only where the name takes one.
    pub text: Option<&'a str>,
    /// Decayed with this half-life (below [`HALF_LIVES`]); `None`: over all time.
    pub half_life: Option<u8>,
}

/// As formulas write it: `count("purchase", 2)`.
impl fmt::Display for Reading<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name.text())?;
        let Some(text) = self.text else { return Ok(()) };
        out.write_str("(\"")?;
        for character in text.chars() {
            if ['"', '\\'].contains(&character) {
                out.write_str("\\")?;
            }
            write!(out, "{character}")?;
        }
        out.write_str("\"")?;
        if let Some(half_life) = self.half_life {
            write!(out, ", {half_life}")?;
        }
        out.write_str(")")
    }
}

/// A profile as formulas see it.
pub trait Readings {
    /// The figure, or `None` where nothing is known. What is not finite counts as not known.
    fn read(&self, reading: Reading<'_>) -> Option<f64>;
}

impl<F: Fn(Reading<'_>) -> Option<f64>> Readings for F {
    fn read(&self, reading: Reading<'_>) -> Option<f64> {
        self(reading)
    }
}

/// A [`Reading`] with a text of its own, as formulas keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) name: ReadingName,
    pub(super) text: Option<Box<str>>,
    pub(super) half_life: Option<u8>,
}

impl Kept {
    pub(super) fn view(&self) -> Reading<'_> {
        Reading { name: self.name, text: self.text.as_deref(), half_life: self.half_life }
    }
}
