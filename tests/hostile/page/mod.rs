//! A second reading of the protocol: everything that is known here of frames, commands, records and limits is read out of
//! `docs/protocol.md`, as someone would who writes a client in another language. No code of `src/wire` has a part in it.
//!
//! ```text
//! mod.rs   the tables of the page     slow.rs  bytes to values and back, by them     draw.rs  values to begin with
//! ```
//!
//! What a `u32` or a list is, the page says in words, and these are put into code here; which numbers, texts, lists and
//! records follow each other, and all limits, come out of its tables.

pub mod draw;
pub mod slow;

use std::collections::BTreeMap;
use std::path::Path;

/// The type of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A number of so many bytes.
    Number(usize),
    /// One byte, 0 or 1.
    Flag,
    /// At most so many bytes of text.
    Text(usize),
    Id,
    /// At most so many of a type.
    List(Box<Shape>, usize),
    Optional(Box<Shape>),
    /// A tag, and the value that it stands for.
    Tagged,
    /// A record, by its name.
    Record(String),
}

/// A command.
#[derive(Clone, Debug)]
pub struct PageCommand {
    pub name: String,
    pub opcode: u16,
    pub request: Vec<Shape>,
    pub reply: Vec<Shape>,
}

/// The page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Bytes of the header's fields, in order: length, code, flags, version, request id.
    pub header: Vec<usize>,
    /// Longest frame, in bytes.
    pub frame_max: usize,
    pub version: u64,
    /// Longest text where nothing is said, in bytes.
    pub text_max: usize,
    /// Longest text of an id, in bytes.
    pub id_max: usize,
    /// Longest list where nothing is said.
    pub list_max: usize,
    /// What follows a tag.
    pub tags: BTreeMap<u8, Option<Shape>>,
    pub records: BTreeMap<String, Vec<Shape>>,
    pub commands: Vec<PageCommand>,
    /// Numbers of the statuses that a reply of the command comes with.
    pub successes: Vec<u16>,
    /// The frames of its example.
    pub examples: Vec<Vec<u8>>,
}

/// The page as it lies in the repository.
pub fn page() -> Page {
    Page::read(&text())
}

/// Its text.
pub fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Page {
    /// Reads the tables out of the page's text.
    pub fn read(text: &str) -> Self {
        let widths = line(text, "      | u32").split('|').filter_map(|cell| number_bytes(cell.trim()));
        let mut page = Self {
            header: widths.collect(),
            frame_max: number_after(text, "A whole frame has at most"),
            version: number_after(text, "`version` is") as u64,
            text_max: number_after(line(text, "| `text` |"), "At most"),
            id_max: number_after(line(text, "| `id` |"), "(1 to"),
            list_max: number_after(line(text, "| `list of T` |"), "At most"),
            tags: BTreeMap::new(),
            records: BTreeMap::new(),
            commands: Vec::new(),
            successes: Vec::new(),
            examples: section(text, "Example").split("```text\n").skip(1).map(hex).collect(),
        };
        page.tags = page.read_tags(line(text, "| `AttributeValue` |"));
        let below = number_after(text, "(all below");
        let statuses = section(text, "Statuses").lines().filter_map(|row| cell(row, 1)?.parse::<u16>().ok());
        page.successes = statuses.filter(|number| usize::from(*number) < below).collect();
        for part in text.split("\n### ").skip(1) {
            let (name, body) = part.split_once('\n').expect("a title ends its line");
            let body = body.split("\n## ").next().unwrap_or_default();
            if body.trim_start().starts_with("Opcode") {
                let command = page.read_command(name, body);
                page.commands.push(command);
            } else {
                let fields = page.read_fields(body);
                page.records.insert(name.to_owned(), fields);
            }
        }
        page
    }

    fn read_command(&self, name: &str, body: &str) -> PageCommand {
        let hex = body.split("`0x").nth(1).and_then(|rest| rest.split('`').next()).expect("an opcode");
        let (request, reply) = body.split_once("\nReply:\n").expect("a reply");
        let (_, request) = request.split_once("\nRequest:\n").expect("a request");
        PageCommand {
            name: name.to_owned(),
            opcode: u16::from_str_radix(hex, 16).expect("an opcode is hexadecimal"),
            request: self.read_fields(request),
            reply: self.read_fields(reply),
        }
    }

    /// The fields of a table; those of a record if it is only named; none if it says so.
    fn read_fields(&self, text: &str) -> Vec<Shape> {
        if text.contains("No fields: the body is empty.") {
            return Vec::new();
        }
        if let Some(named) = text.trim().strip_prefix("A [") {
            return vec![Shape::Record(named.split(']').next().unwrap_or_default().to_owned())];
        }
        let rows = text.lines().filter(|row| row.starts_with("| `"));
        let fields: Vec<Shape> = rows.map(|row| self.shape(cell(row, 2).expect("a field has a type"))).collect();
        assert!(!fields.is_empty(), "neither fields nor a word that there are none: {text}");
        fields
    }

    /// A type in the page's words.
    fn shape(&self, words: &str) -> Shape {
        let (of, most) = match words.split_once(", at most ") {
            Some((of, most)) => (of, Some(number_after(most, ""))),
            None => (words, None),
        };
        if let Some(each) = of.strip_prefix("list of ") {
            return Shape::List(Box::new(self.shape(each)), most.unwrap_or(self.list_max));
        }
        if let Some(inner) = of.strip_prefix("optional ") {
            return Shape::Optional(Box::new(self.shape(inner)));
        }
        match of {
            "text" => Shape::Text(most.unwrap_or(self.text_max)),
            "bool" => Shape::Flag,
            "id" => Shape::Id,
            "AttributeValue" => Shape::Tagged,
            _ => match of.strip_prefix('[') {
                Some(record) => Shape::Record(record.split(']').next().unwrap_or_default().to_owned()),
                None => Shape::Number(number_bytes(of).unwrap_or_else(|| panic!("the page does not explain {words}"))),
            },
        }
    }

    /// `0 removed (nothing follows), 1 `f64`, ..., 4 `list of text` (at most 64)`.
    fn read_tags(&self, row: &str) -> BTreeMap<u8, Option<Shape>> {
        let (_, tags) = cell(row, 2).and_then(|cell| cell.split_once("then the value: ")).expect("tags");
        let tag = |words: &str| {
            let (number, what) = words.split_once(' ').expect("a tag and what it says");
            let what = what.replace('`', "").replace(" (at most ", ", at most ");
            let shape = if what.contains("nothing follows") { None } else { Some(self.shape(&what)) };
            (number.parse().expect("a tag is a number"), shape)
        };
        let (tags, _) = tags.split_once(". ").unwrap_or((tags, ""));
        tags.split(", ").map(tag).collect()
    }
}

/// The first line that begins so.
fn line<'a>(text: &'a str, start: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no line begins with {start:?}"))
}

/// What stands below a heading of the second order.
fn section<'a>(text: &'a str, title: &str) -> &'a str {
    let after = text.split(&format!("\n## {title}\n")).nth(1).unwrap_or_else(|| panic!("no section {title}"));
    after.split("\n## ").next().unwrap_or_default()
}

/// A cell of a row of a table, from 1.
fn cell(row: &str, at: usize) -> Option<&str> {
    row.split('|').nth(at).map(str::trim)
}

/// The number that stands behind these words.
fn number_after(text: &str, words: &str) -> usize {
    let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("the page does not say {words:?}"));
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number behind {words:?}"))
}

/// Bytes of a type that is a number: its name ends in its bits.
fn number_bytes(name: &str) -> Option<usize> {
    let bits: usize = name.strip_prefix(['u', 'i', 'f'])?.parse().ok()?;
    Some(bits / 8)
}

/// The bytes at the beginning of each line, up to the end of the block.
fn hex(block: &str) -> Vec<u8> {
    let lines = block.lines().take_while(|line| *line != "```");
    let bytes = lines.flat_map(|line| line.split("  ").next().unwrap_or_default().split(' '));
    bytes.map(|byte| u8::from_str_radix(byte, 16).expect("bytes are hexadecimal")).collect()
}
