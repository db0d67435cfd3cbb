//! Integration tests, one binary.

mod server_roundtrip;
mod support;
