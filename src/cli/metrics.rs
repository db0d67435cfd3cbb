//! `mirra metrics`: how well the strategies of a running server do, by cohort and window.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{CliError, OutputArgs, ServerAddress, ask, outcomes, output};
use crate::wire::commands::{Decisions, MetricsBy};
use crate::wire::types::MetricsCell;

/// Options of `mirra metrics`.
#[derive(Clone, Debug, Args)]
pub struct MetricsArgs {
    /// One strategy; without it all that learn there.
    #[arg(long, value_name = "NAME")]
    pub strategy: Option<String>,
    /// Events that the user had before; without it each cohort on its own, and all.
    #[arg(long, value_parser = ["all", "new", "1-3", "4-15", "16-63", "64+"])]
    pub cohort: Option<String>,
    /// Which records count: all, all with older ones fading, or the latest 5,000 to 10,000 of each shard.
    #[arg(long, value_parser = ["lifetime", "faded", "last"], default_value = "lifetime")]
    pub window: String,
    /// What came of the lists that were shown, instead.
    #[arg(long)]
    pub outcomes: bool,
    /// The server.
    #[command(flatten)]
    pub server: ServerAddress,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A figure: heading, value, digits after the point.
type Figure = (&'static str, fn(&MetricsCell) -> f64, usize);

/// All figures, in the order of the columns.
const FIGURES: [Figure; 20] = [
    ("rmse", |cell| cell.rmse, 4),
    ("mse", |cell| cell.mse, 4),
    ("mae", |cell| cell.mae, 4),
    ("accuracy", |cell| cell.accuracy, 4),
    ("liked_precision", |cell| cell.liked_precision, 4),
    ("liked_recall", |cell| cell.liked_recall, 4),
    ("liked_f1", |cell| cell.liked_f1, 4),
    ("log_loss", |cell| cell.log_loss, 4),
    ("calibration_error", |cell| cell.calibration_error, 4),
    ("ranked", |cell| cell.ranked as f64, 0),
    ("hr_10", |cell| cell.hr_10, 4),
    ("precision_10", |cell| cell.precision_10, 4),
    ("recall_10", |cell| cell.recall_10, 4),
    ("f1_10", |cell| cell.f1_10, 4),
    ("ndcg_10", |cell| cell.ndcg_10, 4),
    ("mrr_10", |cell| cell.mrr_10, 4),
    ("hr_100", |cell| cell.hr_100, 4),
    ("coverage_10", |cell| cell.coverage_10, 4),
    ("novelty_10", |cell| cell.novelty_10, 2),
    ("not_finite", |cell| if cell.not_finite > 0 { cell.not_finite as f64 } else { f64::NAN }, 0),
];

/// Figures that say nothing beside another one: for machines alone.
const UNPRINTED: [&str; 5] = ["mse", "liked_precision", "liked_recall", "precision_10", "recall_10"];

/// Runs it.
///
/// # Errors
/// [`CliError`] if the server is not reached or refuses.
pub fn run(args: &MetricsArgs) -> Result<(), CliError> {
    let mut client = ask::connect(&args.server, ask::TIMEOUT_MS)?;
    let strategy = ask::strategy(&client, args.strategy.as_ref())?;
    let (cohort, window) = (args.cohort.clone().unwrap_or_default(), args.window.clone());
    if args.outcomes {
        let reply = ask::ask(&mut client, "the server", &Decisions { strategy, cohort, window })?;
        if args.output.json {
            return Ok(reply.cells.iter().map(outcomes::to_json).try_for_each(|cell| output::json(&cell))?);
        }
        return Ok(output::text(&outcomes::text(&reply))?);
    }
    let cells = ask::ask(&mut client, "the server", &MetricsBy { strategy, cohort, window })?.cells;
    if args.output.json {
        return Ok(cells.iter().map(to_json).try_for_each(|cell| output::json(&cell))?);
    }
    Ok(output::text(&table(&cells))?)
}

fn to_json(cell: &MetricsCell) -> Value {
    let mut object = Map::new();
    object.insert("strategy".to_owned(), json!(cell.strategy));
    object.insert("cohort".to_owned(), json!(cell.cohort));
    object.insert("window".to_owned(), json!(cell.window));
    object.insert("scored".to_owned(), json!(cell.scored));
    object.extend(FIGURES.iter().map(|(name, get, _)| ((*name).to_owned(), json!(get(cell)))));
    object.insert("ranked".to_owned(), json!(cell.ranked));
    object.insert("not_finite".to_owned(), json!(cell.not_finite));
    let tenths = cell.calibration.iter();
    let tenth =
        tenths.map(|tenth| json!({ "count": tenth.count, "predicted": tenth.predicted, "observed": tenth.observed }));
    object.insert("calibration".to_owned(), tenth.collect());
    Value::Object(object)
}

/// Strategies and cohorts down, figures across; columns in which nobody has a figure are left out.
fn table(cells: &[MetricsCell]) -> String {
    let there = |(name, get, _): &&Figure| {
        !UNPRINTED.contains(name)
            && cells.iter().map(get).any(|figure| figure.is_finite() && (*name != "ranked" || figure > 0.0))
    };
    let figures: Vec<&Figure> = FIGURES.iter().filter(there).collect();
    let headings: Vec<&str> =
        ["strategy", "cohort", "scored"].into_iter().chain(figures.iter().map(|figure| figure.0)).collect();
    let mut table = output::table(&headings);
    output::align_right(&mut table, 2);
    for cell in cells {
        let first = [cell.strategy.clone(), cell.cohort.clone(), output::grouped(cell.scored)];
        let number = |(name, get, digits): &&Figure| match get(cell) {
            figure if !figure.is_finite() => "-".to_owned(),
            _ if *name == "ranked" => output::grouped(cell.ranked),
            figure => format!("{figure:.digits$}"),
        };
        table.add_row(first.into_iter().chain(figures.iter().map(number)));
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::wire::sample::Sample;

    #[test]
    fn machines_get_every_figure_and_people_those_that_are_there() {
        let none = MetricsCell { cohort: "new".to_owned(), scored: 0, ..cell(f64::NAN) };
        let cells = [cell(0.25), none];
        let object = to_json(&cells[0]);
        for (name, get, _) in FIGURES.iter().filter(|figure| !["ranked", "not_finite", "f1_10"].contains(&figure.0)) {
            assert!((object[*name].as_f64().unwrap() - get(&cells[0])).abs() < 1e-12, "{name}: {object}");
        }
        assert_eq!((&object["ranked"], &object["not_finite"]), (&json!(1_234), &json!(0)));
        assert_eq!(object["calibration"].as_array().unwrap().len(), cells[0].calibration.len());
        assert_eq!(to_json(&cells[1])["rmse"], Value::Null);
        let text = table(&cells);
        assert!(text.contains("1,234") && text.contains("0.2500") && !text.contains("NaN"), "{text}");
        assert!(!text.contains("not_finite") && !text.contains("f1_10"), "nobody has these: {text}");
    }

    fn cell(figure: f64) -> MetricsCell {
        let sample = MetricsCell::sample(&mut Rng::new(1));
        let (rmse, mse, mae, accuracy, log_loss, calibration_error) = (figure, figure, figure, figure, figure, figure);
        let (liked_precision, liked_recall, liked_f1) = (figure, figure, figure);
        let (hr_10, precision_10, recall_10, f1_10) = (figure, figure, figure, f64::NAN);
        let (ndcg_10, mrr_10, hr_100, novelty_10, coverage_10) = (figure, figure, figure, figure, figure);
        MetricsCell {
            ranked: 1_234,
            not_finite: 0,
            rmse,
            mse,
            mae,
            accuracy,
            liked_precision,
            liked_recall,
            liked_f1,
            log_loss,
            calibration_error,
            hr_10,
            precision_10,
            recall_10,
            f1_10,
            ndcg_10,
            mrr_10,
            hr_100,
            novelty_10,
            coverage_10,
            ..sample
        }
    }
}
