//! `mirra metrics --outcomes`: what came of the lists that were shown.

use serde_json::{Value, json};

use super::output;
use crate::wire::commands::DecisionsReply;
use crate::wire::types::{DecisionsCell, KindOutcomes};

/// A figure: heading, value, digits after the point.
type Figure = (&'static str, fn(&KindOutcomes) -> f64, usize);

const FIGURES: [Figure; 6] = [
    ("share", |kind| kind.share, 4),
    ("position", |kind| kind.position, 2),
    ("ndcg", |kind| kind.ndcg, 4),
    ("mrr", |kind| kind.mrr, 4),
    ("delay_s", |kind| kind.delay_s, 1),
    ("delay_s_p50", |kind| kind.delay_s_p50, 1),
];

/// One object a strategy, cohort and window.
pub(super) fn to_json(cell: &DecisionsCell) -> Value {
    let kind = |kind: &KindOutcomes| {
        let mut object = json!({
            "kind": kind.kind, "outcomes": kind.outcomes, "not_listed": kind.not_listed, "lists": kind.lists,
        });
        if let Some(object) = object.as_object_mut() {
            object.extend(FIGURES.iter().map(|(name, get, _)| ((*name).to_owned(), json!(get(kind)))));
        }
        object
    };
    json!({
        "strategy": cell.strategy, "cohort": cell.cohort, "window": cell.window, "shown": cell.shown,
        "places": cell.places, "kinds": cell.kinds.iter().map(kind).collect::<Vec<_>>(),
    })
}

/// Strategies, cohorts and kinds down, figures across; what nobody was shown is left out.
pub(super) fn text(reply: &DecisionsReply) -> String {
    let mut headings = vec!["strategy", "cohort", "shown", "kind", "outcomes", "not_listed", "lists"];
    headings.extend(FIGURES.iter().map(|figure| figure.0));
    let mut table = output::table(&headings);
    output::align_right_at(&mut table, &[2, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let mut rows = 0;
    for cell in reply.cells.iter().filter(|cell| cell.shown > 0) {
        for kind in &cell.kinds {
            let counts = [kind.outcomes, kind.not_listed, kind.lists].map(output::grouped);
            let number = |(_, get, digits): &Figure| match get(kind) {
                figure if figure.is_finite() => format!("{figure:.digits$}"),
                _ => "-".to_owned(),
            };
            let first = [cell.strategy.clone(), cell.cohort.clone(), output::grouped(cell.shown), kind.kind.clone()];
            table.add_row(first.into_iter().chain(counts).chain(FIGURES.iter().map(number)));
            rows += 1;
        }
    }
    let missing = format!("named without a list: {} expired, {} unknown", reply.expired, reply.unknown);
    match rows {
        0 => format!("no list was reported as shown (EXPOSURE, OUTCOME)\n{missing}"),
        _ => format!("{table}\n{missing}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::wire::sample::Sample;

    fn cell(cohort: &str, shown: u64) -> DecisionsCell {
        let none = f64::NAN;
        let kind =
            KindOutcomes { kind: "click".into(), lists: 1_234, position: none, ..Sample::sample(&mut Rng::new(3)) };
        let (strategy, cohort, window) = ("decay".to_owned(), cohort.to_owned(), "last".to_owned());
        DecisionsCell { strategy, cohort, window, shown, places: 5.0, kinds: vec![kind] }
    }

    #[test]
    fn people_see_what_was_shown_and_machines_all() {
        let reply = DecisionsReply { expired: 3, unknown: 4, cells: vec![cell("all", 9), cell("new", 0)] };
        let printed = text(&reply);
        assert!(printed.contains("click") && printed.contains("1,234") && !printed.contains("new"), "{printed}");
        assert!(printed.contains("3 expired, 4 unknown") && !printed.contains("NaN"), "{printed}");
        let object = to_json(&reply.cells[1]);
        assert_eq!((&object["cohort"], &object["kinds"][0]["position"]), (&json!("new"), &Value::Null));
        assert_eq!(object["kinds"][0]["lists"], 1_234);
        assert!(text(&DecisionsReply { cells: vec![], ..reply }).contains("no list was reported"));
    }
}
