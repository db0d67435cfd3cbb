//! `mirra snapshot restore`: a new data directory out of a generation, its item models and the journal behind it.
//!
//! Everything is put into a directory next to the new one, read back and compared there, and renamed into place as the
//! last step: what has the name is whole. A failure removes it; what a killed process leaves is called
//! `.NAME.restoring-*` and can be deleted. The data directory that is read stays locked meanwhile.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use super::snapshot::{SnapshotRestoreArgs, open_store};
use super::{CliError, output};
use crate::storage::files::{list_numbered, make_private_dir, sync_dir};
use crate::storage::journal::trim;
use crate::storage::{
    DataDir, JournalReader, Manifest, Meta, OsDisk, ShardManifest, SnapshotOptions, SnapshotStore, StorageError,
};

/// How a journal segment's name ends.
const SEGMENT_SUFFIX: &str = ".mjl";

/// What a restore has put into the new directory.
#[derive(Debug)]
struct Restored {
    chunks: u64,
    epochs: Vec<u32>,
    /// Newest sequence of each shard, journal included.
    sequences: Vec<u64>,
    journal_bytes: u64,
}

/// Runs it.
///
/// # Errors
/// [`CliError`]; nothing is left of the new directory then.
pub(super) fn run(args: &SnapshotRestoreArgs) -> Result<(), CliError> {
    let began = Instant::now();
    check_free(&args.into)?;
    let (dir, meta, store) = open_store(&args.data_dir)?;
    let manifest = choose(&store, args)?;
    let (parent, name) = place(&args.into)?;
    let staging = tempfile::Builder::new().prefix(&format!(".{name}.restoring-")).tempdir_in(&parent)?;
    let source = Source { dir: &dir, meta: &meta, store: &store, manifest: &manifest };
    let restored = source.fill(staging.path(), !args.without_journal)?;
    fs::rename(staging.path(), &args.into)?;
    sync_dir(&OsDisk, &parent)?;
    // It has another name now: there is nothing to remove.
    let _ = staging.keep();
    tell(args, &manifest, &restored, began.elapsed())
}

/// The new directory must not be there, or be empty.
fn check_free(into: &Path) -> Result<(), CliError> {
    match fs::read_dir(into).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(false) => Err(CliError::Failed(format!("{} is there and not empty: name a new directory", into.display()))),
        Err(error) => Err(CliError::Failed(format!("{} cannot be the new directory: {error}", into.display()))),
    }
}

/// The directory that the new one stands in, and its name.
fn place(into: &Path) -> Result<(PathBuf, String), CliError> {
    let absolute = std::path::absolute(into)?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) if parent.is_dir() => Ok((parent.to_owned(), name.to_string_lossy().into_owned())),
        (Some(parent), Some(_)) => {
            Err(CliError::Failed(format!("{} is no directory: the new one is made in it", parent.display())))
        }
        _ => Err(CliError::Usage(format!("{} cannot be the new directory", into.display()))),
    }
}

fn choose(store: &SnapshotStore, args: &SnapshotRestoreArgs) -> Result<Manifest, CliError> {
    if let Some(wanted) = args.generation {
        let there: Vec<u64> = store.generations()?.into_iter().map(|(number, _)| number).collect();
        if !there.contains(&wanted) {
            return Err(CliError::Failed(format!("there is no generation {wanted}; there are: {there:?}")));
        }
        return Ok(store.verify(wanted)?);
    }
    let choice = store.newest_valid()?;
    for rejected in &choice.rejected {
        eprintln!("warning: generation {} is passed over: {}", rejected.generation, rejected.error);
    }
    let none = || CliError::Failed(format!("there is no valid snapshot in {}", args.data_dir.display()));
    choice.manifest.ok_or_else(none)
}

/// What is restored from.
struct Source<'a> {
    dir: &'a DataDir,
    meta: &'a Meta,
    store: &'a SnapshotStore,
    manifest: &'a Manifest,
}

impl Source<'_> {
    /// Puts everything into `staging`, durably, and verifies it there.
    fn fill(&self, staging: &Path, with_journal: bool) -> Result<Restored, CliError> {
        let target = DataDir::open(staging, true)?;
        target.write_meta(self.meta)?;
        if let Some(schema) = self.dir.read_schema()? {
            target.write_schema(&schema)?;
        }
        let chunks = self.copy_generation(&target)?;
        let epochs = self.dir.list_epochs()?;
        for epoch in &epochs {
            let bytes = self.dir.get_epoch(*epoch)?;
            target.put_epoch(*epoch, &bytes)?;
            if target.get_epoch(*epoch)? != bytes {
                return Err(CliError::Failed(format!("item model {epoch} reads back otherwise than it was written")));
            }
        }
        let (mut sequences, mut journal_bytes) = (Vec::new(), 0);
        for entry in &self.manifest.shards {
            let mut next = entry.sequence;
            if with_journal {
                let (end, bytes) = self.copy_journal(&target, entry)?;
                next = next.max(end);
                journal_bytes += bytes;
            }
            sequences.push(next.saturating_sub(1));
        }
        if target.read_meta()?.as_ref() != Some(self.meta) {
            return Err(CliError::Failed("the meta file reads back otherwise than it was written".to_owned()));
        }
        Ok(Restored { chunks, epochs, sequences, journal_bytes })
    }

    /// Copies every chunk into a fresh store, and verifies the generation there.
    fn copy_generation(&self, target: &DataDir) -> Result<u64, CliError> {
        let (store, _) = SnapshotStore::open(target, self.meta.cluster_id, SnapshotOptions::default())?;
        let generation = self.manifest.generation;
        let mut writer = store.begin(generation)?;
        let total = self.manifest.shards.iter().map(|entry| u64::from(entry.chunks)).sum();
        let progress = output::Progress::new("chunks", Some(total));
        for entry in &self.manifest.shards {
            self.store.read_chunks(self.manifest, entry.shard, |index, bytes| {
                progress.advance(1);
                store.put_chunk(&mut writer, entry.shard, index, bytes)
            })?;
        }
        // Refuses a manifest whose counts are not those of what was put.
        store.commit(writer, self.manifest)?;
        let verified = store.verify(generation)?;
        if verified != *self.manifest {
            return Err(CliError::Failed(format!("generation {generation} reads back otherwise than it was written")));
        }
        Ok(total)
    }

    /// Copies the segments behind the snapshot, and reads them whole; gives where the journal ends and its bytes.
    fn copy_journal(&self, target: &DataDir, entry: &ShardManifest) -> Result<(u64, u64), CliError> {
        let shard = entry.shard;
        let place = target.journal(shard, self.meta.cluster_id);
        let (from, to) = (self.dir.journal_dir(shard), &place.dir);
        let segments = list_numbered(&OsDisk, &from, "", SEGMENT_SUFFIX)?;
        if segments.is_empty() {
            return Ok((entry.sequence, 0));
        }
        make_private_dir(&OsDisk, to)?;
        for (_, path) in &segments {
            // Listed by name, so that it has one.
            let copy = to.join(path.file_name().unwrap_or_default());
            fs::copy(path, &copy)?;
            File::open(&copy)?.sync_all()?;
        }
        sync_dir(&OsDisk, to)?;
        trim(&place, entry.sequence)?;
        let read = || -> Result<(u64, u64), StorageError> {
            let mut reader = JournalReader::open(&place, entry.sequence)?;
            while reader.next_record()?.is_some() {}
            Ok((reader.end().unwrap_or(entry.sequence), reader.counts().bytes))
        };
        read().map_err(|error| {
            let advice = "`--without-journal` leaves the journal out and restores the state as the snapshot has it";
            CliError::Failed(format!("the journal behind the snapshot cannot be used: {error}; {advice}"))
        })
    }
}

fn tell(
    args: &SnapshotRestoreArgs,
    manifest: &Manifest,
    restored: &Restored,
    took: std::time::Duration,
) -> Result<(), CliError> {
    let Restored { chunks, epochs, sequences, journal_bytes } = restored;
    if args.output.json {
        return Ok(output::json(&json!({
            "generation": manifest.generation,
            "into": args.into,
            "chunks": chunks,
            "bytes": manifest.bytes(),
            "epochs": epochs,
            "journal": !args.without_journal,
            "journal_bytes": journal_bytes,
            "sequences": sequences,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }))?);
    }
    let journal = match args.without_journal {
        true => "left out: the state is that of the snapshot".to_owned(),
        false => format!("{}, read whole behind the snapshot", output::bytes(*journal_bytes)),
    };
    let chunks =
        format!("{} chunks, {}, every checksum verified", output::grouped(*chunks), output::bytes(manifest.bytes()));
    let sequences: Vec<String> = sequences.iter().map(|sequence| output::grouped(*sequence)).collect();
    let facts = [
        ("generation", manifest.generation.to_string()),
        ("snapshot", chunks),
        ("item models", epochs.len().to_string()),
        ("journal", journal),
        ("sequences", sequences.join(" ")),
        ("took", output::duration(took)),
    ];
    output::text(&output::facts(facts.map(|(name, fact)| [name.to_owned(), fact])).to_string())?;
    let into = args.into.display();
    Ok(output::text(&format!("\nready: `mirra serve --data-dir {into}`, with the configuration that it had"))?)
}
