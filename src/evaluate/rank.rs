//! The rank of the item that came next, among all that could have come.
//!
//! `rank = 1 + #{candidates j: s_j > s_i} + #{candidates j: s_j = s_i, j < i}`, where seen items are no candidates.
//! Ties go by index, so a model that scores everything alike gets the rank of the index order, not rank 1. A score
//! that is not a number is ahead of nothing; a target whose score is not a number ranks last.

/// Rank (from 1) of item `target` by `scores`, where the items in `seen` (ascending, no repeats; the target and
/// indices past the end are skipped) are no candidates. A diverged model, one that gives NaN to the target, ranks
/// `scores.len()`. One vectorisable pass over all scores, then the seen items are taken out again.
///
/// # Panics
/// If `target` is not below `scores.len()`.
#[must_use]
pub fn rank_of(scores: &[f32], target: usize, seen: &[u32]) -> u32 {
    debug_assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "seen items ascend without repeats");
    let score = scores[target];
    if score.is_nan() {
        return u32::try_from(scores.len()).unwrap_or(u32::MAX);
    }
    let (before, after) = (&scores[..target], &scores[target + 1..]);
    let ahead = count(before, |other| other >= score) + count(after, |other| other > score);
    let ahead_but_seen = seen
        .iter()
        .map(|&item| item as usize)
        .filter(|&item| item != target && item < scores.len())
        .filter(|&item| scores[item] > score || (item < target && scores[item] >= score))
        .count();
    u32::try_from(1 + ahead - ahead_but_seen).unwrap_or(u32::MAX)
}

/// How many scores are ahead. Lanes of `u32` within a block keep the loop free of branches and of widening.
fn count(scores: &[f32], ahead: impl Fn(f32) -> bool) -> usize {
    let blocks = scores.chunks(1 << 16);
    blocks.map(|block| block.iter().map(|&score| u32::from(ahead(score))).sum::<u32>() as usize).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    /// What it shows, scores, target, seen items, rank.
    type Case<'a> = (&'a str, &'a [f32], usize, &'a [u32], u32);

    #[test]
    fn closed_forms() {
        let nan = f32::NAN;
        let cases: [Case<'_>; 12] = [
            ("alone", &[1.0], 0, &[], 1),
            ("best", &[1.0, 9.0, 3.0], 1, &[], 1),
            ("worst", &[1.0, 9.0, 3.0], 0, &[], 3),
            ("seen items are no candidates", &[1.0, 9.0, 3.0], 0, &[1, 2], 1),
            ("seen items behind change nothing", &[1.0, 9.0, 3.0], 1, &[0, 2], 1),
            ("ties: lower index first", &[5.0, 5.0, 5.0, 5.0], 2, &[], 3),
            ("ties: a seen tie before", &[5.0, 5.0, 5.0, 5.0], 2, &[0, 3], 2),
            ("the target itself may be marked seen", &[5.0, 7.0, 1.0], 0, &[0, 1], 1),
            ("indices past the end", &[5.0, 7.0], 0, &[1, 2, 900], 1),
            ("not a number is ahead of nothing", &[nan, 7.0, nan], 1, &[0], 1),
            ("a target that is not a number", &[1.0, nan, -3.0], 1, &[0], 3),
            ("infinities", &[f32::INFINITY, f32::NEG_INFINITY, 0.0], 1, &[], 3),
        ];
        for (what, scores, target, seen, rank) in cases {
            assert_eq!(rank_of(scores, target, seen), rank, "{what}");
        }
    }

    #[test]
    fn same_as_the_definition_on_random_ties() {
        let mut rng = Rng::new(9);
        for round in 0..2_000 {
            let items = 1 + rng.below(70);
            let scores: Vec<f32> = (0..items).map(|_| rng.below(6) as f32).collect();
            let target = usize::try_from(rng.below(items)).unwrap();
            let seen: Vec<u32> = (0..u32::try_from(items).unwrap()).filter(|_| rng.unit() < 0.3).collect();
            let mut expected = 1;
            for (item, &score) in scores.iter().enumerate() {
                let candidate = item != target && !seen.contains(&u32::try_from(item).unwrap());
                let ahead = score > scores[target] || (score >= scores[target] && item < target);
                expected += u32::from(candidate && ahead);
            }
            assert_eq!(rank_of(&scores, target, &seen), expected, "seed 9, round {round}");
        }
    }
}
