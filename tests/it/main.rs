//! Integration tests, one binary.

mod auto;
mod broken_shard;
mod cli;
mod config;
mod crash;
mod decisions;
mod demo;
mod docs_in_step;
mod load;
mod regression;
mod same_figures;
mod server_roundtrip;
mod support;
mod tidy;
