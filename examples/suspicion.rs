//! Whom would the abuse filter keep out of a recorded stream? Every event is observed in the order of the file; users
//! that were quarantined are told with some of their events, so that a person can judge. A machine of our own that makes
//! 5 % of the stream is caught on the way, or not.
//!
//! ```sh
//! cargo run --release --example suspicion -- FILE...
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use mirra::base::Id;
use mirra::base::ids::mix;
use mirra::ingest::{IngestError, Table, TableOptions};
use mirra::pipeline::{AbuseLimits, Grain, Pulse, Suspicion, Verdict};

/// Users that are told one by one.
const TOLD_MAX: usize = 12;

/// Users that came nearest to a machine's rhythm and are told too.
const NEAREST: usize = 3;

/// Events of each that are told.
const EVENTS_TOLD: usize = 24;

/// One event of this many is the machine's.
const MACHINE_EVERY: usize = 20;

/// What is known of a user.
#[derive(Default)]
struct Seen {
    pulse: Pulse,
    events: Vec<(i64, Id)>,
    /// Events in quarantine, and the first one's place and suspicion.
    held: usize,
    first: Option<(usize, Suspicion)>,
    /// The most regular that the user ever was over many items, and when.
    steadiest: Option<(f32, usize)>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        println!("no files given: name recorded streams with the columns user, item and timestamp");
    }
    for file in &files {
        if file.exists() {
            look(file)?;
        } else {
            println!("{}: skipped, there is no such file", file.display());
        }
    }
    Ok(())
}

fn look(file: &Path) -> Result<(), IngestError> {
    let (limits, mut grain) = (AbuseLimits::default(), Grain::default());
    let (mut users, mut times) = (HashMap::<Id, Seen>::new(), Vec::new());
    for row in Table::open(file, TableOptions::default())? {
        let row = row?;
        grain.observe(row.time_ms);
        times.push(row.time_ms);
        let seen = users.entry(row.user).or_default();
        let suspicion = seen.pulse.observe(row.time_ms, row.item.as_ref().stable_hash(), &grain, &limits);
        if suspicion.verdict != Verdict::Clear {
            seen.held += 1;
            seen.first.get_or_insert((seen.events.len(), suspicion));
        }
        if let Some(regularity) = suspicion.regularity.filter(|_| suspicion.breadth >= limits.breadth_min)
            && seen.steadiest.is_none_or(|(before, _)| regularity < before)
        {
            seen.steadiest = Some((regularity, seen.events.len()));
        }
        seen.events.push((row.time_ms, row.item));
    }
    let mut caught: Vec<(&Id, &Seen)> = users.iter().filter(|(_, seen)| seen.held > 0).collect();
    caught.sort_by_key(|(id, seen)| (std::cmp::Reverse(seen.held), (*id).clone()));
    let held: usize = caught.iter().map(|(_, seen)| seen.held).sum();
    let (events, grain_ms) = (times.len(), grain.ms().unwrap_or(0));
    println!(
        "{}: {events} events of {} users, grain {grain_ms} ms; {} users quarantined, {held} of their events",
        file.display(),
        users.len(),
        caught.len()
    );
    for (id, seen) in caught.iter().take(TOLD_MAX) {
        tell(id, seen);
    }
    let steady =
        users.iter().filter_map(|(id, seen)| seen.steadiest.map(|(regularity, at)| (regularity, at, id, seen)));
    let mut steady: Vec<_> = steady.collect();
    steady.sort_by(|one, other| one.0.total_cmp(&other.0));
    println!("  {} users could be judged by rhythm; the most regular ones:", steady.len());
    for (regularity, at, id, seen) in steady.into_iter().take(NEAREST) {
        println!("  user {id}: {} events, {regularity:.3} at event {at}", seen.events.len());
        events_until(seen, at);
    }
    for jitter in [0.0, 0.1] {
        machine(&times, jitter, limits);
    }
    Ok(())
}

fn tell(id: &Id, seen: &Seen) {
    let Some((at, suspicion)) = &seen.first else { return };
    let distinct: std::collections::HashSet<&Id> = seen.events.iter().map(|(_, item)| item).collect();
    println!(
        "  user {id}: {} events, {} items, {} in quarantine from event {at} on: {suspicion:?}",
        seen.events.len(),
        distinct.len(),
        seen.held
    );
    events_until(seen, *at);
}

/// The events up to the one at `at`: seconds since the one before, and the item.
fn events_until(seen: &Seen, at: usize) {
    let from = (at + 1).saturating_sub(EVENTS_TOLD);
    let mut before = seen.events[from].0;
    for (time_ms, item) in &seen.events[from..=at] {
        print!("    +{:.1} s {item}", (time_ms - before) as f64 / 1_000.0);
        before = *time_ms;
    }
    println!();
}

/// A timer that makes 5 % of the stream, its times told as finely as those of the stream.
fn machine(times: &[i64], jitter: f64, limits: AbuseLimits) {
    let (mut grain, mut pulse, mut rng) = (Grain::default(), Pulse::default(), mirra::base::Rng::new(1));
    let whole = times.iter().max().zip(times.iter().min()).map_or(0, |(last, first)| last - first);
    let period_ms = whole as f64 / (times.len() as f64 / (MACHINE_EVERY - 1) as f64);
    times.iter().for_each(|time_ms| grain.observe(*time_ms));
    let step = i64::try_from(grain.ms().unwrap_or(1)).unwrap_or(i64::MAX);
    let mut time = times.first().copied().unwrap_or(0) as f64;
    for event in 0..2_000_u64 {
        time += period_ms * (1.0 + jitter * rng.normal());
        let suspicion = pulse.observe(time as i64 / step * step, mix(event), &grain, &limits);
        if suspicion.verdict != Verdict::Clear {
            println!("  a timer of {period_ms:.0} ms, jitter {jitter}: caught at its event {event}, {suspicion:?}");
            return;
        }
    }
    println!("  a timer of {period_ms:.0} ms, jitter {jitter}: not caught");
}
