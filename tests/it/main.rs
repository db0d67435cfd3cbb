//! Integration tests, one binary.

mod archives;
mod auto;
mod broken_shard;
mod cli;
mod config;
mod crash;
mod decisions;
mod demo;
mod dirty;
mod docs_in_step;
mod embeddings;
mod fields;
mod formats;
mod load;
mod overload;
mod person;
mod planted;
mod prepared;
mod regression;
mod rejects;
mod reshard;
mod same_figures;
mod server_roundtrip;
mod side;
mod sources;
#[path = "../hostile/targets/stamp.rs"]
mod stamp;
mod store_damage;
mod support;
mod tidy;
mod truth;
