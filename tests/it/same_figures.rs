//! The figures that a server measures while it serves are those of an evaluation that runs the machine alone.

use mirra::base::Id;
use mirra::engine::Options;
use mirra::ingest::{DriftOptions, DriftStream, Row, Table, TableOptions};
use mirra::learn::Strategy;
use mirra::learn::auto::Training;
use mirra::model::{Event as ModelEvent, Kind, Schema};
use mirra::state::{self, Op, Shard};
use mirra::wire::commands::{EventBatch, Metrics, MetricsBy};
use mirra::wire::types::{Event, MetricsCell, StrategyMetrics};

use crate::support::{Connection, TestServer, options};

const EVENTS: u64 = 6_000;

fn rows() -> Vec<Row> {
    DriftStream::new(DriftOptions { users: 300, items: 200, events: EVENTS, seed: 5, ..DriftOptions::default() })
        .collect()
}

/// `auto` alone, its ranker taught in step: what `mirra evaluate` runs.
fn auto_options() -> state::Options {
    let strategies = vec![Strategy::default_named("auto").expect("listed")];
    state::Options { strategies, training: Training::InStep, history_max: 4_096, ..state_options(1) }
}

fn state_options(shards: u16) -> state::Options {
    let named = |name: &str| Strategy::default_named(name).expect("listed");
    state::Options {
        shards,
        strategies: vec![named("biased_mf"), named("popularity")],
        schema: Schema::of([Kind { explicit: true, range: Some((1.0, 5.0)), ..Kind::new(5, "rate", 1.0) }]),
        rank_every: 5,
        ..state::Options::default()
    }
}

/// Straight through the machine.
fn alone(rows: &[Row], options: state::Options) -> Vec<mirra::evaluate::Report> {
    let mut shard = Shard::new(0, options);
    for row in rows {
        let (user, item) = (row.user.as_ref(), row.item.as_ref());
        let (value, time_ms) = (row.value, row.time_ms);
        shard.apply(&Op::Event(ModelEvent { event_id: 0, user, item, kind: 5, value, time_ms }));
    }
    shard.reports().iter().map(mirra::state::StrategyReport::report).collect()
}

/// Through TCP, in batches, in order.
fn served(rows: &[Row], state: state::Options) -> (Vec<StrategyMetrics>, Vec<MetricsCell>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = TestServer::start(Options { state, ..options(dir.path()) });
    let mut door = Connection::open(server.addr);
    for rows in rows.chunks(97) {
        let event = |row: &Row| Event {
            event_id: Id::Int(0),
            user: row.user.clone(),
            item: row.item.clone(),
            kind: 5,
            value: row.value,
            time_ms: row.time_ms,
        };
        let events = rows.iter().map(event).collect();
        assert_eq!(door.ask(&EventBatch { durability: 1, want: 0, events }).expect("a batch").rejected, 0);
    }
    let metrics = door.ask(&Metrics { strategy: String::new() }).expect("METRICS").strategies;
    let every = MetricsBy { strategy: String::new(), cohort: String::new(), window: String::new() };
    let cells = door.ask(&every).expect("METRICS_BY").cells;
    for (cohort, window) in [("2-3", ""), ("", "yesterday")] {
        let unknown = MetricsBy { cohort: cohort.to_owned(), window: window.to_owned(), ..every.clone() };
        assert!(door.ask(&unknown).is_err(), "{cohort} {window}");
    }
    let last = metrics.last().map(|metrics| metrics.strategy.clone()).unwrap_or_default();
    let one = MetricsBy { strategy: last, cohort: "64+".into(), window: "faded".into() };
    assert_eq!(door.ask(&one).expect("METRICS_BY").cells.len(), 1);
    drop(door);
    server.stop();
    (metrics, cells)
}

#[test]
fn one_shard_is_the_same_to_the_last_digit() {
    let rows = rows();
    assert_same(&served(&rows, state_options(1)).0, &alone(&rows, state_options(1)));
}

/// `auto` too: ranks by its ranker and foretold values, both learned on the way.
#[test]
fn auto_in_step_is_the_same_to_the_last_digit() {
    let rows = rows();
    let rows = &rows[..3_000];
    let (served, alone) = (served(rows, auto_options()).0, alone(rows, auto_options()));
    assert_same(&served, &alone);
    assert!(alone[0].ranked > 200 && alone[0].hr_at_10 > 0.05, "the ranker ranked: {:?}", alone[0]);
    assert!(alone[0].predicted == 3_000 && alone[0].rmse < 2.0, "values were foretold: {:?}", alone[0]);
}

/// The same over a file, with the kinds of the built-in configuration:
/// `MIRRA_FILE=ml-100k.tsv.gz cargo test --release --test it -- --ignored same_figures --nocapture`.
#[test]
#[ignore = "needs a file of ratings, and minutes"]
fn auto_in_step_is_the_same_over_a_file() {
    let path = std::env::var("MIRRA_FILE").expect("MIRRA_FILE names a file");
    let table = Table::open(std::path::Path::new(&path), TableOptions::default()).expect("it opens");
    let rows: Vec<Row> = table.map(|row| row.expect("a good row")).collect();
    let kind = Kind { explicit: true, ..Kind::new(5, "rate", 1.0) };
    let state = state::Options { rank_every: 10, schema: Schema::of([kind]), ..auto_options() };
    let (served, alone) = (served(&rows, state.clone()).0, alone(&rows, state));
    println!("served: {:?}\nalone: {:?}", served[0], alone[0]);
    assert_same(&served, &alone);
}

fn assert_same(served: &[StrategyMetrics], alone: &[mirra::evaluate::Report]) {
    assert_eq!(served.len(), alone.len());
    for (served, alone) in served.iter().zip(alone) {
        assert_eq!((served.scored, served.ranked), (alone.predicted, alone.ranked));
        let pairs = [
            (served.rmse, alone.rmse),
            (served.mae, alone.mae),
            (served.hr_10, alone.hr_at_10),
            (served.ndcg_10, alone.ndcg_at_10),
            (served.mrr_10, alone.mrr_at_10),
        ];
        for (served, alone) in pairs {
            assert!((served - alone).abs() <= 1e-6 || (served.is_nan() && alone.is_nan()), "{served} {alone}");
        }
    }
}

/// With several shards each has the mean of its own users, and items learn from the others with a delay: close, not equal.
#[test]
fn two_shards_are_close() {
    let rows = rows();
    let (served, alone) = (served(&rows, state_options(2)).0, alone(&rows, state_options(1)));
    println!("RMSE alone {:.4}, two shards {:.4}", alone[0].rmse, served[0].rmse);
    assert_eq!(served[0].scored, EVENTS);
    assert!((served[0].rmse - alone[0].rmse).abs() < 0.05 * alone[0].rmse);
}

/// By cohort and window, over two shards: cohorts are disjoint and cover everything, and say what METRICS says.
#[test]
fn cohorts_cover_what_was_served() {
    let rows = rows();
    let (metrics, cells) = served(&rows, state_options(2));
    assert_eq!(cells.len(), 2 * 6 * 3);
    let cell = |strategy: &str, cohort: &str, window: &str| {
        let same = |cell: &&MetricsCell| cell.strategy == strategy && cell.cohort == cohort && cell.window == window;
        cells.iter().find(same).expect("there is one for each")
    };
    let mut before = std::collections::HashMap::new();
    let mut lengths = [0_u64; 5];
    for row in &rows {
        let events = before.entry(row.user.clone()).or_insert(0_u32);
        lengths[[1, 4, 16, 64].iter().filter(|first| *events >= **first).count()] += 1;
        *events += 1;
    }
    for (cohort, length) in ["new", "1-3", "4-15", "16-63", "64+"].into_iter().zip(lengths) {
        assert_eq!(cell("biased_mf", cohort, "lifetime").scored, length, "{cohort}");
    }
    let all = cell("biased_mf", "all", "lifetime");
    assert!((all.rmse - metrics[0].rmse).abs() < 1e-12 && (all.hr_10 - metrics[0].hr_10).abs() < 1e-12);
    assert!((cell("biased_mf", "all", "faded").rmse - metrics[0].recent_rmse).abs() < 1e-12);
    assert_eq!(cell("biased_mf", "all", "last").scored, EVENTS, "a window per shard that is not full yet");
    assert!((0.5..1.0).contains(&all.accuracy) && (0.0..0.7).contains(&all.log_loss), "{all:?}");
    assert!(all.coverage_10 > 0.0 && all.coverage_10 <= 1.0 && all.novelty_10 > 0.0, "{all:?}");
    assert_eq!(all.calibration.iter().map(|tenth| tenth.count).sum::<u64>(), EVENTS);
    let (popularity, learned) = (cell("popularity", "all", "lifetime"), all);
    assert!(popularity.rmse.is_nan() && popularity.novelty_10 < learned.novelty_10, "the popular tells least");
}
