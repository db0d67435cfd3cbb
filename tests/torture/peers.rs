//! Bars of peers that do harm, by intent or not: those that never read, never finish, come in crowds or ask too much.
//!
//! What others feel of them is the p99 of a fixed open-loop load before and meanwhile. The goal is [`RATIO_GOAL`]; since
//! other work may run on the same machine, a bar fails past [`RATIO_LIMIT`] alone, and both stand in the figures.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::load::{Load, figure, load, pin};
use crate::support::{Connection, ServeProcess};
use crate::{Found, Work};
use mirra::base::Id;
use mirra::wire::commands::{EventBatch, Hello, ProfileGet};
use mirra::wire::message::decode_error;
use mirra::wire::types::Event;
use mirra::wire::{HEADER_BYTES, Header, Status, put_request};

/// Most that the p99 of others may rise, and where a bar fails.
const RATIO_GOAL: f64 = 1.5;
const RATIO_LIMIT: f64 = 3.0 * RATIO_GOAL;

/// What a time limit of the server may be late by.
pub const LATE_S: f64 = 2.0;

/// Reads of people that nobody should be able to disturb.
const READS: [&str; 8] = ["--connections", "2", "--rate", "1000", "--users", "1000", "--mix", "profile=100"];

/// The user of whom much is known.
const KNOWN: Id = Id::Int(9_999_999);

/// A server with one shard and a strategy that costs little.
pub const SETTINGS: [(&str, &str); 1] = [("MIRRA__STRATEGY__ACTIVE", r#"["decay"]"#)];

pub fn serve(dir: &Path, settings: &[(&str, &str)]) -> ServeProcess {
    let settings = [&SETTINGS[..], settings].concat();
    let server = ServeProcess::start_with(&dir.join("data"), &["--shards", "1"], &settings);
    pin(&server);
    server
}

/// People to read, and one with a full history.
fn fill(server: &ServeProcess) {
    load(server, &["--events", "100000", "--users", "1000", "--batch", "256"]);
    let event = |n: u64| Event {
        event_id: Id::Int(1_000_000_000 + n),
        user: KNOWN,
        item: Id::Int(n),
        kind: 1,
        value: 1.0,
        time_ms: 1_700_000_000_000 + n as i64,
    };
    let events = (0..256).map(event).collect();
    Connection::open(server.addr).ask(&EventBatch { durability: 1, want: 0, events }).expect("events");
}

fn reads(server: &ServeProcess, seconds: &str) -> Load {
    Load::start(server, &[&READS[..], &["--seconds", seconds]].concat())
}

/// What others felt: the figures, and whether that may be.
fn felt(before: &Value, during: &Value) -> (bool, Value) {
    let p99 = |report| figure(report, &["latency_us", "p99"]);
    // Who was answered nothing felt it most.
    let ratio = if p99(during) > 0.0 { p99(during) / p99(before) } else { f64::INFINITY };
    let figures = json!({
        "p99_us_before": p99(before),
        "p99_us_during": p99(during),
        "max_us_during": figure(during, &["latency_us", "max"]),
        "ratio": ratio,
        "goal": RATIO_GOAL,
        "limit": RATIO_LIMIT,
        "sent_late_p99_us": [figure(before, &["sent_late_us", "p99"]), figure(during, &["sent_late_us", "p99"])],
        "errors": figure(during, &["errors"]),
        "overloaded": figure(during, &["overloaded"]),
    });
    (ratio <= RATIO_LIMIT && figure(during, &["errors"]) == 0.0, figures)
}

fn hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    let hello = Hello { client: "drip".to_owned(), version_min: 1, version_max: 1, token: String::new() };
    put_request(&mut bytes, 1, &hello).expect("it can be sent");
    bytes
}

fn profile_get() -> Vec<u8> {
    let mut bytes = Vec::new();
    put_request(&mut bytes, 7, &ProfileGet { user: KNOWN, recent_max: 256, factors: true }).expect("it can be sent");
    bytes
}

/// The refusals in what a peer was told; none if anything else is among it.
fn refusals(mut bytes: &[u8]) -> Option<Vec<(Status, u32, String)>> {
    let mut told = Vec::new();
    while !bytes.is_empty() {
        let (raw, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let header = Header::decode(*raw);
        let body = rest.get(..header.length as usize)?;
        bytes = &rest[body.len()..];
        let status = Status::from_number(header.code).filter(|status| !status.is_success())?;
        let error = decode_error(body).ok()?;
        told.push((status, error.retry_after_ms, error.message));
    }
    Some(told)
}

/// A peer that asks and never reads.
struct Mute {
    stream: TcpStream,
    /// How far it is in what it sends without end.
    at: usize,
    last: Instant,
    /// From the last byte that its socket took to its end.
    gone_s: Option<f64>,
}

/// Bytes of socket buffers that the system holds, which no process is charged for.
fn socket_bytes() -> u64 {
    let stat = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let tcp = stat.lines().find_map(|line| line.strip_prefix("TCP: ")).unwrap_or_default();
    let mut words = tcp.split_ascii_whitespace().skip_while(|word| *word != "mem").skip(1);
    words.next().and_then(|pages| pages.parse::<u64>().ok()).map_or(0, |pages| pages * 4_096)
}

/// Sends until every peer was given up; `full` is set when the sockets of all are full.
fn flood(addr: SocketAddr, peers: u64, full: &AtomicBool) -> Vec<Mute> {
    let request = profile_get();
    let requests = request.repeat((64 << 10) / request.len());
    let open = |_| {
        let stream = Connection::open(addr).stream;
        stream.set_nonblocking(true).expect("a socket can do that");
        Mute { stream, at: 0, last: Instant::now(), gone_s: None }
    };
    let mut mutes: Vec<Mute> = (0..peers).map(open).collect();
    let (until, mut last) = (Instant::now() + Duration::from_secs(60), Instant::now());
    while mutes.iter().any(|mute| mute.gone_s.is_none()) && Instant::now() < until {
        let mut taken = 0;
        for mute in mutes.iter_mut().filter(|mute| mute.gone_s.is_none()) {
            match mute.stream.write(&requests[mute.at..]) {
                Ok(bytes) => {
                    (mute.at, mute.last) = ((mute.at + bytes) % requests.len(), Instant::now());
                    taken += bytes;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => mute.gone_s = Some(mute.last.elapsed().as_secs_f64()),
            }
        }
        if taken == 0 {
            full.fetch_or(last.elapsed() > Duration::from_millis(500), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(10));
        } else {
            last = Instant::now();
        }
    }
    full.store(true, Ordering::Relaxed);
    mutes
}

/// Peers that ask for much and never read hold bounded memory for a bounded time.
pub fn mute(work: Work) -> Found {
    const WRITE_TIMEOUT_S: f64 = 10.0;
    /// `server.output_total_bytes_max`, twice for vectors that grow, and the buffers of the connections.
    const GROWTH_MAX: u64 = (2 * 256 + 128) << 20;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (server, peers) = (serve(dir.path(), &[]), work.of(500));
    fill(&server);
    let before = reads(&server, "6").found();
    let rss_before = server.status_bytes("VmRSS");
    let mut watch = Connection::open(server.addr);
    let (began, full) = (Instant::now(), AtomicBool::new(false));
    let (mut rss, mut sockets, mut connections, mut stats_ms) = (rss_before, 0, 0.0_f64, 0.0_f64);
    let (mut asking, mut waiting, mut full_s) = (Some(reads(&server, "3")), None, 0.0);
    let mut asked = None;
    let mutes = std::thread::scope(|scope| {
        let peer = scope.spawn(|| flood(server.addr, peers, &full));
        while !peer.is_finished() {
            if waiting.is_none() && full.load(Ordering::Relaxed) {
                full_s = began.elapsed().as_secs_f64();
                asked = asking.take().map(Load::found);
                waiting = Some(reads(&server, "5"));
            }
            let sent = Instant::now();
            connections = connections.max(watch.stat("connections"));
            stats_ms = stats_ms.max(1_000.0 * sent.elapsed().as_secs_f64());
            rss = rss.max(server.status_bytes("VmRSS"));
            sockets = sockets.max(socket_bytes());
            std::thread::sleep(Duration::from_millis(20));
        }
        peer.join().expect("the flood ends")
    });
    let flood_s = began.elapsed().as_secs_f64();
    let stuck = mutes.iter().filter(|mute| mute.gone_s.is_none()).count();
    let gone_s = mutes.iter().filter_map(|mute| mute.gone_s).fold(0.0, f64::max);
    let asked = asked.or_else(|| asking.map(Load::found)).expect("a load ran");
    let (well_asking, while_asking) = felt(&before, &asked);
    let (well_waiting, while_waiting) = waiting.map_or((false, Value::Null), |load| felt(&before, &load.found()));
    let (given_up, left) = (watch.stat("connections_given_up"), watch.stat("connections"));
    let figures = json!({
        "peers": peers,
        "most_connections": connections,
        "given_up": given_up,
        "connections_left": left,
        "never_ended": stuck,
        "gone_s_after_its_last_byte_max": gone_s,
        "full_s": full_s,
        "all_gone_s": flood_s,
        "rss_before": rss_before,
        "rss_most": rss,
        "rss_growth": rss - rss_before,
        "rss_growth_limit": GROWTH_MAX,
        "rss_after": server.status_bytes("VmRSS"),
        "socket_buffers_most": sockets,
        "stats_ms_max": stats_ms,
        "reads_of_others_while_they_ask": while_asking,
        "reads_of_others_while_they_wait": while_waiting,
    });
    let bounded = rss - rss_before <= GROWTH_MAX && gone_s <= WRITE_TIMEOUT_S + LATE_S;
    let well = well_asking && well_waiting && bounded;
    (well && stuck == 0 && given_up == peers as f64 && left == 1.0, figures)
}

/// A peer that sends a byte a second.
struct Drip {
    stream: TcpStream,
    sends: Vec<u8>,
    at: usize,
    /// Since when the server has been patient.
    since: Instant,
    said: Vec<u8>,
    /// After how many seconds the server said that nothing more comes.
    ended_s: Option<f64>,
    /// The setting whose time is over, and its seconds.
    limit: (&'static str, f64),
}

impl Drip {
    fn new(addr: SocketAddr, greeted: bool) -> Self {
        let (stream, sends, limit) = match greeted {
            true => (Connection::open(addr).stream, profile_get(), ("frame_timeout_s", 10.0)),
            false => (TcpStream::connect(addr).expect("the port answers"), hello(), ("hello_timeout_s", 2.0)),
        };
        stream.set_nonblocking(true).expect("a socket can do that");
        Self { stream, sends, at: 0, since: Instant::now(), said: Vec::new(), ended_s: None, limit }
    }

    fn go_on(&mut self) {
        if self.ended_s.is_some() {
            return;
        }
        let passed_s = self.since.elapsed().as_secs_f64();
        if passed_s >= self.at as f64
            && let Some(byte) = self.sends.get(self.at)
        {
            let _ = self.stream.write(&[*byte]); // the end is seen by what is read
            self.at += 1;
        }
        let mut buffer = [0; 1_024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended_s = Some(passed_s),
            Ok(bytes) => self.said.extend(&buffer[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.ended_s = Some(passed_s),
        }
    }

    /// Whether it was told which setting it went against, and nothing else.
    fn was_told(&self) -> bool {
        let told = refusals(&self.said).unwrap_or_default();
        matches!(&told[..], [(Status::BadRequest, _, message)] if message.contains(self.limit.0))
    }

    fn in_time(&self) -> bool {
        self.ended_s.is_some_and(|s| s <= self.limit.1 + LATE_S)
    }
}

/// Peers that never come to an end are told so and closed.
pub fn dripping(work: Work) -> Found {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = serve(dir.path(), &[("MIRRA__SERVER__CONNECTIONS_MAX", "4096")]);
    fill(&server);
    let before = reads(&server, "6").found();
    let rss_before = server.status_bytes("VmRSS");
    let mut watch = Connection::open(server.addr);
    let meanwhile = reads(&server, "14");
    let mut drips: Vec<Drip> = (0..work.of(2_000)).map(|n| Drip::new(server.addr, n % 2 == 1)).collect();
    let (opened, rss) = (watch.stat("connections"), server.status_bytes("VmRSS"));
    let until = Instant::now() + Duration::from_secs(20);
    while drips.iter().any(|drip| drip.ended_s.is_none()) && Instant::now() < until {
        drips.iter_mut().for_each(Drip::go_on);
        std::thread::sleep(Duration::from_millis(50));
    }
    let longest = |setting| {
        let of = drips.iter().filter(|drip| drip.limit.0 == setting);
        of.map(|drip| drip.ended_s.unwrap_or(f64::INFINITY)).fold(0.0, f64::max)
    };
    let (told, in_time) =
        (drips.iter().filter(|drip| drip.was_told()).count(), drips.iter().filter(|drip| drip.in_time()).count());
    let (well, others) = felt(&before, &meanwhile.found());
    let (given_up, left) = (watch.stat("connections_given_up"), watch.stat("connections"));
    let figures = json!({
        "peers": drips.len(),
        "connections_once_all_were_open": opened,
        "told_why": told,
        "ended_in_time": in_time,
        "before_hello_s_max": longest("hello_timeout_s"),
        "within_a_frame_s_max": longest("frame_timeout_s"),
        "given_up": given_up,
        "connections_left": left,
        "rss_before": rss_before,
        "rss_with_them": rss,
        "bytes_each": (rss.saturating_sub(rss_before)) / drips.len() as u64,
        "reads_of_others": others,
    });
    (well && told == drips.len() && in_time == drips.len() && left == 1.0, figures)
}

/// Seconds of processor that a process has taken.
fn processor_s(server: &ServeProcess) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).expect("the process is there");
    let (_, rest) = stat.rsplit_once(')').expect("a name in brackets");
    let field = |n: usize| rest.split_ascii_whitespace().nth(n).and_then(|text| text.parse::<f64>().ok());
    // utime and stime, in hundredths as everywhere on Linux.
    (field(11).expect("utime") + field(12).expect("stime")) / 100.0
}

/// Everything that a peer is told until it is closed.
fn heard(addr: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(mut stream) = TcpStream::connect(addr) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let _ = stream.read_to_end(&mut bytes); // a reset is an end as well
    }
    bytes
}

fn is_no_room(bytes: &[u8]) -> bool {
    let told = refusals(bytes).unwrap_or_default();
    matches!(&told[..], [(Status::Overloaded, retry_after_ms, _)] if *retry_after_ms > 0)
}

/// Past the limit an operator still gets in, and whoever insists costs little.
pub fn too_many(work: Work) -> Found {
    /// Most of a core that turning peers away may take, and longest that an operator may wait meanwhile.
    const SHARE_MAX: f64 = 0.6;
    const STATS_MS_MAX: f64 = 250.0;
    /// A line a second, not one for each of them.
    const LOG_BYTES_MAX: usize = 4 << 10;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = serve(dir.path(), &[("MIRRA__SERVER__CONNECTIONS_MAX", "8")]);
    let addr = server.addr;
    let mut full: Vec<Connection> = (0..8).map(|_| Connection::open(addr)).collect();
    let event =
        Event { event_id: Id::Int(1), user: KNOWN, item: Id::Int(1), kind: 1, value: 1.0, time_ms: 1_700_000_000_000 };
    let events = EventBatch { durability: 1, want: 0, events: vec![event] };
    let read = ProfileGet { user: KNOWN, recent_max: 1, factors: false };
    let mut operators: Vec<Connection> = (0..8).map(|_| Connection::open(addr)).collect();
    let mut served = true;
    for connection in &mut full {
        served &= connection.ask(&events).is_ok() && connection.ask(&read).is_ok();
    }
    let (mut looks, mut refused) = (true, true);
    for operator in &mut operators {
        looks &= operator.stat("connections") == 16.0;
        let no = |status, retry_after_ms| status == Status::Overloaded && retry_after_ms > 0;
        refused &= operator.ask(&events).is_err_and(|(status, body)| no(status, body.retry_after_ms));
        refused &= operator.ask(&read).is_err_and(|(status, body)| no(status, body.retry_after_ms));
    }
    let turned_away = is_no_room(&heard(addr));
    let log_before = server.log().len();
    let (began, processor_before) = (Instant::now(), processor_s(&server));
    let (stop, told, silent) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let (mut asked, mut stats_ms) = (0, 0.0_f64);
    std::thread::scope(|scope| {
        for _ in 0..work.of(200) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let count = if is_no_room(&heard(addr)) { &told } else { &silent };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while began.elapsed() < Duration::from_secs(2) {
            let sent = Instant::now();
            looks &= operators[0].stat("connections") == 16.0;
            stats_ms = stats_ms.max(1_000.0 * sent.elapsed().as_secs_f64());
            asked += 1;
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let share = (processor_s(&server) - processor_before) / began.elapsed().as_secs_f64();
    let [told, silent] = [told, silent].map(AtomicU64::into_inner);
    let figures = json!({
        "full_ones_served": served,
        "operators_look": looks,
        "operators_refused_profiles_and_events": refused,
        "next_is_told": turned_away,
        "attempts": told + silent,
        "told": told,
        "closed_without_a_word": silent,
        "seconds": began.elapsed().as_secs_f64(),
        "share_of_a_core": share,
        "share_limit": SHARE_MAX,
        "log_bytes": server.log().len() - log_before,
        "stats_asked": asked,
        "stats_ms_max": stats_ms,
        "stats_ms_limit": STATS_MS_MAX,
    });
    let quiet = server.log().len() - log_before <= LOG_BYTES_MAX;
    drop((full, operators));
    std::thread::sleep(Duration::from_millis(200));
    server.stop(); // checks that it ends well
    let well = served && looks && refused && turned_away && told > 0 && quiet;
    (well && share <= SHARE_MAX && stats_ms <= STATS_MS_MAX, figures)
}

/// Who asks for ten times its quota gets its quota, and others do not feel it.
pub fn greedy(_: Work) -> Found {
    const QUOTA: f64 = 5_000.0;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = serve(dir.path(), &[("MIRRA__SERVER__CONNECTION_EVENTS_PER_S", "5000")]);
    let modest = ["--connections", "1", "--rate", "1000", "--batch", "1", "--users", "1000", "--seconds"];
    let modest = |seconds| Load::start(&server, &[&modest[..], &[seconds]].concat());
    let alone = modest("8").found();
    let mut well = true;
    let beside = ["1", "16"].map(|batch| {
        let greedy = ["--connections", "1", "--rate", "50000", "--batch", batch, "--seed", "2", "--users", "1000"];
        let greedy = Load::start(&server, &[&greedy[..], &["--seconds", "10"]].concat());
        std::thread::sleep(Duration::from_secs(1)); // what it had saved up is gone
        let other = modest("8").found();
        let greedy = greedy.found();
        let (bearable, others) = felt(&alone, &other);
        let got = figure(&greedy, &["events_per_s"]);
        well &= bearable && (0.9 * QUOTA..1.25 * QUOTA).contains(&got) && figure(&greedy, &["overloaded"]) > 0.0;
        well &= figure(&other, &["overloaded"]) == 0.0;
        json!({
            "batch": batch,
            "greedy_events_per_s": got,
            "quota": QUOTA,
            "greedy_refused": figure(&greedy, &["overloaded"]),
            "greedy_errors": figure(&greedy, &["errors"]),
            "the_other": others,
        })
    });
    (well, json!(beside))
}
