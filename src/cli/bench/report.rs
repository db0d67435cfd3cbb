//! What a run found, for people and for machines.

use serde::Serialize;

use super::Mix;
use super::latency::{Percentiles, RequestKind};
use super::load::Tally;
use crate::cli::output;

/// The result of one run: the object that `--json` prints. Scripts depend on the names.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Events acknowledged a second.
    pub events_per_s: f64,
    /// Requests answered a second.
    pub requests_per_s: f64,
    /// Latency of all requests that were not refused as overloaded, in microseconds; null if there was none.
    pub latency_us: Option<Percentiles>,
    /// Requests and events refused, and requests never answered.
    pub errors: u64,
    /// What the first of them was.
    pub first_error: Option<String>,
    /// Requests refused as overloaded, too late or over quota.
    pub overloaded: u64,
    /// How long these refusals took, in microseconds; null without any.
    pub overloaded_latency_us: Option<Percentiles>,
    /// Events acknowledged.
    pub events: u64,
    /// Of these, repeats.
    pub duplicates: u64,
    /// Questions about a user of whom there was nothing yet.
    pub not_found: u64,
    /// Length of the window, the warm-up left out.
    pub seconds: f64,
    /// Each kind of request that there was.
    pub by_kind: Vec<KindReport>,
    /// How late the open loop sent, which its latencies include; null in the closed loop.
    pub sent_late_us: Option<Percentiles>,
    /// What was run.
    pub settings: Settings,
}

/// One kind of request.
#[derive(Clone, Debug, Serialize)]
pub struct KindReport {
    /// `ingest`, `profile` or `recommend`.
    pub kind: &'static str,
    /// Requests of the kind in the histogram.
    pub requests: u64,
    /// Their latency, in microseconds.
    pub latency_us: Percentiles,
}

/// What was run.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// Name and version of the server.
    pub server: String,
    /// Where it is.
    pub addr: String,
    /// Whether the bench started it.
    pub own_server: bool,
    /// Its shards.
    pub shards: u16,
    /// Its strategies; the first answers.
    pub strategies: Vec<String>,
    /// Whether each connection went to a shard's own port.
    pub shard_aware: bool,
    /// Connections.
    pub connections: u16,
    /// Unanswered requests of each in the closed loop; null in the open loop.
    pub in_flight: Option<u16>,
    /// Events a second of the open loop; null in the closed loop.
    pub rate: Option<f64>,
    /// Events of one request.
    pub batch: u16,
    /// What an acknowledgement means.
    pub durability: &'static str,
    /// Users.
    pub users: u32,
    /// Items.
    pub items: u32,
    /// Shares of the requests.
    pub mix: Mix,
    /// Seed of all draws.
    pub seed: u64,
    /// Whether events carried ids.
    pub event_ids: bool,
}

impl Report {
    /// The report of what all connections found together.
    #[must_use]
    pub fn new(tally: &Tally, settings: Settings) -> Self {
        let seconds = tally.seconds();
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        let per_s = |count: u64| if seconds > 0.0 { (count as f64 / seconds).round() } else { 0.0 };
        let of = |kind: RequestKind| {
            let latency_us = tally.latencies.of(kind)?;
            Some(KindReport { kind: kind.name(), requests: tally.latencies.count(kind), latency_us })
        };
        Self {
            events_per_s: per_s(tally.events),
            requests_per_s: per_s(tally.requests),
            latency_us: tally.latencies.overall(),
            errors: tally.errors,
            first_error: tally.first_error.clone(),
            overloaded: tally.overloaded,
            overloaded_latency_us: tally.refusals.overall(),
            events: tally.events,
            duplicates: tally.duplicates,
            not_found: tally.not_found,
            seconds,
            by_kind: RequestKind::ALL.into_iter().filter_map(of).collect(),
            sent_late_us: tally.lateness.overall(),
            settings,
        }
    }

    /// Prints it: one JSON object, or tables.
    ///
    /// # Errors
    /// What the system says.
    pub fn print(&self, json: bool) -> std::io::Result<()> {
        if json { output::json(self) } else { output::text(&self.text()) }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let settings = &self.settings;
        let ports = if settings.shard_aware { ", a port each" } else { "" };
        let shape = match (settings.rate, settings.in_flight) {
            (Some(rate), _) => format!("open loop at {}/s", output::count(rate)),
            (None, in_flight) => format!("closed loop, {} in flight each", in_flight.unwrap_or(0)),
        };
        let mut text = format!(
            "{} at {} ({} shards{ports}), {}\n{} connections, {shape}, {} events a request, {}\n\n",
            settings.server,
            settings.addr,
            settings.shards,
            settings.strategies.join(", "),
            settings.connections,
            settings.batch,
            settings.durability
        );
        let (events, requests) = (output::count(self.events_per_s), output::count(self.requests_per_s));
        text += &format!("{events} events/s   {requests} requests/s   over {:.1} s\n\n", self.seconds);
        text += &self.table();
        text += &format!("\n\n{} errors   {} overloaded", self.errors, self.overloaded);
        if let Some(refused) = self.overloaded_latency_us {
            text += &format!(" ({} p50, {} p99)", us(refused.p50), us(refused.p99));
        }
        for (count, what) in [(self.duplicates, "repeats"), (self.not_found, "users not found")] {
            if count > 0 {
                text += &format!("   {count} {what}");
            }
        }
        if let Some(late) = self.sent_late_us {
            text += &format!(
                "\nsent late by {} (p50), {} (p99): that part is the client's own",
                us(late.p50),
                us(late.p99)
            );
        }
        if let Some(error) = &self.first_error {
            text += &format!("\nthe first error: {error}");
        }
        text
    }

    fn table(&self) -> String {
        let mut table = output::table(&["latency", "requests", "p50", "p90", "p99", "p99.9", "max"]);
        let mut row = |name: &str, requests: u64, latency: Percentiles| {
            let Percentiles { p50, p90, p99, p999, max } = latency;
            let mut cells = vec![name.to_owned(), requests.to_string()];
            cells.extend([p50, p90, p99, p999, max].map(us));
            table.add_row(cells);
        };
        for kind in &self.by_kind {
            row(kind.kind, kind.requests, kind.latency_us);
        }
        if let (Some(all), 2..) = (self.latency_us, self.by_kind.len()) {
            row("all", self.by_kind.iter().map(|kind| kind.requests).sum(), all);
        }
        output::align_right(&mut table, 1);
        table.to_string()
    }
}

fn us(us: f64) -> String {
    output::duration(std::time::Duration::from_secs_f64(us / 1e6))
}

#[cfg(test)]
mod tests {
    use super::super::{BenchArgs, settings};
    use super::*;
    use crate::wire::commands::HelloReply;

    fn report() -> Report {
        let mut tally = Tally {
            events: 6_000,
            requests: 120,
            overloaded: 2,
            window_ns: (1_000_000_000, 3_000_000_000),
            ..Tally::default()
        };
        for us in 1..=100 {
            tally.latencies.record(RequestKind::Ingest, us * 1_000);
        }
        tally.latencies.record(RequestKind::Recommend, 5_000_000);
        tally.refusals.record(RequestKind::Ingest, 300_000);
        let hello = HelloReply {
            version: 1,
            server: "mirra 9".to_owned(),
            shards: 2,
            shard_map: Vec::new(),
            kinds: Vec::new(),
            strategies: vec!["auto".to_owned()],
            frame_bytes_max: 0,
            batch_events_max: 0,
            in_flight_max: 0,
            durability: 0,
        };
        Report::new(&tally, settings(&BenchArgs::default(), &hello, "127.0.0.1:1"))
    }

    #[test]
    fn machines_find_the_names_that_scripts_depend_on() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!((json["events_per_s"].as_f64(), json["requests_per_s"].as_f64()), (Some(3_000.0), Some(60.0)));
        assert_eq!((json["errors"].as_u64(), json["overloaded"].as_u64()), (Some(0), Some(2)));
        for name in ["p50", "p90", "p99", "p999", "max"] {
            assert!(json["latency_us"][name].as_f64().is_some_and(|us| us >= 50.0), "{name}: {json}");
        }
        assert_eq!(json["overloaded_latency_us"]["p99"].as_f64().map(f64::round), Some(300.0));
        assert_eq!(json["by_kind"][1]["kind"], "recommend");
        assert_eq!(json["settings"]["batch"], 64);
        assert!(json["sent_late_us"].is_null());
    }

    #[test]
    fn people_get_a_table() {
        let text = report().text();
        for part in [
            "3.00 k events/s",
            "shards), auto",
            "2 overloaded (300 us p50",
            "ingest",
            "recommend",
            "all",
            "p99.9",
            "50.0 us",
            "5.00 ms",
        ] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
        assert!(!text.contains("profile") && !text.contains("sent late"), "{text}");
    }
}
