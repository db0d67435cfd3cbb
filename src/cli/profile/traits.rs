//! Traits as text: value, deviation, evidence, where it stands on its natural scale, and what that means.

use super::text::{part, seconds, short, titled};
use crate::cli::look::Look;
use crate::cli::output;
use crate::model::Schema;
use crate::wire::portrait::{Person, TraitValue};

/// Characters of a scale.
const RULER_WIDTH: usize = 15;

/// Characters of a formula.
const FORMULA_WIDTH: usize = 44;

/// What stands behind the name of a trait that depends on the order in which events came.
const ORDERED: &str = "*";

/// What is known of a built-in trait.
struct Known {
    name: &'static str,
    /// Least and greatest value.
    scale: (f64, f64),
    /// Below the first of these it is low, above the second high.
    cuts: (f64, f64),
    /// What a low, a middle and a high value mean.
    means: [&'static str; 3],
}

/// The built-in traits; `person/traits.rs` has their formulas.
const KNOWN: [Known; 9] = [
    Known {
        name: "price_sensitivity",
        scale: (-2.0, 2.0),
        cuts: (-0.25, 0.25),
        means: ["buys dearer than it looks", "buys at the prices it looks at", "buys cheaper than it looks"],
    },
    Known {
        name: "novelty_seeking",
        scale: (0.0, 1.0),
        cuts: (0.35, 0.65),
        means: ["comes back to what it knows", "new things and known ones", "mostly items never met before"],
    },
    Known {
        name: "brand_loyalty",
        scale: (0.0, 1.0),
        cuts: (0.15, 0.5),
        means: ["any brand will do", "has brands it prefers", "true to few brands"],
    },
    Known {
        name: "impulsiveness",
        scale: (0.0, 1.0),
        cuts: (0.35, 0.65),
        means: ["sleeps on a purchase", "buys at once or later", "buys in the session of first sight"],
    },
    Known {
        name: "breadth",
        scale: (1.0, 64.0),
        cuts: (5.0, 20.0),
        means: ["few things, often", "several things", "many things alike"],
    },
    Known {
        name: "daily_rhythm",
        scale: (0.0, 1.0),
        cuts: (0.25, 0.6),
        means: ["at any hour", "has usual hours", "always at the same hours"],
    },
    Known {
        name: "burstiness",
        scale: (-1.0, 1.0),
        cuts: (-0.2, 0.2),
        means: ["comes regularly", "comes at random", "comes in bursts"],
    },
    Known {
        name: "session_mood",
        scale: (-1.0, 1.0),
        cuts: (-0.1, 0.1),
        means: ["newest session worse than usual", "newest session as usual", "newest session better than usual"],
    },
    Known {
        name: "churn_risk",
        scale: (0.0, 1.0),
        cuts: (0.3, 0.7),
        means: ["unlikely to stay away", "may stay away", "likely to stay away"],
    },
];

/// The traits of a person.
pub(super) fn table(person: &Person, schema: Option<&Schema>, look: Look) -> String {
    if person.traits.is_empty() {
        return String::new();
    }
    let mut table = part(&["traits", "value", "scale", "", "", "from", ""], &[1, 2, 5]);
    for one in &person.traits {
        table.add_row(row(one, schema, look));
    }
    let mut text = titled(&table, look);
    if person.traits.iter().any(|one| !one.order_free) {
        text.push_str(&format!(
            "\n{ORDERED} learned of all users in the order of events; the others do not depend on it"
        ));
    }
    text
}

fn row(one: &TraitValue, schema: Option<&Schema>, look: Look) -> [String; 7] {
    let name = if one.order_free { one.name.clone() } else { format!("{}{ORDERED}", one.name) };
    let from = output::grouped(one.evidence);
    if one.name == "peak_hour" {
        let ruler = look.ruler(one.value, one.deviation, (0.0, 24.0), RULER_WIDTH);
        let off = format!("{} h", short(one.deviation));
        let means = format!("most around {} UTC", clock(one.value));
        return [name, look.plus_minus(&clock(one.value), &off), "0 h".into(), ruler, "24 h".into(), from, means];
    }
    let told = match one.deviation.is_finite() {
        true => look.plus_minus(&number(one.value), &number(one.deviation)),
        false => number(one.value),
    };
    let Some(known) = KNOWN.iter().find(|known| known.name == one.name) else {
        let rule = schema.and_then(|schema| schema.traits.iter().find(|rule| rule.name == one.name));
        let formula = rule.map_or_else(String::new, |rule| cut(&rule.formula, look));
        return [name, told, String::new(), String::new(), String::new(), from, formula];
    };
    let ruler = look.ruler(one.value, one.deviation, known.scale, RULER_WIDTH);
    let mean = match one.value {
        low if low < known.cuts.0 => known.means[0],
        high if high > known.cuts.1 => known.means[2],
        _ => known.means[1],
    };
    let means = match schema.filter(|_| known.name == "churn_risk") {
        #[expect(clippy::cast_precision_loss, reason = "a horizon, for people")]
        Some(schema) => format!("{mean} for {}", seconds(schema.churn_horizon_ms as f64 / 1_000.0)),
        None => mean.to_owned(),
    };
    [name, told, short(known.scale.0), ruler, short(known.scale.1), from, means]
}

/// A formula, its end left out where it is long; `mirra schema show` has the whole.
fn cut(formula: &str, look: Look) -> String {
    let mark = if look.unicode { "…" } else { "..." };
    match formula.char_indices().nth(FORMULA_WIDTH) {
        Some((at, _)) => format!("{}{mark}", formula[..at].trim_end()),
        None => formula.to_owned(),
    }
}

/// A trait's number: two digits behind the point, fewer where it is large.
fn number(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.2}") } else { output::count(value) }
}

/// An hour of the day as a time.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1,439 minutes")]
fn clock(hour: f64) -> String {
    let minutes = (hour.rem_euclid(24.0) * 60.0).round() as u32 % 1_440;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::traits::NAMES;

    #[test]
    fn every_built_in_trait_is_told_on_its_scale() {
        let look = Look { unicode: true, colour: false };
        for name in NAMES.into_iter().chain(["churn_risk"]) {
            let one = TraitValue { name: name.into(), value: 0.9, deviation: 0.1, evidence: 1, order_free: true };
            let row = row(&one, None, look);
            assert!(row[3].contains('●') && !row[6].is_empty(), "{row:?}");
        }
        for known in KNOWN {
            let (low, high) = known.scale;
            assert!(low <= known.cuts.0 && known.cuts.0 < known.cuts.1 && known.cuts.1 <= high, "{}", known.name);
        }
    }

    #[test]
    fn long_formulas_lose_their_end() {
        let fine = Look { unicode: true, colour: false };
        assert_eq!(cut("events / 2", fine), "events / 2");
        let long = cut(&"a + ".repeat(20), fine);
        assert!(long.ends_with("+…") && long.chars().count() <= FORMULA_WIDTH + 1, "{long}");
    }

    #[test]
    fn hours_are_times() {
        for (hour, expected) in [(0.0, "00:00"), (20.4, "20:24"), (23.9999, "00:00"), (-1.0, "23:00")] {
            assert_eq!(clock(hour), expected);
        }
    }
}
