//! How the demonstration looks: headings, facts, checked claims. Colours only where standard output is a terminal;
//! nothing at all with `--json`.

use console::{Style, style};
use indicatif::HumanCount;

use super::DemoError;
use crate::cli::output;

/// Columns that a line may take.
pub const WIDTH: usize = 88;

/// Prints the acts, and counts the claims that were checked.
#[derive(Debug)]
pub struct Screen {
    quiet: bool,
    act: u32,
    checked: u32,
}

impl Screen {
    /// A screen; a quiet one prints nothing and checks all the same.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self { quiet, act: 0, checked: 0 }
    }

    /// Whether nothing is printed.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Claims checked, all true.
    #[must_use]
    pub fn checked(&self) -> u32 {
        self.checked
    }

    /// Opens an act: what it shows, in one line.
    ///
    /// # Errors
    /// If it cannot be printed; so with all that follow.
    pub fn act(&mut self, shows: &str) -> Result<(), DemoError> {
        self.act += 1;
        let number = style(format!(" {} ", self.act)).black().on_cyan().bold();
        let rule = "─".repeat(WIDTH.saturating_sub(shows.chars().count() + 5));
        self.line(&format!("\n{number} {} {}", style(shows).bold(), style(rule).dim()))
    }

    /// A line as it stands.
    ///
    /// # Errors
    /// See [`Self::act`].
    pub fn line(&self, line: &str) -> Result<(), DemoError> {
        if !self.quiet {
            output::text(line)?;
        }
        Ok(())
    }

    /// A named fact.
    ///
    /// # Errors
    /// See [`Self::act`].
    pub fn fact(&self, name: &str, value: &str) -> Result<(), DemoError> {
        self.line(&format!("   {} {value}", style(format!("{name:<14}")).dim()))
    }

    /// Prints a claim with its tick, or stops the demonstration.
    ///
    /// # Errors
    /// [`DemoError::Claim`] if it does not hold.
    pub fn check(&mut self, holds: bool, claim: &str) -> Result<(), DemoError> {
        if !holds {
            self.line(&format!("   {} {claim}", style("✗").red().bold()))?;
            return Err(DemoError::Claim(claim.to_owned()));
        }
        self.checked += 1;
        self.line(&format!("   {} {claim}", style("✓").green().bold()))
    }
}

/// `200,000`.
#[must_use]
pub fn thousands(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A bar of eighths, `width` cells long for a share of 1.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred eighths")]
pub fn bar(share: f64, width: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * (width * 8) as f64).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

/// Text cut or filled up to `width` columns, then painted: escape codes take no room.
#[must_use]
pub fn cell(text: &str, width: usize, paint: &Style) -> String {
    let mut text: String = match text.chars().count() > width {
        true => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    };
    let missing = width.saturating_sub(text.chars().count());
    text.push_str(&" ".repeat(missing));
    paint.apply_to(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_and_cells_have_their_width() {
        assert_eq!(
            [bar(0.0, 4), bar(1.0, 4), bar(0.5, 4), bar(0.03125, 4), bar(7.0, 2)],
            ["", "████", "██", "▏", "██"]
        );
        let plain = Style::new().force_styling(false);
        assert_eq!([cell("ab", 4, &plain), cell("abcdef", 4, &plain)], ["ab  ", "abc…"]);
        let red = Style::new().red().force_styling(true);
        assert_eq!(console::measure_text_width(&cell("ab", 4, &red)), 4);
    }

    #[test]
    fn a_claim_that_does_not_hold_stops() {
        let mut screen = Screen::new(true);
        screen.check(true, "one is one").unwrap();
        assert!(matches!(screen.check(false, "one is two"), Err(DemoError::Claim(claim)) if claim == "one is two"));
        assert_eq!(screen.checked(), 1);
    }
}
