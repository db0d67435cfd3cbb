//! `mirra load users|items|embeddings`: bulk load of attributes, tags and vectors, and account for every row.
//!
//! A row is one USER_UPSERT or ITEM_UPSERT; many are in flight on one connection (`sender.rs`). Cells are typed by
//! column: as told, or as the first rows look (`../columns.rs`). Empty cells state nothing: attributes stay as they are, and
//! so do tags, which an upsert would replace: an item whose row tells none is asked for those that it has.

pub mod embeddings;
mod report;
mod sender;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand};

use embeddings::EmbeddingsArgs;
use report::{FileReport, LoadReport, tell};
use sender::{Sender, Upsert, Waiting};

use super::columns::{self, Row, Rows, Stated, Target, TypeOf, Typing};
use super::schema::in_force;
use super::{CliError, DurabilityArg, OutputArgs, ServerAddress, ask, output};
use crate::client::{BlockingClient, ClientError};
use crate::wire::commands::{ItemUpsert, UserUpsert};

/// Longest wait for an answer.
const TIMEOUT_MS: u64 = 60_000;

/// Options of `mirra load`.
#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    /// What the rows are about.
    #[command(subcommand)]
    pub what: What,
}

/// What the rows are about.
#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// Load attributes of users: a header `user <attribute>...`.
    Users(RowsArgs),
    /// Load tags and attributes of items: a header `item [tags] <attribute>...`.
    Items {
        /// The rows.
        #[command(flatten)]
        rows: RowsArgs,
        /// Column of the tags, separated by `|`; without it the first there is of `tags`, `genres`, `categories`.
        #[arg(long, value_name = "COLUMN")]
        tags: Option<String>,
    },
    /// Load vectors of items in a modality, from safetensors or npy.
    Embeddings(EmbeddingsArgs),
}

/// How to send rows.
#[derive(Clone, Debug, Args)]
pub struct SendingArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// Requests in flight.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub in_flight: u16,
    /// What an acknowledgement means; without it what the server is configured for.
    #[arg(long, value_enum)]
    pub durability: Option<DurabilityArg>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Which rows, and how to load them.
#[derive(Clone, Debug, Args)]
pub struct RowsArgs {
    /// TSV or CSV, plain or gzip, with a header that names the columns.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Types of columns that the schema does not declare: number, text (or category), boolean, list (texts separated by `|`).
    #[arg(long, value_name = "COLUMN=TYPE,...", value_delimiter = ',', value_parser = columns::type_of)]
    pub types: Vec<TypeOf>,
    /// Load columns without a type in `--types` as text; else the first 10,000 rows tell it.
    #[arg(long)]
    pub no_infer: bool,
    /// When the values hold from: a column, a time in seconds or milliseconds since 1970, or `now`; without it the column
    /// `timestamp` if there is one, else now.
    #[arg(long, value_name = "COLUMN|TIME")]
    pub time: Option<String>,
    /// How to send them.
    #[command(flatten)]
    pub sending: SendingArgs,
}

/// Runs it.
///
/// # Errors
/// [`CliError`] if a file cannot be read, its columns make no sense, the server is not reached, or any row was refused.
pub fn run(args: &LoadArgs) -> Result<(), CliError> {
    match &args.what {
        What::Users(rows) => load(rows, &Target::Users, |_, stated, durability| {
            let Stated { id: user, time_ms, attributes, .. } = stated;
            Ok(UserUpsert { user, time_ms, attributes, durability })
        }),
        What::Items { rows, tags } => {
            load(rows, &Target::Items { tags: tags.clone() }, |sender, stated, durability| {
                let Stated { id: item, time_ms, tags, attributes } = stated;
                let tags = match tags {
                    Some(tags) => tags,
                    None => sender.tags_of(&item)?,
                };
                Ok(ItemUpsert { item, time_ms, tags, attributes, durability })
            })
        }
        What::Embeddings(args) => embeddings::run(args),
    }
}

/// Loads all files by requests that `request` makes; tells what became of the rows.
fn load<C: Upsert>(
    args: &RowsArgs,
    target: &Target,
    request: impl Fn(&mut Sender<C>, Stated, u8) -> Result<C, ClientError>,
) -> Result<(), CliError> {
    let mut client = ask::connect(&args.sending.server, TIMEOUT_MS)?;
    let declared = declared(&mut client, target)?;
    let began = Instant::now();
    let durability = ask::durability_code(args.sending.durability);
    let mut sender = Sender::new(client, usize::from(args.sending.in_flight));
    let progress = output::Progress::new("rows", None);
    let mut files = Vec::new();
    let mut failure = None;
    for path in &args.files {
        let mut make = |sender: &mut Sender<C>, stated| request(sender, stated, durability);
        if let Err(error) = load_file((args, &declared), target, path, &mut files, &mut sender, &mut make, &progress) {
            failure = Some(error);
            break;
        }
    }
    conclude(files, sender, progress, began, failure, target.noun(), args.sending.output.json)
}

/// Waits for what is in flight, whatever stopped the reading (`failure`), and tells what became of the rows.
fn conclude<C: Upsert>(
    files: Vec<FileReport>,
    mut sender: Sender<C>,
    progress: output::Progress,
    began: Instant,
    failure: Option<CliError>,
    noun: &str,
    as_json: bool,
) -> Result<(), CliError> {
    let failure = failure.or(sender.finish().err().map(CliError::from));
    drop(progress);
    let report = LoadReport { files, tally: sender.into_tally(), took: began.elapsed() };
    tell(&report, noun, as_json)?;
    failure.map_or_else(|| report.outcome(), Err)
}

/// What the server's schema says of the columns.
fn declared(client: &mut BlockingClient, target: &Target) -> Result<Vec<TypeOf>, CliError> {
    let schema = in_force(client)?;
    Ok(columns::declared(match target {
        Target::Users => &schema.user,
        Target::Items { .. } => &schema.item,
    }))
}

fn load_file<C: Upsert>(
    args: (&RowsArgs, &[TypeOf]),
    target: &Target,
    path: &Path,
    files: &mut Vec<FileReport>,
    sender: &mut Sender<C>,
    request: &mut impl FnMut(&mut Sender<C>, Stated) -> Result<C, ClientError>,
    progress: &output::Progress,
) -> Result<(), CliError> {
    let (RowsArgs { types, no_infer, time, .. }, declared) = args;
    let rows = Rows::open(target, path, Typing { told: types, declared, infer: !no_infer, time: time.as_deref() })?;
    let number = u32::try_from(files.len()).unwrap_or(u32::MAX);
    files.push(FileReport::new(path, rows.plan()));
    for row in rows {
        // Pushed above.
        let Some(file) = files.last_mut() else { break };
        let Row { line, stated } = row?;
        file.rows += 1;
        progress.advance(1);
        match stated {
            Ok(stated) => {
                let request = request(sender, stated)?;
                sender.send(Waiting { file: number, line, request })?;
            }
            Err(message) => sender.refuse(number, line, message),
        }
    }
    Ok(())
}
