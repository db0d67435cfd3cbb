//! Examples: the item that came, among others that were candidates and some that were not.
//!
//! Candidates alone would teach what tells good items from each other and nothing of the many that nobody proposes: a
//! ranker taught so ranks lists of given items (PREDICT) worse than popularity does. A few items at random mend that.

use super::features::STRIDE;
use crate::base::Rng;

/// Items drawn at random for an example, beside those of the candidates.
pub const STRANGERS: usize = 8;

/// The rows of an example: that of candidate `came` first, then the `strangers` that stand last among `rows`, then
/// `negatives` drawn from the other candidates (all of them, in order, if there are no more). `None` if there is nothing
/// to tell it from.
#[must_use]
pub fn draw(rows: &[f32], came: usize, strangers: usize, negatives: usize, rng: &mut Rng) -> Option<Vec<f32>> {
    let rows = rows.as_chunks::<STRIDE>().0;
    let (rows, strangers) = rows.split_at(rows.len() - strangers);
    if rows.len() + strangers.len() < 2 {
        return None;
    }
    let others = (rows.len() - 1).min(negatives);
    let mut example = Vec::with_capacity((1 + strangers.len() + others) * STRIDE);
    example.extend_from_slice(&rows[came]);
    example.extend_from_slice(strangers.as_flattened());
    if rows.len() - 1 <= negatives {
        rows.iter().enumerate().filter(|(at, _)| *at != came).for_each(|(_, row)| example.extend_from_slice(row));
        return Some(example);
    }
    for _ in 0..negatives {
        // One of the others: those behind the one that came move up by one.
        let at = usize::try_from(rng.below(rows.len() as u64 - 1)).unwrap_or(0);
        example.extend_from_slice(&rows[at + usize::from(at >= came)]);
    }
    Some(example)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that hold their number.
    fn rows(count: u16) -> Vec<f32> {
        (0..count).flat_map(|row| [f32::from(row); STRIDE]).collect()
    }

    fn numbers(example: &[f32]) -> Vec<u16> {
        example.chunks_exact(STRIDE).map(|row| row[0] as u16).collect()
    }

    #[test]
    fn what_came_is_first_and_strangers_are_always_there() {
        let mut rng = Rng::new(3);
        let example = draw(&rows(30), 4, 5, 10, &mut rng).unwrap();
        let numbers = numbers(&example);
        assert_eq!(numbers[..6], [4, 25, 26, 27, 28, 29]);
        assert_eq!(numbers.len(), 16);
        assert!(numbers[6..].iter().all(|row| *row != 4 && *row < 25), "{numbers:?}");
    }

    #[test]
    fn few_candidates_are_all_taken_and_none_is_no_example() {
        let mut rng = Rng::new(3);
        assert_eq!(numbers(&draw(&rows(4), 1, 1, 10, &mut rng).unwrap()), [1, 3, 0, 2]);
        assert_eq!(numbers(&draw(&rows(2), 0, 1, 10, &mut rng).unwrap()), [0, 1]);
        assert!(draw(&rows(1), 0, 0, 10, &mut rng).is_none());
    }
}
