//! Hostile inputs out of good ones: changes of the kind that a decoder must stand, drawn from a seeded generator.

use mirra::base::Rng;

/// Longest input, in bytes, of those that grow.
const BYTES_MAX: usize = 1 << 20;

/// What lengths, counts and other integers are set to: nothing, the limits of the protocol and one beyond each, and the
/// ends of the types.
const INTEGERS: [u64; 26] = [
    0,
    1,
    2,
    64,
    65,
    127,
    128,
    129,
    256,
    257,
    1_000,
    1_001,
    4_096,
    4_097,
    65_535,
    65_536,
    (4 << 20) - 16,
    (4 << 20) - 15,
    (16 << 20) + 34,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFE,
    0xFFFF_FFFF,
    0x7FFF_FFFF_FFFF_FFFF,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Bits of numbers that hurt: no number, both infinities, the smallest, a negative zero, the greatest.
const FLOATS: [f64; 8] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MIN_POSITIVE / 4.0,
    -0.0,
    f64::MAX,
    f32::MAX as f64,
    (f32::MIN_POSITIVE / 4.0) as f64,
];

/// Words that mean something to one of the readers of text.
const WORDS: [&str; 24] = [
    "(",
    ")",
    ",",
    "\"",
    "'",
    "=",
    "[",
    "]]",
    "{",
    "\t",
    "\r\n",
    "\n",
    "\u{feff}",
    "\\u0000",
    "NaN",
    "1e999",
    "-0",
    "18446744073709551616",
    "9223372036854775808",
    "'''",
    "#",
    ".",
    "0x",
    "\u{1F600}",
];

/// One input: one of `seeds`, with one to four changes. The same seed gives the same input.
pub fn input(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = pick(seeds, rng).clone();
    // One in sixty-four stays as it is: what is good must be read.
    if rng.below(64) == 0 {
        return bytes;
    }
    for _ in 0..=rng.below(4) {
        change(&mut bytes, seeds, rng);
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

fn pick<'a, T>(of: &'a [T], rng: &mut Rng) -> &'a T {
    &of[below(of.len(), rng)]
}

/// Uniform in `0..bound`; 0 for a bound of 0.
fn below(bound: usize, rng: &mut Rng) -> usize {
    if bound == 0 { 0 } else { rng.below(bound as u64) as usize }
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    let at = below(bytes.len(), rng);
    match rng.below(12) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << rng.below(8),
        1 if !bytes.is_empty() => bytes[at] = *pick(&[0, 1, 0x7F, 0x80, 0xFF], rng),
        2 => {
            let width = *pick(&[1, 2, 4, 4, 4, 8], rng);
            put(bytes, at, &pick(&INTEGERS, rng).to_le_bytes()[..width]);
        }
        3 => {
            let number = *pick(&FLOATS, rng);
            if rng.below(2) == 0 {
                put(bytes, at, &(number as f32).to_le_bytes());
            } else {
                put(bytes, at, &number.to_le_bytes());
            }
        }
        4 => bytes.truncate(at),
        5 => {
            // A piece twice.
            let end = (at + 1 + below(64, rng)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        6 => {
            // The start of this one, the end of another.
            let other = pick(seeds, rng);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[below(other.len(), rng)..]);
        }
        7 => {
            let end = (at + 1 + below(32, rng)).min(bytes.len());
            bytes[at..end].fill(*pick(&[0, 0, 0xFF], rng));
        }
        8 => {
            let end = (at + 1 + below(16, rng)).min(bytes.len());
            bytes.drain(at..end);
        }
        9 => {
            let word = pick(&WORDS, rng);
            bytes.splice(at..at, word.bytes());
        }
        10 => bytes.extend((0..below(24, rng)).map(|_| rng.bits() as u8)),
        _ => {
            // Many of one piece: what recursion and sums of lists must stand.
            let end = (at + 1 + below(8, rng)).min(bytes.len());
            let piece = bytes[at..end].repeat(1 + below(600, rng));
            bytes.splice(at..at, piece);
        }
    }
}

/// Overwrites, as far as there are bytes.
fn put(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes[at..].iter_mut().zip(with).for_each(|(byte, with)| *byte = *with);
}
