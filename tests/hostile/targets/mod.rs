//! The targets: every decoder of foreign bytes as a function of them, with all that must hold asserted.
//!
//! One list for two drivers: the seeded runs of this test binary (`runs.rs`), and the fuzz targets of `fuzz/`, which
//! take this folder in by its path. A target neither prints nor keeps anything; it panics where something does not hold.

pub mod alloc;
pub mod disk;
mod files;
mod stamp;
mod wire;

use std::cell::Cell;

use alloc::measured;

/// Bytes that a decoder may take whatever it is given.
pub const ROOM: usize = 64 << 10;

/// Times its input that a value may take in memory. Ids weigh most: two bytes on the wire, 24 and a block of their own
/// in memory.
const HELD: usize = 32;

/// One decoder.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name, by which it can be run alone.
    pub name: String,
    /// Decodes an input; panics if something does not hold.
    pub run: fn(&[u8]),
    /// How much of the time is its own: one execution of a costly decoder stands for many of a cheap one.
    pub share: u32,
}

impl Target {
    fn new(name: &str, share: u32, run: fn(&[u8])) -> Self {
        Self { name: name.to_owned(), run, share }
    }
}

thread_local! {
    static READ: Cell<u64> = const { Cell::new(0) };
}

/// How many inputs were read, and not refused, on this thread.
pub fn inputs_read() -> u64 {
    READ.get()
}

/// Takes note that an input was read.
fn was_read() {
    READ.set(READ.get() + 1);
}

/// Every target.
pub fn targets() -> Vec<Target> {
    [wire::targets(), disk::targets(), files::targets()].concat()
}

/// Decodes `input` and holds the decoder to the bound: twice the input and [`ROOM`], beyond the value that it gives
/// back; for input that it refuses there is no value. What the value holds is bounded, too.
fn decoded<'a, T, E>(input: &'a [u8], decode: impl FnOnce(&'a [u8]) -> Result<T, E>) -> Option<T> {
    decoded_within(2, input, decode)
}

/// As [`decoded`], where another multiple of the input is the bound; the caller says why.
fn decoded_within<'a, T, E>(times: usize, input: &'a [u8], decode: impl FnOnce(&'a [u8]) -> Result<T, E>) -> Option<T> {
    let (value, taken) = measured(|| decode(input).ok());
    let bound = times * input.len() + ROOM;
    assert!(
        taken.most - taken.held <= bound,
        "{taken:?} for {} bytes, allowed are {bound} beyond the value",
        input.len()
    );
    let most = HELD.max(times) * input.len() + ROOM;
    assert!(taken.held <= most, "{taken:?}: the value of {} bytes holds more than {most}", input.len());
    value.inspect(|_| was_read())
}

/// What was written again must be what was read; the one thing with two spellings is an id in decimal, as text or as an
/// integer.
fn same_or_decimal_ids(read: &[u8], written: &[u8]) {
    assert!(read == written || has_decimal_id(read), "read {} bytes, written other {}", read.len(), written.len());
}

/// Whether an id in decimal could stand in these bytes: a length, and as many digits.
fn has_decimal_id(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|at| {
        let digits = bytes.get(at + 1..at + 1 + usize::from(bytes[at])).unwrap_or_default();
        (1..=20).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
    })
}
