//! `mirra schema`: the schema that a running server has in force, and another in its place.

mod text;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{CliError, OutputArgs, ServerAddress, ask, output, setup};
use crate::base::Reader;
use crate::client::BlockingClient;
use crate::model::Schema;
use crate::wire::commands::{SchemaGet, SchemaSet};

/// What refusals are about.
const SUBJECT: &str = "the schema";

/// Options of `mirra schema`.
#[derive(Clone, Debug, Args)]
pub struct SchemaArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: SchemaAction,
}

/// What `mirra schema` does.
#[derive(Clone, Debug, Subcommand)]
pub enum SchemaAction {
    /// Print the schema in force, as a configuration file has it.
    Show(SchemaShowArgs),
    /// Tell whether the schema of a configuration file could take the place of the one in force, and what differs.
    Check(SchemaFileArgs),
    /// Put the schema of a configuration file in the place of the one in force, while the server goes on serving.
    Apply(SchemaFileArgs),
}

/// Options of `mirra schema show`.
#[derive(Clone, Debug, Args)]
pub struct SchemaShowArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `mirra schema check` and `mirra schema apply`.
#[derive(Clone, Debug, Args)]
pub struct SchemaFileArgs {
    /// Configuration file, laid over the built-in values as `--config` does; what is not of the schema is checked only.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs it; `global` is the file of the global `--config`.
///
/// # Errors
/// [`CliError`]: the file cannot be used, the server is not reached, or what is kept would lose its meaning.
pub fn run(args: &SchemaArgs, global: Option<&Path>) -> Result<(), CliError> {
    if global.is_some() {
        return Err(CliError::Usage("`mirra schema` asks a running server: name the file as FILE".to_owned()));
    }
    match &args.action {
        SchemaAction::Show(args) => show(args),
        SchemaAction::Check(args) => offer(args, true),
        SchemaAction::Apply(args) => offer(args, false),
    }
}

/// The schema that a server has in force.
///
/// # Errors
/// [`CliError`] if the server is not reached or refuses, or if its schema is of a newer format.
pub(super) fn in_force(client: &mut BlockingClient) -> Result<Schema, CliError> {
    let bytes = ask::ask(client, SUBJECT, &SchemaGet {})?.schema;
    Schema::decode(&mut Reader::new(&bytes)).map_err(|error| {
        CliError::Failed(format!("the server's schema cannot be read ({error}): this program is older than the server"))
    })
}

fn show(args: &SchemaShowArgs) -> Result<(), CliError> {
    let schema = in_force(&mut ask::connect(&args.server, ask::TIMEOUT_MS)?)?;
    let sections = text::sections(&schema);
    if args.output.json {
        return Ok(output::json(&text::json(&sections))?);
    }
    Ok(output::text(&text::toml(&sections))?)
}

/// Asks whether a file's schema can follow (`dry_run`), or has it follow; tells what differs.
fn offer(args: &SchemaFileArgs, dry_run: bool) -> Result<(), CliError> {
    let (config, _) = setup::load(Some(&args.file), &[])?;
    let next = config.schema;
    let mut client = ask::connect(&args.server, ask::LONG_TIMEOUT_MS)?;
    let now = in_force(&mut client)?;
    let changes = text::changes(&text::sections(&now), &text::sections(&next));
    let request = SchemaSet { schema: next.to_bytes(), dry_run: true };
    ask::ask(&mut client, SUBJECT, &request)?;
    if !changes.is_empty() && next.version == now.version {
        return Err(CliError::Failed(unraised(now.version, &changes)));
    }
    let applied = !dry_run && !changes.is_empty();
    if applied {
        ask::ask(&mut client, SUBJECT, &SchemaSet { dry_run: false, ..request })?;
    }
    let (from, to) = (now.version, next.version);
    if args.output.json {
        let changes: Vec<_> = changes.iter().map(text::Change::json).collect();
        return Ok(output::json(
            &json!({ "from": from, "to": to, "can_follow": true, "applied": applied, "changes": changes }),
        )?);
    }
    let head = match (changes.is_empty(), applied) {
        (true, _) => format!("nothing differs from version {from}, which is in force"),
        (false, true) => format!("version {to} is in force now, in the place of version {from}:"),
        (false, false) => format!("version {to} can follow version {from}, which is in force:"),
    };
    output::text(&format!("{head}\n{}", listed(&changes)))?;
    if applied {
        let told =
            "The server keeps it in its journals; an older file given to `mirra serve --config` does not undo it.";
        output::text(told)?;
    }
    Ok(())
}

fn listed(changes: &[text::Change]) -> String {
    changes.iter().map(|change| format!("  {change}\n")).collect()
}

/// Two schemas of one version are told apart by nobody: a restart with the other file would take it for this one.
fn unraised(version: u32, changes: &[text::Change]) -> String {
    let changes = listed(changes);
    format!(
        "the schema differs from the one in force, and both are of version {version}: set [schema] version = {} in the file\n{}",
        u64::from(version) + 1,
        changes.trim_end()
    )
}
