//! Integration tests, one binary.

mod config;
mod demo;
mod server_roundtrip;
mod support;
mod tidy;
