//! Integration tests, one binary.

mod config;
mod server_roundtrip;
mod support;
mod tidy;
