//! `mirra generate`: a stream of one of five fields, in files that `mirra replay` reads, with users, items and the items'
//! vectors beside it.
//!
//! The same options write the same bytes. Files that are there are not written over, unless `--force` says so.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;
use clap::{Args, builder::TypedValueParser as _};
use serde_json::json;

use super::{CliError, OutputArgs, output};
use crate::ingest::embeddings::embeddings_bytes;
use crate::ingest::fields::{
    self, Dirty, Field, FieldData, FieldModality, FieldOptions, ITEMS_MIN, Label, vectors, write,
};

/// Most users and items: what a machine with some gigabytes of memory holds.
const ROWS_MAX: i64 = 10_000_000;

/// Options of `mirra generate`.
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// The field: ecommerce, finance, media, social or health.
    #[arg(value_name = "FIELD", value_parser = field())]
    pub field: Field,
    /// Directory for the files; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Users.
    #[arg(long, value_name = "U", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=ROWS_MAX))]
    pub users: u32,
    /// Items.
    #[arg(long, value_name = "I", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(i64::from(ITEMS_MIN)..=ROWS_MAX))]
    pub items: u32,
    /// Events, before dirt is added.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000_000))]
    pub events: u64,
    /// Days that the events take, about.
    #[arg(long, value_name = "D", default_value_t = 90.0, value_parser = days)]
    pub days: f64,
    /// Seed of everything.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Share of users who leave for ever, 0 to 1.
    #[arg(long, value_name = "C", default_value_t = 0.2, value_parser = share)]
    pub churn: f64,
    /// Add duplicates, late events, bad values, unknown kinds and a bot.
    #[arg(long)]
    pub dirty: bool,
    /// Also write what only the generator knows: truth.tsv.gz, and a column `label` in the events.
    #[arg(long)]
    pub truth: bool,
    /// Also write the items' vectors, as an encoder of texts and images would make them: MODALITY.safetensors.
    #[arg(long)]
    pub vectors: bool,
    /// Write over files that are there.
    #[arg(long)]
    pub force: bool,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl GenerateArgs {
    /// The modalities whose vectors are wanted.
    fn modalities(&self) -> &'static [FieldModality] {
        if self.vectors { self.field.modalities() } else { &[] }
    }
}

fn field() -> impl clap::builder::TypedValueParser<Value = Field> {
    let known = |name: String| Field::named(&name).ok_or_else(|| format!("there is no field {name:?}"));
    PossibleValuesParser::new(Field::ALL.map(Field::name)).try_map(known)
}

fn within(text: &str, low: f64, high: f64) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (low..=high).contains(number));
    number.ok_or_else(|| format!("must be a number from {low} to {high}"))
}

fn days(text: &str) -> Result<f64, String> {
    within(text, 0.01, 36_500.0)
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0, 1.0)
}

/// A file that was written.
struct Written {
    path: PathBuf,
    what: &'static str,
    rows: u64,
    bytes: u64,
}

/// Runs it.
///
/// # Errors
/// [`CliError::Failed`] if a file is there already or cannot be written.
pub fn run(args: &GenerateArgs) -> Result<(), CliError> {
    let began = Instant::now();
    let options = FieldOptions {
        users: args.users,
        items: args.items,
        events: args.events,
        seed: args.seed,
        days: args.days,
        churn: args.churn,
        dirty: args.dirty.then(Dirty::default),
        ..FieldOptions::new(args.field)
    };
    let [users_path, items_path, events_path, truth_path] =
        ["users", "items", "events", "truth"].map(|name| args.out.join(format!("{name}.tsv.gz")));
    let modalities = args.modalities();
    let vectors_paths: Vec<PathBuf> = modalities.iter().map(|modality| vectors_path(&args.out, *modality)).collect();
    let truth = args.truth.then_some(&truth_path);
    let mut paths = [&users_path, &items_path, &events_path].into_iter().chain(&vectors_paths).chain(truth);
    if let Some(path) = paths.find(|path| path.exists() && !args.force) {
        let path = path.display();
        return Err(CliError::Failed(format!("{path} is there already: name another --out, or add --force")));
    }
    fs::create_dir_all(&args.out).map_err(|error| failed("make", &args.out, &error))?;
    let FieldData { users, items, events } = fields::generate(&options);
    let progress = output::Progress::new("events", Some(args.events));
    let mut labels: BTreeMap<Label, u64> = BTreeMap::new();
    let mut span_ms: Option<(i64, i64)> = None;
    let mut each = |event: &fields::FieldEvent| {
        *labels.entry(event.label).or_insert(0) += 1;
        let (first_ms, last_ms) = span_ms.unwrap_or((event.arrives_ms, event.arrives_ms));
        span_ms = Some((first_ms, last_ms.max(event.arrives_ms)));
        progress.advance(1);
    };
    let mut written = vec![
        put(&users_path, "users", |out| write::users(out, args.field, &users))?,
        put(&items_path, "items", |out| write::items(out, args.field, &items))?,
        put(&events_path, "events", |out| write::events(out, args.truth, events, &mut each))?,
    ];
    for (modality, path) in modalities.iter().zip(&vectors_paths) {
        let embedded = vectors(&options, *modality, &items);
        written.push(put(path, "vectors", |mut out| {
            out.write_all(&embeddings_bytes(modality.name, &embedded))?;
            Ok(embedded.ids.len() as u64)
        })?);
    }
    if let Some(path) = truth {
        written.push(put(path, "truths", |out| write::truths(out, &users))?);
    }
    drop(progress);
    let days = span_ms.map_or(0.0, |(first_ms, last_ms)| (last_ms - first_ms) as f64 / 86_400_000.0);
    tell(args, &written, &labels, days, began.elapsed())
}

fn vectors_path(out: &Path, modality: FieldModality) -> PathBuf {
    out.join(modality.name).with_extension("safetensors")
}

/// Writes beside and renames, so that a file which stopped half-way is never taken for a whole one.
fn put(path: &Path, what: &'static str, rows: impl FnOnce(&File) -> io::Result<u64>) -> Result<Written, CliError> {
    let partial = path.with_extension("partial");
    let write = || -> io::Result<(u64, u64)> {
        let file = File::create(&partial)?;
        let rows = rows(&file)?;
        let bytes = file.metadata()?.len();
        fs::rename(&partial, path)?;
        Ok((rows, bytes))
    };
    let (rows, bytes) = write().map_err(|error| {
        // What is half written is of no use; that it cannot be removed either changes nothing.
        let _ = fs::remove_file(&partial);
        failed("write", path, &error)
    })?;
    Ok(Written { path: path.to_owned(), what, rows, bytes })
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::Failed(format!("cannot {verb} {}: {error}", path.display()))
}

fn tell(
    args: &GenerateArgs,
    written: &[Written],
    labels: &BTreeMap<Label, u64>,
    days: f64,
    took: Duration,
) -> Result<(), CliError> {
    let name = args.field.name();
    let config = format!("examples/config/{name}.toml");
    if args.output.json {
        let file =
            |file: &Written| json!({ "path": file.path, "what": file.what, "rows": file.rows, "bytes": file.bytes });
        let labels: BTreeMap<&str, u64> = labels.iter().map(|(label, count)| (label.name(), *count)).collect();
        return Ok(output::json(&json!({
            "field": name,
            "seed": args.seed,
            "days": days,
            "files": written.iter().map(file).collect::<Vec<_>>(),
            "labels": labels,
            "config": config,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }))?);
    }
    let row = |file: &Written| {
        [output::grouped(file.rows), file.what.to_owned(), file.path.display().to_string(), output::bytes(file.bytes)]
    };
    let mut table = output::facts(written.iter().map(row));
    output::align_right_at(&mut table, &[0, 3]);
    output::text(&table.to_string())?;
    output::text(&format!("{name}, {days:.1} days, seed {}, written in {}", args.seed, output::duration(took)))?;
    if args.dirty {
        let parts: Vec<String> =
            labels.iter().map(|(label, count)| format!("{} {}", output::grouped(*count), label.name())).collect();
        output::text(&format!("dirty: {}", parts.join(", ")))?;
    }
    let out = args.out.display();
    let vectors = |modality: &FieldModality| {
        format!("  mirra load embeddings {} {}\n", modality.name, vectors_path(&args.out, *modality).display())
    };
    let vectors: String = args.modalities().iter().map(vectors).collect();
    output::text(&format!(
        "\ngo on with\n  mirra serve --config {config} --data-dir {out}/data\n  mirra load users {out}/users.tsv.gz && \
         mirra load items {out}/items.tsv.gz\n{vectors}  mirra replay {out}/events.tsv.gz"
    ))?;
    Ok(())
}
