//! Several interests of one user, each named by a real item: clusters of the items that it met, by the direction of their
//! vectors (Pal et al., "PinnerSage", KDD 2020: medoids keep interests apart and can be shown).
//!
//! One pass over the items, the heaviest first: an item joins the nearest interest if their cosine is at least
//! `ALIKE`, or begins one of its own (leader clustering, Hartigan 1975). An interest's weight now, and at a longer view,
//! are sums that fade at the middle and the long half-life.

use crate::linalg::kernels::{dot, scale_add, squared_norm};

/// Least cosine of an item to the interest that it joins.
const ALIKE: f32 = 0.5;

/// Most interests of one user.
pub const INTERESTS_MAX: usize = 8;

/// One item that a user met.
#[derive(Clone, Copy, Debug)]
pub struct Met<'a> {
    /// Its row.
    pub item: u32,
    /// Weight of the user's events with it, faded at the middle half-life.
    pub now: f64,
    /// The same at the long half-life.
    pub long: f64,
    /// Its vector.
    pub vector: &'a [f32],
}

/// One interest.
#[derive(Clone, Debug, PartialEq)]
pub struct Interest {
    /// The item nearest to its middle.
    pub item: u32,
    /// Items in it.
    pub items: usize,
    /// Its share of all weight, faded at the middle half-life.
    pub now: f64,
    /// The same at the long half-life.
    pub long: f64,
    /// Mean cosine of its items to its middle: 1 is one thing alone.
    pub unity: f64,
}

/// Items that lie together: the sum of their vectors, each of length 1 times its weight.
struct Cluster {
    middle: Vec<f32>,
    /// Length of `middle`.
    length: f32,
    members: Vec<usize>,
}

impl Cluster {
    fn cosine(&self, vector: &[f32], length: f32) -> f32 {
        dot(&self.middle, vector) / (self.length * length)
    }

    fn add(&mut self, at: usize, weight: f32, vector: &[f32]) {
        scale_add(&mut self.middle, 1.0, weight, vector);
        self.length = squared_norm(&self.middle).sqrt();
        self.members.push(at);
    }
}

/// The interests behind some items, the strongest at the long view first. Items without a direction are left out.
#[must_use]
pub fn interests(met: &[Met<'_>]) -> Vec<Interest> {
    let lengths: Vec<f32> = met.iter().map(|met| squared_norm(met.vector).sqrt()).collect();
    let mut order: Vec<usize> = (0..met.len()).filter(|at| lengths[*at] > 0.0).collect();
    order.sort_by(|a, b| met[*b].long.total_cmp(&met[*a].long).then(met[*a].item.cmp(&met[*b].item)));
    let mut clusters: Vec<Cluster> = Vec::with_capacity(INTERESTS_MAX);
    for at in order {
        let (vector, length) = (met[at].vector, lengths[at]);
        let cosines = clusters.iter().map(|cluster| cluster.cosine(vector, length));
        let nearest = cosines.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        let joined = nearest.filter(|(_, cosine)| clusters.len() >= INTERESTS_MAX || *cosine >= ALIKE);
        let place = joined.map_or(clusters.len(), |(place, _)| place);
        if place == clusters.len() {
            clusters.push(Cluster { middle: vec![0.0; vector.len()], length: 0.0, members: Vec::new() });
        }
        clusters[place].add(at, met[at].long as f32 / length, vector);
    }
    let members = || clusters.iter().flat_map(|cluster| &cluster.members).map(|at| &met[*at]);
    let all = [members().map(|met| met.now).sum(), members().map(|met| met.long).sum()];
    let mut interests: Vec<Interest> =
        clusters.iter().filter_map(|cluster| describe(cluster, met, &lengths, all)).collect();
    interests.sort_by(|a, b| b.long.total_cmp(&a.long).then(a.item.cmp(&b.item)));
    interests
}

#[expect(clippy::cast_precision_loss, reason = "a few items")]
fn describe(cluster: &Cluster, met: &[Met<'_>], lengths: &[f32], all: [f64; 2]) -> Option<Interest> {
    let members = &cluster.members;
    let cosines = members.iter().map(|at| cluster.cosine(met[*at].vector, lengths[*at]));
    let (mut unity, mut medoid) = (0.0, None);
    for (at, cosine) in members.iter().zip(cosines) {
        unity += f64::from(cosine);
        if medoid.is_none_or(|(_, best): (usize, f32)| cosine.total_cmp(&best).is_ge()) {
            medoid = Some((*at, cosine));
        }
    }
    let share = |of: fn(&Met<'_>) -> f64, all: f64| {
        let sum: f64 = members.iter().map(|at| of(&met[*at])).sum();
        if all > 0.0 { sum / all } else { 0.0 }
    };
    Some(Interest {
        item: met[medoid?.0].item,
        items: members.len(),
        now: share(|met| met.now, all[0]),
        long: share(|met| met.long, all[1]),
        unity: unity / members.len() as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tastes_are_two_interests_named_by_their_items() {
        let padded = |head: [f32; 3]| {
            let mut column = [0.0; 16];
            column[..3].copy_from_slice(&head);
            column
        };
        let vectors =
            [[1.0, 0.1, 0.0], [1.0, 0.0, 0.0], [1.0, -0.1, 0.0], [0.0, 0.0, 2.0], [0.0, 0.1, 2.0]].map(padded);
        let met: Vec<Met<'_>> = (0..5)
            .map(|at| {
                let old = at < 3;
                Met { item: at, now: if old { 0.1 } else { 1.0 }, long: 1.0, vector: &vectors[at as usize] }
            })
            .chain([Met { item: 9, now: 1.0, long: 1.0, vector: &[0.0; 16] }])
            .collect();
        let found = interests(&met);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].item, found[0].items, found[1].items), (1, 3, 2));
        assert!((found[0].long - 0.6).abs() < 1e-9 && found[0].now < 0.2, "the old taste fades: {found:?}");
        assert!(found.iter().all(|interest| interest.unity > 0.95));
        assert!(interests(&[]).is_empty());
    }
}
