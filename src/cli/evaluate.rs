//! `mirra evaluate`: strategies on recorded events, each event scored before it is learned.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::OutputArgs;

/// Which events are learned and which are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// Test-then-learn over the whole stream, in the order of time.
    #[value(name = "P1")]
    P1,
    /// Leave one out: the last event of each user is scored, all others are learned.
    #[value(name = "P2")]
    P2,
    /// Split: the files are learned, the events of `--test` are scored.
    #[value(name = "P3")]
    P3,
}

/// Options of `mirra evaluate`.
#[derive(Clone, Debug, Args)]
pub struct EvaluateArgs {
    /// TSV or CSV, plain or gzip, with a header naming `user item value timestamp [kind]`.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Which events are learned and which are scored.
    #[arg(long, value_enum, default_value = "P1", ignore_case = true)]
    pub protocol: Protocol,
    /// Strategy with parameters over the configured ones, such as `decay:half_life_s=3600`; may be repeated. Without
    /// it: the active ones of the configuration.
    #[arg(long = "strategy", value_name = "NAME[:K=V,...]")]
    pub strategies: Vec<String>,
    /// Events to score, for protocol P3.
    #[arg(long, value_name = "FILE", required_if_eq("protocol", "P3"))]
    pub test: Option<PathBuf>,
    /// Leave out events with a value below this.
    #[arg(long, value_name = "V", allow_negative_numbers = true)]
    pub min_value: Option<f32>,
    /// Clip predicted values to this range, such as `1,5`.
    #[arg(long, value_name = "LO,HI", value_parser = range, allow_hyphen_values = true)]
    pub clip: Option<(f32, f32)>,
    /// Rank every n-th event only: ranking costs a pass over all items.
    #[arg(long, value_name = "E", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub every: u32,
    /// Seed of first values and of what is drawn.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Draw the metrics over time into this file.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Parses `LO,HI`.
fn range(text: &str) -> Result<(f32, f32), String> {
    let (low, high) = text.split_once(',').ok_or("expected LO,HI, such as 1,5")?;
    let number = |text: &str| text.trim().parse::<f32>().ok().filter(|number| number.is_finite());
    match (number(low), number(high)) {
        (Some(low), Some(high)) if low < high => Ok((low, high)),
        (Some(low), Some(high)) => Err(format!("{low} is not below {high}")),
        _ => Err("expected two finite numbers, such as 1,5".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    fn parse(line: &[&str]) -> Result<EvaluateArgs, clap::Error> {
        let command = EvaluateArgs::augment_args(clap::Command::new("evaluate"));
        EvaluateArgs::from_arg_matches(&command.try_get_matches_from([&["evaluate"], line].concat())?)
    }

    #[test]
    fn ranges_are_two_rising_numbers() {
        assert_eq!(range("1,5"), Ok((1.0, 5.0)));
        assert_eq!(range("-1, 0.5"), Ok((-1.0, 0.5)));
        for wrong in ["", "1", "5,1", "1,1", "1,x", "nan,1", "1,inf", "1,2,3"] {
            assert!(range(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn options_parse_as_documented() {
        let args = parse(&["a.tsv", "b.tsv", "--strategy", "mean", "--strategy", "decay:dim=8,recency=0.8"]).unwrap();
        assert_eq!(args.files.len(), 2);
        assert_eq!(args.strategies, ["mean", "decay:dim=8,recency=0.8"]);
        assert_eq!((args.protocol, args.every, args.output.json), (Protocol::P1, 1, false));
        assert_eq!(parse(&["a", "--clip", "-1,1"]).unwrap().clip, Some((-1.0, 1.0)));
        assert_eq!(parse(&["a", "--protocol", "P3", "--test", "t"]).unwrap().protocol, Protocol::P3);
        for wrong in [&[][..], &["a", "--protocol", "P3"], &["a", "--every", "0"], &["a", "--clip", "5,1"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
