//! Bars of what takes long: snapshots of a large state under load, and the start from one.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::load::{Load, figure, load};
use crate::support::{Connection, ServeProcess};
use crate::{Found, Work};
use mirra::wire::commands::{Snapshot, SnapshotReply};

/// An operator's connection, which may wait for long.
fn operator(server: &ServeProcess) -> Connection {
    let door = Connection::open(server.addr);
    door.stream.set_read_timeout(Some(Duration::from_secs(300))).expect("a socket takes a timeout");
    door
}

fn snapshot(door: &mut Connection) -> SnapshotReply {
    door.ask(&Snapshot {}).expect("SNAPSHOT")
}

/// What a phase of a load showed: its report, and the most memory that the server held.
struct Phase {
    p999_us: f64,
    max_us: f64,
    events_per_s: f64,
    overloaded: f64,
    rss: u64,
}

impl Phase {
    /// Does `work` again and again while the load runs for those seconds.
    fn run(server: &ServeProcess, arguments: &[&str], seconds: u64, mut work: impl FnMut()) -> Self {
        let load = Load::start(server, &[arguments, &["--seconds", &seconds.to_string()]].concat());
        let began = Instant::now();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let rss = std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut rss = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    rss = rss.max(server.status_bytes("VmRSS"));
                    std::thread::sleep(Duration::from_millis(10));
                }
                rss
            });
            while began.elapsed() < Duration::from_secs(seconds) {
                work();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            watch.join().expect("the watch ends")
        });
        let report = load.found();
        let of = |name| figure(&report, &["latency_us", name]);
        Self {
            p999_us: of("p999"),
            max_us: of("max"),
            events_per_s: figure(&report, &["events_per_s"]),
            overloaded: figure(&report, &["overloaded"]),
            rss,
        }
    }
}

/// Events go on as before while snapshots are written.
pub fn snapshots(work: Work) -> Found {
    const RATIO_GOAL: f64 = 2.0;
    const STALL_MS_GOAL: f64 = 20.0;
    const EXTRA_RSS_GOAL: f64 = 0.3;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = ServeProcess::start(&dir.path().join("data"), &["--shards", "1"]);
    // Not held to a core: the thread that writes the snapshot is meant to take another one than the shard's.
    let (users, events) = (work.of(200_000).to_string(), work.of(1_000_000).to_string());
    load(&server, &["--users", &users, "--events", &events, "--batch", "256", "--connections", "2"]);
    let often = ["--users", users.as_str(), "--batch", "16", "--connections", "2", "--seed", "2"];
    let capacity = figure(&load(&server, &[&often[..], &["--seconds", "6"]].concat()), &["events_per_s"]);
    let rate = (0.4 * capacity).round().to_string();
    let often = [&often[..], &["--rate", &rate]].concat();
    let seconds = work.of(20).max(5);
    let mut door = operator(&server);
    let known = door.stat("users");
    // The first one makes the store and writes all chunks anew: a server that runs has long had it.
    let first = snapshot(&mut door);
    let quiet = Phase::run(&server, &often, seconds, || std::thread::sleep(Duration::from_millis(10)));
    let mut written = Vec::new();
    let during = Phase::run(&server, &often, seconds, || written.push(snapshot(&mut door)));
    let ratio = during.p999_us / quiet.p999_us;
    let extra = during.rss as f64 / quiet.rss as f64 - 1.0;
    let stall_ms = during.max_us / 1_000.0;
    let figures = json!({
        "users": known,
        "capacity_events_per_s": capacity,
        "events_per_s": during.events_per_s,
        "events_per_s_quiet": quiet.events_per_s,
        "snapshots": written.len(),
        "snapshot_bytes": first.bytes,
        "snapshot_ms_max": written.iter().map(|reply| reply.took_ms).max(),
        "p999_us_quiet": quiet.p999_us,
        "p999_us_during": during.p999_us,
        "p999_ratio": ratio,
        "p999_ratio_goal": RATIO_GOAL,
        "stall_ms_quiet": quiet.max_us / 1_000.0,
        "stall_ms": stall_ms,
        "stall_ms_goal": STALL_MS_GOAL,
        "rss_quiet": quiet.rss,
        "rss_during": during.rss,
        "extra_rss": extra,
        "extra_rss_goal": EXTRA_RSS_GOAL,
        "overloaded": [quiet.overloaded, during.overloaded],
    });
    (ratio <= RATIO_GOAL && stall_ms <= STALL_MS_GOAL && extra <= EXTRA_RSS_GOAL, figures)
}

/// A start: how long it took, and the most memory that it held against what stays.
struct Started {
    server: ServeProcess,
    seconds: f64,
    rss_peak: u64,
    rss_steady: u64,
}

impl Started {
    fn new(data_dir: &Path, settings: &[(&str, &str)]) -> Self {
        let began = Instant::now();
        let server = ServeProcess::start_with(data_dir, &["--shards", "2"], settings);
        let seconds = began.elapsed().as_secs_f64();
        std::thread::sleep(Duration::from_secs(3));
        let rss_peak = server.status_bytes("VmHWM");
        let rss_steady = server.status_bytes("VmRSS");
        Self { server, seconds, rss_peak, rss_steady }
    }
}

/// A large start after a kill: image and journal, then the image alone, which tells what each of the two takes.
pub fn start(work: Work) -> Found {
    const LOAD_MB_GOAL: f64 = 300.0;
    const REPLAY_GOAL: f64 = 1_000_000.0;
    const RSS_GOAL: f64 = 1.25;
    let settings = [("MIRRA__STRATEGY__ACTIVE", r#"["decay"]"#)];
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data_dir = dir.path().join("data");
    let server = ServeProcess::start_with(&data_dir, &["--shards", "2"], &settings);
    let users = work.of(2_000_000).to_string();
    let fill = |events: u64, seed: &str| {
        let events = events.to_string();
        let arguments = ["--users", &users, "--events", &events, "--seed", seed, "--batch", "4096"];
        load(&server, &[&arguments[..], &["--connections", "2", "--in-flight", "4"]].concat())
    };
    fill(work.of(20_000_000), "1");
    let image = snapshot(&mut operator(&server)).bytes;
    let wanted = work.of(10_000_000);
    fill(wanted, "2");
    let known = operator(&server).stat("users");
    let rss_running = server.status_bytes("VmRSS");
    server.kill();
    let both = Started::new(&data_dir, &settings);
    let log = both.server.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("starting: ")).collect();
    let mut door = operator(&both.server);
    // Twice: the journal is kept as far back as the older of the two.
    snapshot(&mut door);
    let grown = snapshot(&mut door).bytes;
    drop(door);
    both.server.kill();
    let alone = Started::new(&data_dir, &settings);
    let load_mb = grown as f64 / 1e6 / alone.seconds;
    let replay_s = both.seconds - image as f64 / 1e6 / load_mb;
    let replay = wanted as f64 / replay_s;
    // Against a server with the same state that had not just started, or less if that held much for its snapshot.
    let rss = both.rss_peak as f64 / rss_running.min(both.rss_steady) as f64;
    // A start that is over before the first word need not say any.
    let progress = !told.is_empty() || both.seconds < 3.0;
    let figures = json!({
        "users": known,
        "image_bytes": image,
        "journal_events": wanted,
        "start_s": both.seconds,
        "start_of_the_image_alone_s": alone.seconds,
        "image_alone_bytes": grown,
        "load_mb_per_s": load_mb,
        "load_goal": LOAD_MB_GOAL,
        "replay_events_per_s": replay,
        "replay_goal": REPLAY_GOAL,
        "rss_peak": [both.rss_peak, alone.rss_peak],
        "rss_before_the_kill": rss_running,
        "rss_steady": [both.rss_steady, alone.rss_steady],
        "rss_ratio": rss,
        "rss_ratio_goal": RSS_GOAL,
        "progress_lines": told.len(),
        "progress": told.last(),
    });
    (load_mb >= LOAD_MB_GOAL && replay >= REPLAY_GOAL && rss <= RSS_GOAL && progress, figures)
}
