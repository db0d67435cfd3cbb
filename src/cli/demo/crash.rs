//! Act 5: a snapshot while events come in, a tail of events that only the journal has, SIGKILL, and back again.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::screen::thousands;
use super::stream::{Counts, ask, figures, send_some};
use super::{DemoError, Stage, connect};
use crate::base::Id;
use crate::cli::child::ServerProcess;
use crate::cli::output;
use crate::client::BlockingClient;
use crate::wire::commands::{Digest, ProfileGet, Snapshot, SnapshotReply};
use crate::wire::types::{Event, ShardDigest};

/// Users whose profiles are compared, at most.
const USERS_MAX: usize = 1_000;
/// Requests in flight while profiles are asked for.
const IN_FLIGHT: usize = 256;
/// Events between two looks at whether the snapshot is done.
const WHILE: usize = 32;
/// Events of the tail, and events sent again after the restart.
const TAIL: usize = 500;

/// Time without an operation after which a server is at rest: longer than a teacher's pause between two versions, and
/// than the engine's between two looks whether a refit is due.
const REST: Duration = Duration::from_millis(600);
const REST_MAX: Duration = Duration::from_secs(10);

/// What was lost, and what not.
#[derive(Clone, Debug)]
pub struct Crash {
    /// The snapshot.
    pub snapshot: SnapshotReply,
    /// Events acknowledged while it was written.
    pub during: u64,
    /// Events acknowledged after it, in the journal alone.
    pub tail: u64,
    /// From the start of the new process to its first answer.
    pub back: Duration,
    /// What the new process says of its recovery.
    pub recovery_ms: u64,
    /// Events before and after.
    pub events: (u64, u64),
    /// Sequences before and after, by shard.
    pub sequences: (Vec<u64>, Vec<u64>),
    /// Profiles compared, and those that were equal to the bit.
    pub profiles: (usize, usize),
    /// Whether the digests of whole shards were equal.
    pub digests_equal: bool,
    /// Events sent again, and those recognised.
    pub again: (u64, u64),
}

/// What is compared.
struct Held {
    events: u64,
    shards: Vec<ShardDigest>,
    profiles: Vec<(u32, u64, u64)>,
}

/// Shows it.
///
/// # Errors
/// Any of the client's or of the child's; a claim that does not hold.
pub fn act(stage: &mut Stage, server: ServerProcess, mut client: BlockingClient) -> Result<Crash, DemoError> {
    stage.screen.act("kill -9 and back: a snapshot while serving, a journal for the rest")?;
    let reserve = stage.workload.reserve.clone();
    let (busy, tail) = reserve.split_at(reserve.len().saturating_sub(TAIL));
    let (snapshot, during) = snapshot_while_serving(stage, &server, &mut client, busy)?;
    let size = output::bytes(snapshot.bytes);
    let wrote = format!("generation {}, {size} in {} ms", snapshot.generation, snapshot.took_ms);
    stage.screen.fact("snapshot", &format!("{wrote}, {} events learned meanwhile", thousands(during)))?;
    let counts = send_some(&mut client, tail, &stage.interrupt)?;
    stage.screen.fact("journal tail", &format!("{} events more", thousands(counts.accepted)))?;
    let users = sample(stage);
    rest(&mut client)?;
    let before = hold(&mut client, &users)?;
    drop(client);
    let pid = server.ready().pid;
    let status = server.kill()?;
    stage.screen.fact("SIGKILL", &format!("process {pid} ended: {status}"))?;
    stage.interrupt.check()?;
    let began = Instant::now();
    let server = ServerProcess::start(&stage.launch)?;
    let mut client = connect(&server)?;
    let back = began.elapsed();
    let recovery_ms = server.ready().start_ms;
    let took = format!("answers after {}, {recovery_ms} ms of it recovery", output::duration(back));
    stage.screen.fact("restart", &format!("process {} over the same directory {took}", server.ready().pid))?;
    let after = hold(&mut client, &users)?;
    let kept = still_kept(tail, stage.config.history.events_max);
    let again = send_some(&mut client, &kept, &stage.interrupt)?;
    let equal = before.profiles.iter().zip(&after.profiles).filter(|(one, two)| one == two).count();
    let crash = Crash {
        during,
        tail: counts.accepted,
        back,
        recovery_ms,
        events: (before.events, after.events),
        sequences: (sequences(&before), sequences(&after)),
        profiles: (users.len(), equal),
        digests_equal: before.shards == after.shards,
        again: (kept.len() as u64, again.duplicates),
        snapshot,
    };
    check(stage, &crash, &before, again)?;
    Ok(crash)
}

fn check(stage: &mut Stage, crash: &Crash, before: &Held, again: Counts) -> Result<(), DemoError> {
    let (events, lost) = (thousands(crash.events.0), crash.events.0.abs_diff(crash.events.1));
    let claim = format!("{events} events were acknowledged, {} are there: {lost} lost", thousands(crash.events.1));
    stage.screen.check(crash.events.0 == crash.events.1, &claim)?;
    let (asked, equal) = crash.profiles;
    let claim = format!("{} of {} profiles are the same to the bit", thousands(equal as u64), thousands(asked as u64));
    stage.screen.check(asked == equal && asked > 0, &claim)?;
    // With several shards, items go on travelling between them after the last event, acknowledged to nobody: profiles do
    // not change by it, shards do.
    if let [shard] = before.shards.as_slice() {
        let claim = format!("the whole shard is: sequence {}, digest {:016x}", thousands(shard.sequence), shard.digest);
        stage.screen.check(crash.digests_equal, &claim)?;
    }
    let (sent, known) = (thousands(crash.again.0), thousands(crash.again.1));
    let claim = format!("{sent} of the newest events sent again: {known} recognised, {} learned twice", again.accepted);
    stage.screen.check(crash.again.0 == crash.again.1 && again.accepted == 0, &claim)
}

/// Asks for a snapshot on a connection of its own, and goes on sending until it is there.
fn snapshot_while_serving(
    stage: &Stage,
    server: &ServerProcess,
    client: &mut BlockingClient,
    events: &[Event],
) -> Result<(SnapshotReply, u64), DemoError> {
    let mut other = connect(server)?;
    std::thread::scope(|scope| {
        let snapshot = scope.spawn(move || other.call(&Snapshot {}));
        let (mut learned, mut batches) = (0, events.chunks(WHILE));
        while !snapshot.is_finished() {
            match batches.next() {
                Some(batch) => learned += send_some(client, batch, &stage.interrupt)?.accepted,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        match snapshot.join() {
            Ok(reply) => Ok((reply?, learned)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Those of the newest events that are in their users' histories: only these can be recognised.
fn still_kept(events: &[Event], events_max: usize) -> Vec<Event> {
    let mut counts: HashMap<&Id, usize> = HashMap::new();
    let mut kept: Vec<Event> = Vec::new();
    for event in events.iter().rev() {
        let count = counts.entry(&event.user).or_default();
        *count += 1;
        if *count <= events_max {
            kept.push(event.clone());
        }
    }
    kept.reverse();
    kept
}

/// Users of the stream, evenly chosen.
fn sample(stage: &Stage) -> Vec<Id> {
    let users: BTreeSet<&Id> = stage.workload.events.iter().map(|event| &event.user).collect();
    let step = users.len().div_ceil(USERS_MAX).max(1);
    users.into_iter().step_by(step).cloned().collect()
}

/// Waits until the server does nothing by itself any more: the last examples of the stream still teach the ranker.
fn rest(client: &mut BlockingClient) -> Result<(), DemoError> {
    let until = Instant::now() + REST_MAX;
    let mut before = ask(client, &Digest {})?;
    while Instant::now() < until {
        std::thread::sleep(REST);
        let now = ask(client, &Digest {})?;
        if now.shards == before.shards {
            break;
        }
        before = now;
    }
    Ok(())
}

fn hold(client: &mut BlockingClient, users: &[Id]) -> Result<Held, DemoError> {
    let events = figures(client)?.first().map_or(0, |primary| primary.events);
    let mut profiles = vec![(0, 0, 0); users.len()];
    for (part, into) in users.chunks(IN_FLIGHT).zip(profiles.chunks_mut(IN_FLIGHT)) {
        let mut first_id = None;
        for user in part {
            let id = client.send(&ProfileGet { user: user.clone(), recent_max: 0, factors: false })?;
            first_id.get_or_insert(id);
        }
        for _ in part {
            let answer = client.receive()?;
            let (_, profile) = answer.reply::<ProfileGet>()?;
            // Request ids count up from the first of this part.
            let place = usize::try_from(answer.request_id - first_id.unwrap_or(0)).unwrap_or(usize::MAX);
            if let Some(held) = into.get_mut(place) {
                *held = (profile.version, profile.events, profile.digest);
            }
        }
    }
    Ok(Held { events, shards: ask(client, &Digest {})?.shards, profiles })
}

fn sequences(held: &Held) -> Vec<u64> {
    held.shards.iter().map(|shard| shard.sequence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_events_of_each_user_are_still_kept() {
        let event = |line: u64, user: u64| Event {
            event_id: Id::Int(line),
            user: Id::Int(user),
            item: Id::Int(1),
            kind: 1,
            value: 1.0,
            time_ms: 1,
        };
        let events: Vec<Event> = [(1, 7), (2, 7), (3, 8), (4, 7), (5, 9)].map(|(line, user)| event(line, user)).into();
        let kept: Vec<Id> = still_kept(&events, 2).into_iter().map(|event| event.event_id).collect();
        assert_eq!(kept, [2, 3, 4, 5].map(Id::Int));
        assert!(still_kept(&events, 0).is_empty());
    }
}
