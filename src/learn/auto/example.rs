//! Examples: the item that came, among others that were candidates.

use super::features::STRIDE;
use crate::base::Rng;

/// The rows of an example: that of candidate `came` first, then `negatives` drawn from the others (all of them, in order,
/// if there are no more). `None` if there is nothing to tell it from.
#[must_use]
pub fn draw(rows: &[f32], came: usize, negatives: usize, rng: &mut Rng) -> Option<Vec<f32>> {
    let rows = rows.as_chunks::<STRIDE>().0;
    if rows.len() < 2 {
        return None;
    }
    let mut example = Vec::with_capacity((negatives.min(rows.len() - 1) + 1) * STRIDE);
    example.extend_from_slice(&rows[came]);
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
