//! `mirra journal`: look at the journal of a data directory, and end a damaged one before its damage.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{CliError, OutputArgs, output};
use crate::storage::journal::{salvage, verify};
use crate::storage::{DataDir, JournalReport, Meta, SalvageReport, StorageError};

/// Options of `mirra journal`.
#[derive(Clone, Debug, Args)]
pub struct JournalArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: JournalAction,
}

/// What `mirra journal` does.
#[derive(Clone, Debug, Subcommand)]
pub enum JournalAction {
    /// Check every record against its checksum and its predecessor; tell a torn tail from damage.
    Verify(JournalShardArgs),
    /// End a damaged journal before its first damage, so that the server starts again; loses every later event.
    Salvage(JournalShardArgs),
}

/// Options of `mirra journal verify` and `salvage`.
#[derive(Clone, Debug, Args)]
pub struct JournalShardArgs {
    /// Data directory of a server that does not run.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Shard to look at; without it all of them.
    #[arg(long, value_name = "N")]
    pub shard: Option<u16>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs it.
///
/// # Errors
/// [`CliError::Failed`] if a journal is damaged, or damaged in a way that salvaging does not help;
/// [`CliError::Storage`] if the directory cannot be taken.
pub fn run(args: &JournalArgs) -> Result<(), CliError> {
    match &args.action {
        JournalAction::Verify(args) => run_verify(args),
        JournalAction::Salvage(args) => run_salvage(args),
    }
}

/// Takes a data directory that is there and belongs to something.
pub(super) fn open_data_dir(path: &Path) -> Result<(DataDir, Meta), CliError> {
    let meta = path.join("mirra.meta");
    // Opening makes missing folders: nothing of the kind may happen in a directory that is not a server's.
    if path.is_dir() && !meta.exists() {
        let path = path.display();
        return Err(CliError::Failed(format!("{path} is no data directory of a server: it has no mirra.meta")));
    }
    let dir = DataDir::open(path, false)?;
    let read = dir.read_meta()?;
    read.map(|meta| (dir, meta)).ok_or_else(|| CliError::Failed(format!("{} has gone", meta.display())))
}

fn shards(args: &JournalShardArgs, meta: &Meta) -> Result<std::ops::Range<u16>, CliError> {
    match args.shard {
        Some(shard) if shard >= meta.shards => {
            Err(CliError::Usage(format!("there is no shard {shard}: there are {}, counted from 0", meta.shards)))
        }
        Some(shard) => Ok(shard..shard + 1),
        None => Ok(0..meta.shards),
    }
}

fn run_verify(args: &JournalShardArgs) -> Result<(), CliError> {
    let (dir, meta) = open_data_dir(&args.data_dir)?;
    let mut found: Vec<(u16, Result<JournalReport, StorageError>)> = Vec::new();
    let shards = shards(args, &meta)?;
    let progress = output::Progress::new("shards", Some(shards.len() as u64));
    for shard in shards {
        found.push((shard, verify(&dir.journal(shard, meta.cluster_id))));
        progress.advance(1);
    }
    drop(progress);
    if args.output.json {
        for (shard, result) in &found {
            output::json(&verify_json(*shard, result))?;
        }
    } else {
        print_verify(&found)?;
    }
    let damaged = found.iter().filter(|(_, result)| result.is_err()).count();
    if damaged == 0 {
        return Ok(());
    }
    Err(CliError::Failed(format!(
        "{damaged} of {} journals cannot be read whole; restore the files from a copy, or a snapshot with `mirra \
         snapshot restore --without-journal`, or lose what lies behind the damage with `mirra journal salvage \
         --data-dir {}`",
        found.len(),
        args.data_dir.display()
    )))
}

fn verify_json(shard: u16, result: &Result<JournalReport, StorageError>) -> Value {
    let report = match result {
        Ok(report) => report,
        Err(error) => return json!({ "shard": shard, "ok": false, "error": error.to_string() }),
    };
    let torn = report.torn.iter().map(|torn| {
        json!({
            "segment": torn.segment,
            "file": torn.path,
            "offset": torn.offset,
            "bytes_dropped": torn.bytes_dropped,
            "next_sequence": torn.next_sequence,
            "reason": torn.reason,
        })
    });
    json!({
        "shard": shard,
        "ok": true,
        "segments": report.counts.segments,
        "records": report.counts.records,
        "gaps": report.counts.gaps,
        "sequences": report.counts.sequences,
        "bytes": report.counts.bytes,
        "first_sequence": report.first_sequence,
        "next_sequence": report.next_sequence,
        "torn": torn.collect::<Vec<_>>(),
    })
}

fn print_verify(found: &[(u16, Result<JournalReport, StorageError>)]) -> Result<(), CliError> {
    let mut table = output::table(&["shard", "segments", "records", "operations", "first", "last", "bytes", "state"]);
    output::align_right_at(&mut table, &[0, 1, 2, 3, 4, 5, 6]);
    for (shard, result) in found {
        let Ok(report) = result else {
            let dash = || "-".to_owned();
            table.add_row([shard.to_string(), dash(), dash(), dash(), dash(), dash(), dash(), "DAMAGED".to_owned()]);
            continue;
        };
        let newest = report.torn.last().filter(|torn| Some(torn.next_sequence) == report.next_sequence);
        let state = match newest {
            Some(torn) => format!("torn tail of {}", output::bytes(torn.bytes_dropped)),
            None => "good".to_owned(),
        };
        let sequence = |sequence: Option<u64>| sequence.map_or_else(|| "-".to_owned(), output::grouped);
        table.add_row([
            shard.to_string(),
            output::grouped(report.counts.segments),
            output::grouped(report.counts.records),
            output::grouped(report.counts.sequences),
            sequence(report.first_sequence),
            sequence(report.next_sequence.and_then(|next| next.checked_sub(1))),
            output::bytes(report.counts.bytes),
            state,
        ]);
    }
    output::text(&table.to_string())?;
    for (shard, result) in found {
        match result {
            Err(error) => output::text(&format!("\nshard {shard}: {error}"))?,
            Ok(report) => {
                for torn in &report.torn {
                    output::text(&format!(
                        "\nshard {shard}: {} bytes after offset {} of {} are the torn end of a killed process ({}); the \
                         journal goes on with sequence {}, nothing has to be done",
                        torn.bytes_dropped,
                        torn.offset,
                        torn.path.display(),
                        torn.reason,
                        torn.next_sequence
                    ))?;
                }
            }
        }
    }
    Ok(())
}

fn run_salvage(args: &JournalShardArgs) -> Result<(), CliError> {
    let (dir, meta) = open_data_dir(&args.data_dir)?;
    let mut failed = Vec::new();
    for shard in shards(args, &meta)? {
        let result = salvage(&dir.journal(shard, meta.cluster_id));
        if args.output.json {
            output::json(&salvage_json(shard, &result))?;
        } else {
            print_salvage(shard, &result)?;
        }
        failed.extend(result.is_err().then_some(shard));
    }
    match failed[..] {
        [] => Ok(()),
        _ => Err(CliError::Failed(format!("the journals of shards {failed:?} cannot be salvaged"))),
    }
}

fn salvage_json(shard: u16, result: &Result<SalvageReport, StorageError>) -> Value {
    match result {
        Err(error) => json!({ "shard": shard, "ok": false, "error": error.to_string() }),
        Ok(report) => json!({
            "shard": shard,
            "ok": true,
            "damage": report.damage,
            "next_sequence": report.next_sequence,
            "set_aside": report.set_aside,
        }),
    }
}

fn print_salvage(shard: u16, result: &Result<SalvageReport, StorageError>) -> Result<(), CliError> {
    let report = match result {
        Err(error) => return Ok(output::text(&format!("shard {shard}: {error}"))?),
        Ok(report) => report,
    };
    let Some(damage) = &report.damage else {
        return Ok(output::text(&format!("shard {shard}: good, nothing was touched"))?);
    };
    let end = match report.next_sequence {
        Some(next) => format!("it ends now before sequence {}", output::grouped(next)),
        None => "nothing of it is left".to_owned(),
    };
    output::text(&format!("shard {shard}: salvaged, {end}\n  was: {damage}"))?;
    for path in &report.set_aside {
        output::text(&format!("  set aside: {}", path.display()))?;
    }
    Ok(())
}
