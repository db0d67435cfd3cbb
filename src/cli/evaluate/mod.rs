//! `mirra evaluate`: strategies on recorded events, through the very code that serves them.
//!
//! Every strategy gets a [`Shard`](crate::state::Shard) of its own, events go through `Shard::apply`, figures come from
//! its test-then-learn sums, item models are fitted over its histories and installed as an epoch. Nothing is learned or
//! ranked here. Three protocols: rating prediction ([`protocol_p1`]), top-k on a stream ([`protocol_p2`]), leave-one-out
//! against given negatives ([`protocol_p3`]). What is known beside the events is stated before the first ([`side`]).

use std::path::PathBuf;
use std::sync::Arc;

pub mod compare;
mod error;
mod fit;
pub mod outcomes;
pub mod plot;
pub mod protocol_p1;
pub mod protocol_p2;
pub mod protocol_p3;
pub mod report;
pub mod side;
pub mod slices;
pub mod spec;
pub mod stream;
#[cfg(test)]
mod tests;

pub use error::EvaluateError;
pub use report::{Figures, print};

use super::OutputArgs;
use crate::ingest::table::HeldOut;
use crate::ingest::tensors::read_tensors;
use crate::learn::Strategy;
use compare::Runs;
use outcomes::Outcomes;
use protocol_p2::Scoring;
use side::{Side, SideArgs};
use slices::Slice;
use spec::Spec;
use stream::{BadRows, Stream, read_held_out};

/// What is scored, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// Each rating is predicted before it is learned: RMSE and MAE.
    #[value(name = "P1")]
    P1,
    /// Each of the last events is ranked among all items before it is learned: hit rate, NDCG, MRR.
    #[value(name = "P2")]
    P2,
    /// One held-out item a user is ranked among given negatives (--test): hit rate, NDCG.
    #[value(name = "P3")]
    P3,
}

impl Protocol {
    /// Its name in figures and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
        }
    }
}

/// Arguments of `mirra evaluate`.
#[derive(Clone, Debug, clap::Args)]
pub struct EvaluateArgs {
    /// TSV or CSV, plain or gzip, with a header naming `user item [value] [timestamp]`; the row order is the event order.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// What is scored, and how.
    #[arg(long, value_enum, default_value = "P1", ignore_case = true)]
    pub protocol: Protocol,
    /// Strategy with parameters that differ from the defaults, such as `decay:half_life_s=3600`; may be repeated. With
    /// `user_table=0`, `item_table=0` or `embeddings=0` it is not told what stands there: what that is worth to it.
    /// Without it: every strategy that the protocol can score.
    #[arg(long = "strategy", value_name = "NAME[:K=V,...]")]
    pub strategies: Vec<String>,
    /// P3: test file with a `negatives` column.
    #[arg(long, value_name = "FILE")]
    pub test: Option<PathBuf>,
    /// Leave out events with a value below this.
    #[arg(long, value_name = "V", allow_negative_numbers = true)]
    pub min_value: Option<f32>,
    /// P1: clip predictions to this scale before they are scored, such as `1,5`.
    #[arg(long, value_name = "LO,HI", value_parser = scale, allow_hyphen_values = true)]
    pub clip: Option<(f32, f32)>,
    /// P2: score every E-th event only; all are learned.
    #[arg(long, value_name = "E", value_parser = clap::value_parser!(u32).range(1..))]
    pub every: Option<u32>,
    /// P2: score the events between these shares of the stream, and stop there; the default is `0.9,1`. Parameters are
    /// to be chosen on an earlier slice, such as `0.8,0.9`, than the one they are reported on.
    #[arg(long, value_name = "FROM,TO", value_parser = slice)]
    pub slice: Option<(f64, f64)>,
    /// What is known beside the events.
    #[command(flatten)]
    pub side: SideArgs,
    /// P1, P2: tell besides the whole what was made of cold users, who have at most N events before the one that is scored,
    /// and of new items, which nobody met before.
    #[arg(long, value_name = "N")]
    pub cold: Option<u32>,
    /// P2: safetensors file that strategy `attention` begins from (docs/neural.md).
    #[arg(long, value_name = "FILE.safetensors")]
    pub weights: Option<PathBuf>,
    /// P2: write what strategy `attention` has learned by the end of the stream, to be given to `serve --weights`.
    #[arg(long, value_name = "FILE.safetensors")]
    pub save_weights: Option<PathBuf>,
    /// Seed of first factors.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Run every strategy once with each of these seeds, and tell means and spread.
    #[arg(long, value_name = "A,B,...", value_delimiter = ',', conflicts_with = "seed")]
    pub seeds: Vec<u64>,
    /// Strategy (as written in --strategy) that the others are compared with, event by event; the default is the first.
    #[arg(long, value_name = "NAME")]
    pub against: Option<String>,
    /// Draw accuracy over the stream, a line a strategy: rolling RMSE in P1, hit rate at 10 in P2.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl EvaluateArgs {
    fn seeds(&self) -> &[u64] {
        if self.seeds.is_empty() { std::slice::from_ref(&self.seed) } else { &self.seeds }
    }
}

/// Runs every strategy over the files, one after the other, and compares them. Bad rows are told on standard error.
/// `progress` is called with events done and events to do, over all strategies and seeds.
///
/// # Errors
/// [`EvaluateError`]: specifications and flags are checked before a file is opened.
pub fn run(args: &EvaluateArgs, progress: &mut dyn FnMut(u64, u64)) -> Result<Vec<Figures>, EvaluateError> {
    check_flags(args)?;
    let mut specs = args.seeds().iter().map(|seed| specs(args, *seed)).collect::<Result<Vec<_>, _>>()?;
    let weights = args.weights.as_deref().map(read_tensors).transpose()?.map(Arc::new);
    for spec in specs.iter_mut().flatten() {
        spec.around.weights.clone_from(&weights);
        spec.around.save_weights.clone_from(&args.save_weights);
    }
    let against = against(args, &specs[0])?;
    let stream = Stream::read(&args.files, args.min_value)?;
    tell(&stream.bad);
    let side = Side::read(&args.side, &stream)?;
    tell(&side.bad);
    let test = match &args.test {
        Some(file) => {
            let (rows, bad) = read_held_out(file)?;
            tell(&bad);
            rows
        }
        None => Vec::new(),
    };
    let each = stream.events.len() as u64;
    let total = each * (specs[0].len() * specs.len()) as u64;
    let (mut before, mut all) = (0, Vec::with_capacity(specs[0].len()));
    for at in 0..specs[0].len() {
        let mut runs = Runs::default();
        for (seed, specs) in args.seeds().iter().zip(&specs) {
            let mut step = |done: u64| {
                if done.is_multiple_of(STEP) || done == each {
                    progress(before + done, total);
                }
            };
            runs.add(run_one(args, (&stream, &side, &test), &specs[at], *seed, &mut step)?);
            before += each;
        }
        all.push(runs);
    }
    if let Some(file) = &args.plot {
        plot::write(file, args.protocol, &specs[0], &all)?;
    }
    let slices = args.cold.map(|cold| slices::of(&stream, args.protocol, cold));
    Ok(figures(args, &all, against, slices.as_deref()))
}

/// Events between two reports of progress.
const STEP: u64 = 256;

/// Figures of every strategy, with its differences from the one at `against`, over all that was scored and in slices.
fn figures(args: &EvaluateArgs, all: &[Runs], against: usize, slices: Option<&[Slice]>) -> Vec<Figures> {
    let mut figures: Vec<Figures> = all.iter().map(|runs| runs.figures(args.seeds())).collect();
    let name = figures[against].strategy.clone();
    for (at, (one, runs)) in figures.iter_mut().zip(all).enumerate() {
        if at != against {
            one.differences = Some(runs.against(&all[against])).filter(|differences| !differences.is_empty());
            one.against = one.differences.is_some().then(|| name.clone());
        }
        let other = (at != against).then(|| &all[against]);
        one.slices = slices.map(|slices| slices.iter().map(|slice| slice.figures(runs, other)).collect());
    }
    figures
}

fn run_one(
    args: &EvaluateArgs,
    (stream, side, test): (&Stream, &Side, &[HeldOut]),
    spec: &Spec,
    seed: u64,
    step: &mut dyn FnMut(u64),
) -> Result<(Figures, Outcomes), EvaluateError> {
    report::reset_peak_rss();
    let (found, outcomes) = match args.protocol {
        Protocol::P1 => protocol_p1::run(stream, spec, args.clip, seed, step),
        Protocol::P2 => {
            let (slice, every) = (args.slice.unwrap_or((0.9, 1.0)), args.every.unwrap_or(1) as usize);
            protocol_p2::run(stream, side, spec, Scoring { slice, every }, seed, step)?
        }
        Protocol::P3 => protocol_p3::run(stream, test, spec, seed, step)?,
    };
    let (strategy, protocol) = (spec.label.clone(), args.protocol.name());
    Ok((Figures { strategy, protocol, peak_rss_bytes: report::peak_rss_bytes(), ..found }, outcomes))
}

/// Which strategy the others are compared with.
fn against(args: &EvaluateArgs, specs: &[Spec]) -> Result<usize, EvaluateError> {
    let Some(name) = &args.against else { return Ok(0) };
    let unknown =
        || EvaluateError::Against { name: name.clone(), there: specs.iter().map(|spec| spec.label.clone()).collect() };
    specs.iter().position(|spec| spec.label == *name).ok_or_else(unknown)
}

/// Refuses flags that would be ignored, and asks for those that are missing.
fn check_flags(args: &EvaluateArgs) -> Result<(), EvaluateError> {
    let flags = [
        ("clip", args.clip.is_some(), Protocol::P1),
        ("every", args.every.is_some(), Protocol::P2),
        ("slice", args.slice.is_some(), Protocol::P2),
        ("users", args.side.users.is_some(), Protocol::P2),
        ("items", args.side.items.is_some(), Protocol::P2),
        ("embeddings", !args.side.embeddings.is_empty(), Protocol::P2),
        ("weights", args.weights.is_some(), Protocol::P2),
        ("save-weights", args.save_weights.is_some(), Protocol::P2),
        ("test", args.test.is_some(), Protocol::P3),
    ];
    for (flag, given) in [("plot", args.plot.is_some()), ("cold", args.cold.is_some())] {
        if given && args.protocol == Protocol::P3 {
            return Err(EvaluateError::Flag { flag, protocol: "P3", needed: false });
        }
    }
    if !args.side.types.is_empty() && args.side.users.is_none() && args.side.items.is_none() {
        return Err(EvaluateError::NothingToType);
    }
    let protocol = args.protocol.name();
    match flags.into_iter().find(|(_, given, of)| *given && *of != args.protocol) {
        Some((flag, ..)) => Err(EvaluateError::Flag { flag, protocol, needed: false }),
        None if args.protocol == Protocol::P3 && args.test.is_none() => {
            Err(EvaluateError::Flag { flag: "test", protocol, needed: true })
        }
        None => Ok(()),
    }
}

/// The strategies asked for; of all, those that predict values in P1, those that rank in P2 and P3.
fn specs(args: &EvaluateArgs, seed: u64) -> Result<Vec<Spec>, EvaluateError> {
    if !args.strategies.is_empty() {
        return args.strategies.iter().map(|text| checked(args, Spec::parse(text, seed)?)).collect();
    }
    let all = Strategy::NAMES.iter().map(|name| Spec::parse(name, seed));
    let fits = |spec: &Spec| match args.protocol {
        Protocol::P1 => spec.strategy.shape().predicts_value,
        Protocol::P2 | Protocol::P3 => spec.strategy.ranks(),
    };
    all.filter(|spec| spec.as_ref().map_or(true, fits)).collect()
}

/// Refuses a specification that keeps a table from its strategy that there is not.
fn checked(args: &EvaluateArgs, spec: Spec) -> Result<Spec, EvaluateError> {
    let told = spec.around.told;
    let tables = [
        (told.users || args.side.users.is_some(), "user_table", "users"),
        (told.items || args.side.items.is_some(), "item_table", "items"),
        (told.embeddings || !args.side.embeddings.is_empty(), "embeddings", "embeddings"),
    ];
    match tables.into_iter().find(|(fits, ..)| !fits) {
        Some((_, parameter, flag)) => Err(EvaluateError::NoTable { spec: spec.label, parameter, flag }),
        None => Ok(spec),
    }
}

fn tell(bad: &BadRows) {
    for line in bad.told() {
        eprintln!("{line}");
    }
}

/// Parses `LO,HI`.
fn scale(text: &str) -> Result<(f32, f32), String> {
    pair(text).map(|(low, high)| (low as f32, high as f32))
}

/// Parses `FROM,TO`, shares of a stream.
fn slice(text: &str) -> Result<(f64, f64), String> {
    let (from, to) = pair(text)?;
    if from < 0.0 || to > 1.0 {
        return Err(format!("{from},{to} reaches beyond the stream, which is 0,1"));
    }
    Ok((from, to))
}

fn pair(text: &str) -> Result<(f64, f64), String> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let numbers = text.split_once(',').and_then(|(low, high)| Some((number(low)?, number(high)?)));
    match numbers {
        Some((low, high)) if low < high => Ok((low, high)),
        Some((low, high)) => Err(format!("{low} is not below {high}")),
        None => Err("expected two numbers with a comma between, such as 1,5".to_owned()),
    }
}
