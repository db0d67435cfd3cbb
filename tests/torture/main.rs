//! `cargo test --release --test torture -- BAR...`: the long bars of durability by name, a line of JSON each: bar, whether it
//! holds, figures, what the machine took from whoever ran there just before, seed, seconds. `all` runs every one; without
//! a name they are listed, so that `cargo test` costs nothing.
//!
//! `MIRRA_SEED` sets the seed, `MIRRA_TORTURE_SHARE` a share of the work, such as 0.01.

mod answers;
#[path = "../it/archives.rs"]
mod archives;
mod caps;
#[path = "../sim/chunks.rs"]
mod chunks;
#[path = "../it/crash.rs"]
#[allow(dead_code, reason = "the tests in it count otherwise")]
mod crash;
mod crowds;
#[path = "../sim/damage.rs"]
mod damage;
#[path = "../sim/disk.rs"]
mod disk;
#[path = "../it/formats.rs"]
mod formats;
mod full;
mod limits;
mod load;
mod long;
mod machine;
#[path = "../sim/oracle.rs"]
mod oracle;
mod overload;
mod peers;
#[path = "../it/prepared.rs"]
mod prepared;
mod process;
#[path = "../sim/rest.rs"]
mod rest;
#[path = "../sim/runs.rs"]
mod runs;
mod slow;
#[path = "../hostile/targets/stamp.rs"]
mod stamp;
#[path = "../sim/start.rs"]
mod start;
#[path = "../sim/steps.rs"]
mod steps;
#[path = "../it/store_damage.rs"]
mod store_damage;
mod stored;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "other tests need the rest of it")]
mod support;
mod vanished;
#[path = "../sim/world.rs"]
mod world;

use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

/// What a bar found: whether it holds, and its figures.
type Found = (bool, Value);

/// How much of it is done, from which seed.
#[derive(Clone, Copy, Debug)]
struct Work {
    share: f64,
    seed: u64,
}

impl Work {
    /// That many, or the share of it that was asked for.
    fn of(self, count: u64) -> u64 {
        ((count as f64 * self.share) as u64).max(1)
    }
}

struct Bar {
    name: &'static str,
    what: &'static str,
    run: fn(Work) -> Found,
}

const BARS: [Bar; 23] = [
    Bar { name: "D1", what: "1,000 kill -9 under load, a fifth after a start that was cut short", run: process::kills },
    Bar { name: "D4", what: "10,000 damages of journals, manifests and chunks", run: damages },
    Bar { name: "D7", what: "a disk that is full for 30 s", run: full::disk },
    Bar { name: "D9", what: "restores: good ones, and bad archives, sources and targets", run: stored::restores },
    Bar { name: "D10", what: "a start from 1 GB of snapshot and 10,000,000 events of journal", run: long::start },
    Bar { name: "D11", what: "50 restarts: time and bytes do not grow", run: process::restarts },
    Bar {
        name: "D12",
        what: "damage to the snapshot store and what lies around it, 36 kinds and 200 at random",
        run: stored::starts,
    },
    Bar { name: "D13", what: "snapshots back to back under load", run: long::snapshots },
    Bar { name: "D16", what: "syncs that take 1 to 5 s", run: slow::disk },
    Bar {
        name: "D17",
        what: "simulated crashes, losses of power, failing calls (D2, D5, D6, D8, D14)",
        run: simulated,
    },
    Bar { name: "D18", what: "second processes and formats of a newer program are refused", run: stored::formats },
    Bar { name: "O1", what: "1, 2 and 4 times what a shard can learn, in the open loop", run: overload::open_loop },
    Bar { name: "O2", what: "a million messages into one shard: none unaccounted for", run: overload::burst },
    Bar { name: "O8", what: "users without end against a limit of memory", run: overload::memory },
    Bar {
        name: "O9",
        what: "a user or an item that half of all events are about; what is new without end, kind by kind",
        run: crowds::hot_and_new,
    },
    Bar { name: "O10", what: "100 panics in one shard under load", run: overload::panics },
    Bar { name: "O3", what: "500 connections that ask and never read", run: peers::mute },
    Bar { name: "O4", what: "2,000 connections that send a byte a second", run: peers::dripping },
    Bar { name: "O5", what: "peers that vanish without a word, and silent ones", run: vanished::peers },
    Bar { name: "O6", what: "more connections than there may be, and 200 that insist", run: peers::too_many },
    Bar { name: "O7", what: "a connection at ten times its quota beside one within", run: peers::greedy },
    Bar { name: "O11", what: "50 SIGTERMs under load", run: process::terminations },
    Bar {
        name: "O14",
        what: "2,000 clients that come back at once; the largest answers beside single events",
        run: crowds::back_and_large,
    },
];

/// 10^6 events and 10^4 crashes at least; 100,000 of them what power loss left of a disk.
fn simulated(work: Work) -> Found {
    let began = Instant::now();
    let (tally, result) = runs::storm(work.seed, work.of(25_000));
    let crashes = tally.kills + tally.power_losses;
    let figures = json!({
        "events": tally.events,
        "crashes": crashes,
        "power_losses": tally.power_losses,
        "faults": tally.faults,
        "panics": tally.panics,
        "generations": tally.generations,
        "starts_cut_short": tally.starts_cut_short,
        "unacknowledged_lost": tally.lost,
        "crashes_per_s": crashes as f64 / began.elapsed().as_secs_f64(),
        "wrong": result.as_ref().err(),
    });
    (result.is_ok(), figures)
}

fn damages(work: Work) -> Found {
    let damage::Damages { tried, refused, same, silent } = damage::damages(work.seed, work.of(10_000));
    let figures = json!({
        "damages": tried,
        "refused": refused,
        "the_same_to_the_bit": same,
        "silently_accepted": silent.len(),
        "first": silent.first(),
    });
    (silent.is_empty() && refused > tried / 10, figures)
}

fn number<T: std::str::FromStr>(name: &str, default: T) -> T {
    let parse = |text: String| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}"));
    std::env::var(name).map_or(default, parse)
}

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if wanted.is_empty() {
        BARS.iter().for_each(|Bar { name, what, .. }| println!("{name:>4}  {what}"));
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = wanted.iter().find(|name| *name != "all" && BARS.iter().all(|bar| bar.name != *name)) {
        eprintln!("there is no bar {unknown}; there are {}, all", BARS.map(|bar| bar.name).join(", "));
        return ExitCode::from(2);
    }
    let work = Work { share: number("MIRRA_TORTURE_SHARE", 1.0), seed: number("MIRRA_SEED", 1) };
    let mut well = true;
    for Bar { name, run, .. } in BARS.iter().filter(|bar| wanted.iter().any(|name| name == "all" || name == bar.name)) {
        let machine = machine::taken();
        let began = Instant::now();
        // A bar that panics does not hold; the others are tried all the same.
        let (pass, figures) = std::panic::catch_unwind(|| run(work)).unwrap_or((false, json!({ "panicked": true })));
        let seconds = began.elapsed().as_secs_f64();
        let line = json!({
            "bar": name,
            "pass": pass,
            "figures": figures,
            "machine": machine,
            "seed": work.seed,
            "seconds": seconds,
        });
        println!("{line}");
        well &= pass;
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
