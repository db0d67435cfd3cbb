//! Times for people: a date in UTC, and how long ago that is.

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// Years that are printed as dates; what lies outside is no time that anybody meant.
const YEARS: std::ops::RangeInclusive<i64> = 1..=9_999;

/// `2026-01-01 20:15:07 UTC`; the bare number where that is no date of the years 1 to 9999.
#[must_use]
pub fn date(time_ms: i64) -> String {
    let (days, within_ms) = (time_ms.div_euclid(DAY_MS), time_ms.rem_euclid(DAY_MS));
    let (year, month, day) = civil(days);
    if !YEARS.contains(&year) {
        return format!("{time_ms} ms");
    }
    let seconds = within_ms / 1_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// How far `time_ms` lies from `now_ms`: `just now`, `12 s ago`, `5 min ago`, `3 h ago`, `40 d ago`, `2.8 y ago`,
/// `in 5 min`.
#[must_use]
pub fn age(time_ms: i64, now_ms: i64) -> String {
    let seconds = now_ms.saturating_sub(time_ms) / 1_000;
    let size = seconds.unsigned_abs();
    let text = match size {
        0 => return "just now".to_owned(),
        1..=119 => format!("{size} s"),
        120..=7_199 => format!("{} min", size / 60),
        7_200..=172_799 => format!("{} h", size / 3_600),
        172_800..=63_071_999 => format!("{} d", size / 86_400),
        _ => format!("{:.1} y", size as f64 / (365.25 * 86_400.0)),
    };
    if seconds < 0 { format!("in {text}") } else { format!("{text} ago") }
}

/// Date and age: `2026-01-01 20:15:07 UTC, 3 h ago`.
#[must_use]
pub fn date_and_age(time_ms: i64, now_ms: i64) -> String {
    format!("{}, {}", date(time_ms), age(time_ms, now_ms))
}

/// The first and last millisecond of what a text names: a day (`2026-01-31`), a second of it (`2026-01-31T20:15:00` or with a
/// space, `Z` or ` UTC` behind it if you like), both UTC, or a number of milliseconds since 1970. `None` for any other text.
#[must_use]
pub fn parse(text: &str) -> Option<(i64, i64)> {
    if let Ok(ms) = text.parse::<i64>() {
        return Some((ms, ms));
    }
    let text = text.strip_suffix(" UTC").or_else(|| text.strip_suffix('Z')).unwrap_or(text);
    let (day, time) = match text.split_once(['T', ' ']) {
        Some((day, time)) => (day, Some(time)),
        None => (text, None),
    };
    let [year, month, day] = numbers(day, '-', [4, 2, 2])?;
    let days = days(year, month, day);
    if civil(days) != (year, month, day) {
        return None;
    }
    let begin_ms = days * DAY_MS;
    let Some(time) = time else { return Some((begin_ms, begin_ms + DAY_MS - 1)) };
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let begin_ms = begin_ms + 1_000 * (3_600 * hour + 60 * minute + second);
    Some((begin_ms, begin_ms + 999))
}

/// Three numbers with this many digits each.
fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut found = [0; 3];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part =
            parts.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// The day, counted from 1970-01-01, of a date of the Gregorian calendar: the inverse of [`civil`], from the same source.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of the Gregorian calendar of a day counted from 1970-01-01 (Hinnant 2021, "chrono-compatible
/// low-level date algorithms": years begin in March, so that the leap day comes last).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01 00:00:00 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (1_700_000_000_999, "2023-11-14 22:13:20 UTC"),
            (1_767_225_600_000, "2026-01-01 00:00:00 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00 UTC"),
            (253_402_300_799_999, "9999-12-31 23:59:59 UTC"),
            (253_402_300_800_000, "253402300800000 ms"),
            (i64::MIN, "-9223372036854775808 ms"),
        ];
        for (time_ms, expected) in cases {
            assert_eq!(date(time_ms), expected);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = civil(-800_000);
        for days in -799_999..800_000 {
            let (year, month, day) = civil(days);
            let next_day = (year, month) == (before.0, before.1) && day == before.2 + 1;
            let next_month = day == 1
                && (28..=31).contains(&before.2)
                && (month, year) == { if before.1 == 12 { (1, before.0 + 1) } else { (before.1 + 1, before.0) } };
            assert!(next_day || next_month, "{before:?} then {:?}", (year, month, day));
            assert_eq!(super::days(year, month, day), days);
            before = (year, month, day);
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        let second_ms = 1_700_000_000_000;
        for text in ["2023-11-14 22:13:20 UTC", "2023-11-14T22:13:20Z", "2023-11-14 22:13:20"] {
            assert_eq!(parse(text), Some((second_ms, second_ms + 999)), "{text}");
        }
        assert_eq!(parse("2000-02-29"), Some((951_782_400_000, 951_782_400_000 + DAY_MS - 1)));
        assert_eq!(parse("-5"), Some((-5, -5)));
        for text in ["", "2023-02-29", "2023-13-01", "2023-1-01", "2023-11-14T24:00:00", "2023-11-14T1:2", "soon"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn ages_have_the_unit_that_fits() {
        let cases = [
            (0, "just now"),
            (12_000, "12 s ago"),
            (300_000, "5 min ago"),
            (3 * 3_600_000, "3 h ago"),
            (40 * DAY_MS, "40 d ago"),
            (1_000 * DAY_MS, "2.7 y ago"),
            (-300_000, "in 5 min"),
        ];
        for (before_ms, expected) in cases {
            assert_eq!(age(1_000_000_000_000 - before_ms, 1_000_000_000_000), expected);
        }
        assert!(age(i64::MIN, i64::MAX).ends_with(" y ago"));
    }
}
