//! Sample values of every field, record and command, for tests only: drawn from a seeded generator.

use super::schema::Command;
use super::types::AttributeValue;
use crate::base::{Id, Rng};

/// A value that can be drawn.
pub(crate) trait Sample: Sized {
    /// Draws one.
    fn sample(rng: &mut Rng) -> Self;
}

/// Is shown every command in turn (`commands::visit_commands`).
pub(crate) trait CommandVisitor {
    /// One command.
    fn visit<C>(&mut self)
    where
        C: Command + Sample + PartialEq + std::fmt::Debug,
        C::Reply: Sample + PartialEq + std::fmt::Debug;
}

macro_rules! sample_bits {
    ($($type:ident),*) => {$(
        impl Sample for $type {
            fn sample(rng: &mut Rng) -> Self {
                let wide = (rng.bits() >> rng.below(64)).to_le_bytes();
                let mut raw = [0_u8; size_of::<$type>()];
                raw.copy_from_slice(&wide[..size_of::<$type>()]);
                $type::from_le_bytes(raw)
            }
        }
    )*};
}

sample_bits!(u8, u16, u32, u64, i64);

impl Sample for f32 {
    fn sample(rng: &mut Rng) -> Self {
        f32::from(i16::try_from(rng.below(4_000)).unwrap() - 2_000) / 16.0
    }
}

impl Sample for f64 {
    fn sample(rng: &mut Rng) -> Self {
        f64::from(i32::try_from(rng.below(4_000_000)).unwrap() - 2_000_000) / 1_024.0
    }
}

impl Sample for bool {
    fn sample(rng: &mut Rng) -> Self {
        rng.below(2) == 1
    }
}

impl Sample for String {
    fn sample(rng: &mut Rng) -> Self {
        let words = ["", "view", "größe", "user-7", "画像", "0", "a longer text, with a comma", "tag"];
        words[usize::try_from(rng.below(words.len() as u64)).unwrap()].to_owned()
    }
}

impl Sample for Id {
    fn sample(rng: &mut Rng) -> Self {
        match rng.below(3) {
            0 => Id::Int(u64::sample(rng)),
            1 => Id::parse(&format!("ü-{}", u16::sample(rng))),
            _ => Id::parse(&"x".repeat(usize::try_from(rng.below(128)).unwrap() + 1)),
        }
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(rng: &mut Rng) -> Self {
        (0..rng.below(3) + rng.below(2)).map(|_| T::sample(rng)).collect()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(rng: &mut Rng) -> Self {
        (rng.below(3) > 0).then(|| T::sample(rng))
    }
}

impl Sample for AttributeValue {
    fn sample(rng: &mut Rng) -> Self {
        match rng.below(5) {
            0 => Self::Removed,
            1 => Self::Number(f64::sample(rng)),
            2 => Self::Text(String::sample(rng)),
            3 => Self::Bool(bool::sample(rng)),
            _ => Self::Texts(Vec::sample(rng)),
        }
    }
}

/// Compares a fixture with what the code makes; with `MIRRA_BLESS=1` writes it instead.
pub(crate) fn assert_fixture(path: &str, fresh: &str) {
    let how = "`MIRRA_BLESS=1 cargo test --lib wire` writes it: do so only if the change is meant";
    if std::env::var_os("MIRRA_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(path, fresh).unwrap_or_else(|error| panic!("{path}: {error}"));
        return;
    }
    let stored = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}; {how}"));
    let differs = stored.lines().zip(fresh.lines()).position(|(old, new)| old != new);
    let line = differs.unwrap_or(stored.lines().count().min(fresh.lines().count())) + 1;
    assert!(stored == fresh, "{path} is stale from line {line}; {how}");
}
