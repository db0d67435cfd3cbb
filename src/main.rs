//! The `mirra` binary.
fn main() {}
