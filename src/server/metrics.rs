//! How well the strategies do, as replies: sums of all shards, asked by strategy, cohort and window.

use super::connection::Session;
use crate::evaluate::{Cohort, Measures, Window};
use crate::state::{Missing, StrategyReport};
use crate::wire::Status;
use crate::wire::commands::{Decisions, DecisionsReply, Metrics, MetricsBy, MetricsByReply, MetricsReply};
use crate::wire::types::{CalibrationTenth, MetricsCell, StrategyMetrics};

/// The cohort that holds all others.
pub(super) const ALL: &str = "all";

/// Replies to METRICS.
pub(super) fn all(session: &Session, request_id: u64, strategy: &str, reports: Vec<StrategyReport>) {
    let wanted = |name: &str| strategy.is_empty() || strategy == name;
    let strategies: Vec<StrategyMetrics> = reports
        .into_iter()
        .filter(|known| wanted(known.strategy))
        .map(|known| {
            let report = known.report();
            StrategyMetrics {
                strategy: known.strategy.to_owned(),
                events: known.events,
                scored: report.predicted,
                rmse: report.rmse,
                mae: report.mae,
                recent_rmse: report.faded_rmse,
                recent_mae: report.faded_mae,
                ranked: report.ranked,
                hr_10: report.hr_at_10,
                ndcg_10: report.ndcg_at_10,
                mrr_10: report.mrr_at_10,
                hr_100: report.hr_at_100,
                recent_hr_10: report.faded_hr_at_10,
                recent_ndcg_10: report.faded_ndcg_at_10,
            }
        })
        .collect();
    if strategies.is_empty() {
        return session.refuse(request_id, (Status::BadRequest, no_strategy(strategy)));
    }
    session.reply::<Metrics>(request_id, &MetricsReply { strategies });
}

/// Replies to METRICS_BY.
pub(super) fn by(session: &Session, request_id: u64, wanted: &MetricsBy, reports: &[StrategyReport]) {
    let MetricsBy { strategy, cohort, window } = wanted;
    match cells([strategy, cohort, window], reports, cell) {
        Ok(cells) => session.reply::<MetricsBy>(request_id, &MetricsByReply { cells }),
        Err(message) => session.refuse(request_id, (Status::BadRequest, message)),
    }
}

/// Replies to DECISIONS.
pub(super) fn decisions(
    session: &Session,
    request_id: u64,
    wanted: &Decisions,
    reports: &[StrategyReport],
    missing: Missing,
) {
    let schema = session.door.engine.schema();
    let kinds = &schema.kinds;
    let Decisions { strategy, cohort, window } = wanted;
    match cells([strategy, cohort, window], reports, |report, cohort, window| {
        super::decisions::cell(kinds, report, cohort, window)
    }) {
        Ok(cells) => {
            let Missing { expired, unknown } = missing;
            session.reply::<Decisions>(request_id, &DecisionsReply { expired, unknown, cells });
        }
        Err(message) => session.refuse(request_id, (Status::BadRequest, message)),
    }
}

/// A cell for each strategy, cohort and window that is asked for; why there is none, else.
fn cells<T>(
    [strategy, cohort, window]: [&str; 3],
    reports: &[StrategyReport],
    cell: impl Fn(&StrategyReport, Option<Cohort>, Window) -> T,
) -> Result<Vec<T>, String> {
    let cohorts = cohorts(cohort).ok_or_else(|| {
        let known: Vec<&str> = Cohort::ALL.map(Cohort::name).into();
        format!("no cohort `{cohort}`; there are {ALL}, {}", known.join(", "))
    })?;
    let windows = windows(window).ok_or_else(|| {
        let known: Vec<&str> = Window::ALL.map(Window::name).into();
        format!("no window `{window}`; there are {}", known.join(", "))
    })?;
    let mut cells = Vec::new();
    for report in reports.iter().filter(|report| strategy.is_empty() || strategy == report.strategy) {
        for cohort in &cohorts {
            cells.extend(windows.iter().map(|window| cell(report, *cohort, *window)));
        }
    }
    if cells.is_empty() { Err(no_strategy(strategy)) } else { Ok(cells) }
}

fn no_strategy(strategy: &str) -> String {
    format!("no strategy `{strategy}` is active; HELLO lists those that are")
}

/// The cohorts asked for by name: `None` within is all records together.
fn cohorts(name: &str) -> Option<Vec<Option<Cohort>>> {
    match name {
        "" => Some([None].into_iter().chain(Cohort::ALL.map(Some)).collect()),
        ALL => Some(vec![None]),
        _ => Cohort::ALL.into_iter().find(|cohort| cohort.name() == name).map(|cohort| vec![Some(cohort)]),
    }
}

fn windows(name: &str) -> Option<Vec<Window>> {
    match name {
        "" => Some(Window::ALL.into()),
        _ => Window::ALL.into_iter().find(|window| window.name() == name).map(|window| vec![window]),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts; of fading ones, rounded")]
fn cell(report: &StrategyReport, cohort: Option<Cohort>, window: Window) -> MetricsCell {
    let measures: Measures = report.prequential.measures(cohort, window);
    let whole = cohort.is_none() && window == Window::Lifetime;
    let count = |count: f64| count.round() as u64;
    let tenth = |tenth: &crate::evaluate::Tenth| CalibrationTenth {
        count: count(tenth.count),
        predicted: tenth.predicted,
        observed: tenth.observed,
    };
    MetricsCell {
        strategy: report.strategy.to_owned(),
        cohort: cohort.map_or(ALL, Cohort::name).to_owned(),
        window: window.name().to_owned(),
        scored: count(measures.predicted),
        not_finite: count(measures.not_finite),
        mse: measures.mse,
        rmse: measures.rmse,
        mae: measures.mae,
        accuracy: measures.accuracy,
        liked_precision: measures.liked_precision,
        liked_recall: measures.liked_recall,
        liked_f1: measures.liked_f1,
        log_loss: measures.log_loss,
        calibration_error: measures.calibration_error,
        calibration: measures.calibration.iter().map(tenth).collect(),
        ranked: count(measures.ranked),
        hr_10: measures.hr_10,
        precision_10: measures.precision_10,
        recall_10: measures.hr_10,
        f1_10: measures.f1_10,
        ndcg_10: measures.ndcg_10,
        mrr_10: measures.mrr_10,
        hr_100: measures.hr_100,
        novelty_10: measures.novelty_10,
        coverage_10: if whole { report.coverage() } else { f64::NAN },
    }
}
