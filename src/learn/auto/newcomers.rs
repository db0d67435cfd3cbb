//! How items that nobody met yet come into one order with all others.
//!
//! The ranker tells newcomers from each other, and the others from each other ([`super::example`]); nothing that it learns
//! sets the two against one another, as next to nothing of what it sees is there for both. What does is how often an
//! event's item was a newcomer, `f` ([`Bank::arrivals`]). With `p` for the ranker's softmax within its kind,
//!
//! ```text
//! P(i) = f p(i | newcomers)          P(j) = (1 - f) p(j | others)
//! ```
//!
//! and so a newcomer's score is moved by the logarithm of `f / (1 - f)`, of what all others sum up to, less that of what
//! all newcomers do. Of these those that were not proposed count as the least of those that were.

use super::gather::Gather;
use crate::learn::bank::Bank;

/// Name of what a newcomer's score is moved by, among the parts of an explanation.
pub const NEWCOMER: &str = "newcomer";

/// Least and greatest share.
const SHARES: (f32, f32) = (1e-4, 0.5);

/// Moves the scores of the newcomers among the candidates of `gather`, sums over this many `networks`, to where they stand
/// among all. Returns by how much; 0 without newcomers.
pub fn settle(gather: &Gather, bank: &Bank, networks: usize, scores: &mut [f32]) -> f32 {
    if !bank.embeddings.any() && !bank.tags.any() {
        return 0.0;
    }
    // Given items stand behind the proposed ones, and may be among these already.
    let proposed = &gather.candidates[gather.compared..gather.proposed];
    let of_kind: Vec<f32> = if proposed.is_empty() {
        let given = gather.candidates.iter().zip(&*scores).skip(gather.proposed);
        given.filter(|(item, _)| bank.is_newcomer(**item)).map(|(_, score)| *score).collect()
    } else {
        scores[gather.compared..gather.proposed].to_vec()
    };
    if of_kind.is_empty() || gather.compared == 0 {
        return 0.0;
    }
    let least = of_kind.iter().copied().fold(f32::INFINITY, f32::min);
    let networks = networks.max(1) as f32;
    let waiting = bank.embeddings.fresh().len().max(bank.tags.fresh().len()).max(of_kind.len());
    let rest = (waiting - of_kind.len()) as f32;
    let share = bank.arrivals.clamp(SHARES.0, SHARES.1);
    let others = log_sum(&scores[..gather.compared], networks, (0.0, 0.0));
    let newcomers = log_sum(&of_kind, networks, (least, rest));
    let shift = networks * ((share / (1.0 - share)).ln() + others - newcomers);
    let moved = gather.candidates.iter().zip(scores).skip(gather.compared).filter(|(item, _)| bank.is_newcomer(**item));
    moved.for_each(|(_, score)| *score += shift);
    shift
}

/// Logarithm of the sum of `exp(score / networks)`, `more` times that of a score beside.
fn log_sum(scores: &[f32], networks: f32, (score, more): (f32, f32)) -> f32 {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let part = |score: f32| ((score - top) / networks).exp();
    top / networks + (scores.iter().map(|score| part(*score)).sum::<f32>() + more * part(score)).ln()
}
