//! Leave-one-out evaluation against given negatives.
//!
//! The protocol of He et al. 2017 (NCF): each user has one item that was held back and some (99) that the user never
//! had; the positive's position among them decides. Ties count against the positive, so that a model that scores
//! everything alike gains nothing.

/// Position (from 0) of the positive: how many negatives score at least as much. A positive that is not a number is
/// last; a negative that is not a number is behind every number.
#[must_use]
pub fn position_of(positive: f32, negatives: &[f32]) -> usize {
    if positive.is_nan() {
        return negatives.len();
    }
    negatives.iter().filter(|&&negative| negative >= positive).count()
}

/// Hit rate and NDCG at a cut-off over users.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaveOneOut {
    cutoff: usize,
    users: u64,
    hits: u64,
    gain: f64,
}

impl LeaveOneOut {
    /// Nothing recorded. Positions below `cutoff` (10 in the paper) are hits.
    #[must_use]
    pub fn new(cutoff: usize) -> Self {
        Self { cutoff, users: 0, hits: 0, gain: 0.0 }
    }

    /// Records one user's position, from 0.
    #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^52")]
    pub fn record(&mut self, position: usize) {
        self.users += 1;
        if position < self.cutoff {
            self.hits += 1;
            self.gain += 1.0 / (position as f64 + 2.0).log2();
        }
    }

    /// Users recorded.
    #[must_use]
    pub fn users(&self) -> u64 {
        self.users
    }

    /// Share of users with a hit; NaN without users.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of users are far below 2^52")]
    pub fn hit_rate(&self) -> f64 {
        self.hits as f64 / self.users as f64
    }

    /// Mean of 1 / log2(position + 2) over users, 0 for a miss; NaN without users.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of users are far below 2^52")]
    pub fn ndcg(&self) -> f64 {
        self.gain / self.users as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_and_missing_numbers_count_against_the_positive() {
        let nan = f32::NAN;
        let cases: [(f32, &[f32], usize); 6] = [
            (2.0, &[1.0, 0.0], 0),
            (2.0, &[2.0, 3.0, 1.0], 2),
            (0.0, &[0.0; 99], 99),
            (nan, &[0.0, 1.0], 2),
            (1.0, &[nan, 0.0], 0),
            (1.0, &[], 0),
        ];
        for (positive, negatives, position) in cases {
            assert_eq!(position_of(positive, negatives), position, "{positive} among {negatives:?}");
        }
    }

    #[test]
    fn closed_form_of_four_users() {
        let mut sums = LeaveOneOut::new(10);
        assert!(sums.hit_rate().is_nan() && sums.ndcg().is_nan());
        for position in [0, 2, 9, 10] {
            sums.record(position);
        }
        assert_eq!(sums.users(), 4);
        assert!((sums.hit_rate() - 0.75).abs() < 1e-12);
        let expected = (1.0 + 0.5 + 1.0 / 11.0_f64.log2()) / 4.0;
        assert!((sums.ndcg() - expected).abs() < 1e-12, "{}", sums.ndcg());
    }
}
