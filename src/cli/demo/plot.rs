//! Curves on a terminal, in Braille dots: the last solid, the others dashed, so that it can be told from them without
//! colours.

use std::fmt::Write as _;

use console::Style;

/// A curve: places from 0 to 1, values, in rising order of places.
#[derive(Clone, Debug)]
pub struct Curve<'a> {
    /// Points.
    pub points: Vec<(f64, f64)>,
    /// What stands at its end.
    pub label: &'a str,
    /// Colour.
    pub style: Style,
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot<'a> {
    /// Cells across, without axis and labels.
    pub width: usize,
    /// Cells down.
    pub height: usize,
    /// Place of a mark across the plot, from 0 to 1.
    pub mark: f64,
    /// What stands under the mark.
    pub mark_label: &'a str,
    /// What stands under the right end.
    pub end_label: &'a str,
    /// The curves; later ones are drawn over earlier ones.
    pub curves: Vec<Curve<'a>>,
}

/// Dots of a cell by row and column: U+2800 has eight, numbered down the left, then the right, the lowest row last.
const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
/// Columns of a dash and of the gap after it.
const DASH: (usize, usize) = (3, 2);
/// Columns of the labels of the axis.
const AXIS: usize = 8;

impl Plot<'_> {
    /// The plot as lines.
    #[must_use]
    pub fn draw(&self) -> String {
        let (low, high) = self.range();
        // For each cell: dots, and the number of the curve that was there last.
        let mut cells = vec![(0_u8, 0_usize); self.width * self.height];
        for (number, curve) in self.curves.iter().enumerate() {
            self.trace(curve, number, (low, high), &mut cells);
        }
        let dim = Style::new().dim();
        let mark = self.cell_of(self.mark);
        let mut text = String::new();
        for row in 0..self.height {
            // Weighed, not subtracted: the lowest label is 0.00 and never -0.00.
            let share = row as f64 / (self.height - 1).max(1) as f64;
            let value = high * (1.0 - share) + low * share;
            let named = row % 3 == 0 || row + 1 == self.height;
            let axis = if named { format!("{value:>6.2} ┤") } else { "       │".to_owned() };
            // Writing to a string cannot fail; so below.
            let _ = write!(text, "{}", dim.apply_to(axis));
            for column in 0..self.width {
                let (dots, number) = cells[row * self.width + column];
                let drawn = match dots {
                    0 if column == mark => dim.apply_to('┊').to_string(),
                    0 => " ".to_owned(),
                    _ => self.curves[number].style.apply_to(braille(dots)).to_string(),
                };
                text.push_str(&drawn);
            }
            for curve in self.curves.iter().filter(|curve| self.row_of_end(curve, low, high) == Some(row)) {
                let _ = write!(text, " {}", curve.style.apply_to(curve.label));
            }
            text.push('\n');
        }
        let rule: String = (0..self.width).map(|column| if column == mark { '┴' } else { '─' }).collect();
        let _ = writeln!(text, "{}", dim.apply_to(format!("       └{rule}")));
        let left = AXIS + mark.saturating_sub(self.mark_label.chars().count() / 2);
        let gap = (AXIS + self.width).saturating_sub(left + self.mark_label.chars().count());
        let under = format!("{}{}{:>gap$}", " ".repeat(left), self.mark_label, self.end_label);
        let _ = writeln!(text, "{}", dim.apply_to(under));
        text
    }

    /// From 0 up to a little over the highest value: a multiple of 0.04, so that its quarters have two digits.
    fn range(&self) -> (f64, f64) {
        let values = self.curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
        let highest = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        (0.0, if highest > 0.0 { (highest * 1.05 * 25.0).ceil() / 25.0 } else { 1.0 })
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a few hundred dots")]
    fn trace(&self, curve: &Curve<'_>, number: usize, (low, high): (f64, f64), cells: &mut [(u8, usize)]) {
        let (across, down) = (2 * self.width, 4 * self.height);
        let dashed = number + 1 < self.curves.len();
        let mut before: Option<usize> = None;
        for column in 0..across {
            let place = column as f64 / (across - 1).max(1) as f64;
            let Some(value) = value_at(&curve.points, place) else { continue };
            let share = ((high - value) / (high - low)).clamp(0.0, 1.0);
            let dot = (share * (down - 1) as f64).round() as usize;
            // A step of many rows is drawn as a stroke, half of it from either side.
            let from = before.map_or(dot, |before| if before < dot { before + 1 } else { before.saturating_sub(1) });
            let from = if before == Some(dot) { dot } else { from };
            before = Some(dot);
            if dashed && column % (DASH.0 + DASH.1) >= DASH.0 {
                continue;
            }
            for row in from.min(dot)..=from.max(dot) {
                let cell = &mut cells[row / 4 * self.width + column / 2];
                *cell = (cell.0 | DOTS[row % 4][column % 2], number);
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a few hundred cells")]
    fn cell_of(&self, place: f64) -> usize {
        ((place.clamp(0.0, 1.0) * self.width as f64) as usize).min(self.width.saturating_sub(1))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a few rows")]
    fn row_of_end(&self, curve: &Curve<'_>, low: f64, high: f64) -> Option<usize> {
        let value = curve.points.last()?.1;
        let share = ((high - value) / (high - low)).clamp(0.0, 1.0);
        let dot = (share * (4 * self.height - 1) as f64).round() as usize;
        Some(dot / 4)
    }
}

fn braille(dots: u8) -> char {
    char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ')
}

/// The value at a place, on the straight line between its neighbours; nothing before the first and after the last.
fn value_at(points: &[(f64, f64)], place: f64) -> Option<f64> {
    let next = points.partition_point(|point| point.0 < place);
    let after = points.get(next)?;
    if next == 0 {
        return (after.0 <= place).then_some(after.1);
    }
    let before = points[next - 1];
    let share = (place - before.0) / (after.0 - before.0);
    Some(before.1 + share * (after.1 - before.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: Vec<(f64, f64)>, label: &str) -> Curve<'_> {
        Curve { points, label, style: Style::new().force_styling(false) }
    }

    #[test]
    fn values_lie_on_straight_lines() {
        let points = [(0.2, 1.0), (0.4, 2.0), (1.0, 5.0)];
        let cases = [(0.0, None), (0.2, Some(1.0)), (0.3, Some(1.5)), (0.7, Some(3.5)), (1.0, Some(5.0)), (1.1, None)];
        for (place, expected) in cases {
            let found = value_at(&points, place);
            assert!(found.zip(expected).map_or(found == expected, |(a, b)| (a - b).abs() < 1e-9), "{place}: {found:?}");
        }
    }

    #[test]
    fn a_rising_line_goes_from_corner_to_corner() {
        let curves = vec![curve(vec![(0.0, 0.0), (1.0, 0.95)], "up")];
        let plot = Plot { width: 20, height: 6, mark: 0.5, mark_label: "half", end_label: "all", curves };
        let text = console::strip_ansi_codes(&plot.draw()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 8);
        assert!(lines[0].trim_end().ends_with(" up"), "the label stands where the line ends: {text}");
        let is_dots = |text: char| ('\u{2801}'..='\u{28FF}').contains(&text);
        let first = |line: &str| line.chars().position(is_dots);
        let columns: Vec<_> = lines[..6].iter().filter_map(|line| first(line)).collect();
        assert!(columns.len() == 6 && columns.windows(2).all(|pair| pair[0] > pair[1]), "{columns:?}\n{text}");
        assert!(lines[7].contains("half") && lines[7].ends_with("all"));
    }

    #[test]
    fn the_first_of_two_is_dashed_and_the_second_solid() {
        let curves = vec![curve(vec![(0.0, 0.1), (1.0, 0.1)], "low"), curve(vec![(0.0, 0.9), (1.0, 0.9)], "high")];
        let plot = Plot { width: 40, height: 8, mark: 0.0, mark_label: "", end_label: "", curves };
        let text = console::strip_ansi_codes(&plot.draw()).into_owned();
        let lit = |line: &str| {
            line.chars()
                .map(|c| (c as u32).saturating_sub(0x2800))
                .filter(|dots| *dots < 256)
                .map(u32::count_ones)
                .sum()
        };
        let lits: Vec<u32> = text.lines().take(8).map(lit).filter(|lit| *lit > 0).collect();
        assert_eq!(lits, [80, 48]);
    }
}
