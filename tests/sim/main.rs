//! The simulator (bars D2, D5, D6, D8, D14, D15, D17, O10): whole servers on disks that fail, thousands of crashes a minute,
//! each run drawn from one seed and compared with a plain machine that has neither journal nor snapshot.
//!
//! ```sh
//! cargo test --test sim                                          # some hundred runs, in CI
//! MIRRA_SIM_RUNS=10000 cargo test --release --test sim           # more
//! MIRRA_SIM_SEED=123 cargo test --test sim                       # one run again, to the bit
//! ```

mod chunks;
mod disk;
mod museum;
mod oracle;
mod rest;
mod start;
mod steps;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use mirra::base::Rng;

use world::{Tally, Weather, World};

const RUNS: u64 = 300;
/// Crashes of a run, and steps between two of them, on average.
const CRASHES: u64 = 12;
const STEPS: u64 = 60;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn run(seed: u64) -> (Tally, u64, Result<(), String>) {
    let mut rng = Rng::new(seed);
    let weather = if rng.below(3) == 0 { Weather::Kills } else { Weather::Everything };
    let options = steps::options(&mut rng);
    let mut world = World::new(rng.bits(), weather, options);
    let result = world.run(CRASHES, STEPS);
    let digest = world
        .running
        .iter()
        .flat_map(|running| &running.cores)
        .fold(0, |sum, core| mirra::base::ids::mix(sum ^ core.shard.digest()));
    (world.tally, digest, result)
}

/// Injected panics are part of the run: nobody needs to read about them.
fn quiet() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&"a turn panics") {
            told(panic);
        }
    }));
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_made_up() {
    quiet();
    let only = from_environment("MIRRA_SIM_SEED");
    let runs = only.map_or_else(|| from_environment("MIRRA_SIM_RUNS").unwrap_or(RUNS), |_| 1);
    let first = only.unwrap_or(1);
    let (began, next) = (Instant::now(), AtomicU64::new(first));
    let work = || {
        let mut sum = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + runs {
                return sum;
            }
            let (tally, _, result) = run(seed);
            if let Err(error) = result {
                panic!("MIRRA_SIM_SEED={seed}: {error}");
            }
            sum = sum.and(&tally);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let tally = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().fold(Tally::default(), |sum, thread| match thread.join() {
            Ok(tally) => sum.and(&tally),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    });
    println!("{runs} runs from seed {first} in {:.1} s: {tally:?}", began.elapsed().as_secs_f64());
    if only.is_none() && runs >= RUNS {
        let Tally { kills, power_losses, faults, panics, generations, lost, starts_cut_short, torn, .. } = tally;
        let all = [kills, power_losses, faults, panics, generations, lost, starts_cut_short, torn];
        assert!(all.iter().all(|count| *count >= runs / 4), "hardly anything happens: {tally:?}");
    }
}

#[test]
fn a_seed_gives_the_same_run_to_the_bit() {
    quiet();
    for seed in [3, 8, 21] {
        let (one, two) = (run(seed), run(seed));
        assert_eq!((format!("{:?}", one.0), one.1), (format!("{:?}", two.0), two.1), "seed {seed}");
    }
}
