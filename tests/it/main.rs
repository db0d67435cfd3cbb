//! Integration tests, one binary.

mod cli;
mod config;
mod server_roundtrip;
mod support;
mod tidy;
