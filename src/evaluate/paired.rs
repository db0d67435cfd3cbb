//! Whether one strategy is better than another on the same events, and by how much.
//!
//! Both were scored on the same events, so the differences event by event are what is compared: what makes an event hard
//! for both cancels out. Events of one user are alike, so that a user who has many says less than as many users would:
//! the standard error is the one of sums over users (cluster-robust; Liang & Zeger 1986, with the small-sample factor
//! `G / (G - 1)`), and the interval is Student's with one degree of freedom less than there are users.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Share of intervals that hold the true difference.
pub const CONFIDENCE: f64 = 0.95;

/// A mean difference with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Mean difference.
    pub mean: f64,
    /// Half the width of the interval: it reaches from `mean - half_width` to `mean + half_width`.
    pub half_width: f64,
    /// How likely a difference at least this large is where there is none.
    pub p: f64,
}

impl Difference {
    /// Whether the interval leaves out 0. One comparison: of twenty between equals, one is expected to.
    #[must_use]
    pub fn is_significant(&self) -> bool {
        self.mean.abs() > self.half_width
    }
}

#[derive(Clone, Copy, Default)]
struct Group {
    count: f64,
    sum: f64,
}

/// The mean of `ours - theirs` over events, where `groups` says whose each event is (dense numbers, such as a user's).
/// Pairs in which one is not a number are left out. `None` with fewer than two groups: nothing can be said.
///
/// # Panics
/// If the three are not of one length.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of groups are far below 2^52")]
pub fn paired(ours: &[f64], theirs: &[f64], groups: &[u32]) -> Option<Difference> {
    assert!(ours.len() == theirs.len() && ours.len() == groups.len(), "one pair and one group an event");
    let mut sums = vec![Group::default(); groups.iter().max().map_or(0, |last| *last as usize + 1)];
    for ((one, two), group) in ours.iter().zip(theirs).zip(groups) {
        let difference = one - two;
        if difference.is_finite() {
            let group = &mut sums[*group as usize];
            group.count += 1.0;
            group.sum += difference;
        }
    }
    let counted = || sums.iter().filter(|group| group.count > 0.0);
    let (number, count) = (counted().count() as f64, counted().map(|group| group.count).sum::<f64>());
    if number < 2.0 {
        return None;
    }
    let mean = counted().map(|group| group.sum).sum::<f64>() / count;
    let squares: f64 = counted().map(|group| (group.sum - group.count * mean).powi(2)).sum();
    let error = (squares * number / (number - 1.0)).sqrt() / count;
    let student = StudentsT::new(0.0, 1.0, number - 1.0).ok()?;
    let half_width = error * student.inverse_cdf(f64::midpoint(1.0, CONFIDENCE));
    let p = match error {
        _ if mean == 0.0 => 1.0,
        0.0 => 0.0,
        error => 2.0 * student.cdf(-(mean / error).abs()),
    };
    Some(Difference { mean, half_width, p })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn numbers(count: usize) -> Vec<u32> {
        (0..u32::try_from(count).unwrap()).collect()
    }

    /// Gosset's sleep data (1908): ten patients, two drugs; the classic paired test gives t = 4.0621, p = 0.002833.
    #[test]
    fn one_event_a_group_is_the_classic_paired_test() {
        let one = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let two = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let found = paired(&one, &two, &numbers(10)).unwrap();
        assert!((found.mean - 1.58).abs() < 1e-12, "{found:?}");
        assert!((found.half_width - (2.459_886 - 1.58)).abs() < 1e-5, "{found:?}");
        assert!((found.p - 0.002_833).abs() < 1e-6, "{found:?}");
        assert!(found.is_significant());
        let back = paired(&two, &one, &numbers(10)).unwrap();
        assert!((back.mean + found.mean).abs() < 1e-12 && (back.half_width - found.half_width).abs() < 1e-12);
    }

    #[test]
    fn the_same_events_again_are_no_new_evidence() {
        let mut rng = Rng::new(3);
        let once: Vec<f64> = (0..40).map(|_| 0.3 + rng.normal()).collect();
        let twice: Vec<f64> = [once.clone(), once.clone()].concat();
        let (zero, groups) = (vec![0.0; 80], [numbers(40), numbers(40)].concat());
        let (one, two) = (paired(&once, &zero[..40], &groups[..40]).unwrap(), paired(&twice, &zero, &groups).unwrap());
        assert!((one.mean - two.mean).abs() < 1e-12 && (one.half_width - two.half_width).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_said_where_nothing_can_be() {
        assert_eq!(paired(&[], &[], &[]), None);
        assert_eq!(paired(&[1.0, 2.0], &[0.0, 0.0], &[4, 4]), None, "one user");
        assert_eq!(paired(&[1.0, f64::NAN], &[0.0, 0.0], &[0, 1]), None);
        let same = paired(&[1.0, 2.0], &[1.0, 2.0], &[0, 1]).unwrap();
        assert_eq!((same.mean, same.half_width, same.p, same.is_significant()), (0.0, 0.0, 1.0, false));
        let shifted = paired(&[1.0, 2.0], &[0.0, 1.0], &[0, 1]).unwrap();
        assert!(shifted.is_significant() && shifted.p == 0.0, "{shifted:?}");
    }

    /// Users differ and have different numbers of events: 95 of 100 intervals must hold the truth, where intervals over
    /// events as if each stood for itself hold it far less often.
    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let seed = 11;
        let mut rng = Rng::new(seed);
        let (truth, rounds, mut held, mut naive_held) = (0.2, 600, 0, 0);
        for _ in 0..rounds {
            let (mut ours, mut groups) = (Vec::new(), Vec::new());
            for user in 0..60 {
                let bias = rng.normal();
                for _ in 0..1 + rng.below(20) {
                    ours.push(truth + bias + rng.normal());
                    groups.push(user);
                }
            }
            let theirs = vec![0.0; ours.len()];
            let found = paired(&ours, &theirs, &groups).unwrap();
            held += u32::from((found.mean - truth).abs() <= found.half_width);
            let naive = paired(&ours, &theirs, &numbers(ours.len())).unwrap();
            naive_held += u32::from((naive.mean - truth).abs() <= naive.half_width);
        }
        let share = |held: u32| f64::from(held) / f64::from(rounds);
        assert!((0.92..0.98).contains(&share(held)), "seed {seed}: {}", share(held));
        assert!(share(naive_held) < 0.8, "seed {seed}: {}", share(naive_held));
    }
}
