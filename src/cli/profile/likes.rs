//! What a user likes and does not: facets, by where they come from; and interests, by their items.

use super::text::{BAR_WIDTH, part, short, titled};
use crate::cli::look::Look;
use crate::cli::output;
use crate::wire::commands::ProfileEmbeddingReply;
use crate::wire::portrait::{FacetAffinity, ModalityTaste, Person};

/// What the group of plain tags is called.
const TAGS: &str = "tags";

/// Most facets shown beside the surest because the user turns away from them.
const DISLIKED_MAX: usize = 3;

/// Most interests shown.
const INTERESTS_MAX: usize = 6;

/// A share of opinions that differs by less than this is no tendency.
const TENDENCY_MIN: f64 = 0.03;

/// Group and name of a facet: `brand=acme` is `acme` of `brand`, `crime` is a tag.
fn parted(name: &str) -> (&str, &str) {
    match name.split_once('=') {
        Some((attribute, value)) if !attribute.is_empty() => (attribute, value),
        _ => (TAGS, name),
    }
}

/// Facets that are shown: the surest (as they come), and those disliked most; by group, tags first, in a group as they come.
fn chosen(facets: &[FacetAffinity], most: usize) -> Vec<&FacetAffinity> {
    let (surest, others) = facets.split_at(most.min(facets.len()));
    let mut disliked: Vec<&FacetAffinity> = others.iter().filter(|facet| facet.liked < 0.0).collect();
    disliked.sort_by(|a, b| a.liked.total_cmp(&b.liked));
    let mut chosen: Vec<&FacetAffinity> =
        surest.iter().chain(disliked.into_iter().take(DISLIKED_MAX.min(most))).collect();
    chosen.sort_by_key(|facet| match parted(&facet.name) {
        (TAGS, _) => "",
        (attribute, _) => attribute,
    });
    chosen
}

/// Whether a facet has far more, or far less, of the opinions of late than of those at the long view; `None`: neither.
fn rises(facet: &FacetAffinity, (middle, long): (f64, f64)) -> Option<bool> {
    // Nothing of late says nothing.
    if middle < 0.05 || long <= 0.0 {
        return None;
    }
    let (now, usual) = (facet.liked_middle / middle, facet.liked_long / long);
    let off = now - usual;
    (off.abs() >= TENDENCY_MIN.max(0.5 * usual.abs())).then_some(off > 0.0)
}

/// The facets of a person.
pub(super) fn facets(person: &Person, most: usize, look: Look) -> String {
    let all = &person.facets;
    let chosen = chosen(all, most);
    if chosen.is_empty() {
        return String::new();
    }
    let sum = |of: fn(&FacetAffinity) -> f64| all.iter().map(|facet| of(facet).abs()).sum::<f64>();
    let totals = (sum(|facet| facet.liked_middle), sum(|facet| facet.liked_long));
    let largest = chosen.iter().map(|facet| facet.share).fold(f64::MIN_POSITIVE, f64::max);
    let headings = ["likes", "", "share", "", "lift", "95 %", "events", "liked", "of late"];
    let mut table = part(&headings, &[3, 4, 5, 6, 7]);
    let mut before = "";
    for facet in &chosen {
        let (group, name) = parted(&facet.name);
        let first = if group == before { "" } else { group };
        before = group;
        let (bar, percent) = (look.bar(facet.share / largest, BAR_WIDTH), format!("{:.0} %", 100.0 * facet.share));
        let (lift, range) = if facet.lift.is_finite() {
            (short(facet.lift), format!("{}-{}", short(facet.lift_low), short(facet.lift_high)))
        } else {
            Default::default()
        };
        let (events, liked) = (output::grouped(u64::from(facet.events)), format!("{:+.2}", facet.liked));
        let arrow = rises(facet, totals).map_or("", |up| look.arrow(up));
        let row = [first.to_owned(), name.to_owned(), bar, percent, lift, range, events, liked, arrow.to_owned()];
        table.add_row(row);
    }
    let mut text = titled(&table, look);
    let hidden = all.len() - chosen.len();
    if hidden > 0 {
        text.push_str(&format!("\n{hidden} more (--facets {})", all.len()));
    }
    if person.facets_dropped > 0 {
        let gave_way = person.facets_dropped;
        text.push_str(&format!("\n{gave_way} rarer ones gave way to others: no room for more"));
    }
    text
}

/// The interests of a person.
pub(super) fn interests(person: &Person, look: Look) -> String {
    if person.interests.is_empty() {
        return String::new();
    }
    let headings = ["interests", "now", "", "long", "", "items", "unity"];
    let mut table = part(&headings, &[2, 4, 5, 6]);
    let shares = person.interests.iter().flat_map(|interest| [interest.now, interest.long]);
    let largest = shares.fold(f64::MIN_POSITIVE, f64::max);
    let slight = |at: usize| at >= INTERESTS_MAX || person.interests[at].now.max(person.interests[at].long) < 0.005;
    let shown = (0..person.interests.len()).find(|at| slight(*at)).unwrap_or(person.interests.len());
    for interest in &person.interests[..shown] {
        let told = |share: f64| [look.bar(share / largest, BAR_WIDTH), format!("{:.0} %", 100.0 * share)];
        let [now, now_percent] = told(interest.now);
        let [long, long_percent] = told(interest.long);
        let (item, items) = (format!("like {}", interest.item), interest.items.to_string());
        table.add_row([item, now, now_percent, long, long_percent, items, format!("{:.2}", interest.unity)]);
    }
    let mut text = titled(&table, look);
    if shown < person.interests.len() {
        text.push_str(&format!("\n{} slighter", person.interests.len() - shown));
    }
    text
}

/// What embeddings say: a line a modality that the user's newest items have, and the items nearest to all of it.
pub(super) fn modalities(taste: &ProfileEmbeddingReply, look: Look) -> String {
    let told = || taste.modalities.iter().filter(|modality| modality.evidence > 0);
    if told().next().is_none() {
        return String::new();
    }
    let largest = told().map(|modality| modality.weight).fold(f32::MIN_POSITIVE, f32::max);
    let mut table = part(&["modalities", "weight", "", "from", "agreement", "items"], &[2, 3, 4, 5]);
    for ModalityTaste { name, weight, evidence, agreement, items, .. } in told() {
        let bar = look.bar(f64::from(weight / largest), BAR_WIDTH);
        let items = output::grouped(*items);
        let cells = [name.clone(), bar, format!("{weight:.2}"), evidence.to_string(), format!("{agreement:.2}"), items];
        table.add_row(cells);
    }
    let nearest: Vec<String> = taste.nearest.iter().map(|near| near.item.to_string()).collect();
    let nearest = if nearest.is_empty() { String::new() } else { format!("\nnearest  {}", nearest.join(", ")) };
    format!("{}{nearest}", titled(&table, look))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facet(name: &str, liked: f64, (liked_middle, liked_long): (f64, f64)) -> FacetAffinity {
        let (name, events, share, lift, lift_low, lift_high) = (name.to_owned(), 3, 0.1, 1.0, 0.5, 2.0);
        FacetAffinity { name, events, share, lift, lift_low, lift_high, liked, liked_middle, liked_long }
    }

    #[test]
    fn tags_come_first_and_the_disliked_are_shown_too() {
        let names = ["brand=acme", "comedy", "brand=zeta", "=odd", "crime"];
        let mut all: Vec<FacetAffinity> = names.iter().map(|name| facet(name, 0.5, (0.0, 0.0))).collect();
        all[4].liked = -0.75;
        let shown = |most| chosen(&all, most).iter().map(|facet| facet.name.as_str()).collect::<Vec<_>>();
        assert_eq!(shown(3), ["comedy", "crime", "brand=acme", "brand=zeta"]);
        assert_eq!(shown(0), Vec::<&str>::new());
        assert_eq!(shown(9), ["comedy", "=odd", "crime", "brand=acme", "brand=zeta"]);
    }

    #[test]
    fn a_tendency_is_a_share_that_differs_by_far() {
        let cases = [
            ((0.6, 3.0), Some(true)),  // 60 % now, 30 % usually
            ((0.1, 3.0), Some(false)), // 10 %, 30 %
            ((0.4, 3.0), None),
            ((0.01, 0.1), None), // too little of both
            ((-0.3, 1.0), Some(false)),
        ];
        for (sums, expected) in cases {
            assert_eq!(rises(&facet("x", 0.0, sums), (1.0, 10.0)), expected, "{sums:?}");
        }
        assert_eq!(rises(&facet("x", 0.0, (0.01, 3.0)), (0.01, 10.0)), None, "hardly anything of late");
    }
}
