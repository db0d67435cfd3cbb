//! Examples: the item that came, among others that were candidates and some that were not.
//!
//! Candidates alone would teach what tells good items from each other and nothing of the many that nobody proposes: a
//! ranker taught so ranks lists of given items (PREDICT) worse than popularity does. So some items at random are in every
//! example, and an event whose item nobody proposed is an example, too.
//!
//! Both are samples, of different shares: each row counts as the items that it stands for (sampled softmax with the
//! logarithm of the share taken off: Bengio & Senecal 2008). What the ranker learns is then the logarithm of how probable
//! an item is, whether it was proposed or not, up to one constant.
//!
//! *Newcomers.* Of an item that nobody met only its tags and embeddings speak, and examples of such an item are rare: one a
//! lifetime. So an example also holds the item that came, and strangers, as they would look if nobody had met any of them,
//! and the ranker learns to tell these apart as well (after dropout of preferences: Volkovs, Yu & Poutanen 2017). They are
//! compared with each other alone; what all of them lack teaches nothing. Candidates that are new themselves are left out of
//! all else ([`super::newcomers`] says how the two kinds meet).

use super::features::STRIDE;
use crate::base::Rng;

/// Items drawn at random for an example, beside those of the candidates.
pub const STRANGERS: usize = 24;

/// One example.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    /// A row of features for the item that came, then one for each stranger, then one for each candidate that did not come;
    /// then the newcomers, the item that came first.
    pub rows: Vec<f32>,
    /// How many strangers there are.
    pub strangers: usize,
    /// Logarithm of the number of items that each stranger stands for.
    pub stranger_log: f32,
    /// The same of each candidate.
    pub candidate_log: f32,
    /// How many newcomers there are.
    pub newcomers: usize,
}

impl Example {
    /// Rows that are not newcomers.
    #[must_use]
    pub fn met(&self) -> usize {
        self.rows.len() / STRIDE - self.newcomers
    }
}

/// What an example is drawn from: rows of features.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    /// Candidates that were proposed, then the item that came if it was not, then strangers, then newcomers.
    pub rows: &'a [f32],
    /// How many were proposed.
    pub proposed: usize,
    /// How many of these come of events.
    pub compared: usize,
    /// Which row is that of the item that came.
    pub came: usize,
    /// Items that the strangers were drawn from.
    pub population: usize,
    /// How many newcomers there are, the item that came first.
    pub newcomers: usize,
}

impl Described<'_> {
    /// An example of all strangers and of `negatives` other candidates, drawn at random (all of them, in order, if there
    /// are no more). `None` if there is nothing to tell what came from.
    #[must_use]
    pub fn draw(self, negatives: usize, rng: &mut Rng) -> Option<Example> {
        let Self { rows, proposed, compared, came, population, newcomers } = self;
        let rows = rows.as_chunks::<STRIDE>().0;
        let (rows, new) = rows.split_at(rows.len() - newcomers);
        let strangers = &rows[proposed.max(came + 1)..];
        let others = compared - usize::from(came < compared);
        let drawn = others.min(negatives);
        if strangers.len() + drawn == 0 {
            return None;
        }
        let mut example = Vec::with_capacity((1 + strangers.len() + drawn + newcomers) * STRIDE);
        example.extend_from_slice(&rows[came]);
        example.extend_from_slice(strangers.as_flattened());
        for at in 0..drawn {
            let at = if drawn == others { at } else { rng.below(others as u64) as usize };
            // One of the others: those behind the one that came move up by one.
            example.extend_from_slice(&rows[at + usize::from(at >= came)]);
        }
        example.extend_from_slice(new.as_flattened());
        let unproposed = population.saturating_sub(compared);
        Some(Example {
            rows: example,
            strangers: strangers.len(),
            stranger_log: log_share(unproposed, strangers.len()),
            candidate_log: log_share(others, drawn),
            newcomers,
        })
    }
}

/// Logarithm of how many of `all` each of the `drawn` stands for, at least itself.
fn log_share(all: usize, drawn: usize) -> f32 {
    (all as f32 / drawn.max(1) as f32).max(1.0).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that hold their number.
    fn rows(count: u16) -> Vec<f32> {
        (0..count).flat_map(|row| [f32::from(row); STRIDE]).collect()
    }

    fn numbers(example: &Example) -> Vec<u16> {
        example.rows.chunks_exact(STRIDE).map(|row| row[0] as u16).collect()
    }

    #[test]
    fn what_came_is_first_and_strangers_are_always_there() {
        let mut rng = Rng::new(3);
        let described =
            Described { rows: &rows(30), proposed: 25, compared: 25, came: 4, population: 525, newcomers: 0 };
        let example = described.draw(10, &mut rng).unwrap();
        let numbers = numbers(&example);
        assert_eq!(numbers[..6], [4, 25, 26, 27, 28, 29]);
        assert_eq!((numbers.len(), example.strangers), (16, 5));
        assert!(numbers[6..].iter().all(|row| *row != 4 && *row < 25), "{numbers:?}");
        assert!((example.stranger_log - 100.0_f32.ln()).abs() < 1e-6, "each of 5 stands for 100 of 500");
        assert!((example.candidate_log - 2.4_f32.ln()).abs() < 1e-6, "each of 10 stands for 2.4 of 24");
    }

    #[test]
    fn what_nobody_proposed_is_an_example() {
        let mut rng = Rng::new(3);
        let described = Described { rows: &rows(7), proposed: 4, compared: 4, came: 4, population: 6, newcomers: 0 };
        let example = described.draw(10, &mut rng).unwrap();
        assert_eq!(numbers(&example), [4, 5, 6, 0, 1, 2, 3]);
        assert_eq!((example.strangers, example.stranger_log, example.candidate_log), (2, 0.0, 0.0));
    }

    #[test]
    fn newcomers_stand_at_the_end() {
        let mut rng = Rng::new(3);
        let rows = rows(10);
        let described = Described { rows: &rows, proposed: 4, compared: 3, came: 1, population: 6, newcomers: 3 };
        let example = described.draw(10, &mut rng).unwrap();
        assert_eq!(numbers(&example), [1, 4, 5, 6, 0, 2, 7, 8, 9], "3 is a candidate that is new");
        assert_eq!((example.strangers, example.newcomers, example.met()), (3, 3, 6));
    }

    #[test]
    fn few_candidates_are_all_taken_and_none_is_no_example() {
        let mut rng = Rng::new(3);
        let draw = |count, proposed, came, rng: &mut Rng| {
            Described { rows: &rows(count), proposed, compared: proposed, came, population: 9, newcomers: 0 }
                .draw(10, rng)
        };
        assert_eq!(numbers(&draw(4, 3, 1, &mut rng).unwrap()), [1, 3, 0, 2]);
        assert_eq!(numbers(&draw(2, 1, 0, &mut rng).unwrap()), [0, 1]);
        assert_eq!(draw(1, 1, 0, &mut rng), None);
    }
}
