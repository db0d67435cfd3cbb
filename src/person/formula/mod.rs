//! Traits that a schema defines: a small language of expressions over readings of a profile. `docs/traits.md` is its page.
//!
//! A formula is *total*: whatever a profile holds, it has a finite value or none (`None`: not known), in bounded work
//! and memory. Division by zero, logarithms of negatives and readings that are missing are not known; nothing is ever
//! NaN or infinite. Yes is 1, no is 0, and any other number than 0 counts as yes.
//!
//! Parsed once into a list of nodes, operands first, so that evaluation is a loop over a small stack. The text that
//! [`Display`](fmt::Display) writes is canonical: it parses to the same formula, and is what [`Formula::encode`] keeps.

mod error;
mod lexer;
mod node;
mod order;
mod parser;
mod reading;
#[cfg(test)]
mod tests;

use std::fmt;

pub use error::{FormulaError, Problem};
pub use order::{Cycle, order};
pub use reading::{HALF_LIVES, Reading, ReadingName, Readings};

use self::node::{Binary, Node, finite};
use self::reading::Kept;
use crate::base::limits::TEXT_BYTES_MAX;
use crate::base::{CursorError, Reader, Writer};

/// Longest formula, in bytes, as given and as written out.
pub const BYTES_MAX: usize = 1_024;
/// Most numbers, readings, operators and functions of a formula.
pub const NODES_MAX: usize = 256;
/// Deepest nesting of parentheses, functions, signs, powers and `not`.
pub const DEPTH_MAX: usize = 32;
/// Most arguments of `min` and `max`.
const ARGUMENTS_MAX: usize = 16;
/// Most operands that wait during evaluation.
const STACK_MAX: usize = 64;

/// A parsed formula.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    nodes: Box<[Node]>,
    /// Each once, in the order of first use.
    readings: Box<[Kept]>,
}

impl Formula {
    /// Reads a formula.
    ///
    /// # Errors
    /// [`FormulaError`], which shows the place and says what should stand there.
    pub fn parse(text: &str) -> Result<Self, FormulaError> {
        let long = |bytes: usize| FormulaError::new(Problem::Long { bytes }, text, 0..0);
        if text.len() > BYTES_MAX {
            return Err(long(text.len()));
        }
        let (nodes, readings) = parser::parse(text)?;
        let formula = Self { nodes: nodes.into(), readings: readings.into() };
        // What is kept is the canonical text, which must be read again.
        let bytes = formula.to_string().len();
        if bytes > BYTES_MAX { Err(long(bytes)) } else { Ok(formula) }
    }

    /// Its value for a profile, always finite; `None` where it is not known.
    #[must_use]
    pub fn eval(&self, profile: &dyn Readings) -> Option<f64> {
        let mut stack = [None; STACK_MAX];
        let mut top = 0;
        for node in &self.nodes {
            let (value, operands) = match node {
                Node::Number(number) => (Some(*number), 0),
                Node::Reading(at) => {
                    let kept = self.readings.get(usize::from(*at))?;
                    (profile.read(kept.view()).and_then(finite), 0)
                }
                Node::Negate => (stack[top - 1].and_then(|x: f64| finite(-x)), 1),
                Node::Not => (stack[top - 1].map(|x| f64::from(u8::from(x == 0.0))), 1),
                Node::Binary(operator) => (operator.of(stack[top - 2], stack[top - 1]), 2),
                Node::Call(function, count) => {
                    let count = usize::from(*count);
                    (function.of(&stack[top - count..top]), count)
                }
            };
            top -= operands;
            stack[top] = value;
            top += 1;
        }
        stack[0]
    }

    /// What it reads of a profile, each once, in the order of first use.
    pub fn readings(&self) -> impl Iterator<Item = Reading<'_>> {
        self.readings.iter().map(Kept::view)
    }

    /// The other traits that it reads.
    pub fn traits(&self) -> impl Iterator<Item = &str> {
        self.readings().filter(|reading| reading.name == ReadingName::Trait).filter_map(|reading| reading.text)
    }

    /// Appends its canonical text: `u16` byte length, then UTF-8.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.text(&self.to_string());
    }

    /// Takes what [`Self::encode`] put.
    ///
    /// # Errors
    /// [`CursorError`] for short bytes, or a text that is not a formula.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let offset = from.at();
        let text = from.text()?;
        Self::parse(text).map_err(|error| CursorError::Bad {
            what: "formula, which is wrong at byte",
            offset,
            found: error.at.start as u64,
            allowed: "a formula as docs/traits.md describes it",
        })
    }
}

/// Strengths of what a text is made of, as the parser's levels.
mod strength {
    pub(super) const OR: u8 = 1;
    pub(super) const AND: u8 = 2;
    pub(super) const NOT: u8 = 3;
    pub(super) const COMPARISON: u8 = 4;
    pub(super) const SUM: u8 = 5;
    pub(super) const PRODUCT: u8 = 6;
    pub(super) const SIGNED: u8 = 7;
    pub(super) const POWER: u8 = 8;
    pub(super) const ATOM: u8 = 9;
}

/// The strength of an operator, and the least its sides must have to stand without parentheses.
fn strengths(operator: Binary) -> (u8, u8, u8) {
    match operator {
        Binary::Or => (strength::OR, strength::OR, strength::AND),
        Binary::And => (strength::AND, strength::AND, strength::NOT),
        Binary::Less | Binary::LessOrEqual | Binary::More | Binary::MoreOrEqual | Binary::Equal | Binary::NotEqual => {
            (strength::COMPARISON, strength::SUM, strength::SUM)
        }
        Binary::Add | Binary::Subtract => (strength::SUM, strength::SUM, strength::PRODUCT),
        Binary::Multiply | Binary::Divide => (strength::PRODUCT, strength::PRODUCT, strength::SIGNED),
        Binary::Power => (strength::POWER, strength::ATOM, strength::SIGNED),
    }
}

/// The canonical text: single spaces around operators, no parentheses that are not needed.
impl fmt::Display for Formula {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stack: Vec<(String, u8)> = Vec::new();
        for node in &self.nodes {
            let mut operand = |least: u8| {
                let (text, strength) = stack.pop().unwrap_or_default();
                if strength < least { format!("({text})") } else { text }
            };
            let written = match node {
                Node::Number(number) => (shortest(*number), strength::ATOM),
                Node::Reading(at) => {
                    let reading = self.readings.get(usize::from(*at)).map(|kept| kept.view().to_string());
                    (reading.unwrap_or_default(), strength::ATOM)
                }
                Node::Negate => (format!("-{}", operand(strength::SIGNED)), strength::SIGNED),
                Node::Not => (format!("not {}", operand(strength::NOT)), strength::NOT),
                Node::Binary(operator) => {
                    let (own, left, right) = strengths(*operator);
                    let two = operand(right);
                    let one = operand(left);
                    (format!("{one} {} {two}", operator.text()), own)
                }
                Node::Call(function, count) => {
                    let mut arguments: Vec<String> = (0..*count).map(|_| operand(0)).collect();
                    arguments.reverse();
                    (format!("{}({})", function.text(), arguments.join(", ")), strength::ATOM)
                }
            };
            stack.push(written);
        }
        out.write_str(&stack.pop().unwrap_or_default().0)
    }
}

/// A number in the shorter of both notations; both are read back to the same bits.
fn shortest(number: f64) -> String {
    let (plain, scientific) = (format!("{number}"), format!("{number:e}"));
    if scientific.len() < plain.len() { scientific } else { plain }
}
