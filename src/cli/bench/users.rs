//! Who acts on what: Zipf's law with exponent 1, the usual shape of interest in a shop or a library.
//!
//! Walker's alias table (Walker 1977, built as in Vose 1991): a draw costs one random number and one place of memory,
//! so that the load tester does not become what it measures. Ranks are the ids; 1 is the most frequent.

use crate::base::Rng;

/// A table to draw ids from.
#[derive(Clone, Debug)]
pub struct Zipf {
    columns: Vec<Column>,
}

/// One column of the alias table: 12 bytes.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// Share of draws of this column that stay with `own`, in units of 2^-32.
    keep: u32,
    own: u32,
    other: u32,
}

impl Zipf {
    /// The ids 1 to `count` that `belongs` lets in, each with weight 1 / id; none if it lets none in.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, which is meant")]
    pub fn new(count: u32, belongs: impl Fn(u64) -> bool) -> Option<Self> {
        let ids: Vec<u32> = (1..=count).filter(|id| belongs(u64::from(*id))).collect();
        let total: f64 = ids.iter().map(|id| 1.0 / f64::from(*id)).sum();
        let scale = ids.len() as f64 / total;
        let mut share: Vec<f64> = ids.iter().map(|id| scale / f64::from(*id)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..ids.len()).partition(|at| share[*at] < 1.0);
        let mut columns: Vec<Column> = ids.iter().map(|id| Column { keep: u32::MAX, own: *id, other: *id }).collect();
        while let (Some(low), Some(high)) = (small.pop(), large.last().copied()) {
            columns[low].keep = (share[low] * 4_294_967_296.0) as u32;
            columns[low].other = ids[high];
            share[high] -= 1.0 - share[low];
            if share[high] < 1.0 {
                small.extend(large.pop());
            }
        }
        (!columns.is_empty()).then_some(Self { columns })
    }

    /// Draws an id.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of 64 random bits")]
    pub fn draw(&self, rng: &mut Rng) -> u64 {
        let bits = rng.bits();
        let at = ((bits >> 32) * self.columns.len() as u64) >> 32;
        let column = self.columns[at as usize];
        u64::from(if bits as u32 <= column.keep { column.own } else { column.other })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_law() {
        let (seed, draws) = (5, 400_000_u32);
        for (count, step) in [(1_u32, 1_u64), (2, 1), (50, 1), (1_000, 7)] {
            let zipf = Zipf::new(count, |id| id.is_multiple_of(step));
            let Some(zipf) = zipf else { panic!("{count} ids in steps of {step}") };
            let mut rng = Rng::new(seed);
            let mut seen = vec![0_u32; count as usize + 1];
            for _ in 0..draws {
                seen[usize::try_from(zipf.draw(&mut rng)).unwrap()] += 1;
            }
            let ids: Vec<usize> = (1..=count as usize).filter(|id| (*id as u64).is_multiple_of(step)).collect();
            let total: f64 = ids.iter().map(|id| 1.0 / *id as f64).sum();
            assert_eq!(ids.iter().map(|id| seen[*id]).sum::<u32>(), draws, "no other id is drawn");
            for id in ids {
                let expected = f64::from(draws) / (id as f64 * total);
                let off = (f64::from(seen[id]) - expected).abs();
                assert!(
                    off <= 6.0 * expected.sqrt() + 1.0,
                    "seed {seed}: id {id} of {count}: {} for {expected}",
                    seen[id]
                );
            }
        }
    }

    #[test]
    fn nobody_to_draw_is_no_table() {
        assert!(Zipf::new(10, |_| false).is_none());
        assert!(Zipf::new(0, |_| true).is_none());
    }
}
