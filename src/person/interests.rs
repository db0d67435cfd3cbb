//! Several interests of one user, each named by a real item: clusters of the items that it met, by the direction of their
//! vectors (Pal et al., "PinnerSage", KDD 2020: medoids keep interests apart and can be shown).
//!
//! One pass over the items, the heaviest first: an item joins the nearest interest if their cosine is at least
//! `ALIKE`, or begins one of its own (leader clustering, Hartigan 1975). An interest's weight now, and at a longer view,
//! are sums that fade at the middle and the long half-life.

use crate::linalg::kernels::{dot, squared_norm};

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

struct Cluster {
    middle: Vec<f32>,
    members: Vec<usize>,
}

/// The interests behind some items, the strongest at the long view first. Items without a direction are left out.
#[must_use]
pub fn interests(met: &[Met<'_>]) -> Vec<Interest> {
    let mut order: Vec<usize> = (0..met.len()).filter(|at| squared_norm(met[*at].vector) > 0.0).collect();
    order.sort_by(|a, b| met[*b].long.total_cmp(&met[*a].long).then(met[*a].item.cmp(&met[*b].item)));
    let mut clusters: Vec<Cluster> = Vec::new();
    for at in order {
        let vector = met[at].vector;
        let length = squared_norm(vector).sqrt();
        let cosine = |cluster: &Cluster| dot(&cluster.middle, vector) / (squared_norm(&cluster.middle).sqrt() * length);
        let nearest = (0..clusters.len()).max_by(|a, b| cosine(&clusters[*a]).total_cmp(&cosine(&clusters[*b])));
        let joined = nearest.filter(|place| clusters.len() >= INTERESTS_MAX || cosine(&clusters[*place]) >= ALIKE);
        let place = joined.unwrap_or_else(|| {
            clusters.push(Cluster { middle: vec![0.0; vector.len()], members: Vec::new() });
            clusters.len() - 1
        });
        let (cluster, weight) = (&mut clusters[place], met[at].long as f32 / length);
        cluster.middle.iter_mut().zip(vector).for_each(|(middle, number)| *middle += weight * number);
        cluster.members.push(at);
    }
    let (all_now, all_long): (f64, f64) = clusters
        .iter()
        .flat_map(|cluster| &cluster.members)
        .fold((0.0, 0.0), |(now, long), at| (now + met[*at].now, long + met[*at].long));
    let mut interests: Vec<Interest> =
        clusters.iter().filter_map(|cluster| describe(cluster, met, (all_now, all_long))).collect();
    interests.sort_by(|a, b| b.long.total_cmp(&a.long).then(a.item.cmp(&b.item)));
    interests
}

#[expect(clippy::cast_precision_loss, reason = "a few items")]
fn describe(cluster: &Cluster, met: &[Met<'_>], (all_now, all_long): (f64, f64)) -> Option<Interest> {
    let length = squared_norm(&cluster.middle).sqrt();
    let cosine = |at: usize| dot(&cluster.middle, met[at].vector) / (length * squared_norm(met[at].vector).sqrt());
    let members = &cluster.members;
    let medoid = members.iter().copied().max_by(|a, b| cosine(*a).total_cmp(&cosine(*b)))?;
    let sum = |of: &dyn Fn(usize) -> f64| members.iter().map(|at| of(*at)).sum::<f64>();
    Some(Interest {
        item: met[medoid].item,
        items: members.len(),
        now: if all_now > 0.0 { sum(&|at| met[at].now) / all_now } else { 0.0 },
        long: if all_long > 0.0 { sum(&|at| met[at].long) / all_long } else { 0.0 },
        unity: sum(&|at| f64::from(cosine(at))) / members.len() as f64,
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
