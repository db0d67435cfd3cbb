//! Operators and functions, what they are called, and what they compute.
//!
//! Nothing known (`None`) stays nothing known, with three exceptions: `and` and `or` where one side decides, `if` whose
//! branch was not chosen, and `default` and `known`, which are there for it. What would not be finite is not known.

use std::ops::RangeInclusive;

use super::ARGUMENTS_MAX;

/// A formula is a list of these, operands before what takes them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Node {
    /// Finite and not negative: a sign is [`Node::Negate`].
    Number(f64),
    /// The place in the list of readings.
    Reading(u16),
    Negate,
    Not,
    Binary(Binary),
    /// With the number of its arguments.
    Call(Function, u8),
}

/// Operators between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    Equal,
    NotEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
}

impl Binary {
    pub(super) const COMPARISONS: [Self; 6] =
        [Self::Less, Self::LessOrEqual, Self::More, Self::MoreOrEqual, Self::Equal, Self::NotEqual];

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::More => ">",
            Self::MoreOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Power => "^",
        }
    }

    /// Its value.
    pub(super) fn of(self, one: Option<f64>, two: Option<f64>) -> Option<f64> {
        let (one, two) = match (self, one.map(is_true), two.map(is_true)) {
            (Self::Or, Some(true), _) | (Self::Or, _, Some(true)) => return Some(1.0),
            (Self::And, Some(false), _) | (Self::And, _, Some(false)) => return Some(0.0),
            _ => (one?, two?),
        };
        let truth = |yes: bool| Some(f64::from(u8::from(yes)));
        match self {
            Self::Or => Some(0.0),
            Self::And => Some(1.0),
            Self::Less => truth(one < two),
            Self::LessOrEqual => truth(one <= two),
            Self::More => truth(one > two),
            Self::MoreOrEqual => truth(one >= two),
            Self::Equal => truth(one == two),
            Self::NotEqual => truth(one != two),
            Self::Add => finite(one + two),
            Self::Subtract => finite(one - two),
            Self::Multiply => finite(one * two),
            Self::Divide => finite(one / two),
            Self::Power => finite(one.powf(two)),
        }
    }
}

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:expr, $usage:literal $meaning:literal)*) => {
        /// Functions of formulas.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function {
            $(#[doc = $meaning] $variant,)*
        }

        impl Function {
            /// All, in the order of the documentation.
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub(super) const fn text(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            pub(super) const fn usage(self) -> &'static str {
                match self { $(Self::$variant => $usage),* }
            }

            #[cfg(test)]
            pub(super) const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }

            /// How many arguments it takes.
            pub(super) const fn arguments(self) -> RangeInclusive<u8> {
                match self { $(Self::$variant => $least..=$most),* }
            }
        }
    };
}

functions! {
    If "if" 3 3, "`if(condition, a, b)`" "`a` if the condition holds, else `b`; the other one need not be known."
    Min "min" 2 ARGUMENTS_MAX as u8, "`min(a, b)`, with up to 16 arguments" "The least."
    Max "max" 2 ARGUMENTS_MAX as u8, "`max(a, b)`, with up to 16 arguments" "The greatest."
    Clamp "clamp" 3 3, "`clamp(x, low, high)`" "`x`, at least `low` and at most `high`; unknown if `low > high`."
    Abs "abs" 1 1, "`abs(x)`" "Without its sign."
    Log "log" 1 1, "`log(x)`" "Natural logarithm; unknown unless `x > 0`."
    Exp "exp" 1 1, "`exp(x)`" "Its inverse; unknown if too large for a double."
    Sqrt "sqrt" 1 1, "`sqrt(x)`" "Square root; unknown unless `x >= 0`."
    Default "default" 2 2, "`default(x, otherwise)`" "`x` if it is known, else `otherwise`."
    Known "known" 1 1, "`known(x)`" "1 if `x` is known, else 0."
}

impl Function {
    /// Its value; `arguments` are as many as it takes.
    pub(super) fn of(self, arguments: &[Option<f64>]) -> Option<f64> {
        match (self, arguments) {
            (Self::If, [condition, yes, no]) => *if is_true((*condition)?) { yes } else { no },
            (Self::Min, all) => all.iter().copied().reduce(|one, two| Some(one?.min(two?)))?,
            (Self::Max, all) => all.iter().copied().reduce(|one, two| Some(one?.max(two?)))?,
            (Self::Clamp, [x, low, high]) => {
                let (x, low, high) = ((*x)?, (*low)?, (*high)?);
                (low <= high).then(|| x.clamp(low, high))
            }
            (Self::Abs, [x]) => (*x).map(f64::abs),
            (Self::Log, [x]) => finite((*x)?.ln()),
            (Self::Exp, [x]) => finite((*x)?.exp()),
            (Self::Sqrt, [x]) => finite((*x)?.sqrt()),
            (Self::Default, [x, otherwise]) => x.or(*otherwise),
            (Self::Known, [x]) => Some(f64::from(u8::from(x.is_some()))),
            _ => None,
        }
    }
}

/// What counts as yes: anything but 0.
fn is_true(value: f64) -> bool {
    value != 0.0
}

/// Nothing, unless finite. There is one zero: `-0` would be told apart by its bits.
pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value + 0.0)
}
