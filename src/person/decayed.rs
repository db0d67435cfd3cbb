//! Sums that fade, exactly: `S(t) = sum of a_i 2^-((t - t_i) / h)`, the same to the bit whatever the order of events.
//!
//! Floating-point sums depend on their order, and so do integer ones that are scaled down as time goes on. Here time is
//! cut into *blocks* of 16 half-lives, aligned to 1970. A block sums `a_i 2^((t_i - start) / h)`, rounded once an event to
//! an integer; the newest three blocks are kept, what is older is dropped. What is kept therefore follows from the set of
//! events alone; an event is taken away by subtracting the same integer; two users' sums are merged by adding them. The
//! price: an event's part is forgotten when it has faded to 2^-32 at the earliest, and to 2^-48 at the latest.

use crate::base::cursor::{CursorError, Reader, Writer};
use crate::model::schema::RUNGS;

/// Half-lives of a block.
const BLOCK: f64 = 16.0;

/// Blocks that are kept.
const KEPT: usize = 3;

/// Steps of a sum's grid in 1. With factors of up to 2^16 an event of amount 1 takes 36 bits: 2^27 of them fit a block.
pub const STEPS: f64 = 1_048_576.0;

/// The half-lives at which sums are kept side by side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ladder {
    half_life_ms: [f64; RUNGS],
}

/// A moment, in blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct At {
    block: [i32; RUNGS],
    factor: [f64; RUNGS],
}

impl Ladder {
    /// Sums at these half-lives, each above 0.
    #[must_use]
    pub fn new(half_lives_s: [f64; RUNGS]) -> Self {
        Self { half_life_ms: half_lives_s.map(|half_life_s| 1_000.0 * half_life_s) }
    }

    /// The same with another long half-life; 0 changes nothing.
    #[must_use]
    pub fn with_long(mut self, half_life_s: f64) -> Self {
        if half_life_s > 0.0 {
            self.half_life_ms[RUNGS - 1] = 1_000.0 * half_life_s;
        }
        self
    }

    /// A moment.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this millennium fit 53 bits")]
    pub fn at(&self, time_ms: i64) -> At {
        let (mut block, mut factor) = ([0; RUNGS], [0.0; RUNGS]);
        for rung in 0..RUNGS {
            let half_lives = time_ms as f64 / self.half_life_ms[rung];
            let start = (half_lives / BLOCK).floor();
            block[rung] = start as i32;
            factor[rung] = (half_lives - start * BLOCK).exp2();
        }
        At { block, factor }
    }
}

/// One fading sum at every half-life of a ladder. Which blocks its parts are, [`Blocks`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fading<const N: usize = RUNGS> {
    /// The newest block first.
    sums: [[i64; N]; KEPT],
}

/// The newest block of some sums that are always told of the same moments: of the last `N` rungs of a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<const N: usize = RUNGS>([i32; N]);

impl<const N: usize> Default for Blocks<N> {
    fn default() -> Self {
        Self([i32::MIN; N])
    }
}

impl<const N: usize> Blocks<N> {
    /// Goes on to a moment. Where it lies in a newer block, `roll` is to be called on every sum with what this returns.
    pub fn advance(&mut self, at: &At) -> Option<[u32; N]> {
        let mut steps = [0; N];
        for (rung, step) in steps.iter_mut().enumerate() {
            let block = at.block[RUNGS - N + rung];
            if block > self.0[rung] {
                *step = block.abs_diff(self.0[rung]);
                self.0[rung] = block;
            }
        }
        (steps != [0; N]).then_some(steps)
    }

    /// Goes on to the newest blocks of `other`, as [`Self::advance`] does.
    pub fn advance_to(&mut self, other: &Self) -> Option<[u32; N]> {
        let steps: [u32; N] = std::array::from_fn(|rung| other.0[rung].max(self.0[rung]).abs_diff(self.0[rung]));
        self.0 = std::array::from_fn(|rung| other.0[rung].max(self.0[rung]));
        (steps != [0; N]).then_some(steps)
    }

    /// What is left at a moment of 1 at the newest block's begin, at each half-life: the same for all sums of the blocks.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a time, told as a double")]
    pub fn fade(&self, ladder: &Ladder, at_ms: i64) -> [f64; N] {
        std::array::from_fn(|rung| {
            let since = at_ms as f64 / ladder.half_life_ms[RUNGS - N + rung] - f64::from(self.0[rung]) * BLOCK;
            (-since).exp2()
        })
    }

    /// Appends the blocks.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.each(self.0.iter(), |block| block.to_le_bytes());
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError::Short`].
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let mut blocks = Self::default();
        for block in &mut blocks.0 {
            *block = from.u32()?.cast_signed();
        }
        Ok(blocks)
    }
}

impl<const N: usize> Fading<N> {
    /// The sum of nothing.
    #[must_use]
    pub fn zero() -> Self {
        Self { sums: [[0; N]; KEPT] }
    }

    /// Adds an amount at a moment that `blocks` has been advanced to or beyond. A negative one takes away what the same
    /// positive one added.
    #[inline]
    pub fn add(&mut self, blocks: &Blocks<N>, at: &At, amount: f64) {
        for rung in 0..N {
            let steps = (amount * at.factor[RUNGS - N + rung] * STEPS).round_ties_even() as i64;
            let behind = blocks.0[rung].abs_diff(at.block[RUNGS - N + rung]) as usize;
            // What is further behind has faded away.
            if let Some(sums) = self.sums.get_mut(behind) {
                sums[rung] = sums[rung].saturating_add(steps);
            }
        }
    }

    /// Goes on by so many blocks at each half-life.
    pub fn roll(&mut self, steps: [u32; N]) {
        for (rung, step) in steps.into_iter().enumerate() {
            for behind in (0..KEPT).rev() {
                let from = behind.checked_sub(step as usize);
                self.sums[behind][rung] = from.map_or(0, |from| self.sums[from][rung]);
            }
        }
    }

    /// Adds another sum of the same blocks.
    pub fn merge(&mut self, other: &Self) {
        for (sum, more) in self.sums.iter_mut().flatten().zip(other.sums.iter().flatten()) {
            *sum = sum.saturating_add(*more);
        }
    }

    /// What the sum has faded to at each half-life, at the moment of which [`Blocks::fade`] says what is `left`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a sum, told as a double")]
    pub fn value(&self, left: &[f64; N]) -> [f64; N] {
        std::array::from_fn(|rung| {
            if self.sums.iter().all(|sums| sums[rung] == 0) {
                return 0.0;
            }
            let faded = self.sums.iter().rev().fold(0.0, |older, sums| older * (-BLOCK).exp2() + sums[rung] as f64);
            faded * left[rung] / STEPS
        })
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::zero()
    }

    /// Appends the sum.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.each(self.sums.as_flattened().iter(), |sum| sum.to_le_bytes());
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError::Short`].
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let mut sum = Self::zero();
        for part in sum.sums.iter_mut().flatten() {
            *part = from.i64()?;
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    const DAY_MS: i64 = 86_400_000;

    fn sum(ladder: &Ladder, events: &[(i64, f64)]) -> (Blocks, Fading) {
        let (mut blocks, mut sum) = (Blocks::default(), Fading::<RUNGS>::zero());
        for (time_ms, amount) in events {
            let at = ladder.at(*time_ms);
            if let Some(steps) = blocks.advance(&at) {
                sum.roll(steps);
            }
            sum.add(&blocks, &at, *amount);
        }
        (blocks, sum)
    }

    #[test]
    fn it_is_the_sum_of_faded_amounts_whatever_the_order() {
        let (seed, mut rng) = (7, Rng::new(7));
        let ladder = Ladder::new([3_600.0, 86_400.0, 2_592_000.0]);
        let start = 1_700_000_000_000;
        let events: Vec<(i64, f64)> = (0..400)
            .map(|_| (start + rng.below(90 * DAY_MS as u64) as i64, f64::from(rng.below(5) as u32) - 1.0))
            .collect();
        let now = start + 90 * DAY_MS;
        let (blocks, all) = sum(&ladder, &events);
        let told = all.value(&blocks.fade(&ladder, now));
        for (rung, half_life) in [3.6e6, 8.64e7, 2.592e9].into_iter().enumerate() {
            let exact: f64 = events.iter().map(|(at, amount)| amount * (-((now - at) as f64) / half_life).exp2()).sum();
            assert!((told[rung] - exact).abs() < 1e-5, "seed {seed}: {} {exact}", told[rung]);
        }
        for _ in 0..50 {
            let mut shuffled = events.clone();
            for at in (1..shuffled.len()).rev() {
                shuffled.swap(at, rng.below(at as u64 + 1) as usize);
            }
            assert_eq!(sum(&ladder, &shuffled), (blocks, all), "seed {seed}");
        }
    }

    #[test]
    fn what_is_taken_away_was_never_there() {
        let ladder = Ladder::new([60.0, 600.0, 6_000.0]);
        let events: Vec<(i64, f64)> = (0..100).map(|at| (1_000_000 * at, 1.0 + at as f64)).collect();
        let (blocks, mut all) = sum(&ladder, &events);
        for (time_ms, amount) in &events[..99] {
            all.add(&blocks, &ladder.at(*time_ms), -amount);
        }
        assert_eq!(all, sum(&ladder, &events[99..]).1);
        let mut bytes = Vec::new();
        all.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Fading::decode(&mut Reader::new(&bytes)), Ok(all));
    }

    #[test]
    fn two_sums_become_one() {
        let ladder = Ladder::new([60.0, 600.0, 6_000.0]);
        let events: Vec<(i64, f64)> = (0..60).map(|at| (700_000 * at, 1.0)).collect();
        let ((mut blocks, mut one), (newer, other)) = (sum(&ladder, &events[..30]), sum(&ladder, &events[30..]));
        if let Some(steps) = blocks.advance_to(&newer) {
            one.roll(steps);
        }
        one.merge(&other);
        assert_eq!((blocks, one), sum(&ladder, &events));
    }
}
