//! The targets of `tests/hostile/targets`, for a fuzzer: one binary a family, whose first byte chooses the target.

use std::sync::OnceLock;

#[allow(dead_code, reason = "what the seeded runs alone need")]
#[path = "../../tests/hostile/targets/mod.rs"]
mod targets;

use targets::Target;

/// Runs the target of a family that the first byte names on the others.
pub fn run(family: &str, bytes: &[u8]) {
    static TARGETS: OnceLock<Vec<Target>> = OnceLock::new();
    let all = TARGETS.get_or_init(|| {
        let mut all = targets::targets();
        all.retain(|target| target.name.starts_with(family));
        all
    });
    if let Some((first, rest)) = bytes.split_first() {
        (all[usize::from(*first) % all.len()].run)(rest);
    }
}
