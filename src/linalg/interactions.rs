//! Who has what, in the form that alternating least squares walks: grouped by user and again by item.
//!
//! Compressed rows: 4 bytes per pair and side (8 if weighted) and 8 per row. Pairs keep the order they were given in
//! within a row, so that sums over them, and with them a fit, are the same for the same input.

use super::LinalgError;

/// Who has what: weighted pairs, checked, grouped by user and by item.
#[derive(Clone, Debug)]
pub struct Interactions {
    pub(super) by_user: Rows,
    pub(super) by_item: Rows,
}

impl Interactions {
    /// Pairs of (user, item), each with weight 1. A pair that is given twice counts twice.
    ///
    /// # Errors
    /// [`LinalgError::PairOutOfRange`].
    pub fn new(users: usize, items: usize, pairs: &[(u32, u32)]) -> Result<Self, LinalgError> {
        let out_of_range = |&(user, item): &(u32, u32)| user as usize >= users || item as usize >= items;
        if let Some(at) = pairs.iter().position(out_of_range) {
            let (user, item) = pairs[at];
            return Err(LinalgError::PairOutOfRange { at, user, item, users, items });
        }
        let by_user = Rows::group(users, pairs.iter().copied());
        let by_item = Rows::group(items, pairs.iter().map(|&(user, item)| (item, user)));
        Ok(Self { by_user, by_item })
    }

    /// Pairs of (user, item), each with its own finite weight above 0.
    ///
    /// # Errors
    /// [`LinalgError::PairOutOfRange`], [`LinalgError::BadWeight`].
    pub fn weighted(users: usize, items: usize, pairs: &[(u32, u32)], weights: &[f32]) -> Result<Self, LinalgError> {
        let bad = weights.iter().position(|&weight| !(weight.is_finite() && weight > 0.0));
        let at = bad.or((weights.len() != pairs.len()).then_some(weights.len().min(pairs.len())));
        if let Some(at) = at {
            let found = weights.get(at).copied().unwrap_or(f32::NAN);
            return Err(LinalgError::BadWeight { at, found, pairs: pairs.len() });
        }
        let mut plain = Self::new(users, items, pairs)?;
        plain.by_user.weights = Some(spread(&plain.by_user.starts, pairs.iter().map(|pair| pair.0), weights));
        plain.by_item.weights = Some(spread(&plain.by_item.starts, pairs.iter().map(|pair| pair.1), weights));
        Ok(plain)
    }

    /// Users there are, with or without pairs.
    #[must_use]
    pub fn users(&self) -> usize {
        self.by_user.count()
    }

    /// Items there are, with or without pairs.
    #[must_use]
    pub fn items(&self) -> usize {
        self.by_item.count()
    }

    /// Pairs there are.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.by_user.others.len()
    }
}

/// Rows of one side: which rows of the other side each has.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    /// Row `r` has `others[starts[r]..starts[r + 1]]`.
    starts: Vec<usize>,
    others: Vec<u32>,
    /// As long as `others`; absent if all weights are 1.
    weights: Option<Vec<f32>>,
}

impl Rows {
    /// Counting sort by row, stable.
    fn group(count: usize, pairs: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut starts = vec![0_usize; count + 1];
        let mut total = 0;
        for (row, _) in pairs.clone() {
            starts[row as usize + 1] += 1;
            total += 1;
        }
        for row in 0..count {
            starts[row + 1] += starts[row];
        }
        let (mut next, mut others) = (starts.clone(), vec![0; total]);
        for (row, other) in pairs {
            let place = &mut next[row as usize];
            others[*place] = other;
            *place += 1;
        }
        Self { starts, others, weights: None }
    }

    /// Rows there are.
    pub(super) fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// How many pairs row `at` has.
    pub(super) fn count_of(&self, at: usize) -> usize {
        self.starts[at + 1] - self.starts[at]
    }

    /// The other side's rows that row `at` has, with weights.
    pub(super) fn row(&self, at: usize) -> impl Iterator<Item = (u32, f32)> {
        let range = self.starts[at]..self.starts[at + 1];
        let weights = self.weights.as_deref();
        range.map(move |place| (self.others[place], weights.map_or(1.0, |weights| weights[place])))
    }

    /// l2 x sum over rows of (n_r + `mass`) |factor_r|^2.
    pub(super) fn penalty(&self, factors: &[f32], dim: usize, l2: f64, mass: f64) -> f64 {
        let each = factors.chunks_exact(dim).enumerate().map(|(at, factor)| {
            let pairs: f64 = self.row(at).map(|(_, weight)| f64::from(weight)).sum();
            (pairs + mass) * factor.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()
        });
        l2 * each.sum::<f64>()
    }
}

/// Weights in the order that [`Rows::group`] gives the pairs.
fn spread(starts: &[usize], rows: impl Iterator<Item = u32>, weights: &[f32]) -> Vec<f32> {
    let (mut next, mut sorted) = (starts.to_vec(), vec![0.0; weights.len()]);
    for (row, &weight) in rows.zip(weights) {
        let place = &mut next[row as usize];
        sorted[*place] = weight;
        *place += 1;
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &Rows) -> Vec<Vec<(u32, f32)>> {
        (0..rows.count()).map(|at| rows.row(at).collect()).collect()
    }

    #[test]
    fn groups_both_ways_and_keeps_order_and_weights() {
        let pairs = [(2, 0), (0, 1), (2, 1), (2, 0)];
        let weighted = Interactions::weighted(3, 2, &pairs, &[0.5, 1.0, 2.0, 4.0]).unwrap();
        assert_eq!((weighted.users(), weighted.items(), weighted.pairs()), (3, 2, 4));
        assert_eq!(rows(&weighted.by_user), [vec![(1, 1.0)], vec![], vec![(0, 0.5), (1, 2.0), (0, 4.0)]]);
        assert_eq!(rows(&weighted.by_item), [vec![(2, 0.5), (2, 4.0)], vec![(0, 1.0), (2, 2.0)]]);
        let plain = Interactions::new(3, 2, &pairs).unwrap();
        assert_eq!(rows(&plain.by_item), [vec![(2, 1.0), (2, 1.0)], vec![(0, 1.0), (2, 1.0)]]);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert_eq!(
            Interactions::new(3, 2, &[(2, 1), (2, 2)]).unwrap_err(),
            LinalgError::PairOutOfRange { at: 1, user: 2, item: 2, users: 3, items: 2 }
        );
        let pairs = [(0, 0), (1, 1)];
        for (weights, bad) in [
            (&[1.0, -1.0][..], 1),
            (&[f32::NAN, 1.0], 0),
            (&[1.0, f32::INFINITY], 1),
            (&[0.0, 1.0], 0),
            (&[1.0], 1),
            (&[1.0, 1.0, 1.0], 2),
        ] {
            let error = Interactions::weighted(2, 2, &pairs, weights).unwrap_err();
            assert!(matches!(error, LinalgError::BadWeight { at, pairs: 2, .. } if at == bad), "{weights:?}: {error}");
        }
    }
}
