//! What is known beside the events: tables of users and items, as operations that a shard applies among the events.
//!
//! Columns are read as `mirra load` reads them, attributes that no schema declares are taken as the server takes them. A row
//! without a time is stated before the first event, one with a time as soon as an event is as late: what comes later is
//! not known earlier. A strategy may be kept from what a table says ([`Told`]); the users and items themselves it then has
//! all the same, so that candidates and numbering are those of the strategy that was told, and a difference is of the
//! knowledge alone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::EvaluateError;
use super::stream::{BadRows, Stream};
use crate::base::Id;
use crate::base::limits::EMBEDDING_DIM_MAX;
use crate::cli::columns::{ColumnsError, Row, Rows, Stated, Target, TypeOf, Typing};
use crate::ingest::embeddings::{Embedded, read_embeddings};
use crate::learn::bank::embeddings::unit_bytes;
use crate::model::{Attributes, Modality};
use crate::state::{Op, Shard};

/// Which tables there are, and how to read them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SideArgs {
    /// P2: attributes of users, stated before the first event: a header `user <attribute>...`, read as `mirra load users`
    /// does. A row with a `timestamp` is stated when its time has come.
    #[arg(long, value_name = "FILE")]
    pub users: Option<PathBuf>,
    /// P2: tags and attributes of items, stated before the first event: a header `item [tags] <attribute>...`, read as
    /// `mirra load items` does. Every item of it is a candidate from the beginning, for every strategy; one whose row has a
    /// `timestamp` when its time has come.
    #[arg(long, value_name = "FILE")]
    pub items: Option<PathBuf>,
    /// Column of the tags in --items, separated by `|`; without it the first there is of `tags`, `genres`, `categories`.
    #[arg(long, value_name = "COLUMN", requires = "items")]
    pub tags: Option<String>,
    /// P2: vectors of items in a modality, stated before the first event: a safetensors file as `mirra load embeddings` takes
    /// it, with the ids in its metadata; may be repeated. Its items are candidates from the beginning.
    #[arg(long, value_name = "MODALITY=FILE", value_parser = modality_file)]
    pub embeddings: Vec<(String, PathBuf)>,
    /// Types of columns in --users and --items: number, text (or category), boolean, list; else the first rows tell them.
    #[arg(long, value_name = "COLUMN=TYPE,...", value_delimiter = ',', value_parser = crate::cli::columns::type_of)]
    pub types: Vec<TypeOf>,
}

/// Which tables a strategy is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// What stands in the table of users.
    pub users: bool,
    /// What stands in the table of items.
    pub items: bool,
    /// The vectors of items.
    pub embeddings: bool,
}

impl Default for Told {
    /// All there are.
    fn default() -> Self {
        Self { users: true, items: true, embeddings: true }
    }
}

/// A user or an item, with what is said of it.
#[derive(Debug, PartialEq)]
enum Statement {
    User { id: Id, time_ms: i64, attributes: Attributes },
    Item { id: Id, time_ms: i64, tags: Vec<String>, attributes: Attributes },
    Vector { id: Id, time_ms: i64, modality: String, vector: Vec<u8> },
}

impl Statement {
    /// When it holds from, in milliseconds.
    fn time_ms(&self) -> i64 {
        match self {
            Self::User { time_ms, .. } | Self::Item { time_ms, .. } | Self::Vector { time_ms, .. } => *time_ms,
        }
    }

    /// The operation for a strategy that is told of these tables.
    fn op(&self, told: Told) -> Op<'_> {
        let kept = |told: bool, attributes: &Attributes| if told { attributes.clone() } else { Attributes::default() };
        match self {
            Self::User { id, time_ms, attributes } => {
                Op::UserUpsert { user: id.as_ref(), time_ms: *time_ms, attributes: kept(told.users, attributes) }
            }
            Self::Item { id, time_ms, tags, attributes } => Op::ItemUpsert {
                item: id.as_ref(),
                time_ms: *time_ms,
                tags: if told.items { tags.iter().map(String::as_str).collect() } else { Vec::new() },
                attributes: kept(told.items, attributes),
            },
            Self::Vector { id, time_ms, modality, vector } => Op::Embedding {
                item: id.as_ref(),
                modality,
                time_ms: *time_ms,
                vector: if told.embeddings { vector } else { &[] },
            },
        }
    }
}

/// All statements by time, of one time in the order of the files: users, then items.
#[derive(Debug, Default)]
pub struct Side {
    statements: Vec<Statement>,
    /// What there are vectors of.
    pub modalities: Vec<Modality>,
    /// Rows that state nothing that can be taken.
    pub bad: BadRows,
}

impl Side {
    /// Reads the tables. Statements without a time hold from the first event of the stream on; so do all where events have
    /// no times.
    ///
    /// # Errors
    /// [`EvaluateError::Columns`] if a table cannot be read, its columns make no sense, or `--types` names one that no
    /// table has.
    pub fn read(args: &SideArgs, stream: &Stream) -> Result<Self, EvaluateError> {
        let mut side = Self::default();
        let mut unknown: Vec<&TypeOf> = args.types.iter().collect();
        let items = Target::Items { tags: args.tags.clone() };
        for (target, path) in [(&Target::Users, &args.users), (&items, &args.items)] {
            let Some(path) = path else { continue };
            let here = columns_of(path)?;
            let has = |told: &TypeOf| here.iter().any(|name| name.eq_ignore_ascii_case(&told.column));
            unknown.retain(|told| !has(told));
            let told: Vec<TypeOf> = args.types.iter().filter(|told| has(told)).cloned().collect();
            side.read_table(target, path, &told, stream)?;
        }
        for (modality, path) in &args.embeddings {
            side.read_vectors(modality, path, stream)?;
        }
        side.statements.sort_by_key(Statement::time_ms);
        match unknown.first() {
            Some(TypeOf { column, .. }) => {
                Err(ColumnsError::Unfit(format!("no table has a column {column:?} for --types")).into())
            }
            None => Ok(side),
        }
    }

    fn read_table(
        &mut self,
        target: &Target,
        path: &Path,
        told: &[TypeOf],
        stream: &Stream,
    ) -> Result<(), EvaluateError> {
        let first_ms = stream.events[0].time_ms;
        // Tags of items that stand in the file twice: an empty cell leaves them as they are.
        let mut tagged: HashMap<Id, Vec<String>> = HashMap::new();
        for row in Rows::open(target, path, Typing { told, declared: &[], infer: true, time: None })? {
            let Row { line, stated } = row?;
            let Stated { id, time_ms, tags, attributes: cells } = match stated {
                Ok(stated) => stated,
                Err(why) => {
                    self.bad.push(format!("{}: line {line}: {why}", path.display()));
                    continue;
                }
            };
            let time_ms = if time_ms == 0 || !stream.timed { first_ms } else { time_ms };
            let mut attributes = Attributes::default();
            for cell in cells {
                attributes.patch(&cell.name, cell.value.into(), time_ms);
            }
            self.statements.push(match target {
                Target::Users => Statement::User { id, time_ms, attributes },
                Target::Items { .. } => {
                    let held = tagged.entry(id.clone()).or_default();
                    if let Some(tags) = tags {
                        *held = tags;
                    }
                    Statement::Item { id, time_ms, tags: held.clone(), attributes }
                }
            });
        }
        Ok(())
    }

    fn read_vectors(&mut self, name: &str, path: &Path, stream: &Stream) -> Result<(), EvaluateError> {
        let Embedded { ids, matrix } = read_embeddings(path, None, name, None)?;
        let time_ms = stream.events[0].time_ms;
        let dim = matrix.shape[1].min(EMBEDDING_DIM_MAX);
        self.modalities.push(Modality { name: name.to_owned(), dim: u16::try_from(dim).unwrap_or(u16::MAX) });
        for ((id, vector), line) in ids.into_iter().zip(matrix.values.chunks_exact(matrix.shape[1].max(1))).zip(1..) {
            let Some(vector) = unit_bytes(vector).filter(|_| vector.len() == dim) else {
                self.bad.push(format!("{}: row {line} has no direction, or too many numbers", path.display()));
                continue;
            };
            self.statements.push(Statement::Vector { id, time_ms, modality: name.to_owned(), vector });
        }
        Ok(())
    }

    /// How many statements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// States to a shard what holds by `now_ms`, without the first `done` statements, for a strategy that is told of these
    /// tables. Returns how many are done then.
    pub fn state(&self, shard: &mut Shard, told: Told, done: usize, now_ms: i64) -> usize {
        let due = self.statements[done..].iter().take_while(|statement| statement.time_ms() <= now_ms);
        done + due.map(|statement| shard.apply(&statement.op(told))).count()
    }
}

/// Parses `MODALITY=FILE`.
fn modality_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => {
            Err("expected the name of a modality, an equals sign and a file, such as text=vectors.safetensors"
                .to_owned())
        }
    }
}

/// Names of the columns of a file.
fn columns_of(path: &Path) -> Result<Vec<String>, EvaluateError> {
    Ok(crate::ingest::Sheet::open(path)?.header().to_vec())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::ingest::Row as EventRow;
    use crate::model::Value;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(".tsv").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn args(users: &str, items: &str, types: &[&str]) -> (SideArgs, [tempfile::NamedTempFile; 2]) {
        let (users, items) = (file(users), file(items));
        let types = types.iter().map(|text| crate::cli::columns::type_of(text).unwrap()).collect();
        let (of_users, of_items) = (users.path().to_owned(), items.path().to_owned());
        (
            SideArgs { users: Some(of_users), items: Some(of_items), tags: None, embeddings: Vec::new(), types },
            [users, items],
        )
    }

    fn stream(first_ms: i64) -> Stream {
        let (user, item) = (Id::Int(1), Id::Int(1));
        Stream::from_rows([EventRow { line: 1, user, item, value: 1.0, time_ms: first_ms, kind: None, event_id: None }])
    }

    #[test]
    fn what_comes_later_is_stated_later() {
        let items = "item\ttags\ttimestamp\n1\ta\t1600000060\n2\tb\t\n3\tc\t1600000010\n";
        let (args, _files) = args("user\tage\nu\t30\n", items, &[]);
        let mut side = Side::read(&args, &stream(1_600_000_000_000)).unwrap();
        let mut shard = Shard::new(0, crate::state::Options::default());
        let known = |shard: &Shard| [1, 2, 3].map(|item| shard.item_row(Id::Int(item).as_ref()).is_some());
        let mut done = side.state(&mut shard, Told::default(), 0, 1_600_000_000_000);
        assert_eq!((done, known(&shard)), (2, [false, true, false]));
        done = side.state(&mut shard, Told::default(), done, 1_600_000_059_999);
        assert_eq!((done, known(&shard)), (3, [false, true, true]));
        assert_eq!(side.state(&mut shard, Told::default(), done, i64::MAX), side.len());
        let mut untimed = stream(5);
        untimed.timed = false;
        side = Side::read(&args, &untimed).unwrap();
        assert!(side.statements.iter().all(|one| one.time_ms() == 5), "events without times know no later");
    }

    #[test]
    fn tables_are_statements_and_what_is_not_told_leaves_bare_ids() {
        let items = "item\tgenres\tprice\n7\ta|b\t2\n7\t\t3\n\tc\t1\n8\t\tcheap\n";
        let (args, _files) = args("user\tage\tcode\nu\t30\t7\n", items, &["code=text", "price=number"]);
        let side = Side::read(&args, &stream(1_000)).unwrap();
        assert_eq!((side.statements.len(), side.bad.count), (3, 2));
        assert!(side.bad.first[0].contains("line 4: item is \"\"") && side.bad.first[1].contains("line 5: price"));
        let ops: Vec<Op<'_>> = side.statements.iter().map(|one| one.op(Told::default())).collect();
        let Op::UserUpsert { time_ms: 1_000, attributes, .. } = &ops[0] else { panic!("{ops:?}") };
        let held: Vec<_> = attributes.iter().map(|(name, value, _)| (name, value.clone())).collect();
        assert_eq!(held, [("age", Value::Number(30.0)), ("code", Value::Text("7".to_owned()))]);
        let Op::ItemUpsert { tags, attributes, .. } = &ops[2] else { panic!("{ops:?}") };
        assert_eq!(tags, &["a", "b"], "an empty cell leaves the tags as they are");
        assert_eq!(attributes.iter().next().unwrap().1, &Value::Number(3.0));
        let bare = side.statements[2].op(Told { items: false, ..Told::default() });
        assert!(matches!(bare, Op::ItemUpsert { tags, attributes, .. } if tags.is_empty() && attributes.is_empty()));
        let told = side.statements[0].op(Told { items: false, ..Told::default() });
        assert_eq!(told, ops[0], "the other table is told all the same");
    }

    #[test]
    fn a_type_of_a_column_that_no_table_has_is_an_error() {
        let (args, _files) = args("user\tage\n1\t30\n", "item\ttags\n1\ta\n", &["aeg=number"]);
        let error = Side::read(&args, &stream(0)).unwrap_err().to_string();
        assert_eq!(error, "no table has a column \"aeg\" for --types");
    }
}
