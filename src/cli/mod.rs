//! Floor 9: the commands of the binary.

pub mod evaluate;
