//! Small pictures within text: bars, sparklines, rulers with an uncertainty, arrows; in plain ASCII where the locale has no
//! Unicode.

use console::Style;

use super::output;

/// Whether Unicode and colours may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Unicode blocks and lines; else ASCII.
    pub unicode: bool,
    /// Bold headings.
    pub colour: bool,
}

/// The variables that name the locale, the strongest first.
const LOCALE: [&str; 3] = ["LC_ALL", "LC_CTYPE", "LANG"];

impl Look {
    /// As the environment has it: ASCII where the locale is named and is not UTF-8 (`C`, `en_US.ISO-8859-1`) or the
    /// terminal is dumb, colours where standard output is a terminal.
    #[must_use]
    pub fn of_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = LOCALE.into_iter().find_map(variable);
        let dumb = variable("TERM").is_some_and(|terminal| terminal == "dumb");
        Self { unicode: !dumb && is_unicode(locale.as_deref()), colour: console::colors_enabled() }
    }

    /// A bar for a share of 0 to 1, `width` characters at 1.
    #[must_use]
    pub fn bar(self, share: f64, width: usize) -> String {
        if self.unicode {
            return output::bar(share, width);
        }
        "#".repeat(whole(share.clamp(0.0, 1.0) * width as f64))
    }

    /// A character for each number, as high as the number is beside the largest: `▁▃█`, or `.=#`.
    #[must_use]
    pub fn sparkline(self, numbers: &[u32]) -> String {
        const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        const PLAIN: [char; 8] = ['.', ':', '-', '=', '+', 'o', '*', '#'];
        let levels = if self.unicode { BLOCKS } else { PLAIN };
        let most = numbers.iter().copied().max().unwrap_or(0).max(1);
        // Only nothing is the lowest level: one event in a thousand is still one.
        let level = |number: &u32| match number {
            0 => 0,
            _ => 1 + whole(f64::from(*number) / f64::from(most) * 6.0).min(6),
        };
        numbers.iter().map(|number| levels[level(number)]).collect()
    }

    /// Where a value stands on a scale, and how sure that is: `───━━●━━──`, or `---==o==---`. Where the scale has 0 within, it
    /// is marked.
    #[must_use]
    pub fn ruler(self, value: f64, deviation: f64, (low, high): (f64, f64), width: usize) -> String {
        let [line, likely, point, zero] =
            if self.unicode { ['─', '━', '●', '┼'] } else { ['-', '=', 'o', '+'] };
        if !value.is_finite() || high <= low || width < 2 {
            return String::new();
        }
        let place = |value: f64| whole((value.clamp(low, high) - low) / (high - low) * (width - 1) as f64);
        let deviation = if deviation.is_finite() { deviation } else { 0.0 };
        let (from, at, to) = (place(value - deviation), place(value), place(value + deviation));
        let origin = (low < 0.0 && high > 0.0).then(|| place(0.0));
        let mark = |column: usize| match column {
            column if column == at => point,
            column if Some(column) == origin => zero,
            column if (from..=to).contains(&column) => likely,
            _ => line,
        };
        (0..width).map(mark).collect()
    }

    /// An arrow upwards or downwards.
    #[must_use]
    pub fn arrow(self, up: bool) -> &'static str {
        match (self.unicode, up) {
            (true, true) => "↑",
            (true, false) => "↓",
            (false, true) => "up",
            (false, false) => "down",
        }
    }

    /// `value ± deviation`.
    #[must_use]
    pub fn plus_minus(self, value: &str, deviation: &str) -> String {
        format!("{value} {} {deviation}", if self.unicode { "±" } else { "+-" })
    }

    /// A heading.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        Style::new().bold().force_styling(self.colour).apply_to(text).to_string()
    }
}

/// Whether a locale writes Unicode. Where none is named, as in containers, today's terminals do.
fn is_unicode(locale: Option<&str>) -> bool {
    let Some(locale) = locale else { return true };
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a width, rounded")]
fn whole(number: f64) -> usize {
    number.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Look = Look { unicode: true, colour: false };
    const PLAIN: Look = Look { unicode: false, colour: false };

    #[test]
    fn pictures_have_a_plain_form() {
        let hours = [0, 1, 50, 100];
        assert_eq!([FINE.sparkline(&hours), PLAIN.sparkline(&hours)], ["▁▂▅█", ".:+#"]);
        assert_eq!(FINE.sparkline(&[0, 0]), "▁▁");
        assert_eq!([FINE.bar(0.65, 4), PLAIN.bar(0.65, 4), PLAIN.bar(f64::NAN, 4)], ["██▋", "###", ""]);
        assert_eq!([FINE.arrow(true), PLAIN.arrow(false)], ["↑", "down"]);
        assert_eq!([FINE.plus_minus("1", "2"), PLAIN.plus_minus("1", "2")], ["1 ± 2", "1 +- 2"]);
        assert_eq!([FINE.bold("x"), Look { colour: true, ..FINE }.bold("x")], ["x", "\u{1b}[1mx\u{1b}[0m"]);
    }

    #[test]
    fn rulers_show_value_deviation_and_zero() {
        let cases = [
            (0.5, 0.2, (0.0, 1.0), "───━━●━━───"),
            (0.0, f64::NAN, (0.0, 1.0), "●──────────"),
            (2.0, 0.1, (0.0, 1.0), "──────────●"),
            (-0.6, 0.2, (-1.0, 1.0), "─━●━─┼─────"),
            (f64::NAN, 0.1, (0.0, 1.0), ""),
        ];
        for (value, deviation, scale, expected) in cases {
            assert_eq!(FINE.ruler(value, deviation, scale, 11), expected, "{value} on {scale:?}");
        }
        assert_eq!(PLAIN.ruler(0.5, 0.2, (0.0, 1.0), 11), "---==o==---");
    }

    #[test]
    fn locales_say_whether_they_write_unicode() {
        for locale in [None, Some("C.UTF-8"), Some("de_DE.utf8")] {
            assert!(is_unicode(locale), "{locale:?}");
        }
        for locale in ["C", "POSIX", "en_US.ISO-8859-1"] {
            assert!(!is_unicode(Some(locale)), "{locale}");
        }
    }
}
