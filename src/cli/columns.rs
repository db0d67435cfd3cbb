//! What the columns of a file say, and a row as a statement about a user or an item.
//!
//! A column's type is told by `--types`, else by the first rows: a column with a `|` is a list; one whose cells are all
//! numbers is a number (`007` is none: it is a code); all `true` or `false` is a boolean; everything else is text. A
//! later cell that does not fit is an error of its row that says how to load it all the same.
//!
//! One reading for `mirra load`, which sends the statements to a server, and `mirra evaluate`, which states them itself.

use std::path::Path;

mod rows;

pub(super) use rows::{Row, Rows};

use crate::base::Id;
use crate::base::limits::{ATTRIBUTES_MAX, ID_BYTES_MAX, ITEM_TAGS_MAX, TEXT_BYTES_MAX};
use crate::ingest::time::{TIME, time_ms};
use crate::ingest::{Cells, IngestError, Sheet, TimeUnit};
use crate::model::{AttributeRule, AttributeType};
use crate::wire::types::{Attribute, AttributeValue};

/// Columns that are taken for tags, the first that is there.
const TAG_COLUMNS: [&str; 3] = ["tags", "genres", "categories"];

/// The column that says when values hold from.
const TIME_COLUMN: &str = "timestamp";

/// Characters of a cell that a message shows.
const FOUND_CHARS: usize = 64;

/// Why a file cannot be read as statements.
#[derive(Debug, thiserror::Error)]
pub enum ColumnsError {
    /// The file cannot be read.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// Its columns make no sense, or are not those that were asked for.
    #[error("{0}")]
    Unfit(String),
}

/// What the rows are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Users.
    Users,
    /// Items, and the column of tags if it was told.
    Items { tags: Option<String> },
}

impl Target {
    /// Column of the ids, and the word for one.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Users => "user",
            Self::Items { .. } => "item",
        }
    }
}

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellType {
    /// A finite number.
    Number,
    /// A text.
    Text,
    /// True or false.
    Boolean,
    /// Texts separated by `|`.
    List,
}

impl CellType {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "text",
            Self::Boolean => "boolean",
            Self::List => "list",
        }
    }
}

/// One `COLUMN=TYPE` of `--types`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeOf {
    /// Column.
    pub column: String,
    /// Its type.
    pub cell: CellType,
}

/// How the columns of a file get their types and times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Typing<'a> {
    /// As told by `--types`.
    pub(super) told: &'a [TypeOf],
    /// As the schema declares them.
    pub(super) declared: &'a [TypeOf],
    /// Whether the first rows tell the others; without that they are texts.
    pub(super) infer: bool,
    /// When the values hold from, as `--time` says it.
    pub(super) time: Option<&'a str>,
}

/// The types of the attributes that a schema declares. A date may be a number or a text: its rows tell.
pub(super) fn declared(rules: &[AttributeRule]) -> Vec<TypeOf> {
    let of = |rule: &AttributeRule| {
        let cell = match rule.holds {
            AttributeType::Number => CellType::Number,
            AttributeType::Boolean => CellType::Boolean,
            AttributeType::List => CellType::List,
            AttributeType::Category | AttributeType::Text | AttributeType::Geo => CellType::Text,
            AttributeType::Date => return None,
        };
        Some(TypeOf { column: rule.name.clone(), cell })
    };
    rules.iter().filter_map(of).collect()
}

/// Parses one.
pub(super) fn type_of(text: &str) -> Result<TypeOf, String> {
    let expected = "COLUMN=TYPE, where TYPE is number, text, category, boolean or list";
    let (column, name) = text.rsplit_once('=').ok_or(expected)?;
    let cell = match name.trim().to_ascii_lowercase().as_str() {
        "number" => CellType::Number,
        "text" | "category" => CellType::Text,
        "boolean" | "bool" => CellType::Boolean,
        "list" => CellType::List,
        _ => return Err(expected.to_owned()),
    };
    Ok(TypeOf { column: column.trim().to_owned(), cell })
}

/// A column that becomes an attribute.
#[derive(Clone, Debug)]
pub(super) struct Column {
    at: usize,
    pub(super) name: String,
    pub(super) cell: CellType,
    /// Told by `--types`, not by the rows.
    told: bool,
}

/// When values hold from.
#[derive(Clone, Copy, Debug)]
enum Holds {
    /// As the server gets them.
    Now,
    At(i64),
    Column(usize),
}

/// How to read the rows of a file.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    noun: &'static str,
    id: usize,
    tags: Option<(usize, String)>,
    holds: Holds,
    unit: Option<TimeUnit>,
    pub(super) columns: Vec<Column>,
    sampled: usize,
}

/// A row as a statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stated {
    pub(super) id: Id,
    /// 0: now.
    pub(super) time_ms: i64,
    /// `None` if the row says nothing of tags.
    pub(super) tags: Option<Vec<String>>,
    pub(super) attributes: Vec<Attribute>,
}

impl Plan {
    /// The plan for a file, out of its header, the options, what the schema declares, and its first rows.
    pub(super) fn new<'a>(
        target: &Target,
        path: &Path,
        sheet: &Sheet,
        typing: Typing<'_>,
        sample: &(impl Iterator<Item = &'a Cells> + Clone),
    ) -> Result<Self, ColumnsError> {
        let header = sheet.header();
        let name = path.display();
        let place = |column: &str| header.iter().position(|name| name.eq_ignore_ascii_case(column));
        let lacks = |option: &str, column: &str| {
            ColumnsError::Unfit(format!("{name} has no column {column:?} for {option}; it has: {}", header.join(", ")))
        };
        let id = sheet.needed(target.noun())?;
        let tags = match target {
            Target::Users => None,
            Target::Items { tags: Some(told) } => Some(place(told).ok_or_else(|| lacks("--tags", told))?),
            Target::Items { tags: None } => TAG_COLUMNS.iter().find_map(|column| place(column)),
        };
        let holds = match typing.time {
            None => place(TIME_COLUMN).map_or(Holds::Now, Holds::Column),
            Some(told) => match (place(told), time_ms(told, &mut None)) {
                (Some(at), _) => Holds::Column(at),
                (None, Some(time_ms)) => Holds::At(time_ms),
                (None, None) if told == "now" => Holds::Now,
                (None, None) => return Err(lacks("--time (nor is it a time, or `now`)", told)),
            },
        };
        if let Some(unknown) = typing.told.iter().find(|told| place(&told.column).is_none()) {
            return Err(lacks("--types", &unknown.column));
        }
        let sampled = sample.clone().count();
        let mut plan = Self {
            noun: target.noun(),
            id,
            tags: tags.map(|at| (at, header[at].clone())),
            holds,
            unit: None,
            columns: Vec::new(),
            sampled,
        };
        for (at, column) in header.iter().enumerate() {
            if plan.is_taken(at) {
                continue;
            }
            if place(column) != Some(at) {
                return Err(ColumnsError::Unfit(format!("header of {name} has column {column:?} twice")));
            }
            if column.is_empty() || column.len() > TEXT_BYTES_MAX {
                let bytes = column.len();
                return Err(ColumnsError::Unfit(format!(
                    "column {} of {name} has a name of {bytes} bytes, allowed are 1 to {TEXT_BYTES_MAX}",
                    at + 1
                )));
            }
            let asked = typing.told.iter().find(|told| told.column.eq_ignore_ascii_case(column));
            let told =
                asked.or_else(|| typing.declared.iter().find(|told| told.column == *column)).map(|told| told.cell);
            let cells = sample.clone().map(|row| row.cells[at].as_str()).filter(|cell| !cell.is_empty());
            let cell = told.unwrap_or(if typing.infer { inferred(&cells) } else { CellType::Text });
            plan.columns.push(Column { at, name: column.clone(), cell, told: told.is_some() });
        }
        match plan.columns.len() {
            count if count > ATTRIBUTES_MAX => Err(ColumnsError::Unfit(format!(
                "{name} has {count} columns of attributes, a {} takes {ATTRIBUTES_MAX}",
                target.noun()
            ))),
            _ => Ok(plan),
        }
    }

    /// Name of the column of tags.
    pub(super) fn tags(&self) -> Option<&str> {
        self.tags.as_ref().map(|(_, name)| name.as_str())
    }

    fn is_taken(&self, at: usize) -> bool {
        let time = matches!(self.holds, Holds::Column(column) if column == at);
        time || at == self.id || self.tags.as_ref().is_some_and(|(tags, _)| *tags == at)
    }

    /// What a row states.
    pub(super) fn stated(&mut self, row: &Cells) -> Result<Stated, String> {
        let id = row.cells[self.id].as_str();
        if id.is_empty() || id.len() > ID_BYTES_MAX {
            return Err(unfit(self.noun, id, &format!("an id of 1 to {ID_BYTES_MAX} bytes")));
        }
        let time_ms = match self.holds {
            Holds::Now => 0,
            Holds::At(time_ms) => time_ms,
            Holds::Column(at) => match row.cells[at].as_str() {
                "" => 0,
                // 0 is what the protocol calls now.
                cell => time_ms(cell, &mut self.unit)
                    .filter(|time_ms| *time_ms > 0)
                    .ok_or_else(|| unfit("time", cell, TIME))?,
            },
        };
        let tags = match &self.tags {
            Some((at, name)) if !row.cells[*at].is_empty() => Some(list(name, &row.cells[*at])?),
            _ => None,
        };
        let mut attributes = Vec::new();
        for column in &self.columns {
            let cell = row.cells[column.at].as_str();
            if !cell.is_empty() {
                let value = self.value(column, cell)?;
                attributes.push(Attribute { name: column.name.clone(), value });
            }
        }
        Ok(Stated { id: Id::parse(id), time_ms, tags, attributes })
    }

    fn value(&self, column: &Column, cell: &str) -> Result<AttributeValue, String> {
        let value = match column.cell {
            CellType::Number => number(cell).map(AttributeValue::Number),
            CellType::Boolean => boolean(cell).map(AttributeValue::Bool),
            CellType::Text if cell.len() <= TEXT_BYTES_MAX => Some(AttributeValue::Text(cell.to_owned())),
            CellType::Text => {
                let expected = format!("at most {TEXT_BYTES_MAX} bytes of text, not {}", cell.len());
                return Err(unfit(&column.name, cell, &expected));
            }
            CellType::List => Some(AttributeValue::Texts(list(&column.name, cell)?)),
        };
        value.ok_or_else(|| {
            let (name, cell_type) = (&column.name, column.cell.name());
            let why = if column.told {
                "--types says so".to_owned()
            } else {
                format!("as in the first {} rows; --types {name}=text takes all", self.sampled)
            };
            unfit(name, cell, &format!("a {cell_type} ({why})"))
        })
    }
}

/// The type that all cells of a column have; text without any.
fn inferred<'a>(cells: &(impl Iterator<Item = &'a str> + Clone)) -> CellType {
    // 007 and 01234 are codes: as numbers they would lose their zeros.
    let is_code =
        |cell: &str| cell.len() > 1 && cell.starts_with('0') && cell.bytes().all(|byte| byte.is_ascii_digit());
    let all = |fits: &dyn Fn(&str) -> bool| cells.clone().next().is_some() && cells.clone().all(fits);
    if cells.clone().any(|cell| cell.contains('|')) {
        CellType::List
    } else if all(&|cell| number(cell).is_some() && !is_code(cell)) {
        CellType::Number
    } else if all(&|cell| cell.eq_ignore_ascii_case("true") || cell.eq_ignore_ascii_case("false")) {
        CellType::Boolean
    } else {
        CellType::Text
    }
}

fn number(cell: &str) -> Option<f64> {
    cell.parse::<f64>().ok().filter(|number| number.is_finite())
}

fn boolean(cell: &str) -> Option<bool> {
    match cell.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// The parts of a cell between `|`, without empty ones.
fn list(column: &str, cell: &str) -> Result<Vec<String>, String> {
    let texts: Vec<String> =
        cell.split('|').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect();
    if texts.len() > ITEM_TAGS_MAX {
        return Err(unfit(column, cell, &format!("at most {ITEM_TAGS_MAX} texts, not {}", texts.len())));
    }
    match texts.iter().find(|text| text.len() > TEXT_BYTES_MAX) {
        Some(long) => Err(unfit(column, long, &format!("at most {TEXT_BYTES_MAX} bytes of text, not {}", long.len()))),
        None => Ok(texts),
    }
}

fn unfit(column: &str, found: &str, expected: &str) -> String {
    let found: String = found.chars().take(FOUND_CHARS).collect();
    format!("{column} is {found:?}, expected {expected}")
}

#[cfg(test)]
mod tests;
