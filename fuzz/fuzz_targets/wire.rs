//! Targets `wire/...`, by the first byte.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mirra_fuzz::run("wire/", bytes));
