//! Many runs, each from its seed, on all cores.

use std::sync::atomic::{AtomicU64, Ordering};

use mirra::base::Rng;
use mirra::base::ids::mix;

use crate::steps;
use crate::world::{Tally, Weather, World};

/// Crashes of a run, and steps between two of them, on average.
const CRASHES: u64 = 12;
const STEPS: u64 = 60;

/// The run of a seed: what happened, what everything is at the end, and what was wrong.
pub fn run(seed: u64) -> (Tally, u64, Result<(), String>) {
    let mut rng = Rng::new(seed);
    let weather = if rng.below(3) == 0 { Weather::Kills } else { Weather::Everything };
    let options = steps::options(&mut rng);
    let mut world = World::new(rng.bits(), weather, options);
    let result = world.run(CRASHES, STEPS);
    let cores = world.running.iter().flat_map(|running| &running.cores);
    let digest = cores.fold(0, |sum, core| mix(sum ^ core.shard.digest()));
    (world.tally, digest, result)
}

/// Runs many seeds; stops at the first that is wrong, and tells how to run it again.
pub fn storm(first: u64, runs: u64) -> (Tally, Result<(), String>) {
    quiet();
    let next = AtomicU64::new(first);
    let work = || {
        let mut sum = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + runs {
                return (sum, Ok(()));
            }
            let (tally, _, result) = run(seed);
            sum = sum.and(&tally);
            if let Err(error) = result {
                next.store(first + runs, Ordering::Relaxed);
                return (sum, Err(format!("MIRRA_SIM_SEED={seed}: {error}")));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().fold((Tally::default(), Ok(())), |(sum, result), thread| match thread.join() {
            Ok((tally, found)) => (sum.and(&tally), result.and(found)),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// Injected panics are part of a run: nobody needs to read about them.
pub fn quiet() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&"a turn panics") {
            told(panic);
        }
    }));
}
