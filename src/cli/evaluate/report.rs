//! What an evaluation says: one set of figures a strategy, as a JSON line or a row of a table.
//!
//! Field names are for scripts: they do not change. `update` is what stands on the path of the acknowledgement, `train`
//! what a learner does off it, `rank` the test of one event against all candidates.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use comfy_table::Table;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::compare::Differences;
use super::outcomes::{MEASURES, Outcomes, calibration_error};
use super::slices::{self, SliceFigures};
use crate::cli::output;
use crate::evaluate::Measures;

/// Figures of one strategy. `None` where a protocol has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// As it was asked for, parameters included.
    pub strategy: String,
    /// P1, P2 or P3.
    pub protocol: &'static str,
    /// Events of the stream (after the smallest value), repeats included.
    pub events: u64,
    /// Events, or users (P3), that were scored.
    pub scored: u64,
    /// Root of the mean squared error.
    pub rmse: Option<f64>,
    /// Mean absolute error.
    pub mae: Option<f64>,
    /// Root of the mean squared error over the last tenth of the stream.
    pub last10_rmse: Option<f64>,
    /// Share of ranks up to 10.
    pub hr_10: Option<f64>,
    /// Mean of 1 / log2(rank + 1) for ranks up to 10, else 0.
    pub ndcg_10: Option<f64>,
    /// Mean of 1 / rank for ranks up to 10, else 0.
    pub mrr_10: Option<f64>,
    /// Share of ranks up to 100.
    pub hr_100: Option<f64>,
    /// `hr_10` over events whose user and item both occurred before.
    pub known_hr_10: Option<f64>,
    /// Median time to apply an event, in microseconds.
    pub update_us_p50: Option<f64>,
    /// 99th percentile of the same.
    pub update_us_p99: Option<f64>,
    /// Median time to train off the path, where a strategy does so.
    pub train_us_p50: Option<f64>,
    /// Median time to rank an event's item among all candidates.
    pub rank_us_p50: Option<f64>,
    /// 99th percentile of the same.
    pub rank_us_p99: Option<f64>,
    /// Most memory that the process had resident while this strategy ran, in bytes.
    pub peak_rss_bytes: Option<u64>,
    /// Mean squared error.
    pub mse: Option<f64>,
    /// Mean absolute error over the last tenth of the stream.
    pub last10_mae: Option<f64>,
    /// Share of values on the predicted side of the mean of the values before.
    pub accuracy: Option<f64>,
    /// Log loss of that side, in nats.
    pub log_loss: Option<f64>,
    /// Expected calibration error: over tenths of the predictions by size, in units of the value.
    pub calibration_error: Option<f64>,
    /// `hr_10` over a tenth of the list: one place of ten holds the item, or none.
    pub precision_10: Option<f64>,
    /// `hr_10` by another name: there is one item to be found.
    pub recall_10: Option<f64>,
    /// Harmonic mean of precision and recall at 10.
    pub f1_10: Option<f64>,
    /// Share of the items known at the end that were ever in a top 10.
    pub coverage_10: Option<f64>,
    /// Mean self-information of the top 10, in bits.
    pub novelty_10: Option<f64>,
    /// Of events whose item nobody met before, the share whose item a list of 10 of the items that nobody met holds.
    pub new_hr_10: Option<f64>,
    /// `hr_10` over the last tenth of the stream.
    pub last10_hr_10: Option<f64>,
    /// `ndcg_10` over the last tenth of the stream.
    pub last10_ndcg_10: Option<f64>,
    /// Tenths of the predictions by size, smallest first: how many, mean predicted, mean that came.
    pub calibration: Option<Vec<Tenth>>,
    /// Seeds that figures are the mean over.
    pub seeds: Vec<u64>,
    /// Standard deviation over seeds, by figure; `None` with one seed.
    pub spread: Option<BTreeMap<&'static str, f64>>,
    /// What this strategy was compared with; `None` for that one, and where there is nothing to compare.
    pub against: Option<String>,
    /// This strategy less that one, by measure.
    pub differences: Option<Differences>,
    /// The same in parts of what was scored, where they were asked for.
    pub slices: Option<Vec<SliceFigures>>,
}

/// Predictions of like size, and what came of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tenth {
    /// How many.
    pub count: u64,
    /// Mean predicted.
    pub predicted: f64,
    /// Mean that came.
    pub observed: f64,
}

impl Figures {
    /// Takes what a shard measured of predictions.
    pub fn take_errors(&mut self, measures: &Measures) {
        self.rmse = finite(measures.rmse);
        self.mae = finite(measures.mae);
        self.mse = finite(measures.mse);
        self.accuracy = finite(measures.accuracy);
        self.log_loss = finite(measures.log_loss);
    }

    /// Takes what a shard measured of ranks.
    pub fn take_ranks(&mut self, measures: &Measures) {
        self.take_hits(measures.hr_10);
        self.ndcg_10 = finite(measures.ndcg_10);
        self.mrr_10 = finite(measures.mrr_10);
        self.hr_100 = finite(measures.hr_100);
        self.novelty_10 = finite(measures.novelty_10);
    }

    /// Takes a hit rate at 10, and what follows from it where there is one item to be found.
    pub fn take_hits(&mut self, hit_rate: f64) {
        self.hr_10 = finite(hit_rate);
        self.recall_10 = self.hr_10;
        self.precision_10 = finite(hit_rate / 10.0);
        self.f1_10 = finite(2.0 * hit_rate / 11.0);
    }

    /// Takes the calibration of predictions, and their errors over the last tenth of the stream.
    pub fn take_outcomes(&mut self, outcomes: &Outcomes, events: usize) {
        let tail = outcomes.since(events * 9 / 10);
        let mean = |name: &str| tail.mean(name).and_then(finite);
        (self.last10_rmse, self.last10_mae) = (mean("rmse"), mean("mae"));
        (self.last10_hr_10, self.last10_ndcg_10) = (mean("hr_10"), mean("ndcg_10"));
        self.calibration = outcomes.calibration();
        self.calibration_error = self.calibration.as_deref().map(calibration_error);
    }

    /// Every figure that differs from seed to seed, by name.
    pub fn measured(&mut self) -> [(&'static str, &mut Option<f64>); 26] {
        [
            ("rmse", &mut self.rmse),
            ("mae", &mut self.mae),
            ("last10_rmse", &mut self.last10_rmse),
            ("hr_10", &mut self.hr_10),
            ("ndcg_10", &mut self.ndcg_10),
            ("mrr_10", &mut self.mrr_10),
            ("hr_100", &mut self.hr_100),
            ("known_hr_10", &mut self.known_hr_10),
            ("new_hr_10", &mut self.new_hr_10),
            ("update_us_p50", &mut self.update_us_p50),
            ("update_us_p99", &mut self.update_us_p99),
            ("train_us_p50", &mut self.train_us_p50),
            ("rank_us_p50", &mut self.rank_us_p50),
            ("rank_us_p99", &mut self.rank_us_p99),
            ("mse", &mut self.mse),
            ("last10_mae", &mut self.last10_mae),
            ("accuracy", &mut self.accuracy),
            ("log_loss", &mut self.log_loss),
            ("calibration_error", &mut self.calibration_error),
            ("precision_10", &mut self.precision_10),
            ("recall_10", &mut self.recall_10),
            ("f1_10", &mut self.f1_10),
            ("coverage_10", &mut self.coverage_10),
            ("novelty_10", &mut self.novelty_10),
            ("last10_hr_10", &mut self.last10_hr_10),
            ("last10_ndcg_10", &mut self.last10_ndcg_10),
        ]
    }

    /// Takes the times of updates.
    pub fn take_updates(&mut self, times: &Latencies) {
        (self.update_us_p50, self.update_us_p99) = (times.quantile_us(0.5), times.quantile_us(0.99));
    }

    /// Takes the times of training off the path.
    pub fn take_trainings(&mut self, times: &Latencies) {
        self.train_us_p50 = times.quantile_us(0.5);
    }

    /// Takes the times of rankings.
    pub fn take_rankings(&mut self, times: &Latencies) {
        (self.rank_us_p50, self.rank_us_p99) = (times.quantile_us(0.5), times.quantile_us(0.99));
    }
}

/// A mean over nothing is not a number: no figure.
pub fn finite(figure: f64) -> Option<f64> {
    figure.is_finite().then_some(figure)
}

/// Times of one kind of work, in nanoseconds, to three significant digits.
pub struct Latencies {
    times_ns: Histogram<u64>,
}

impl Default for Latencies {
    /// Nothing timed.
    fn default() -> Self {
        let times_ns = Histogram::new_with_bounds(1, TIME_NS_MAX, 3).expect("bounds are in order, digits are 0 to 5");
        Self { times_ns }
    }
}

impl Latencies {
    /// Does the work and notes how long it took.
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        let taken_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(TIME_NS_MAX);
        self.times_ns.saturating_record(taken_ns);
        done
    }

    /// The time that this share of the work stayed within, in microseconds.
    fn quantile_us(&self, share: f64) -> Option<f64> {
        (!self.times_ns.is_empty()).then(|| self.times_ns.value_at_quantile(share) as f64 / 1e3)
    }
}

/// A minute: longer work is noted as this.
const TIME_NS_MAX: u64 = 60_000_000_000;

/// Which values are better.
#[derive(Clone, Copy, PartialEq)]
enum Better {
    Lower,
    Higher,
}

/// A column of the table: heading, figure, which values are better, digits after the point.
type Column = (&'static str, fn(&Figures) -> Option<f64>, Better, usize);

const COLUMNS: [Column; 20] = [
    ("rmse", |figures| figures.rmse, Better::Lower, 4),
    ("mae", |figures| figures.mae, Better::Lower, 4),
    ("last10_rmse", |figures| figures.last10_rmse, Better::Lower, 4),
    ("hr_10", |figures| figures.hr_10, Better::Higher, 4),
    ("ndcg_10", |figures| figures.ndcg_10, Better::Higher, 4),
    ("mrr_10", |figures| figures.mrr_10, Better::Higher, 4),
    ("hr_100", |figures| figures.hr_100, Better::Higher, 4),
    ("known_hr_10", |figures| figures.known_hr_10, Better::Higher, 4),
    ("new_hr_10", |figures| figures.new_hr_10, Better::Higher, 4),
    ("coverage_10", |figures| figures.coverage_10, Better::Higher, 4),
    ("novelty_10", |figures| figures.novelty_10, Better::Higher, 2),
    ("accuracy", |figures| figures.accuracy, Better::Higher, 4),
    ("log_loss", |figures| figures.log_loss, Better::Lower, 4),
    ("calibration_error", |figures| figures.calibration_error, Better::Lower, 4),
    ("update_us_p50", |figures| figures.update_us_p50, Better::Lower, 2),
    ("update_us_p99", |figures| figures.update_us_p99, Better::Lower, 2),
    ("train_us_p50", |figures| figures.train_us_p50, Better::Lower, 2),
    ("rank_us_p50", |figures| figures.rank_us_p50, Better::Lower, 2),
    ("rank_us_p99", |figures| figures.rank_us_p99, Better::Lower, 2),
    ("peak_rss_mib", |figures| figures.peak_rss_bytes.map(|bytes| bytes as f64 / 1_048_576.0), Better::Lower, 1),
];

/// Prints figures to standard output: one JSON object a strategy a line, or a table with the best of each column marked
/// by a star.
///
/// # Errors
/// What the system says, except that a reader that went away is no error.
pub fn print(figures: &[Figures], json: bool) -> io::Result<()> {
    if json {
        return figures.iter().try_for_each(output::json);
    }
    output::text(&table(figures).to_string())?;
    if let Some(seeds) = figures.first().map(|one| &one.seeds).filter(|seeds| seeds.len() > 1) {
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        output::text(&format!("\nmeans over seeds {}, \u{b1} standard deviation over seeds", seeds.join(", ")))?;
    }
    if let Some(against) = figures.iter().find_map(|one| one.against.as_deref()) {
        let table = differences(figures, |one| one.differences.as_ref());
        output::text(&format!(
            "\nless {against} on the same events: mean and 95 % confidence interval over users, * leaves out 0\n\n{table}"
        ))?;
    }
    slices::print(figures)
}

/// By how much strategies differ from the one that they are compared with: strategies down, measures across.
pub(super) fn differences<'a>(figures: &'a [Figures], of: impl Fn(&'a Figures) -> Option<&'a Differences>) -> Table {
    let rows = || figures.iter().filter_map(|one| Some((one, of(one)?)));
    let names: Vec<&str> = MEASURES
        .iter()
        .map(|measure| measure.name)
        .filter(|name| rows().any(|(_, differences)| differences.contains_key(name)))
        .collect();
    let headings: Vec<&str> = ["strategy"].into_iter().chain(names.iter().copied()).collect();
    let mut table = output::table(&headings);
    output::align_right(&mut table, 1);
    for (one, differences) in rows() {
        let cell = |name: &&str| {
            differences.get(name).map_or_else(
                || "- ".to_owned(),
                |found| {
                    let mark = if found.significant { '*' } else { ' ' };
                    format!("{:+.4} \u{b1} {:.4}{mark}", found.mean, (found.high - found.low) / 2.0)
                },
            )
        };
        table.add_row([one.strategy.clone()].into_iter().chain(names.iter().map(cell)));
    }
    table
}

/// Strategies down, figures across; columns in which nobody has a figure are left out.
fn table(figures: &[Figures]) -> Table {
    let columns: Vec<&Column> =
        COLUMNS.iter().filter(|(_, get, ..)| figures.iter().any(|one| get(one).is_some())).collect();
    let headings: Vec<&str> = ["strategy", "scored"].into_iter().chain(columns.iter().map(|column| column.0)).collect();
    let mut table = output::table(&headings);
    output::align_right(&mut table, 1);
    for one in figures {
        let cells = columns.iter().map(|column| cell(figures, one, column));
        table.add_row([one.strategy.clone(), one.scored.to_string()].into_iter().chain(cells));
    }
    table
}

/// A figure as printed, with a star if no other strategy has a better one, a blank in its place if one has.
fn cell(figures: &[Figures], one: &Figures, (name, get, better, digits): &Column) -> String {
    let Some(value) = get(one) else {
        return "- ".to_owned();
    };
    let beaten = |other: f64| if *better == Better::Lower { other < value } else { other > value };
    let best = figures.len() > 1 && !figures.iter().filter_map(get).any(beaten);
    let spread = one.spread.as_ref().and_then(|spread| spread.get(name));
    let spread = spread.map_or_else(String::new, |spread| format!(" \u{b1} {spread:.digits$}"));
    format!("{value:.digits$}{spread}{}", if best { '*' } else { ' ' })
}

/// Forgets the peak of resident memory so far, where the system can.
pub fn reset_peak_rss() {
    // 5 is "reset the peak"; without that right or file, peaks are those of the process so far.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Peak of resident memory in bytes; `None` where the system does not tell.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_every_field_in_order_and_nulls() {
        let figures =
            Figures { strategy: "decay:dim=8".to_owned(), protocol: "P2", hr_10: Some(0.25), ..Figures::default() };
        let expected = concat!(
            r#"{"strategy":"decay:dim=8","protocol":"P2","events":0,"scored":0,"rmse":null,"mae":null,"#,
            r#""last10_rmse":null,"hr_10":0.25,"ndcg_10":null,"mrr_10":null,"hr_100":null,"known_hr_10":null,"#,
            r#""update_us_p50":null,"update_us_p99":null,"train_us_p50":null,"rank_us_p50":null,"#,
            r#""rank_us_p99":null,"peak_rss_bytes":null,"mse":null,"last10_mae":null,"accuracy":null,"#,
            r#""log_loss":null,"calibration_error":null,"precision_10":null,"recall_10":null,"f1_10":null,"#,
            r#""coverage_10":null,"novelty_10":null,"new_hr_10":null,"last10_hr_10":null,"last10_ndcg_10":null,"#,
            r#""calibration":null,"seeds":[],"spread":null,"against":null,"differences":null,"slices":null}"#
        );
        assert_eq!(serde_json::to_string(&figures).unwrap(), expected);
    }

    #[test]
    fn tables_mark_the_best_and_leave_out_empty_columns() {
        let figures = |name: &str, rmse, hr_10| Figures {
            strategy: name.to_owned(),
            scored: 7,
            rmse,
            hr_10: Some(hr_10),
            ..Figures::default()
        };
        let rows = [figures("a", Some(0.9), 0.1), figures("b", Some(0.8), 0.3), figures("c", None, 0.2)];
        let text = table(&rows).to_string();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["strategy", "scored", "rmse", "hr_10"]);
        assert_eq!(lines[1], ["a", "7", "0.9000", "0.1000"]);
        assert_eq!(lines[2], ["b", "7", "0.8000*", "0.3000*"]);
        assert_eq!(lines[3], ["c", "7", "-", "0.2000"]);
        assert!(!table(&rows[..1]).to_string().contains('*'), "alone is not best");
    }

    #[test]
    fn times_are_in_microseconds() {
        let mut times = Latencies::default();
        assert_eq!(times.quantile_us(0.5), None);
        times.time(|| std::thread::sleep(std::time::Duration::from_millis(2)));
        let median = times.quantile_us(0.5).unwrap();
        assert!((2_000.0..1e6).contains(&median), "{median} us");
    }

    #[test]
    fn not_a_number_is_no_figure() {
        assert_eq!((finite(f64::NAN), finite(0.5)), (None, Some(0.5)));
    }
}
