//! `mirra rejects`: look at events that a server refused, export them, send them again.

mod export;
mod list;
mod replay;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{CliError, OutputArgs, ServerAddress, ask};
use crate::base::limits::LIST_MAX;
use crate::client::BlockingClient;
use crate::model::RejectReason;
use crate::storage::rejects::NEWEST;
use crate::wire::commands::{Rejects, RejectsReply};
use crate::wire::types::RejectRow;

/// Rows asked for at a time.
const PAGE: u16 = LIST_MAX as u16;

/// Options of `mirra rejects`.
#[derive(Clone, Debug, Args)]
pub struct RejectsArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: RejectsAction,
}

/// What `mirra rejects` does.
#[derive(Clone, Debug, Subcommand)]
pub enum RejectsAction {
    /// How many events were refused for which reason, and the newest of those that are kept.
    List(RejectsListArgs),
    /// Write the kept events to a table, to be mended and sent with `mirra replay`.
    Export(RejectsExportArgs),
    /// Send the kept events again, to the server that refused them or to another, say one that knows a kind more.
    Replay(RejectsReplayArgs),
}

/// Options of `mirra rejects list`.
#[derive(Clone, Debug, Args)]
pub struct RejectsListArgs {
    /// Only events refused for this reason.
    #[arg(long, value_name = "NAME", value_parser = reason)]
    pub reason: Option<RejectReason>,
    /// Most events; 0 for the counts alone.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=i64::from(PAGE)))]
    pub max: u16,
    /// From this number on, instead of the newest; 0 for the oldest that are kept.
    #[arg(long, value_name = "SEQUENCE")]
    pub from: Option<u64>,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `mirra rejects export`.
#[derive(Clone, Debug, Args)]
pub struct RejectsExportArgs {
    /// Table to write, tabs between fields; packed if its name ends in `.gz`. One that is there is replaced.
    #[arg(value_name = "FILE.tsv[.gz]")]
    pub file: PathBuf,
    /// Only events refused for this reason.
    #[arg(long, value_name = "NAME", value_parser = reason)]
    pub reason: Option<RejectReason>,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `mirra rejects replay`.
#[derive(Clone, Debug, Args)]
pub struct RejectsReplayArgs {
    /// Only events refused for this reason.
    #[arg(long, value_name = "NAME", value_parser = reason)]
    pub reason: Option<RejectReason>,
    /// Send them to this server, instead of the one that refused them.
    #[arg(long, value_name = "HOST:PORT")]
    pub to: Option<String>,
    /// Send nothing, tell what would be sent.
    #[arg(long)]
    pub dry_run: bool,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

fn reason(name: &str) -> Result<RejectReason, String> {
    RejectReason::named(name).ok_or_else(|| format!("one of {}", RejectReason::ALL.map(RejectReason::name).join(", ")))
}

/// Runs it.
///
/// # Errors
/// [`CliError`]: the server is not reached or refuses, a file cannot be written, nothing sent again was accepted.
pub fn run(args: &RejectsArgs) -> Result<(), CliError> {
    match &args.action {
        RejectsAction::List(args) => list::run(args),
        RejectsAction::Export(args) => export::run(args),
        RejectsAction::Replay(args) => replay::run(args),
    }
}

fn ask_page(
    client: &mut BlockingClient,
    from: u64,
    max: u16,
    reason: Option<RejectReason>,
) -> Result<RejectsReply, CliError> {
    let request = Rejects { from, max, reason: reason.map_or(0, RejectReason::code) };
    ask::ask(client, "the refused events", &request)
}

/// Gives every event that is kept now to `work`, the oldest first; not those that are refused meanwhile. Gives the number
/// of places that could not be read.
fn for_each(
    client: &mut BlockingClient,
    reason: Option<RejectReason>,
    mut work: impl FnMut(RejectRow) -> Result<(), CliError>,
) -> Result<u64, CliError> {
    let newest = ask_page(client, NEWEST, 1, reason)?;
    let Some(upto) = newest.rejects.last().map(|row| row.sequence) else { return Ok(0) };
    let (mut from, mut damaged) = (0, 0);
    loop {
        let page = ask_page(client, from, PAGE, reason)?;
        damaged += page.damaged;
        page.rejects.into_iter().filter(|row| row.sequence <= upto).try_for_each(&mut work)?;
        if page.next == 0 || page.next > upto {
            return Ok(damaged);
        }
        from = page.next;
    }
}

/// The name of a reason; its number, if this program is older than the server.
fn reason_name(code: u8) -> String {
    RejectReason::from_code(code).map_or_else(|| code.to_string(), |reason| reason.name().to_owned())
}

/// The name of a behaviour kind; its number, if the server does not know it.
fn kind_name(client: &BlockingClient, code: u8) -> String {
    let known = client.hello().kinds.iter().find(|kind| kind.code == code);
    known.map_or_else(|| code.to_string(), |kind| kind.name.clone())
}

/// What is said of places that could not be read.
fn damage(damaged: u64) -> Option<String> {
    (damaged > 0).then(|| format!("{damaged} places in the files could not be read: what lay there is not among them"))
}
