//! Mirra keeps a living profile of every user.
//!
//! A behaviour event goes in; by the time it is acknowledged the profile has learned from it. Modules in reading order,
//! lowest floor first (`ARCHITECTURE.md` draws the house; a test keeps it):
//!
//! * [`base`], [`linalg`], [`telemetry`], [`model`]: ids, vectors, figures, the words of the field
//! * [`learn`], [`pipeline`], [`person`], [`evaluate`], [`wire`]: strategies, cleaning, what is known of a person, metrics,
//!   the protocol: pure algorithms
//! * [`state`]: a shard as a deterministic machine
//! * [`storage`], [`shard`]: journal and snapshots; shards as actors
//! * [`engine`]: the in-process API
//! * [`server`], [`client`], [`ingest`]: doors
//! * [`config`], [`cli`]: the binary

pub mod base;
pub mod cli;
pub mod client;
pub mod config;
pub mod engine;
pub mod evaluate;
pub mod ingest;
pub mod learn;
pub mod linalg;
pub mod model;
pub mod person;
pub mod pipeline;
pub mod server;
pub mod shard;
pub mod state;
pub mod storage;
pub mod telemetry;
pub mod wire;
