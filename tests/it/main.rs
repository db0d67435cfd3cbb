//! Integration tests, one binary.

mod cli;
mod config;
mod crash;
mod docs_in_step;
mod same_figures;
mod server_roundtrip;
mod support;
mod tidy;
