//! The simulator (bars D2, D5, D6, D8, D14, D15, D17, O10): whole servers on disks that fail, thousands of crashes a minute,
//! each run drawn from one seed and compared with a plain machine that has neither journal nor snapshot.
//!
//! ```sh
//! cargo test --test sim                                          # some hundred runs, in CI
//! MIRRA_SIM_RUNS=10000 cargo test --release --test sim           # more
//! MIRRA_SIM_SEED=123 cargo test --test sim                       # one run again, to the bit
//! ```

mod chunks;
mod damage;
mod disk;
mod museum;
mod oracle;
mod rest;
mod runs;
mod start;
mod steps;
mod world;

use std::time::Instant;

use world::Tally;

const RUNS: u64 = 300;
fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_made_up() {
    let only = from_environment("MIRRA_SIM_SEED");
    let runs = only.map_or_else(|| from_environment("MIRRA_SIM_RUNS").unwrap_or(RUNS), |_| 1);
    let (first, began) = (only.unwrap_or(1), Instant::now());
    let (tally, result) = runs::storm(first, runs);
    println!("{runs} runs from seed {first} in {:.1} s: {tally:?}", began.elapsed().as_secs_f64());
    if let Err(error) = result {
        panic!("{error}");
    }
    if only.is_none() && runs >= RUNS {
        let Tally { kills, power_losses, faults, panics, generations, lost, starts_cut_short, torn, .. } = tally;
        let all = [kills, power_losses, faults, panics, generations, lost, starts_cut_short, torn];
        assert!(all.iter().all(|count| *count >= runs / 4), "hardly anything happens: {tally:?}");
    }
}

/// Bar D4, a part of it; `cargo test --release --test torture -- D4` tries 10,000.
#[test]
fn damage_is_refused_or_made_good_and_never_accepted_in_silence() {
    let found = damage::damages(1, 1_000);
    println!("{} damages: {} refused, {} the same to the bit", found.tried, found.refused, found.same);
    assert!(found.silent.is_empty(), "{:?}", found.silent);
    assert!(found.refused > found.tried / 10 && found.same > found.tried / 10);
}

#[test]
fn a_seed_gives_the_same_run_to_the_bit() {
    runs::quiet();
    for seed in [3, 8, 21] {
        let (one, two) = (runs::run(seed), runs::run(seed));
        assert_eq!((format!("{:?}", one.0), one.1), (format!("{:?}", two.0), two.1), "seed {seed}");
    }
}
