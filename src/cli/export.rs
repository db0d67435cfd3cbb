//! `mirra snapshot export` and `verify --file`: a generation and what belongs to it as one file, and whether such a file is whole.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::restore::{choose, journal_error};
use super::snapshot::{SnapshotExportArgs, open_store};
use super::{CliError, OutputArgs, output, when};
use crate::storage::archive::Contents;
use crate::storage::{ArchiveReader, ArchiveWriter, DirSource, Manifest, OsDisk, Part, StorageError};

/// Writes an archive.
///
/// # Errors
/// [`CliError`]; nothing is left of the file then.
pub(super) fn run(args: &SnapshotExportArgs) -> Result<(), CliError> {
    let began = Instant::now();
    if args.to.exists() {
        return Err(CliError::Failed(format!("{} is there already: name a new file", args.to.display())));
    }
    let (dir, meta, store) = open_store(&args.data_dir)?;
    let manifest = choose(&store, args.taken.generation, &args.data_dir)?;
    let with_journal = !args.taken.without_journal;
    let source = DirSource { dir: &dir, meta: &meta, store: &store, manifest: &manifest, with_journal };
    if with_journal {
        source.verify_journals().map_err(journal_error)?;
    }
    let mut archive = ArchiveWriter::create(Arc::new(OsDisk), &args.to, meta.cluster_id, manifest.generation)?;
    let chunks = manifest.shards.iter().map(|entry| u64::from(entry.chunks)).sum();
    let progress = output::Progress::new("chunks", Some(chunks));
    source.each_part(|part| {
        progress.advance(u64::from(matches!(part, Part::Chunk { .. })));
        archive.put(&part)
    })?;
    let (contents, bytes) = archive.finish()?;
    drop(progress);
    let took = began.elapsed();
    if args.output.json {
        return Ok(output::json(&json!({
            "generation": manifest.generation,
            "to": args.to,
            "bytes": bytes,
            "chunks": contents.chunks,
            "epochs": contents.epochs,
            "journal": with_journal,
            "journal_bytes": contents.journal_bytes,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }))?);
    }
    let mut facts = facts(&manifest, contents, bytes);
    facts.push(["took".to_owned(), output::duration(took)]);
    output::text(&output::facts(facts).to_string())?;
    let to = args.to.display();
    Ok(output::text(&format!("\n`mirra snapshot restore --from {to} --into DIR` makes a data directory of it"))?)
}

/// Reads an archive whole.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn verify(file: &Path, how: &OutputArgs) -> Result<(), CliError> {
    let mut archive = ArchiveReader::open(&OsDisk, file)?;
    archive.each_part(|_| Ok::<(), StorageError>(()))?;
    let bytes = std::fs::metadata(file)?.len();
    let contents = archive.contents();
    let Some(manifest) = archive.manifest() else { return Ok(()) }; // none is refused before
    if how.json {
        return Ok(output::json(&json!({
            "generation": manifest.generation,
            "ok": true,
            "created_ms": manifest.created_ms,
            "bytes": bytes,
            "chunks": contents.chunks,
            "epochs": contents.epochs,
            "journal_bytes": contents.journal_bytes,
            "shards": manifest.shards.len(),
        }))?);
    }
    output::text(&output::facts(facts(manifest, contents, bytes)).to_string())?;
    Ok(output::text("\ngood: every checksum is right and nothing is missing")?)
}

fn facts(manifest: &Manifest, contents: Contents, bytes: u64) -> Vec<[String; 2]> {
    let journal = match contents.segments {
        0 => "none: the state is that of the snapshot".to_owned(),
        segments => format!("{}, {}", output::plural(segments, "segment"), output::bytes(contents.journal_bytes)),
    };
    let facts = [
        ("generation", manifest.generation.to_string()),
        ("created", when::date(manifest.created_ms)),
        ("archive", output::bytes(bytes)),
        ("snapshot", format!("{} chunks, {}", output::grouped(contents.chunks), output::bytes(manifest.bytes()))),
        ("shards", manifest.shards.len().to_string()),
        ("item models", contents.epochs.to_string()),
        ("journal", journal),
    ];
    facts.map(|(name, fact)| [name.to_owned(), fact]).to_vec()
}
