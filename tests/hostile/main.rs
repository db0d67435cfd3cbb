//! Hostile input: decoders on changed bytes, and a server that is sent what no client of ours would send.
//!
//! ```text
//! targets/    every decoder as a function of bytes, with all that must hold; the fuzz targets of `fuzz/` are the same
//! bounds.rs   lengths and counts by themselves
//! corpus.rs   good inputs     mutate.rs    hostile ones out of them     runs.rs  both together, seeded
//! ```

mod bounds;
mod corpus;
mod mutate;
mod runs;
mod targets;
