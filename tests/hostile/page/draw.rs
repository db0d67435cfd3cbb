//! Values by the tables of the page, drawn from a seeded generator: good ones, and such as just break a rule.

use mirra::base::Rng;

use super::slow::Value;
use super::{Page, Shape};

/// Texts that mean something to somebody, all shorter than any limit.
const TEXTS: [&str; 8] = ["", "a", "view", "größe", "画像", "0", "tag:red", "\u{1F600}"];

/// Ids that are numbers, and such as nearly are.
const DECIMALS: [&str; 8] =
    ["0", "7", "42", "18446744073709551615", "18446744073709551616", "042", "+42", "00000000000000000001"];

/// Bytes that are no UTF-8: alone, cut, too long for what they say, half of a pair, beyond the last character.
const NOT_UTF8: [&[u8]; 7] = [
    &[0x80],
    &[b'a', 0xC3],
    &[0xC0, 0x80],
    &[0xE0, 0x9F, 0xBF],
    &[0xED, 0xA0, 0x80],
    &[0xF4, 0x90, 0x80, 0x80],
    &[0xF8, 0x88, 0x80, 0x80, 0x80],
];

/// Longest list that is drawn full as often as others.
const FULL_OFTEN: usize = 20_000;

/// Draws values.
#[derive(Debug)]
pub struct Draw<'a> {
    pub page: &'a Page,
    pub rng: &'a mut Rng,
    /// One value in so many breaks a rule, the first that does so alone; 0 for none.
    pub wrong: u64,
}

impl Draw<'_> {
    /// The fields of a body.
    pub fn fields(&mut self, fields: &[Shape]) -> Value {
        Value::Fields(fields.iter().map(|shape| self.value(shape)).collect())
    }

    fn value(&mut self, shape: &Shape) -> Value {
        let wrong = self.wrong > 0 && self.rng.below(self.wrong) == 0;
        if wrong {
            // A second one would hide whether the first is noticed.
            self.wrong = 0;
        }
        match shape {
            Shape::Number(width) => Value::Number(self.number(*width), *width),
            Shape::Flag => Value::Number(if wrong { 2 + self.rng.below(254) } else { self.rng.below(2) }, 1),
            Shape::Text(most) => Value::Text(self.text(*most, wrong)),
            Shape::Id => self.id(wrong),
            Shape::List(each, most) => {
                let count = self.count(*most, wrong);
                Value::List((0..count).map(|_| self.value(each)).collect())
            }
            Shape::Optional(_) if wrong => Value::Number(2 + self.rng.below(254), 1),
            Shape::Optional(inner) => Value::Optional((self.rng.below(3) > 0).then(|| Box::new(self.value(inner)))),
            Shape::Tagged => {
                let known = self.page.tags.len() as u64;
                let tag = (if wrong { known + self.rng.below(256 - known) } else { self.rng.below(known) }) as u8;
                let shape = self.page.tags.get(&tag).cloned().flatten();
                Value::Tagged(tag, shape.map(|shape| Box::new(self.value(&shape))))
            }
            Shape::Record(name) => {
                let fields = &self.page.records[name];
                self.fields(fields)
            }
        }
    }

    /// Any bits, small numbers as often as large ones; so a float is any, too.
    fn number(&mut self, width: usize) -> u64 {
        let bits = self.rng.bits() >> self.rng.below(64);
        if width == 8 { bits } else { bits % (1 << (8 * width)) }
    }

    fn text(&mut self, most: usize, wrong: bool) -> Vec<u8> {
        if wrong && self.rng.below(2) == 0 {
            return vec![b'x'; most + 1];
        }
        if wrong {
            return NOT_UTF8[self.rng.below(7) as usize].to_vec();
        }
        if self.rng.below(32) == 0 {
            return vec![b'x'; most];
        }
        TEXTS[self.rng.below(8) as usize].as_bytes().to_vec()
    }

    fn id(&mut self, wrong: bool) -> Value {
        // The length of an empty text says that a number follows.
        let wrongs = [Vec::new(), vec![b'x'; self.page.id_max + 1], vec![b'7'; 255]];
        match self.rng.below(8) {
            at @ 0..3 if wrong => Value::IdText(wrongs[at as usize].clone()),
            _ if wrong => Value::IdText(NOT_UTF8[self.rng.below(7) as usize].to_vec()),
            0 => Value::IdText(vec![b'x'; self.page.id_max]),
            1 => Value::IdText(DECIMALS[self.rng.below(8) as usize].as_bytes().to_vec()),
            2 | 3 => Value::IdText(TEXTS[1 + self.rng.below(7) as usize].as_bytes().to_vec()),
            _ => Value::IdNumber(self.number(8)),
        }
    }

    /// Entries of a list: few, seldom all that may be. Very long lists are full more seldom still.
    fn count(&mut self, most: usize, wrong: bool) -> usize {
        let seldom = if most > FULL_OFTEN { 4_000 } else { 100 };
        if wrong && (most <= FULL_OFTEN || self.rng.below(40) == 0) {
            return most + 1;
        }
        if self.rng.below(seldom) == 0 {
            return most;
        }
        self.rng.below(4).min(most as u64) as usize
    }
}
