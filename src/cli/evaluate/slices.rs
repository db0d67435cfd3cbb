//! Parts of what was scored: cold users and new items, beside the whole.
//!
//! What a slice holds follows from the stream alone, so it is the same for every strategy, and differences within it are
//! paired as those of the whole are.

use std::collections::{BTreeMap, HashSet};
use std::io;

use serde::Serialize;

use super::Protocol;
use super::compare::{Differences, Runs};
use super::outcomes::{MEASURES, MISS, Outcomes};
use super::report::{Figures, differences, finite};
use super::stream::Stream;
use crate::cli::output;

/// Some events of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// What they have in common.
    pub name: String,
    /// Whether each event of the stream is one.
    holds: Vec<bool>,
}

/// Figures of one strategy in a slice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SliceFigures {
    /// What its events have in common.
    pub slice: String,
    /// Events of it that were scored.
    pub scored: u64,
    /// Users whose events these are.
    pub users: u64,
    /// By measure, the mean over events (and seeds).
    pub measures: BTreeMap<&'static str, f64>,
    /// Median rank of what came, in the mean over seeds; `None` if half of it could not be ranked, or nothing was ranked.
    pub median_rank: Option<f64>,
    /// This strategy less the one that it is compared with, by measure.
    pub differences: Option<Differences>,
}

/// The slices of a stream: events of users with at most `cold` earlier ones, and events of items that nobody met before.
/// What counts as earlier is what the protocol learns: in P2 the first event of each pair of user and item.
#[must_use]
pub fn of(stream: &Stream, protocol: Protocol, cold: u32) -> Vec<Slice> {
    let mut had = HashSet::new();
    let (mut events, mut met) = (vec![0_u32; stream.users.len()], vec![false; stream.items.len()]);
    let (mut cold_users, mut new_items) = (Vec::new(), Vec::new());
    for event in &stream.events {
        let (user, item) = (event.user as usize, event.item as usize);
        cold_users.push(events[user] <= cold);
        new_items.push(!met[item]);
        met[item] = true;
        if protocol != Protocol::P2 || had.insert((event.user, event.item)) {
            events[user] += 1;
        }
    }
    let plural = if cold == 1 { "" } else { "s" };
    vec![
        Slice { name: format!("users with at most {cold} earlier event{plural}"), holds: cold_users },
        Slice { name: "items that nobody met before".to_owned(), holds: new_items },
    ]
}

impl Slice {
    /// What these runs of a strategy made of it, and how that differs from what the `other` strategy's did.
    #[must_use]
    pub fn figures(&self, runs: &Runs, other: Option<&Runs>) -> SliceFigures {
        let here = |runs: &Runs| Runs {
            figures: Vec::new(),
            outcomes: runs.outcomes.iter().map(|one| one.only(|at| self.holds[at as usize])).collect(),
        };
        let ours = here(runs);
        let mean = |name: &'static str| {
            let all: Option<Vec<f64>> = ours.outcomes.iter().map(|one| one.mean(name)).collect();
            all.map(|all| (name, all.iter().sum::<f64>() / all.len() as f64))
        };
        let (scored, users) = ours
            .outcomes
            .first()
            .map_or((0, 0), |one| (one.at.len() as u64, one.users.iter().collect::<HashSet<_>>().len() as u64));
        SliceFigures {
            slice: self.name.clone(),
            scored,
            users,
            median_rank: median_rank(&ours),
            measures: MEASURES.iter().filter_map(|measure| mean(measure.name)).collect(),
            differences: other.map(|other| ours.against(&here(other))).filter(|found| !found.is_empty()),
        }
    }
}

/// The median rank over the events of each seed, in the mean over seeds.
fn median_rank(runs: &Runs) -> Option<f64> {
    let median = |outcomes: &Outcomes| {
        let mut ranks = outcomes.ranks.clone();
        ranks.sort_unstable();
        ranks.get(ranks.len() / 2).copied().filter(|rank| *rank != MISS).map(f64::from)
    };
    let all: Vec<f64> = runs.outcomes.iter().map(median).collect::<Option<_>>()?;
    finite(all.iter().sum::<f64>() / all.len() as f64)
}

/// Prints every slice: a table of figures, and one of differences where strategies were compared.
///
/// # Errors
/// What the system says, except that a reader that went away is no error.
pub fn print(figures: &[Figures]) -> io::Result<()> {
    let count = figures.iter().filter_map(|one| one.slices.as_ref()).map(Vec::len).max().unwrap_or(0);
    for at in 0..count {
        let of = |one: &'_ Figures| one.slices.as_ref().and_then(|slices| slices.get(at).cloned());
        let all: Vec<(&Figures, SliceFigures)> = figures.iter().filter_map(|one| Some((one, of(one)?))).collect();
        let Some((_, first)) = all.first() else { continue };
        let names: Vec<&str> = first.measures.keys().copied().collect();
        let headings: Vec<&str> =
            ["strategy", "scored", "users", "median_rank"].into_iter().chain(names.iter().copied()).collect();
        let mut table = output::table(&headings);
        output::align_right(&mut table, 1);
        for (one, slice) in &all {
            let cell = |name: &&str| slice.measures.get(name).map_or("- ".to_owned(), |found| format!("{found:.4} "));
            let median = slice.median_rank.map_or("-".to_owned(), |rank| format!("{rank:.0}"));
            let counts = [one.strategy.clone(), slice.scored.to_string(), slice.users.to_string(), median];
            table.add_row(counts.into_iter().chain(names.iter().map(cell)));
        }
        output::text(&format!("\n{}\n\n{table}", first.slice))?;
        if let Some(against) = figures.iter().find_map(|one| one.against.as_deref()) {
            let slice = |one: &'_ Figures| one.slices.as_ref()?.get(at)?.differences.clone();
            let found: Vec<Figures> = figures
                .iter()
                .map(|one| Figures { strategy: one.strategy.clone(), differences: slice(one), ..Figures::default() })
                .collect();
            output::text(&format!("\nless {against}\n\n{}", differences(&found, |one| one.differences.as_ref())))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;
    use crate::ingest::Row;

    fn stream(pairs: &[(u64, u64)]) -> Stream {
        let row = |(user, item): &(u64, u64)| {
            let (user, item) = (Id::Int(*user), Id::Int(*item));
            Row { line: 1, user, item, value: 1.0, time_ms: 0, kind: None, event_id: None }
        };
        Stream::from_rows(pairs.iter().map(row))
    }

    #[test]
    fn slices_are_cold_users_and_new_items_of_what_the_protocol_learns() {
        let stream = stream(&[(1, 7), (1, 7), (2, 7), (1, 8), (1, 9), (2, 9)]);
        let holds = |protocol, cold| {
            let [users, items] = of(&stream, protocol, cold).try_into().expect("two slices");
            (users, items.holds)
        };
        let (users, items) = holds(Protocol::P2, 1);
        assert_eq!(users.name, "users with at most 1 earlier event");
        assert_eq!(users.holds, [true, true, true, true, false, true], "a pair that comes again is not learned");
        assert_eq!(items, [true, false, false, true, true, false]);
        assert_eq!(holds(Protocol::P1, 1).0.holds, [true, true, true, false, false, true]);
        assert_eq!(holds(Protocol::P2, 0).0.holds, [true, false, true, false, false, false]);
    }

    #[test]
    fn figures_of_a_slice_are_means_over_its_events_and_paired_differences() {
        let stream = stream(&[(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)]);
        let runs = |ranks: [[u32; 6]; 2]| {
            let outcomes = ranks.map(|ranks| {
                let mut outcomes = Outcomes::default();
                let all = ranks.into_iter().zip(&stream.events).enumerate();
                all.for_each(|(at, (rank, event))| outcomes.ranked(at, event.user, rank));
                outcomes
            });
            Runs { figures: Vec::new(), outcomes: outcomes.into() }
        };
        let (ours, theirs) = (runs([[1, 1, 50, MISS, MISS, 1], [1, 50, 50, 1, 1, 1]]), runs([[50; 6], [50; 6]]));
        let cold = &of(&stream, Protocol::P2, 0)[0];
        let found = cold.figures(&ours, Some(&theirs));
        assert_eq!((found.scored, found.users), (3, 3));
        assert!((found.measures["hr_10"] - 0.5).abs() < 1e-12 && (found.measures["hr_100"] - 1.0).abs() < 1e-12);
        assert_eq!((found.median_rank, cold.figures(&theirs, None).median_rank), (Some(25.5), Some(50.0)));
        let difference = found.differences.expect("three users")["hr_10"];
        assert!((difference.mean - 0.5).abs() < 1e-12 && difference.low < 0.0, "{difference:?}");
        assert_eq!(cold.figures(&ours, None).differences, None);
        let nothing = Slice { name: String::new(), holds: vec![false; 6] }.figures(&ours, Some(&theirs));
        assert_eq!((nothing.scored, nothing.median_rank, nothing.differences), (0, None, None));
        let new = Slice { name: String::new(), holds: vec![false, false, false, true, true, true] };
        let both = [&ours, &theirs].map(|runs| new.figures(runs, None).median_rank);
        assert_eq!(both, [None, Some(50.0)], "half of it could not be ranked");
    }
}
