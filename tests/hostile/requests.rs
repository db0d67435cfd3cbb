//! Requests made out of the command table: one that is good for every command, and where each of its numbers stands, so
//! that a test can set any of them to anything.

use mirra::wire::types::TYPES;
use mirra::wire::{CommandInfo, FieldInfo, Header, TypeInfo};

/// A number of a request.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name, with those of the records around it.
    pub name: String,
    /// Its type; `count` for that of a list, `length` for that of a text or an id.
    pub kind: String,
    /// Where it stands in the body.
    pub at: usize,
    /// Its bytes.
    pub width: usize,
}

/// The body of a good request.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pub bytes: Vec<u8>,
    pub places: Vec<Place>,
}

impl Body {
    /// A good request for a command: integers are what the server of `server.rs` knows, lists have one entry.
    pub fn of(row: &CommandInfo) -> Self {
        let mut body = Self::default();
        body.fields(row.name, row.request);
        body
    }

    /// The whole frame, with other bytes at a place.
    pub fn frame(&self, row: &CommandInfo, id: u64, place: &Place, with: &[u8]) -> Vec<u8> {
        let mut body = self.bytes.clone();
        body[place.at..place.at + place.width].copy_from_slice(&with[..place.width]);
        frame(row.opcode, id, &body)
    }

    fn fields(&mut self, path: &str, fields: &[FieldInfo]) {
        for field in fields {
            let kind = field.kind.replace(' ', "");
            self.field(&format!("{path}.{}", field.name), field.name, &kind);
        }
    }

    fn field(&mut self, path: &str, name: &str, kind: &str) {
        if let Some(of) = kind.strip_prefix("Vec<").and_then(|rest| rest.strip_suffix('>')) {
            return match name {
                "schema" => self.schema(path),
                "vector" => self.list(path, name, of, 4),
                _ => self.list(path, name, of, 1),
            };
        }
        if let Some(of) = kind.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')) {
            self.number(path, "bool", &[1]);
            return self.field(path, name, of);
        }
        match kind {
            "u8" | "bool" => self.number(path, kind, &[small(name)]),
            "u16" => self.number(path, kind, &u16::from(small(name)).to_le_bytes()),
            "u32" => self.number(path, kind, &u32::from(small(name)).to_le_bytes()),
            "u64" => self.number(path, kind, &u64::from(small(name)).to_le_bytes()),
            "i64" => self.number(path, kind, &0_i64.to_le_bytes()),
            "f32" => self.number(path, kind, &1.0_f32.to_le_bytes()),
            "String" => self.text(path, text(name)),
            "Id" => self.id(path, name),
            "AttributeValue" => {
                self.number(path, "u8", &[1]);
                self.number(path, "f64", &1.5_f64.to_le_bytes());
            }
            _ => {
                let of: &TypeInfo = TYPES.iter().find(|of| of.name == kind).unwrap_or_else(|| panic!("{path}: {kind}"));
                self.fields(path, of.fields);
            }
        }
    }

    fn list(&mut self, path: &str, name: &str, of: &str, count: u32) {
        self.number(path, "count", &count.to_le_bytes());
        (0..count).for_each(|_| self.field(path, name, of));
    }

    fn schema(&mut self, path: &str) {
        let schema = crate::corpus::schema().to_bytes();
        let count = u32::try_from(schema.len()).expect("a short schema");
        self.number(path, "count", &count.to_le_bytes());
        self.bytes.extend_from_slice(&schema);
    }

    fn text(&mut self, path: &str, text: &str) {
        let length = u16::try_from(text.len()).expect("a short text");
        self.number(path, "length", &length.to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A text of one byte where that is enough, so that its length can be set; `into` is another user than `user`.
    fn id(&mut self, path: &str, name: &str) {
        self.number(path, "length", &[1]);
        self.bytes.push(if name == "into" { b'w' } else { b'u' });
    }

    fn number(&mut self, path: &str, kind: &str, bytes: &[u8]) {
        let (name, kind, at, width) = (path.to_owned(), kind.to_owned(), self.bytes.len(), bytes.len());
        self.places.push(Place { name, kind, at, width });
        self.bytes.extend_from_slice(bytes);
    }
}

/// A whole frame.
pub fn frame(opcode: u16, id: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short body");
    [&Header::new(opcode, id, length).encode()[..], body].concat()
}

/// What a small integer is by its name: an event's kind is 0, so are codes that stand for all, and nothing is rare.
fn small(name: &str) -> u8 {
    match name {
        "kind" | "kinds" | "reason" | "parts" | "skip" | "from" | "snapshot" | "dry_run" => 0,
        "k" | "max" | "recent_max" | "facets_max" | "events_max" | "nearest" => 5,
        _ => 1,
    }
}

fn text(name: &str) -> &'static str {
    match name {
        "modality" => "text",
        "name" | "allow_tags" | "deny_tags" | "tags" => "tag:red",
        _ => "",
    }
}

/// The ends of an integer's type, the limits of the protocol, and one beyond each.
pub fn integers(width: usize) -> Vec<Vec<u8>> {
    let ends = [0, 1, 2, 100, 101, 127, 128, 129, 255, 256, 257, 1_000, 1_001, 4_096, 4_097, 32_767, 32_768, 65_535];
    let wide = [65_536, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1_u64 << 62, i64::MAX as u64, 1 << 63, u64::MAX - 1];
    let mut all: Vec<Vec<u8>> =
        ends.into_iter().chain(wide).chain([u64::MAX]).map(|number| number.to_le_bytes()[..width].to_vec()).collect();
    all.sort();
    all.dedup();
    all
}

/// Numbers that hurt, as `f32` or `f64`.
pub fn floats(width: usize) -> Vec<Vec<u8>> {
    let (tiny, large) = (f64::from(f32::MIN_POSITIVE) / 4.0, f64::from(f32::MAX));
    let all = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, tiny, -tiny, -0.0, large, -large, 1e9, 1.000_001e9, 1e-30];
    let one =
        |number: f64| if width == 4 { (number as f32).to_le_bytes().to_vec() } else { number.to_le_bytes().to_vec() };
    let ends = [f64::MAX, f64::MIN, f64::MIN_POSITIVE / 4.0];
    all.into_iter().chain(ends.into_iter().filter(|_| width == 8)).map(one).collect()
}
