//! Hostile input: decoders on changed bytes, and a server that is sent what no client of ours would send.
//!
//! ```text
//! targets/    every decoder as a function of bytes, with all that must hold; the fuzz targets of `fuzz/` are the same
//! bounds.rs   lengths and counts by themselves
//! corpus.rs   good inputs     mutate.rs    hostile ones out of them     runs.rs  both together, seeded
//! server.rs   a real server   requests.rs  requests made out of the command table, each number of which can be set
//! page/       a second decoder, made out of docs/protocol.md     agreement.rs   it and the server's say the same
//! extremes.rs, updates.rs, framing.rs, ids.rs, clocks.rs   what that server is sent
//! ```

mod agreement;
mod bounds;
mod clocks;
mod corpus;
mod extremes;
mod framing;
mod ids;
mod mutate;
mod page;
mod requests;
mod runs;
mod server;
#[allow(dead_code, reason = "shared with tests/it, which uses all of it")]
#[path = "../it/support.rs"]
mod support;
mod targets;
mod updates;
