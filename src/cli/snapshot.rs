//! `mirra snapshot`: make, list, verify, export and restore snapshots.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::journal::open_data_dir;
use super::{CliError, OutputArgs, ServerAddress, ask, export, output, restore, when};
use crate::base::limits::SHARDS_MAX;
use crate::storage::{DataDir, Manifest, Meta, OpenReport, SnapshotOptions, SnapshotStore, StorageError};
use crate::wire::commands::Snapshot;

/// Options of `mirra snapshot`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: SnapshotAction,
}

/// What `mirra snapshot` does.
#[derive(Clone, Debug, Subcommand)]
pub enum SnapshotAction {
    /// Tell a running server to write a snapshot, and wait until it is complete.
    Create(SnapshotCreateArgs),
    /// List the generations in a data directory, newest first.
    List(SnapshotListArgs),
    /// Check every chunk of a generation, or every byte of an archive, against its checksum.
    Verify(SnapshotVerifyArgs),
    /// Write a generation, its item models and the journal behind it into one file.
    Export(SnapshotExportArgs),
    /// Make a new data directory from a generation or an archive.
    Restore(SnapshotRestoreArgs),
}

/// Options of `mirra snapshot create`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotCreateArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `mirra snapshot list`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotListArgs {
    /// Data directory of a server.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `mirra snapshot verify`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotVerifyArgs {
    /// Data directory of a server that does not run.
    #[arg(long, value_name = "DIR", required_unless_present = "file")]
    pub data_dir: Option<PathBuf>,
    /// Archive that `mirra snapshot export` wrote.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data_dir", "generation"])]
    pub file: Option<PathBuf>,
    /// Generation to check; without it all of them.
    #[arg(value_name = "GENERATION")]
    pub generation: Option<u64>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What is taken of a data directory's snapshots and journals.
#[derive(Clone, Debug, Args)]
pub struct Taken {
    /// Generation to take; without it the newest that verifies.
    #[arg(long, value_name = "N")]
    pub generation: Option<u64>,
    /// Leave out the journal after the snapshot: the state as the snapshot has it.
    #[arg(long)]
    pub without_journal: bool,
}

/// Options of `mirra snapshot export`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotExportArgs {
    /// Data directory of a server that does not run.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// File to write; it must not exist.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// What of it.
    #[command(flatten)]
    pub taken: Taken,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `mirra snapshot restore`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotRestoreArgs {
    /// Data directory that holds the snapshot; what is kept in it is not changed.
    #[arg(long, value_name = "DIR", required_unless_present = "from")]
    pub data_dir: Option<PathBuf>,
    /// Archive that `mirra snapshot export` wrote.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data_dir", "generation"])]
    pub from: Option<PathBuf>,
    /// Data directory whose journals go on from the archive's generation, in the place of the archive's own: where snapshots
    /// were lost and journals were not.
    #[arg(long, value_name = "DIR", requires = "from", conflicts_with = "without_journal")]
    pub journal_from: Option<PathBuf>,
    /// Directory to make; it must not exist or be empty.
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
    /// Divide the users among so many shards; without it there are as many as there were. Needs --config, the file that the
    /// server of the data was started with: what they are read by is not in them.
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u16).range(1..=i64::from(SHARDS_MAX)))]
    pub shards: Option<u16>,
    /// What of it.
    #[command(flatten)]
    pub taken: Taken,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs it.
///
/// # Errors
/// [`CliError`]: the server is not reached, the directory cannot be taken, or a generation is damaged.
pub fn run(args: &SnapshotArgs, config_file: Option<&Path>) -> Result<(), CliError> {
    match &args.action {
        SnapshotAction::Create(args) => create(args),
        SnapshotAction::List(args) => list(args),
        SnapshotAction::Verify(args) => match (&args.file, &args.data_dir) {
            (Some(file), _) => export::verify(file, &args.output),
            (None, Some(data_dir)) => verify(args, data_dir),
            (None, None) => Err(CliError::Usage("give --data-dir or --file".to_owned())),
        },
        SnapshotAction::Export(args) => export::run(args),
        SnapshotAction::Restore(args) => restore::run(args, config_file),
    }
}

/// A data directory that no server has, and its snapshots.
pub(super) fn open_store(path: &Path) -> Result<(DataDir, Meta, SnapshotStore), CliError> {
    let (dir, meta) = open_data_dir(path)?;
    let (store, report) = SnapshotStore::open(&dir, meta.cluster_id, SnapshotOptions::default())?;
    warn(&report);
    Ok((dir, meta, store))
}

/// Opening a damaged store moves things: that must be told.
fn warn(report: &OpenReport) {
    for failure in &report.failures {
        eprintln!("warning: the snapshot store did not open at once: {failure}");
    }
    for path in report.set_aside.iter().chain(&report.quarantined) {
        eprintln!("warning: set aside: {}", path.display());
    }
}

fn create(args: &SnapshotCreateArgs) -> Result<(), CliError> {
    let mut client = ask::connect(&args.server, ask::LONG_TIMEOUT_MS)?;
    let done = ask::ask(&mut client, "the server", &Snapshot {})?;
    if args.output.json {
        let shard =
            |shard: &crate::wire::types::ShardSequence| json!({ "shard": shard.shard, "sequence": shard.sequence });
        return Ok(output::json(&json!({
            "generation": done.generation,
            "bytes": done.bytes,
            "took_ms": done.took_ms,
            "shards": done.shards.iter().map(shard).collect::<Vec<_>>(),
        }))?);
    }
    let took = output::duration(std::time::Duration::from_millis(done.took_ms));
    output::text(&format!("generation {}: {} in {took}\n\n", done.generation, output::bytes(done.bytes)))?;
    let mut table = output::table(&["shard", "up to sequence"]);
    output::align_right(&mut table, 0);
    for shard in &done.shards {
        table.add_row([shard.shard.to_string(), output::grouped(shard.sequence)]);
    }
    Ok(output::text(&table.to_string())?)
}

fn list(args: &SnapshotListArgs) -> Result<(), CliError> {
    let (_dir, _, store) = open_store(&args.data_dir)?;
    let mut generations = store.generations()?;
    generations.reverse();
    if args.output.json {
        for (generation, manifest) in &generations {
            output::json(&generation_json(*generation, manifest))?;
        }
        return Ok(());
    }
    if generations.is_empty() {
        return Ok(output::text("no snapshots; `mirra snapshot create` makes one while the server runs")?);
    }
    print_generations(&generations, "whole manifest")?;
    let on_disk = output::bytes(store.size_on_disk()?);
    Ok(output::text(&format!(
        "\n{}, the store has {on_disk} on disk",
        output::plural(generations.len() as u64, "generation")
    ))?)
}

fn verify(args: &SnapshotVerifyArgs, data_dir: &Path) -> Result<(), CliError> {
    let (_dir, _, store) = open_store(data_dir)?;
    let mut numbers: Vec<u64> = store.generations()?.into_iter().map(|(number, _)| number).rev().collect();
    if let Some(wanted) = args.generation {
        if !numbers.contains(&wanted) {
            return Err(CliError::Failed(format!("there is no generation {wanted}; there are: {numbers:?}")));
        }
        numbers = vec![wanted];
    }
    if numbers.is_empty() {
        return Err(CliError::Failed(format!("there is no snapshot in {}", data_dir.display())));
    }
    let progress = output::Progress::new("generations", Some(numbers.len() as u64));
    let mut found = Vec::new();
    for number in numbers {
        found.push((number, store.verify(number)));
        progress.advance(1);
    }
    drop(progress);
    if args.output.json {
        for (generation, manifest) in &found {
            output::json(&generation_json(*generation, manifest))?;
        }
    } else {
        print_generations(&found, "good")?;
    }
    match found.iter().filter(|(_, manifest)| manifest.is_err()).count() {
        0 => Ok(()),
        damaged => Err(CliError::Failed(format!(
            "{damaged} of {} generations are damaged; a start falls back to an older one and replays more journal",
            found.len()
        ))),
    }
}

fn generation_json(generation: u64, manifest: &Result<Manifest, StorageError>) -> Value {
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(error) => return json!({ "generation": generation, "ok": false, "error": error.to_string() }),
    };
    let shards = manifest.shards.iter().map(|entry| {
        json!({
            "shard": entry.shard,
            // On disk stands where replay starts: one after the newest that the image holds.
            "sequence": entry.sequence.saturating_sub(1),
            "chunks": entry.chunks,
            "bytes": entry.bytes,
            "digest": format!("{:016x}", entry.digest),
        })
    });
    json!({
        "generation": generation,
        "ok": true,
        "created_ms": manifest.created_ms,
        "bytes": manifest.bytes(),
        "epoch": manifest.epoch,
        "shards": shards.collect::<Vec<_>>(),
    })
}

fn print_generations(found: &[(u64, Result<Manifest, StorageError>)], good: &str) -> Result<(), CliError> {
    let now_ms = ask::now_ms();
    let mut table =
        output::table(&["generation", "created", "age", "bytes", "chunks", "operations", "shards", "epoch", "state"]);
    output::align_right_at(&mut table, &[0, 2, 3, 4, 5, 6, 7]);
    for (generation, manifest) in found {
        let Ok(manifest) = manifest else {
            let dashes = std::iter::repeat_n("-".to_owned(), 7);
            table.add_row(std::iter::once(generation.to_string()).chain(dashes).chain(["DAMAGED".to_owned()]));
            continue;
        };
        let sequences = manifest.shards.iter().map(|entry| entry.sequence.saturating_sub(1)).sum();
        let chunks = manifest.shards.iter().map(|entry| u64::from(entry.chunks)).sum();
        table.add_row([
            generation.to_string(),
            when::date(manifest.created_ms),
            when::age(manifest.created_ms, now_ms),
            output::bytes(manifest.bytes()),
            output::grouped(chunks),
            output::grouped(sequences),
            manifest.shards.len().to_string(),
            manifest.epoch.to_string(),
            good.to_owned(),
        ]);
    }
    output::text(&table.to_string())?;
    for (generation, error) in found.iter().filter_map(|(number, manifest)| Some((number, manifest.as_ref().err()?))) {
        output::text(&format!("\ngeneration {generation}: {error}"))?;
    }
    Ok(())
}
