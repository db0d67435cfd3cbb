//! Requests that the engine carries out as a whole: figures, refits, snapshots, the end.

use std::rc::Rc;

use super::connection::Session;
use super::plan::describe;
use super::{convert, metrics, rejects};
use crate::engine::{Engine, EngineError};
use crate::pipeline::Watermark;
use crate::telemetry::Metric;
use crate::wire::Status;
use crate::wire::commands::{
    Decisions, Digest, DigestReply, Metrics, Ping, PingReply, Refit, RefitReply, Request, RoutingGet, RoutingGetReply,
    SchemaGet, SchemaGetReply, SchemaSet, SchemaSetReply, Shutdown, ShutdownReply, Snapshot, SnapshotReply, Stats,
    StatsReply, UserMerge, UserMergeReply,
};
use crate::wire::message::cut_text;
use crate::wire::types::{ShardDigest, ShardSequence, Stat};

/// Sources of late events that STATS tells one by one, and bytes of each name there.
const SOURCES_TOLD: usize = 16;
const SOURCE_BYTES_MAX: usize = 64;

/// Carries out one such request and replies.
pub(super) async fn carry_out(session: Rc<Session>, request_id: u64, request: Request) {
    let engine = &session.door.engine;
    let carried_out = match request {
        Request::Ping(Ping {}) => {
            let (server_ms, uptime_ms) = (engine.clock().now_ms(), engine.uptime_ms());
            session.reply::<Ping>(request_id, &PingReply { server_ms, uptime_ms });
            Ok(())
        }
        Request::RoutingGet(RoutingGet {}) => {
            let (rule, [key_low, key_high]) = (engine.routing().version(), engine.routing().key());
            session.reply::<RoutingGet>(request_id, &RoutingGetReply { rule, key_low, key_high });
            Ok(())
        }
        Request::Stats(Stats {}) => {
            session.reply::<Stats>(request_id, &StatsReply { stats: stats(engine) });
            Ok(())
        }
        Request::Metrics(Metrics { strategy }) => {
            engine.reports().await.map(|reports| metrics::all(&session, request_id, &strategy, reports))
        }
        Request::MetricsBy(wanted) => {
            engine.reports().await.map(|reports| metrics::by(&session, request_id, &wanted, &reports))
        }
        Request::Decisions(wanted) => decisions(&session, request_id, &wanted).await,
        Request::Refit(Refit { seed }) => refit(&session, request_id, seed).await,
        Request::Snapshot(Snapshot {}) => snapshot(&session, request_id).await,
        Request::Digest(Digest {}) => engine.digests().await.map(|digests| {
            let shard = |(shard, (sequence, digest))| ShardDigest { shard, sequence, digest };
            let shards = (0..).zip(digests).map(shard).collect();
            session.reply::<Digest>(request_id, &DigestReply { shards });
        }),
        Request::Rejects(wanted) => rejects::answer(&session, request_id, &wanted).await,
        Request::UserMerge(UserMerge { user, into }) => {
            engine.merge_users(&user, &into).await.map(|(version, exact)| {
                let user = engine.alias(user.as_ref()).unwrap_or(into);
                session.reply::<UserMerge>(request_id, &UserMergeReply { user, version, exact });
            })
        }
        Request::SchemaGet(SchemaGet {}) => {
            let schema = engine.schema();
            let reply = SchemaGetReply { version: schema.version, schema: schema.to_bytes() };
            session.reply::<SchemaGet>(request_id, &reply);
            Ok(())
        }
        Request::SchemaSet(SchemaSet { schema, dry_run }) => {
            if let Err(invalid) = convert::schema(&schema) {
                return session.refuse(request_id, invalid.into());
            }
            engine.change_schema(&schema, dry_run).await.map(|version| {
                session.reply::<SchemaSet>(request_id, &SchemaSetReply { version });
            })
        }
        Request::Shutdown(Shutdown { snapshot }) => shutdown(&session, request_id, snapshot).await,
        other => {
            let message = format!("{} has no place here: this is a fault of the server", other.info().name);
            session.refuse(request_id, (Status::Internal, message));
            Ok(())
        }
    };
    if let Err(error) = carried_out {
        session.refuse(request_id, (status(&error), describe(&error)));
    }
}

fn status(error: &EngineError) -> Status {
    match error {
        EngineError::Busy(_) | EngineError::Stopping(_) => Status::Overloaded,
        EngineError::Memory { .. } => Status::Memory,
        EngineError::DiskFull { .. } => Status::DiskFull,
        EngineError::MergeSelf { .. } | EngineError::MergeTaken { .. } => Status::BadRequest,
        EngineError::Schema(_) | EngineError::SchemaBytes(_) | EngineError::Trait { .. } => Status::BadRequest,
        EngineError::NothingToFit { .. } | EngineError::Fit(_) => Status::BadRequest,
        _ => Status::Internal,
    }
}

/// Every figure of the table over all shards, and those of the door.
fn stats(engine: &Engine) -> Vec<Stat> {
    #[expect(clippy::cast_precision_loss, reason = "figures on the wire are doubles")]
    let stat = |name: &str, value: u64| Stat { name: name.to_owned(), value: value as f64 };
    let over = |metric: Metric| metric.over((0..engine.shards()).map(|shard| engine.metrics(shard).get(metric)));
    let mut stats: Vec<Stat> = Metric::ALL.iter().map(|metric| stat(metric.name(), over(*metric))).collect();
    let (now, [accepted, refused, given_up]) = engine.registry().counts();
    stats.push(stat("connections", now as u64));
    stats.push(stat("connections_accepted", accepted));
    stats.push(stat("connections_refused", refused));
    stats.push(stat("connections_given_up", given_up));
    stats.push(stat("shards", u64::from(engine.shards())));
    streams(engine, &mut stats);
    stats.push(stat("uptime_ms", engine.uptime_ms()));
    stats
}

/// How late events came: all together, and by the names of the clients, those with most late events first.
#[expect(clippy::cast_precision_loss, reason = "figures on the wire are doubles")]
fn streams(engine: &Engine, stats: &mut Vec<Stat>) {
    let (sources, now_ms) = (engine.registry().sources(), engine.clock().now_ms());
    let lag = |mark: &Watermark| if mark.counts.events > 0 { (now_ms - mark.largest_ms) as f64 } else { f64::NAN };
    let mut put = |name: String, value: f64| stats.push(Stat { name, value });
    let total = sources.total();
    put("lag_ms".to_owned(), lag(total));
    put("events_late".to_owned(), total.counts.late as f64);
    put("late_max_ms".to_owned(), total.counts.late_max_ms as f64);
    let mut late: Vec<_> = sources.iter().filter(|(_, mark)| mark.counts.late > 0).collect();
    late.sort_by_key(|(_, mark)| std::cmp::Reverse(mark.counts.late));
    for (name, mark) in late.into_iter().take(SOURCES_TOLD) {
        let name = cut_text(name, SOURCE_BYTES_MAX);
        put(format!("source {name}: events"), mark.counts.events as f64);
        put(format!("source {name}: late"), mark.counts.late as f64);
        put(format!("source {name}: late_max_ms"), mark.counts.late_max_ms as f64);
        put(format!("source {name}: lag_ms"), lag(mark));
    }
}

async fn decisions(session: &Session, request_id: u64, wanted: &Decisions) -> Result<(), EngineError> {
    let engine = &session.door.engine;
    let (reports, missing) = (engine.reports().await?, engine.missing_decisions().await?);
    metrics::decisions(session, request_id, wanted, &reports, missing);
    Ok(())
}

async fn refit(session: &Session, request_id: u64, seed: u64) -> Result<(), EngineError> {
    let began = std::time::Instant::now();
    let (epoch, size) = session.door.engine.refit((seed != 0).then_some(seed)).await?;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let reply = RefitReply { epoch, users: size.users, items: size.items, pairs: size.pairs, took_ms };
    session.reply::<Refit>(request_id, &reply);
    Ok(())
}

async fn snapshot(session: &Session, request_id: u64) -> Result<(), EngineError> {
    let report = session.door.engine.snapshot().await?;
    let shards = report.sequences.iter().map(|(shard, sequence)| ShardSequence { shard: *shard, sequence: *sequence });
    let reply = SnapshotReply {
        generation: report.generation,
        bytes: report.bytes,
        took_ms: report.took_ms,
        shards: shards.collect(),
    };
    session.reply::<Snapshot>(request_id, &reply);
    Ok(())
}

async fn shutdown(session: &Session, request_id: u64, snapshot: bool) -> Result<(), EngineError> {
    if snapshot {
        session.door.engine.snapshot().await?;
    }
    session.reply::<Shutdown>(request_id, &ShutdownReply {});
    session.door.stopped.notify_one();
    Ok(())
}
