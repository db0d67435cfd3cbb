//! Sums over sparse rows: many lists of (item, four numbers), weighed and added up by item.
//!
//! Accumulators are found through one mark an item, and emptied by counting rounds: a query costs what it visits,
//! whatever the number of items. Lanes are added with fused multiply-add in the order of the rows, so the bits do not
//! depend on the SIMD width.

use pulp::{Arch, Simd, WithSimd};

/// Accumulators an item.
pub const SUMS: usize = 16;
/// Numbers that a row has of an item.
pub const NUMBERS: usize = 4;
/// Accumulators that take a row's numbers twice over.
const HALF: usize = SUMS / 2;

/// The accumulators of one item.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(align(64))]
pub struct Sums(pub [f32; SUMS]);

/// What the numbers `v` of a row are multiplied with on the way into the accumulators.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weights {
    /// `v0, v1, v2, v3, v0, v1, v2, v3` into accumulators 0 to 7.
    pub first: [f32; HALF],
    /// The same into 8 to 15.
    pub then: [f32; HALF],
    /// Added to 8 to 15 whatever the numbers are.
    pub plus: [f32; HALF],
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    round: u32,
    at: u32,
}

/// `at` of what takes no part in this round.
const EXCLUDED: u32 = u32::MAX;

/// Accumulators by item.
#[derive(Debug, Default)]
pub struct Scatter {
    round: u32,
    marks: Vec<Mark>,
    items: Vec<u32>,
    sums: Vec<Sums>,
}

impl Scatter {
    /// Begins a round over `items` items: nothing is added up, nothing excluded.
    pub fn begin(&mut self, items: usize) {
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.marks.clear();
            self.round = 1;
        }
        self.marks.resize(items, Mark::default());
        self.items.clear();
        self.sums.clear();
    }

    /// Leaves an item out of this round; to be said before anything is added. Items that there are not may be named.
    pub fn exclude(&mut self, item: u32) {
        if let Some(mark) = self.marks.get_mut(item as usize) {
            *mark = Mark { round: self.round, at: EXCLUDED };
        }
    }

    /// Whether an item takes part.
    #[must_use]
    #[inline]
    pub fn open(&self, item: u32) -> bool {
        let mark = self.marks[item as usize];
        mark.round != self.round || mark.at != EXCLUDED
    }

    /// What was added up for an item; zeros if nothing was.
    #[must_use]
    #[inline]
    pub fn get(&self, item: u32) -> Sums {
        let mark = self.marks[item as usize];
        let there = mark.round == self.round && mark.at != EXCLUDED;
        if there { self.sums[mark.at as usize] } else { Sums::default() }
    }

    /// The accumulators of an item, unless it is excluded.
    #[inline]
    pub fn get_mut(&mut self, item: u32) -> Option<&mut Sums> {
        place(self.round, &mut self.marks[item as usize], item, &mut self.items, &mut self.sums)
            .map(|at| &mut self.sums[at])
    }

    /// Items with accumulators, in the order of their first visit.
    #[must_use]
    pub fn items(&self) -> &[u32] {
        &self.items
    }

    /// Their accumulators.
    #[must_use]
    pub fn sums(&self) -> &[Sums] {
        &self.sums
    }

    /// Adds a row: `numbers[n]` of item `items[n]`.
    ///
    /// # Panics
    /// If there is no such item.
    pub fn add_row(&mut self, items: &[u32], numbers: &[[f32; NUMBERS]], weights: &Weights) {
        Arch::new().dispatch(AddRow { of: self, items, numbers, weights });
    }

    /// The largest of every accumulator, plain and times the factor of its item (`factors[n]` belongs to
    /// `self.items()[n]`); never below `least`.
    #[must_use]
    pub fn largest(&self, factors: &[f32], least: f32) -> [[f32; SUMS]; 2] {
        Arch::new().dispatch(Largest { sums: &self.sums, factors, least })
    }
}

/// Where the accumulators of an item are, made if need be; `None` if it is excluded.
#[inline(always)]
fn place(round: u32, mark: &mut Mark, item: u32, items: &mut Vec<u32>, sums: &mut Vec<Sums>) -> Option<usize> {
    if mark.round != round {
        #[expect(clippy::cast_possible_truncation, reason = "items are numbered in u32")]
        let at = sums.len() as u32;
        *mark = Mark { round, at };
        items.push(item);
        sums.push(Sums::default());
    }
    (mark.at != EXCLUDED).then_some(mark.at as usize)
}

struct AddRow<'a> {
    of: &'a mut Scatter,
    items: &'a [u32],
    numbers: &'a [[f32; NUMBERS]],
    weights: &'a Weights,
}

impl WithSimd for AddRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Scatter { round, marks, items, sums } = self.of;
        let Weights { first, then, plus } = *self.weights;
        for (item, v) in self.items.iter().zip(self.numbers) {
            let Some(at) = place(*round, &mut marks[*item as usize], *item, items, sums) else { continue };
            let Sums(held) = &mut sums[at];
            let twice = [v[0], v[1], v[2], v[3], v[0], v[1], v[2], v[3]];
            for lane in 0..HALF {
                held[lane] = twice[lane].mul_add(first[lane], held[lane]);
            }
            for lane in 0..HALF {
                held[HALF + lane] = twice[lane].mul_add(then[lane], held[HALF + lane] + plus[lane]);
            }
        }
    }
}

/// No `f32::max`: its care for NaN costs three instructions a lane, and sums are finite.
#[inline(always)]
fn larger(one: f32, other: f32) -> f32 {
    if one > other { one } else { other }
}

struct Largest<'a> {
    sums: &'a [Sums],
    factors: &'a [f32],
    least: f32,
}

impl WithSimd for Largest<'_> {
    type Output = [[f32; SUMS]; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [[f32; SUMS]; 2] {
        // One array after the other, each in registers of its own: together they end up as single floats.
        let (mut plain, mut scaled) = ([self.least; SUMS], [self.least; SUMS]);
        for (Sums(sums), factor) in self.sums.iter().zip(self.factors) {
            for lane in 0..SUMS {
                plain[lane] = larger(sums[lane], plain[lane]);
            }
            for lane in 0..SUMS {
                scaled[lane] = larger(sums[lane] * factor, scaled[lane]);
            }
        }
        [plain, scaled]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::Rng;

    #[test]
    fn adds_up_what_a_map_would() {
        let mut rng = Rng::new(17);
        let mut scatter = Scatter::default();
        for round in 0..50 {
            let count = 20 + round;
            scatter.begin(count);
            let excluded = rng.below(count as u64) as u32;
            scatter.exclude(excluded);
            scatter.exclude(1_000);
            let mut map: BTreeMap<u32, [f32; SUMS]> = BTreeMap::new();
            for _ in 0..8 {
                let items: Vec<u32> = (0..count as u32).filter(|_| rng.below(3) == 0).collect();
                let numbers: Vec<[f32; NUMBERS]> =
                    items.iter().map(|_| std::array::from_fn(|_| rng.unit() as f32)).collect();
                let weights = Weights {
                    first: std::array::from_fn(|_| rng.unit() as f32),
                    then: std::array::from_fn(|_| rng.unit() as f32),
                    plus: std::array::from_fn(|_| rng.unit() as f32),
                };
                scatter.add_row(&items, &numbers, &weights);
                for (item, v) in items.iter().zip(&numbers).filter(|(item, _)| **item != excluded) {
                    let held = map.entry(*item).or_default();
                    let factors = [weights.first, weights.then];
                    let plus = [[0.0; HALF], weights.plus];
                    for lane in 0..SUMS {
                        let (half, at) = (lane / HALF, lane % HALF);
                        held[lane] = v[lane % NUMBERS].mul_add(factors[half][at], held[lane] + plus[half][at]);
                    }
                }
            }
            assert_eq!(scatter.items().len(), map.len(), "seed 17, round {round}");
            for item in 0..count as u32 {
                assert_eq!(scatter.get(item).0, map.get(&item).copied().unwrap_or_default(), "seed 17, round {round}");
                assert_eq!(scatter.open(item), item != excluded);
                assert_eq!(scatter.get_mut(item).is_none(), item == excluded);
            }
            let factors: Vec<f32> = scatter.items().iter().map(|item| 1.0 / (1.0 + *item as f32)).collect();
            let largest = scatter.largest(&factors, 0.01);
            for lane in 0..SUMS {
                let exact = map.values().map(|sums| sums[lane]).fold(0.01, f32::max);
                assert_eq!(largest[0][lane].to_bits(), exact.to_bits(), "lane {lane}");
                let scaled = map.iter().map(|(item, sums)| sums[lane] * (1.0 / (1.0 + *item as f32)));
                assert_eq!(largest[1][lane].to_bits(), scaled.fold(0.01, f32::max).to_bits(), "lane {lane}");
            }
        }
    }
}
