//! What subcommands print: tables, JSON lines, numbers for people, progress.
//!
//! Results go to standard output. A reader that went away (`mirra ... | head`) is not an error. Progress goes to
//! standard error, and only where that is a terminal, so that logs and pipes stay clean.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// A table with these headings, columns two spaces apart, no frame: readable, and easy to cut with other tools.
#[must_use]
pub fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(headings.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A table without headings: names and what they are.
#[must_use]
pub fn facts<const COLUMNS: usize>(rows: impl IntoIterator<Item = [String; COLUMNS]>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Aligns these columns to the right: numbers between texts.
pub fn align_right_at(table: &mut Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Aligns the columns from `first` on to the right: numbers.
pub fn align_right(table: &mut Table, first: usize) {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// Prints a line, or lines, to standard output.
///
/// # Errors
/// What the system says, except that a reader that went away is no error.
pub fn text(text: &str) -> io::Result<()> {
    let mut trimmed = String::with_capacity(text.len() + 1);
    for line in text.lines() {
        trimmed.push_str(line.trim_end());
        trimmed.push('\n');
    }
    put(trimmed.as_bytes())
}

/// Prints one value as a line of JSON.
///
/// # Errors
/// As [`text`], and if the value cannot be JSON (a map whose keys are not text).
pub fn json(value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    put(&line)
}

/// A count for people, three digits at least: `987`, `1.23 k`, `45.6 M`.
#[must_use]
pub fn count(number: f64) -> String {
    scaled(number, 1_000.0, &["", " k", " M", " G", " T"])
}

/// A number with its thousands apart: `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 row`, `1,234 rows`.
#[must_use]
pub fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A bar for a share of 0 to 1, `width` characters at 1, in steps of an eighth of a character: `█████▋`.
#[must_use]
pub fn bar(share: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if share.is_nan() {
        return String::new();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8 width, rounded")]
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// Bars of scores that are compared with each other: from 0, or from the lowest where that is below 0, to the highest.
#[must_use]
pub fn bars(scores: &[f32], width: usize) -> Vec<String> {
    let finite = || scores.iter().copied().filter(|score| score.is_finite()).map(f64::from);
    let (low, high) = (finite().fold(0.0, f64::min), finite().fold(0.0, f64::max));
    let span = if high > low { high - low } else { 1.0 };
    scores.iter().map(|score| bar((f64::from(*score) - low) / span, width)).collect()
}

/// Bytes for people, in powers of 1,024: `512 B`, `1.50 KiB`.
#[must_use]
pub fn bytes(number: u64) -> String {
    scaled(number as f64, 1_024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

/// A duration for people: `640 ns`, `12.5 us`, `3.20 ms`, `1.50 s`, `2 min 5 s`, `3 h 2 min`.
#[must_use]
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds >= 3_600 {
        return format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60);
    }
    if seconds >= 60 {
        return format!("{} min {} s", seconds / 60, seconds % 60);
    }
    scaled(time.as_nanos() as f64, 1_000.0, &[" ns", " us", " ms", " s"])
}

/// Three significant digits, and whole numbers whole, in the largest unit below the number as printed.
fn scaled(number: f64, step: f64, units: &[&str]) -> String {
    let mut number = number;
    let mut unit = 0;
    // 999.5 would be printed as 1000: it belongs to the next unit.
    while number.abs() >= step - 0.5 && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    let digits = match number.abs() {
        whole if unit == 0 && (whole - whole.round()).abs() < 1e-9 => 0,
        small if small < 9.995 => 2,
        middle if middle < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.digits$}{}", units[unit])
}

fn put(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A progress bar on a terminal, nothing elsewhere.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins; without a `total` it shows what has been done and how fast.
    #[must_use]
    pub fn new(label: &str, total: Option<u64>) -> Self {
        Self::on(label, total, io::stderr().is_terminal())
    }

    fn on(label: &str, total: Option<u64>, terminal: bool) -> Self {
        if !terminal {
            return Self { bar: ProgressBar::hidden() };
        }
        let template = match total {
            Some(_) => "{msg} [{bar:30}] {human_pos}/{human_len} {per_sec} {eta}",
            None => "{msg} {spinner} {human_pos} {per_sec} {elapsed}",
        };
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.set_message(label.to_owned());
        Self { bar }
    }

    /// `more` have been done.
    pub fn advance(&self, more: u64) {
        self.bar.inc(more);
    }

    /// Sets what is being done.
    pub fn label(&self, label: &str) {
        self.bar.set_message(label.to_owned());
    }

    /// How many have been done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.bar.position()
    }
}

impl Drop for Progress {
    /// Takes the bar off the terminal, so that the result stands alone, also when the work fails.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_three_digits() {
        let cases = [
            (0.0, "0"),
            (7.0, "7"),
            (7.25, "7.25"),
            (999.0, "999"),
            (999.6, "1.00 k"),
            (1_000.0, "1.00 k"),
            (1_234_567.0, "1.23 M"),
            (45_600_000.0, "45.6 M"),
            (-2_500.0, "-2.50 k"),
            (1e18, "1000000 T"),
        ];
        for (number, expected) in cases {
            assert_eq!(count(number), expected, "{number}");
        }
    }

    #[test]
    fn thousands_stand_apart_and_bars_grow_with_their_share() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
        let cases = [(0.0, ""), (0.5, "██"), (1.0, "████"), (2.0, "████"), (-1.0, ""), (f64::NAN, ""), (0.65, "██▋")];
        for (share, expected) in cases {
            assert_eq!(bar(share, 4), expected, "{share}");
        }
        assert_eq!(bars(&[4.0, 2.0, f32::NAN, 0.0], 4), ["████", "██", "", ""]);
        assert_eq!(bars(&[1.0, -1.0], 4), ["████", ""]);
        assert_eq!(bars(&[0.0], 4), [""]);
    }

    #[test]
    fn bytes_are_powers_of_1024() {
        for (number, expected) in [(0, "0 B"), (1_000, "1000 B"), (1_536, "1.50 KiB"), (64 << 20, "64.0 MiB")] {
            assert_eq!(bytes(number), expected);
        }
    }

    #[test]
    fn durations_have_the_unit_that_fits() {
        let cases = [
            (Duration::from_nanos(640), "640 ns"),
            (Duration::from_nanos(12_500), "12.5 us"),
            (Duration::from_millis(1_500), "1.50 s"),
            (Duration::from_secs(125), "2 min 5 s"),
            (Duration::from_secs(10_920), "3 h 2 min"),
        ];
        for (time, expected) in cases {
            assert_eq!(duration(time), expected);
        }
    }

    #[test]
    fn tables_align_numbers_to_the_right() {
        let mut table = table(&["name", "events"]);
        align_right(&mut table, 1);
        table.add_row(["a", "1"]).add_row(["bb", "1000"]);
        let lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(lines, ["name  events", "a          1", "bb      1000"]);
    }

    #[test]
    fn progress_counts_with_and_without_a_terminal() {
        for total in [None, Some(10)] {
            let progress = Progress::on("events", total, false);
            progress.label("more events");
            progress.advance(3);
            progress.advance(4);
            assert_eq!(progress.done(), 7);
        }
    }
}
