//! Act 4, the accuracy of living profiles against frozen ones, and the end: all that was shown, in numbers.

use std::time::Duration;

use console::{Style, style};
use serde::Serialize;

use super::crash::Crash;
use super::plot::{Curve, Plot};
use super::profile::Changed;
use super::screen::{Screen, thousands};
use super::stream::{Point, Streamed};
use super::{DemoError, Stage, VECTORS, twin};
use crate::cli::{output, setup};

/// Cells of the plot.
const PLOT: (usize, usize) = (60, 13);
/// Share of the stream whose figures are named.
const END: f64 = 0.1;
/// Points that one drawn point is the mean of.
const SMOOTH: usize = 3;

/// Hit rates at 10 of the living profiles and of the frozen copy, both by vectors, and of the strategy that answers.
#[derive(Clone, Debug, Serialize)]
pub struct Accuracy {
    /// Events ranked by both since the freeze.
    pub ranked: u64,
    /// Living, since the freeze.
    pub learned_hr_10: f64,
    /// Frozen, since the freeze.
    pub frozen_hr_10: f64,
    /// Living, in the last tenth.
    pub learned_last10_hr_10: f64,
    /// Frozen, in the last tenth.
    pub frozen_last10_hr_10: f64,
    /// The strategy that answers, since the freeze.
    pub served_hr_10: f64,
    /// The strategy that answers, in the last tenth.
    pub served_last10_hr_10: f64,
}

/// Everything that was shown.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    data: String,
    users: usize,
    items: usize,
    shards: u16,
    events: u64,
    accepted: u64,
    duplicates: u64,
    rejected: u64,
    bad_rows: u64,
    resent: u64,
    events_per_s: f64,
    refit_ms: u64,
    strategies: Vec<StrategyFigures>,
    profile: ProfileFigures,
    accuracy: Accuracy,
    curve: Vec<CurvePoint>,
    crash: CrashFigures,
    claims_checked: u32,
    took_s: f64,
}

#[derive(Clone, Debug, Serialize)]
struct StrategyFigures {
    strategy: String,
    hr_10: Option<f64>,
    ndcg_10: Option<f64>,
    mrr_10: Option<f64>,
    rmse: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
struct ProfileFigures {
    user: String,
    new_taste: String,
    events: usize,
    version_before: u32,
    version_after: u32,
    share_before: f64,
    share_after: f64,
    served_share_before: f64,
    served_share_after: f64,
    top_5_changed: usize,
    ack_us: f64,
}

#[derive(Clone, Debug, Serialize)]
struct CurvePoint {
    events: usize,
    served_hr_10: Option<f64>,
    learned_hr_10: Option<f64>,
    frozen_hr_10: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
struct CrashFigures {
    snapshot_bytes: u64,
    snapshot_ms: u64,
    events_during_snapshot: u64,
    events_in_journal_tail: u64,
    restart_ms: f64,
    recovery_ms: u64,
    events_before: u64,
    events_after: u64,
    lost: u64,
    sequences_before: Vec<u64>,
    sequences_after: Vec<u64>,
    profiles_compared: usize,
    profiles_equal: usize,
    shard_digests_equal: bool,
    sent_again: u64,
    recognised: u64,
}

/// Act 4.
///
/// # Errors
/// If the frozen copy cannot be made; a claim that does not hold.
pub fn act(stage: &mut Stage, streamed: &Streamed, items_ms: i64) -> Result<(Accuracy, Vec<Point>), DemoError> {
    let percent = 100 * streamed.freeze_at / stage.workload.events.len();
    let title = format!("Why living: profiles that learn on, against a copy frozen at {percent} %");
    stage.screen.act(&title)?;
    let (options, refit) = (setup::state_options(&stage.config), setup::refit_options(&stage.config));
    let frozen = twin::frozen(&stage.workload, streamed, &options, &refit, items_ms)?;
    let since = |points: &[Point]| -> Vec<Point> {
        points.iter().filter(|point| point.upto > streamed.freeze_at).copied().collect()
    };
    let (later, served) = (since(&streamed.points), since(&streamed.served));
    let sent = stage.workload.events.len();
    let end: usize = sent - (sent as f64 * END) as usize;
    let last = |points: &[Point]| rate(points.iter().filter(|point| point.upto > end));
    let accuracy = Accuracy {
        ranked: frozen.iter().map(|point| point.ranked).sum(),
        learned_hr_10: rate(&later),
        frozen_hr_10: rate(&frozen),
        learned_last10_hr_10: last(&later),
        frozen_last10_hr_10: last(&frozen),
        served_hr_10: rate(&served),
        served_last10_hr_10: last(&served),
    };
    if !stage.screen.is_quiet() {
        stage.screen.line(&draw(stage, streamed, &frozen))?;
        strategies(stage, streamed)?;
    }
    let told = streamed.metrics.first();
    let ranked = streamed.acks.iter().filter(|ack| ack.1 > 0).count() as u64;
    let hits = streamed.acks.iter().filter(|ack| (1..=10).contains(&ack.1)).count() as f64;
    let agree = told.is_some_and(|told| told.ranked == ranked && (told.hr_10 * ranked as f64 - hits).abs() < 0.5);
    let same = later.len() == frozen.len() && later.iter().zip(&frozen).all(|(a, b)| a.ranked == b.ranked);
    let claim =
        format!("{} events ranked before they were learned: acknowledgements and METRICS agree", thousands(ranked));
    stage.screen.check(agree && same, &claim)?;
    let (learned, stood) = (accuracy.learned_last10_hr_10, accuracy.frozen_last10_hr_10);
    let times = if stood > 0.0 { format!(" ({:.1} times)", learned / stood) } else { String::new() };
    let claim = format!("HR@10 over the last 10 %, {VECTORS}: {learned:.3} living, {stood:.3} frozen{times}");
    stage.screen.check(learned > stood, &claim)?;
    let served = accuracy.served_last10_hr_10;
    let claim = format!("auto, which answers where no strategy is named: {served:.3}, learned as it went");
    stage.screen.check(served > stood, &claim)?;
    Ok((accuracy, frozen))
}

fn rate<'p>(points: impl IntoIterator<Item = &'p Point>) -> f64 {
    let (hits, ranked) = points.into_iter().fold((0, 0), |(hits, ranked), p| (hits + p.hits, ranked + p.ranked));
    if ranked == 0 { 0.0 } else { hits as f64 / ranked as f64 }
}

/// Places and moving means, over points of the same side of the refit only.
fn smooth(points: &[Point], freeze_at: usize, sent: usize) -> Vec<(f64, f64)> {
    let around = |at: usize| {
        let near = &points[at.saturating_sub(SMOOTH / 2)..(at + SMOOTH / 2 + 1).min(points.len())];
        rate(near.iter().filter(|point| (point.upto > freeze_at) == (points[at].upto > freeze_at)))
    };
    points.iter().enumerate().map(|(at, point)| (point.upto as f64 / sent as f64, around(at))).collect()
}

fn draw(stage: &Stage, streamed: &Streamed, frozen: &[Point]) -> String {
    let sent = stage.workload.events.len();
    let living = Curve {
        points: smooth(&streamed.points, streamed.freeze_at, sent),
        label: "decay ",
        style: Style::new().cyan(),
    };
    let served = Curve {
        points: smooth(&streamed.served, streamed.freeze_at, sent),
        label: "auto",
        style: Style::new().green().bold(),
    };
    let still =
        Curve { points: smooth(frozen, streamed.freeze_at, sent), label: "decay, frozen", style: Style::new().red() };
    let plot = Plot {
        width: PLOT.0,
        height: PLOT.1,
        mark: streamed.freeze_at as f64 / sent as f64,
        mark_label: "refit; copy frozen",
        end_label: &format!("{} events", thousands(sent as u64)),
        curves: vec![still, living, served],
    };
    let title = style("   HR@10: how often the next item was among the ten best, asked before it was learned").dim();
    format!("{title}\n{}", plot.draw())
}

fn strategies(stage: &Stage, streamed: &Streamed) -> Result<(), DemoError> {
    let mut table = output::table(&["  strategy (over all events)", "HR@10", "NDCG@10", "MRR@10", "HR@100", "RMSE"]);
    output::align_right(&mut table, 1);
    let figure = |value: f64| if value.is_nan() { "-".to_owned() } else { format!("{value:.3}") };
    for each in streamed.metrics.iter().filter(|each| each.ranked > 0) {
        let figures = [each.hr_10, each.ndcg_10, each.mrr_10, each.hr_100, each.rmse].map(figure);
        table.add_row(std::iter::once(format!("  {}", each.strategy)).chain(figures));
    }
    stage.screen.line(&table.to_string().lines().map(|line| format!(" {line}\n")).collect::<String>())
}

fn known(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

impl Figures {
    /// Everything, of all acts.
    #[must_use]
    pub(super) fn new(
        stage: &Stage,
        streamed: &Streamed,
        changed: &Changed,
        (accuracy, frozen): (Accuracy, Vec<Point>),
        crash: Crash,
        took: Duration,
    ) -> Self {
        let (counts, sent) = (streamed.counts, stage.workload.events.len() as u64);
        let strategies = streamed.metrics.iter().map(|each| StrategyFigures {
            strategy: each.strategy.clone(),
            hr_10: known(each.hr_10),
            ndcg_10: known(each.ndcg_10),
            mrr_10: known(each.mrr_10),
            rmse: known(each.rmse),
        });
        let one = |point: &Point| (point.ranked > 0).then(|| rate([point]));
        let curve = streamed.points.iter().map(|point| CurvePoint {
            events: point.upto,
            served_hr_10: streamed.served.iter().find(|other| other.upto == point.upto).and_then(one),
            learned_hr_10: one(point),
            frozen_hr_10: frozen.iter().find(|other| other.upto == point.upto).and_then(one),
        });
        Self {
            data: stage.workload.name.clone(),
            users: stage.workload.users,
            items: stage.workload.items.len(),
            shards: stage.config.shards.count,
            events: sent,
            accepted: counts.accepted,
            duplicates: counts.duplicates,
            rejected: counts.rejected,
            bad_rows: stage.workload.bad_rows,
            resent: counts.resent,
            events_per_s: sent as f64 / streamed.took.as_secs_f64(),
            refit_ms: streamed.refit.took_ms,
            strategies: strategies.collect(),
            profile: ProfileFigures::from(changed),
            accuracy,
            curve: curve.collect(),
            crash: CrashFigures::from(crash),
            claims_checked: stage.screen.checked(),
            took_s: took.as_secs_f64(),
        }
    }

    /// The last lines.
    ///
    /// # Errors
    /// If they cannot be printed.
    pub(super) fn close(&self, screen: &Screen) -> Result<(), DemoError> {
        let Accuracy { served_last10_hr_10: living, frozen_last10_hr_10: frozen, .. } = self.accuracy;
        let (checked, took) = (self.claims_checked, self.took_s);
        let rule = style("─".repeat(super::screen::WIDTH)).dim();
        screen.line(&format!(
            "\n {rule}\n {}",
            style(format!("{checked} claims checked, all true, in {took:.0} s")).green().bold()
        ))?;
        let learned = format!("{} events/s learned and journaled", output::count(self.events_per_s));
        let ack = format!("an acknowledged event in {:.0} us", self.profile.ack_us);
        screen.line(&format!(" {learned} · {ack} · HR@10 {living:.3} against {frozen:.3} frozen"))?;
        let back = format!("killed and back in {:.0} ms", self.crash.restart_ms);
        screen.line(&format!(" {back} · {} events lost", self.crash.lost))?;
        let next = [
            ("mirra serve --data-dir DIR", "a server of your own on 127.0.0.1:7311"),
            ("mirra replay FILE", "your events into it (TSV or CSV: user item value timestamp [kind])"),
            ("mirra demo --data FILE", "this, with your events"),
            ("mirra bench", "how fast it is on this machine"),
            ("docs/protocol.md", "the protocol, for clients in any language"),
        ];
        screen.line(&format!("\n {}", style("Next").bold()))?;
        for (command, what) in next {
            let command = style(format!("{command:<28}")).cyan();
            screen.line(&format!("   {command} {}", style(what).dim()))?;
        }
        Ok(())
    }
}

impl From<&Changed> for ProfileFigures {
    fn from(changed: &Changed) -> Self {
        Self {
            user: changed.user.to_string(),
            new_taste: changed.taste.clone(),
            events: changed.events,
            version_before: changed.versions.0,
            version_after: changed.versions.1,
            share_before: changed.shares.0,
            share_after: changed.shares.1,
            served_share_before: changed.served.0,
            served_share_after: changed.served.1,
            top_5_changed: changed.places_changed,
            ack_us: us(changed.ack),
        }
    }
}

impl From<Crash> for CrashFigures {
    fn from(crash: Crash) -> Self {
        Self {
            snapshot_bytes: crash.snapshot.bytes,
            snapshot_ms: crash.snapshot.took_ms,
            events_during_snapshot: crash.during,
            events_in_journal_tail: crash.tail,
            restart_ms: us(crash.back) / 1e3,
            recovery_ms: crash.recovery_ms,
            events_before: crash.events.0,
            events_after: crash.events.1,
            lost: crash.events.0.saturating_sub(crash.events.1),
            sequences_before: crash.sequences.0,
            sequences_after: crash.sequences.1,
            profiles_compared: crash.profiles.0,
            profiles_equal: crash.profiles.1,
            shard_digests_equal: crash.digests_equal,
            sent_again: crash.again.0,
            recognised: crash.again.1,
        }
    }
}
