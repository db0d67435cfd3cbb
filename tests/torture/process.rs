//! Bars of the real program: killed, stopped and started again, many times.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use crate::crash::{End, Ends, run};
use crate::support::{Connection, ServeProcess};
use crate::{Found, Work};
use mirra::base::Id;
use mirra::wire::commands::{EventBatch, Snapshot};
use mirra::wire::types::Event;

/// The value below which that share of the values lies.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

/// `run` panics, and the bar does not hold, where a start fails, an acknowledged event is lost or counts twice, or a profile is
/// not that of the oracle to the bit.
pub fn kills(work: Work) -> Found {
    let mut figures = Vec::new();
    for (shards, strategies) in [(1, &["biased_mf", "decay", "popularity"][..]), (2, &["decay", "popularity"])] {
        let cycles = work.of(500);
        let Ends { acknowledged, starts_cut_short, start_ms, .. } = run(shards, strategies, cycles, End::Kill);
        figures.push(json!({
            "shards": shards,
            "kills": cycles,
            "starts_cut_short": starts_cut_short,
            "acknowledged": acknowledged,
            "start_ms_p50": quantile(&start_ms, 0.5),
            "start_ms_p99": quantile(&start_ms, 0.99),
        }));
    }
    (true, json!(figures))
}

/// Longest that a server may take to stop, in seconds.
const END_MS_MAX: f64 = 10_000.0;

pub fn terminations(work: Work) -> Found {
    let cycles = work.of(50);
    let Ends { acknowledged, end_ms, .. } = run(2, &["decay", "popularity"], cycles, End::Terminate);
    let longest = quantile(&end_ms, 1.0);
    let figures = json!({
        "terminated": cycles,
        "acknowledged": acknowledged,
        "end_ms_p50": quantile(&end_ms, 0.5),
        "end_ms_max": longest,
    });
    (longest <= END_MS_MAX, figures)
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("readable").path());
    let bytes = entries.map(|path| match path.is_dir() {
        true => bytes_below(&path),
        false => std::fs::metadata(&path).map_or(0, |metadata| metadata.len()),
    });
    bytes.sum()
}

/// Most that the mean of the last ten may be of that of the first ten.
const GROWTH_MAX: f64 = 1.2;

/// 50 restarts, every other one by a kill, a snapshot and a few events in between: what sled is known to get worse at.
pub fn restarts(work: Work) -> Found {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (data_dir, cycles) = (dir.path().join("data"), work.of(50).max(20));
    let (mut start_ms, mut bytes) = (Vec::new(), Vec::new());
    for cycle in 0..cycles + 5 {
        let began = Instant::now();
        let server = ServeProcess::start(&data_dir, &["--shards", "2"]);
        let took_ms = 1_000.0 * began.elapsed().as_secs_f64();
        let mut door = Connection::open(server.addr);
        // The same users, items and event ids: the data stay as many as they are.
        for batch in 0..20_u64 {
            let event = |n: u64| Event {
                event_id: Id::Int(1 + n),
                user: Id::Int(n % 2_000),
                item: Id::Int(n % 500),
                kind: 0,
                value: 1.0,
                time_ms: 1_700_000_000_000 + n as i64,
            };
            let events = (batch * 500..(batch + 1) * 500).map(event).collect();
            door.ask(&EventBatch { durability: 1, want: 0, events }).expect("events");
        }
        door.ask(&Snapshot {}).expect("SNAPSHOT");
        drop(door);
        if cycle % 2 == 0 {
            server.kill();
        } else {
            server.stop();
        }
        if cycle >= 5 {
            start_ms.push(took_ms); // the first ones fill the two generations that are kept
            bytes.push(bytes_below(&data_dir) as f64);
        }
    }
    let growth = |values: &[f64]| {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        mean(&values[values.len() - 10..]) / mean(&values[..10])
    };
    let (time, space) = (growth(&start_ms), growth(&bytes));
    let figures = json!({
        "restarts": cycles,
        "start_ms_first_10_to_last_10": time,
        "bytes_first_10_to_last_10": space,
        "start_ms_p50": quantile(&start_ms, 0.5),
        "bytes": bytes.last(),
    });
    (time <= GROWTH_MAX && space <= GROWTH_MAX, figures)
}
