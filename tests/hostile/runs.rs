//! The targets, run on inputs that grow out of good ones: the same inputs every time, some 200,000 of them.
//!
//! * `MIRRA_HOSTILE_RUNS=50000000` runs as many.
//! * `MIRRA_HOSTILE_TARGET=wire/frames` runs those targets alone whose name begins so.
//! * `MIRRA_HOSTILE_SEED=7` begins with that seed instead of 0; with a target and `MIRRA_HOSTILE_RUNS=1` it is one
//!   execution again. What fails says all three, and its input.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use mirra::base::{IdRef, Rng};

use crate::corpus::seeds;
use crate::mutate::input;
use crate::targets::{Target, inputs_read, targets};

const RUNS: u64 = 250_000;

fn variable(name: &str) -> Option<String> {
    std::env::var(format!("MIRRA_HOSTILE_{name}")).ok()
}

/// A number that the environment gives for these tests.
pub fn number(name: &str, otherwise: u64) -> u64 {
    variable(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("MIRRA_HOSTILE_{name}: {text}?")))
}

/// Runs the targets of a family, each its share of the runs of all.
fn run_family(family: &str) {
    let wanted = variable("TARGET").unwrap_or_default();
    let chosen: Vec<Target> = targets().into_iter().filter(|target| target.name.starts_with(&wanted)).collect();
    assert!(!chosen.is_empty(), "no target's name begins with {wanted}");
    let shares: u64 = chosen.iter().map(|target| u64::from(target.share)).sum();
    let (runs, first) = (number("RUNS", RUNS), number("SEED", 0));
    let (mut executions, before) = (0, inputs_read());
    for target in chosen.iter().filter(|target| target.name.starts_with(family)) {
        let seeds = seeds(&target.name);
        let of_target = (runs * u64::from(target.share)).div_ceil(shares);
        for seed in first..first + of_target {
            execute(target, &seeds, seed);
        }
        executions += of_target;
    }
    // Some targets take an input in several pieces, so this is how much was read, not how many inputs.
    println!("{family}: {executions} executions, {} readings", inputs_read() - before);
}

fn execute(target: &Target, seeds: &[Vec<u8>], seed: u64) {
    let name = IdRef::Text(&target.name).stable_hash();
    let bytes = input(seeds, &mut Rng::new(seed ^ name));
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes))) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("MIRRA_HOSTILE_TARGET={} MIRRA_HOSTILE_SEED={seed} MIRRA_HOSTILE_RUNS=1 fails", target.name);
        println!("input of {} bytes: {hex}", bytes.len());
        resume_unwind(panic);
    }
}

#[test]
fn the_wire_stands_hostile_bytes() {
    run_family("wire/");
}

#[test]
fn what_is_on_disk_stands_hostile_bytes() {
    run_family("disk/");
}

#[test]
fn files_of_people_stand_hostile_bytes() {
    run_family("files/");
}

/// What is good is read as it is: seeds that are refused would leave everything behind the first check untried.
#[test]
fn the_seeds_themselves_stand() {
    for target in targets() {
        let before = inputs_read();
        seeds(&target.name).iter().for_each(|bytes| (target.run)(bytes));
        assert!(inputs_read() > before, "{} reads none of its seeds", target.name);
    }
}
