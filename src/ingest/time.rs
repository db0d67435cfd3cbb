//! Time stamps of files, in seconds or milliseconds.

/// From this first time stamp on (1973 in milliseconds, the year 5138 in seconds) times are taken for milliseconds.
pub const MILLISECONDS_FROM: f64 = 1e11;

/// What a time stamp may be, in words.
pub const TIME: &str = "seconds or milliseconds since 1970, before the year 10000";

/// The end of the year 9999: far beyond it a number is not a time, and all up to it are exact in a double.
const TIME_MS_MAX: f64 = 253_402_300_799_999.0;

/// Unit of the time stamps in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds since 1970-01-01 UTC.
    Seconds,
    /// Milliseconds since 1970-01-01 UTC.
    Milliseconds,
}

/// Milliseconds since 1970-01-01 UTC of a time stamp; `None` if it is none (see [`TIME`]). Without a `unit` the stamp tells
/// it, see [`MILLISECONDS_FROM`], and it holds for those that follow.
#[must_use]
pub fn time_ms(text: &str, unit: &mut Option<TimeUnit>) -> Option<i64> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    let told = if number >= MILLISECONDS_FROM { TimeUnit::Milliseconds } else { TimeUnit::Seconds };
    let known = unit.unwrap_or(told);
    let per_unit = if known == TimeUnit::Seconds { 1e3 } else { 1.0 };
    let time_ms = (number * per_unit).round();
    if time_ms.abs() > TIME_MS_MAX {
        return None;
    }
    // 0 and what is below tell nothing about the rows that follow.
    if number > 0.0 {
        *unit = Some(known);
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    Some(time_ms as i64)
}
