//! Integration tests, one binary.

mod config;
mod docs_in_step;
mod server_roundtrip;
mod support;
mod tidy;
