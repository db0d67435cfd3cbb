//! `mirra load embeddings`: vectors of items, made by an encoder elsewhere.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use super::report::FileReport;
use super::sender::{Sender, Waiting};
use super::{SendingArgs, TIMEOUT_MS, conclude};
use crate::cli::schema::in_force;
use crate::cli::{CliError, ask, output};
use crate::client::BlockingClient;
use crate::ingest::embeddings::{Embedded, read_embeddings};
use crate::wire::commands::EmbeddingPut;

/// Options of `mirra load embeddings`.
#[derive(Clone, Debug, Args)]
pub struct EmbeddingsArgs {
    /// Modality of the schema (`[modalities.NAME]`) that the vectors are of.
    #[arg(value_name = "MODALITY")]
    pub modality: String,
    /// A safetensors or npy file with a matrix of floating point, a row an item.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// File with the ids of the items, one a line, in the order of the rows; without it the metadata `items` of a
    /// safetensors file, ids parted by line breaks.
    #[arg(long, value_name = "FILE")]
    pub ids: Option<PathBuf>,
    /// Tensor of a safetensors file that holds several; without it the one named like the modality.
    #[arg(long, value_name = "NAME")]
    pub tensor: Option<String>,
    /// How to send them.
    #[command(flatten)]
    pub sending: SendingArgs,
}

/// Loads all files; tells what became of the rows.
///
/// # Errors
/// [`CliError`] if a file cannot be read, is of another length than the modality, the server is not reached, or any row
/// was refused.
pub(super) fn run(args: &EmbeddingsArgs) -> Result<(), CliError> {
    if args.ids.is_some() && args.files.len() > 1 {
        return Err(CliError::Usage("--ids names the rows of one file; load the files one by one".to_owned()));
    }
    let mut client = ask::connect(&args.sending.server, TIMEOUT_MS)?;
    let dim = declared(&mut client, &args.modality)?;
    let began = Instant::now();
    let mut sender = Sender::new(client, usize::from(args.sending.in_flight));
    let progress = output::Progress::new("rows", None);
    let mut files = Vec::new();
    let mut failure = None;
    for path in &args.files {
        let read = read_embeddings(path, args.tensor.as_deref(), &args.modality, args.ids.as_deref());
        let sent = read.map_err(CliError::from).and_then(|embedded| {
            let found = embedded.matrix.shape[1];
            if found != dim {
                return Err(CliError::Failed(format!(
                    "{}: its vectors have {found} numbers, those of modality `{}` have {dim}",
                    path.display(),
                    args.modality
                )));
            }
            files.push(FileReport::of_vectors(path, &args.modality, dim));
            send(args, files.len() - 1, embedded, &mut files, &mut sender, &progress)
        });
        if let Err(error) = sent {
            failure = Some(error);
            break;
        }
    }
    match failure {
        // Nothing was sent, and there is nothing to tell of.
        Some(failure) if files.is_empty() => Err(failure),
        failure => conclude(files, sender, progress, began, failure, "vector", args.sending.output.json),
    }
}

fn send(
    args: &EmbeddingsArgs,
    number: usize,
    embedded: Embedded,
    files: &mut [FileReport],
    sender: &mut Sender<EmbeddingPut>,
    progress: &output::Progress,
) -> Result<(), CliError> {
    let durability = ask::durability_code(args.sending.durability);
    let file = u32::try_from(number).unwrap_or(u32::MAX);
    let rows = embedded.matrix.values.chunks_exact(embedded.matrix.shape[1].max(1));
    for ((item, vector), line) in embedded.ids.into_iter().zip(rows).zip(1..) {
        files[number].rows += 1;
        progress.advance(1);
        let (modality, vector) = (args.modality.clone(), vector.to_vec());
        sender.send(Waiting {
            file,
            line,
            request: EmbeddingPut { item, modality, vector, time_ms: 0, durability },
        })?;
    }
    Ok(())
}

/// How long the vectors of a modality are, by the server's schema.
fn declared(client: &mut BlockingClient, modality: &str) -> Result<usize, CliError> {
    let schema = in_force(client)?;
    let known = schema.modality(modality).map_err(|there| {
        CliError::Failed(format!(
            "the server's schema has no modality `{modality}`, there are {there}: add [modalities.{modality}] with its \
             `dim` to the schema and raise its version (`mirra schema apply FILE`)"
        ))
    })?;
    Ok(usize::from(known.dim))
}
