//! Bytes to values and back by the tables of the page, one byte after the other and without any haste.

use super::{Page, PageCommand, Shape};

/// A value of any type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The bits of a number, and how many bytes they take.
    Number(u64, usize),
    Text(Vec<u8>),
    IdNumber(u64),
    IdText(Vec<u8>),
    List(Vec<Value>),
    Optional(Option<Box<Value>>),
    Tagged(u8, Option<Box<Value>>),
    Fields(Vec<Value>),
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub header: Vec<u64>,
    pub body: Value,
}

/// Why bytes are refused.
pub type Refused = String;

/// Takes values from bytes.
#[derive(Debug)]
pub struct Slow<'a> {
    page: &'a Page,
    bytes: &'a [u8],
    at: usize,
    /// Ids that were spelled as a text and are a number.
    pub respelled: usize,
}

impl<'a> Slow<'a> {
    pub fn new(page: &'a Page, bytes: &'a [u8]) -> Self {
        Self { page, bytes, at: 0, respelled: 0 }
    }

    /// Bytes taken so far.
    pub fn at(&self) -> usize {
        self.at
    }

    /// A whole frame; `command` is the one whose reply it is, none for a request, which says it itself.
    pub fn frame(&mut self, command: Option<&PageCommand>) -> Result<Told, Refused> {
        let page = self.page;
        let header = page.header.iter().map(|width| self.number(*width)).collect::<Result<Vec<u64>, Refused>>()?;
        let &[length, code, flags, version, _] = &header[..] else { return Err("another header".to_owned()) };
        let start = self.at;
        if start as u64 + length > page.frame_max as u64 {
            return Err(format!("a frame of {length} bytes and its header"));
        }
        if flags != 0 || version != page.version {
            return Err(format!("flags {flags}, version {version}"));
        }
        let fields = match command {
            None => page.commands.iter().find(|command| u64::from(command.opcode) == code).map(|found| &found.request),
            Some(command) if page.successes.iter().any(|status| u64::from(*status) == code) => Some(&command.reply),
            Some(_) => page.records.get("ErrorBody"),
        };
        let fields = fields.ok_or_else(|| format!("no opcode {code:#06x}"))?;
        let end = start + usize::try_from(length).map_err(|error| error.to_string())?;
        // Nothing behind the frame is part of it.
        self.bytes = self.bytes.get(..end).ok_or("the frame is not all there")?;
        let body = self.fields(fields)?;
        if self.at != end {
            return Err(format!("bytes left over at {}", self.at));
        }
        Ok(Told { header, body })
    }

    fn fields(&mut self, fields: &[Shape]) -> Result<Value, Refused> {
        fields.iter().map(|shape| self.value(shape)).collect::<Result<_, _>>().map(Value::Fields)
    }

    fn value(&mut self, shape: &Shape) -> Result<Value, Refused> {
        match shape {
            Shape::Number(width) => Ok(Value::Number(self.number(*width)?, *width)),
            Shape::Flag => Ok(Value::Number(u64::from(self.flag()?), 1)),
            Shape::Text(most) => {
                let length = self.count(2, *most)?;
                self.text(length).map(Value::Text)
            }
            Shape::Id => self.id(),
            Shape::List(each, most) => {
                let count = self.count(4, *most)?;
                (0..count).map(|_| self.value(each)).collect::<Result<_, _>>().map(Value::List)
            }
            Shape::Optional(inner) => {
                let value = if self.flag()? { Some(Box::new(self.value(inner)?)) } else { None };
                Ok(Value::Optional(value))
            }
            Shape::Tagged => {
                let tag = self.number(1)? as u8;
                let shape = self.page.tags.get(&tag).ok_or_else(|| format!("tag {tag}"))?;
                let value = shape.as_ref().map(|shape| self.value(shape)).transpose()?;
                Ok(Value::Tagged(tag, value.map(Box::new)))
            }
            Shape::Record(name) => {
                let fields = self.page.records.get(name).ok_or_else(|| format!("the page has no record {name}"))?;
                self.fields(fields)
            }
        }
    }

    fn byte(&mut self) -> Result<u8, Refused> {
        let byte = self.bytes.get(self.at).ok_or_else(|| format!("the bytes end at {}", self.at))?;
        self.at += 1;
        Ok(*byte)
    }

    /// Little-endian: the first byte counts once, the next one 256 times.
    fn number(&mut self, width: usize) -> Result<u64, Refused> {
        let mut number = 0;
        for place in 0..width {
            number += u64::from(self.byte()?) << (8 * place);
        }
        Ok(number)
    }

    fn count(&mut self, width: usize, most: usize) -> Result<usize, Refused> {
        let count = self.number(width)? as usize;
        if count > most { Err(format!("{count} at {}, at most {most}", self.at)) } else { Ok(count) }
    }

    fn flag(&mut self) -> Result<bool, Refused> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("a bool that is {other} at {}", self.at)),
        }
    }

    fn text(&mut self, length: usize) -> Result<Vec<u8>, Refused> {
        let text = (0..length).map(|_| self.byte()).collect::<Result<Vec<u8>, Refused>>()?;
        if is_utf8(&text) { Ok(text) } else { Err(format!("no UTF-8 before {}", self.at)) }
    }

    /// "A text that is exactly the decimal form of a number [...], without sign and leading zeros, is that number."
    fn id(&mut self) -> Result<Value, Refused> {
        let length = usize::from(self.byte()?);
        if length == 0 {
            return self.number(8).map(Value::IdNumber);
        }
        if length > self.page.id_max {
            return Err(format!("an id of {length} bytes at {}", self.at));
        }
        let text = self.text(length)?;
        let digits = text.iter().all(u8::is_ascii_digit) && text.len() <= 20 && (text.len() == 1 || text[0] != b'0');
        if digits {
            let number = text.iter().fold(0_u128, |number, digit| 10 * number + u128::from(digit - b'0'));
            if let Ok(number) = u64::try_from(number) {
                self.respelled += 1;
                return Ok(Value::IdNumber(number));
            }
        }
        Ok(Value::IdText(text))
    }
}

impl Value {
    /// Appends its bytes: of an id the canonical ones.
    pub fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(bits, width) => put_number(*bits, *width, out),
            Self::Text(text) => {
                put_number(text.len() as u64, 2, out);
                out.extend_from_slice(text);
            }
            Self::IdNumber(number) => {
                out.push(0);
                put_number(*number, 8, out);
            }
            Self::IdText(text) => {
                put_number(text.len() as u64, 1, out);
                out.extend_from_slice(text);
            }
            Self::List(values) => {
                put_number(values.len() as u64, 4, out);
                values.iter().for_each(|value| value.put(out));
            }
            Self::Optional(value) => {
                out.push(u8::from(value.is_some()));
                value.iter().for_each(|value| value.put(out));
            }
            Self::Tagged(tag, value) => {
                out.push(*tag);
                value.iter().for_each(|value| value.put(out));
            }
            Self::Fields(values) => values.iter().for_each(|value| value.put(out)),
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }
}

fn put_number(bits: u64, width: usize, out: &mut Vec<u8>) {
    (0..width).for_each(|place| out.push((bits >> (8 * place)) as u8));
}

/// RFC 3629, section 4: how many bytes follow a first one, and what the second may be.
fn is_utf8(text: &[u8]) -> bool {
    let mut at = 0;
    while at < text.len() {
        let (follow, second) = match text[at] {
            0x00..=0x7F => (0, 0x80..=0xBF),
            0xC2..=0xDF => (1, 0x80..=0xBF),
            0xE0 => (2, 0xA0..=0xBF),
            0xED => (2, 0x80..=0x9F),
            0xE1..=0xEF => (2, 0x80..=0xBF),
            0xF0 => (3, 0x90..=0xBF),
            0xF1..=0xF3 => (3, 0x80..=0xBF),
            0xF4 => (3, 0x80..=0x8F),
            _ => return false,
        };
        for place in 1..=follow {
            let allowed = if place == 1 { second.clone() } else { 0x80..=0xBF };
            if !text.get(at + place).is_some_and(|byte| allowed.contains(byte)) {
                return false;
            }
        }
        at += 1 + follow;
    }
    true
}
