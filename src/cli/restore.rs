//! `mirra snapshot restore`: a new data directory out of a generation, its item models and the journal behind it; they come from
//! another data directory, or from an archive.
//!
//! Everything is put into a directory next to the new one, read back and compared there, and renamed into place as the
//! last step: what has the name is whole. A failure removes it; what a killed process leaves is called
//! `.NAME.restoring-*` and can be deleted. A data directory that is read stays locked meanwhile.
//!
//! With `--shards` what was read back goes on into a second such directory, for so many shards (`engine/reshard.rs`), and
//! that one gets the name.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::journal::open_data_dir;
use super::snapshot::{SnapshotRestoreArgs, open_store};
use super::{CliError, output, setup};
use crate::base::{Clock, SystemClock};
use crate::engine::{self, EngineError, ReshardReport};
use crate::state;
use crate::storage::archive::journal_parts;
use crate::storage::files::sync_dir;
use crate::storage::{
    ArchiveReader, DataDir, DirSource, Manifest, Meta, OsDisk, Part, Restored, SnapshotStore, Staging, StorageError,
};

/// Runs it.
///
/// # Errors
/// [`CliError`]; nothing is left of the new directory then.
pub(super) fn run(args: &SnapshotRestoreArgs, config_file: Option<&Path>) -> Result<(), CliError> {
    let began = Instant::now();
    let wanted = Wanted::of(args, config_file)?;
    check_free(&args.into)?;
    let (parent, name) = place(&args.into)?;
    let make_staging =
        || tempfile::Builder::new().prefix(&format!(".{name}.restoring-")).tempdir_in(&parent).map_err(CliError::from);
    let (source, (staging, restored)) = match (&args.from, &args.data_dir) {
        (Some(file), _) => (file, from_archive(args, file, wanted.as_ref(), &make_staging)?),
        (None, Some(data_dir)) => (data_dir, from_data_dir(args, data_dir, wanted.as_ref(), &make_staging)?),
        (None, None) => return Err(CliError::Usage("give --data-dir or --from".to_owned())),
    };
    let (staging, resharded) = match &wanted {
        Some(wanted) => {
            let into = make_staging()?;
            let report = wanted.reshard(staging.path(), into.path(), source)?;
            (into, Some(report))
        }
        None => (staging, None),
    };
    fs::rename(staging.path(), &args.into)?;
    sync_dir(&OsDisk, &parent)?;
    // It has another name now: there is nothing to remove.
    let _ = staging.keep();
    tell(args, &restored, resharded.as_ref(), began.elapsed())
}

/// Makes a directory that goes when it is dropped.
type MakeStaging<'a> = &'a dyn Fn() -> Result<TempDir, CliError>;

/// What an archive holds, with its own journal, the one that is named in its place, or none.
fn from_archive(
    args: &SnapshotRestoreArgs,
    file: &Path,
    wanted: Option<&Wanted>,
    make_staging: MakeStaging<'_>,
) -> Result<(TempDir, Restored), CliError> {
    wanted.map_or(Ok(()), |wanted| wanted.check_archive(file))?;
    let mut archive = ArchiveReader::open(&OsDisk, file)?;
    let journal = args.journal_from.as_deref().map(|dir| same_cluster(dir, archive.cluster_id())).transpose()?;
    let own_journal = journal.is_none() && !args.taken.without_journal;
    let staging = make_staging()?;
    let target = Staging::open(staging.path(), archive.cluster_id(), archive.generation())?;
    let restored = fill(target, |put| {
        let mut epoch = None;
        archive.each_part(|part| match part {
            Part::Segment { .. } if !own_journal => Ok(()),
            part => {
                epoch = if let Part::Epoch { number, .. } = part { Some(number) } else { epoch };
                put(part)
            }
        })?;
        match (&journal, archive.manifest()) {
            (Some(dir), Some(manifest)) => journal_parts(dir, manifest, epoch, put),
            _ => Ok(()),
        }
    })?;
    Ok((staging, restored))
}

/// A generation of a data directory, with the journal behind it or without.
fn from_data_dir(
    args: &SnapshotRestoreArgs,
    data_dir: &Path,
    wanted: Option<&Wanted>,
    make_staging: MakeStaging<'_>,
) -> Result<(TempDir, Restored), CliError> {
    let (dir, meta, store) = open_store(data_dir)?;
    if let Some(wanted) = wanted {
        wanted.check(&meta, dir.read_schema()?.as_deref(), data_dir)?;
    }
    let manifest = choose(&store, args.taken.generation, data_dir)?;
    let with_journal = !args.taken.without_journal;
    let source = DirSource { dir: &dir, meta: &meta, store: &store, manifest: &manifest, with_journal };
    let staging = make_staging()?;
    let target = Staging::open(staging.path(), meta.cluster_id, manifest.generation)?;
    let restored = fill(target, |put| source.each_part(put))?;
    Ok((staging, restored))
}

/// Another number of shards.
struct Wanted {
    shards: u16,
    /// Those of the server that wrote the data, if the configuration is the right one.
    options: state::Options,
}

impl Wanted {
    /// What the arguments want, if they want it.
    fn of(args: &SnapshotRestoreArgs, config_file: Option<&Path>) -> Result<Option<Self>, CliError> {
        let Some(shards) = args.shards else { return Ok(None) };
        if config_file.is_none() {
            return Err(CliError::Usage(format!(
                "--shards {shards} needs --config FILE: strategies and all that the data are read by are not in them; give the \
                 file that their server was started with (an empty one, if it had none)"
            )));
        }
        let (config, _) = setup::load(config_file, &[])?;
        Ok(Some(Self { shards, options: setup::state_options(&config) }))
    }

    /// Refuses data that were written under another configuration, before anything is copied.
    fn check(&self, meta: &Meta, schema: Option<&[u8]>, source: &Path) -> Result<(), CliError> {
        let adopted = engine::adopt(meta, schema, &mut self.options.clone(), source);
        adopted.map_err(|error| config_error(error, source))
    }

    /// As [`Self::check`], of what stands at the begin of an archive.
    fn check_archive(&self, file: &Path) -> Result<(), CliError> {
        let (mut archive, mut schema) = (ArchiveReader::open(&OsDisk, file)?, None);
        loop {
            match archive.next_part()? {
                Some(Part::Meta(_)) => {}
                Some(Part::Schema(bytes)) => schema = Some(bytes.to_vec()),
                _ => break,
            }
        }
        archive.meta().map_or(Ok(()), |meta| self.check(meta, schema.as_deref(), file))
    }

    fn reshard(&self, from: &Path, into: &Path, source: &Path) -> Result<ReshardReport, CliError> {
        let _shown = output::Progress::new("divided among shards", None);
        engine::reshard(from, into, self.options.clone(), self.shards, SystemClock.now_ms())
            .map_err(|error| config_error(error, source))
    }
}

/// What can be done if the data were written under another configuration.
fn config_error(error: EngineError, source: &Path) -> CliError {
    match error {
        EngineError::Fingerprint { then, now, .. } => CliError::Failed(format!(
            "{} was written under another configuration than --config says:\n  then: {then}\n  now:  {now}\ngive the file that its \
             server was started with, and the same MIRRA__ variables",
            source.display()
        )),
        error => error.into(),
    }
}

/// A data directory whose journals go on from an archive of this cluster. Its snapshots are not opened: they may be what is lost.
fn same_cluster(dir: &Path, cluster_id: u64) -> Result<DataDir, CliError> {
    let (dir, meta) = open_data_dir(dir)?;
    match meta.cluster_id == cluster_id {
        true => Ok(dir),
        false => {
            let (path, found) = (dir.meta_path(), meta.cluster_id);
            Err(StorageError::WrongCluster { path, found, expected: cluster_id }.into())
        }
    }
}

/// Puts every part of `source` into `target`, and verifies it there.
fn fill(
    mut target: Staging,
    source: impl FnOnce(&mut dyn FnMut(Part<'_>) -> Result<(), StorageError>) -> Result<(), StorageError>,
) -> Result<Restored, CliError> {
    let mut progress = None;
    source(&mut |part| {
        match part {
            Part::Manifest(manifest) => {
                let chunks = manifest.shards.iter().map(|entry| u64::from(entry.chunks)).sum();
                progress = Some(output::Progress::new("chunks", Some(chunks)));
            }
            Part::Chunk { .. } => progress.iter().for_each(|progress| progress.advance(1)),
            _ => {}
        }
        target.put(&part)
    })
    .map_err(journal_error)?;
    target.finish().map_err(journal_error)
}

/// What can be done if it is the journal that cannot be read.
pub(super) fn journal_error(error: StorageError) -> CliError {
    match error {
        StorageError::JournalDamaged { .. } | StorageError::MissingHistory { .. } => {
            let advice = "`--without-journal` leaves the journal out and takes the state as the snapshot has it";
            CliError::Failed(format!("the journal behind the snapshot cannot be used: {error}; {advice}"))
        }
        error => error.into(),
    }
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

/// The generation that is asked for, or the newest that is whole.
///
/// # Errors
/// [`CliError`] if there is none.
pub(super) fn choose(store: &SnapshotStore, wanted: Option<u64>, data_dir: &Path) -> Result<Manifest, CliError> {
    if let Some(wanted) = wanted {
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
    let none = || CliError::Failed(format!("there is no valid snapshot in {}", data_dir.display()));
    choice.manifest.ok_or_else(none)
}

fn tell(
    args: &SnapshotRestoreArgs,
    restored: &Restored,
    resharded: Option<&ReshardReport>,
    took: Duration,
) -> Result<(), CliError> {
    let Restored { manifest, contents, epochs, next_sequences, journal_bytes } = restored;
    let sequences: Vec<u64> = match resharded {
        Some(report) => vec![report.sequence; report.manifest.shards.len()],
        None => next_sequences.iter().map(|next| next.saturating_sub(1)).collect(),
    };
    let with_journal = contents.segments > 0;
    if args.output.json {
        let mut told = json!({
            "generation": manifest.generation,
            "into": args.into,
            "chunks": contents.chunks,
            "bytes": manifest.bytes(),
            "epochs": epochs,
            "journal": with_journal,
            "journal_bytes": journal_bytes,
            "sequences": sequences,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
        if let Some(report) = resharded {
            told["resharded"] = reshard_object(report);
        }
        return Ok(output::json(&told)?);
    }
    let journal = match with_journal {
        false => "left out: the state is that of the snapshot".to_owned(),
        true => format!("{}, read whole behind the snapshot", output::bytes(*journal_bytes)),
    };
    let chunks = output::grouped(contents.chunks);
    let chunks = format!("{chunks} chunks, {}, every checksum verified", output::bytes(manifest.bytes()));
    let sequences: Vec<String> = sequences.iter().map(|sequence| output::grouped(*sequence)).collect();
    let mut facts = vec![
        ("generation", manifest.generation.to_string()),
        ("snapshot", chunks),
        ("item models", epochs.len().to_string()),
        ("journal", journal),
    ];
    facts.extend(resharded.into_iter().flat_map(reshard_facts));
    facts.extend([("sequences", sequences.join(" ")), ("took", output::duration(took))]);
    output::text(&output::facts(facts.into_iter().map(|(name, fact)| [name.to_owned(), fact])).to_string())?;
    let into = args.into.display();
    let shards = args.shards.map(|shards| format!(" --shards {shards}")).unwrap_or_default();
    Ok(output::text(&format!("\nready: `mirra serve --data-dir {into}{shards}`, with the configuration that it had"))?)
}

/// What was divided, for programs.
fn reshard_object(report: &ReshardReport) -> Value {
    json!({
        "from": report.shards_before,
        "to": report.manifest.shards.len(),
        "users": report.users,
        "items": report.items,
        "events": report.events,
        "taught_events": report.taught,
        "refitted": report.refitted,
        "bytes": report.manifest.bytes(),
    })
}

/// What was divided, and what had to be made anew for it.
fn reshard_facts(report: &ReshardReport) -> [(&'static str, String); 6] {
    let ReshardReport { shards_before, users, items, events, taught, refitted, manifest, .. } = report;
    let anew = match (taught, refitted) {
        (None, _) => "nothing".to_owned(),
        (Some(taught), refitted) => {
            let factors = if *refitted { ", and its item factors" } else { "" };
            format!(
                "the bank that `auto` asks, taught again from {}{factors}",
                output::plural(*taught, "retained event")
            )
        }
    };
    [
        ("shards", format!("{shards_before} -> {}", manifest.shards.len())),
        ("users", output::grouped(*users)),
        ("items", output::grouped(*items)),
        ("events", output::grouped(*events)),
        ("made anew", anew),
        ("written", format!("{}, every checksum verified", output::bytes(manifest.bytes()))),
    ]
}
