//! What a user likes, by facet of the items: tags, brands, categories... whatever the schema counts like tags.
//!
//! A *facet* is a number of the shard's table of names. Of each, a user has a count of events, and the sum of opinions
//! `weight x opinion(event)` ([`Kind::opinion`](crate::model::Kind::opinion)): plain, and fading at the middle and the
//! long half-life. The population's sums are of the same kind, so an affinity can be told against what is usual.
//!
//! At most [`FACETS_MAX`] facets a user are kept. Where a user has met more, the one with the fewest events gives way, and
//! [`Facets::dropped`] says that the order of events had a say.

use super::decayed::{At, Blocks, Fading, Ladder};
use crate::base::cursor::{CursorError, Reader, Writer};

/// Most facets that are kept of one user.
pub const FACETS_MAX: usize = 64;

/// Steps of a plain sum's grid in 1.
const STEPS: f64 = 1_048_576.0;

/// Events whose worth a population's share has against a user's own (Dirichlet prior).
pub const PRIOR_EVENTS: f64 = 10.0;

/// 97.5 % of a normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The sums of one facet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facet {
    /// Its number.
    pub number: u32,
    /// Events with items that have it.
    pub events: u32,
    liked: i64,
    fading: Fading<2>,
}

impl Facet {
    fn new(number: u32) -> Self {
        Self { number, events: 0, liked: 0, fading: Fading::zero() }
    }

    /// Sum of opinions.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a sum, told as a double")]
    pub fn liked(&self) -> f64 {
        self.liked as f64 / STEPS
    }

    /// Sum of opinions, faded at the middle and the long half-life; `left` by [`Facets::fade`].
    #[must_use]
    pub fn recent(&self, left: &[f64; 2]) -> [f64; 2] {
        self.fading.value(left)
    }
}

/// The facets of one user, by rising number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facets {
    /// Events with items that have any facet.
    pub events: u64,
    /// Facets that gave way to others.
    pub dropped: u32,
    blocks: Blocks<2>,
    held: Vec<Facet>,
}

impl Facets {
    /// Counts an event with an item of these facets (`by` 1), whose opinion weighs `opinion`, or takes it away (`by` -1).
    pub fn count(&mut self, numbers: &[u32], at: &At, opinion: f64, by: i64) {
        if numbers.is_empty() {
            return;
        }
        self.events = self.events.saturating_add_signed(by);
        if let Some(steps) = self.blocks.advance(at) {
            self.held.iter_mut().for_each(|facet| facet.fading.roll(steps));
        }
        for number in numbers {
            let Some(place) = self.place(*number, by > 0) else { continue };
            let facet = &mut self.held[place];
            facet.events = facet.events.saturating_add_signed(by.signum() as i32);
            facet.liked = facet.liked.saturating_add(by * (opinion * STEPS).round_ties_even() as i64);
            facet.fading.add(&self.blocks, at, by as f64 * opinion);
            if facet.events == 0 {
                self.held.remove(place);
            }
        }
    }

    /// Where a facet stands; makes room for one that is new.
    fn place(&mut self, number: u32, make: bool) -> Option<usize> {
        match self.held.binary_search_by_key(&number, |facet| facet.number) {
            Ok(place) => Some(place),
            Err(_) if !make => None,
            Err(_) if self.held.len() >= FACETS_MAX => {
                let least = (0..self.held.len()).min_by_key(|place| self.held[*place].events)?;
                self.held.remove(least);
                self.dropped += 1;
                self.place(number, true)
            }
            Err(place) => {
                if self.held.len() == self.held.capacity() {
                    self.held.reserve_exact(4);
                }
                self.held.insert(place, Facet::new(number));
                Some(place)
            }
        }
    }

    /// All facets, by rising number.
    #[must_use]
    pub fn held(&self) -> &[Facet] {
        &self.held
    }

    /// The sums of one facet.
    #[must_use]
    pub fn of(&self, number: u32) -> Option<&Facet> {
        self.held.binary_search_by_key(&number, |facet| facet.number).ok().map(|place| &self.held[place])
    }

    /// What sums of opinions have faded to at a moment, for [`Facet::recent`].
    #[must_use]
    pub fn fade(&self, ladder: &Ladder, at_ms: i64) -> [f64; 2] {
        self.blocks.fade(ladder, at_ms)
    }

    /// Entropy of the shares of facets, in nats; `None` without any.
    #[must_use]
    pub fn entropy(&self) -> Option<f64> {
        let total: f64 = self.held.iter().map(|facet| f64::from(facet.events)).sum();
        let part = |facet: &Facet| {
            let share = f64::from(facet.events) / total;
            -share * share.ln()
        };
        (total > 0.0).then(|| self.held.iter().map(part).sum())
    }

    /// Adds another user's. Numbers are of the same table.
    pub fn merge(&mut self, mut other: Self) {
        self.events += other.events;
        self.dropped += other.dropped;
        if let Some(steps) = self.blocks.advance_to(&other.blocks) {
            self.held.iter_mut().for_each(|facet| facet.fading.roll(steps));
        }
        if let Some(steps) = other.blocks.advance_to(&self.blocks) {
            other.held.iter_mut().for_each(|facet| facet.fading.roll(steps));
        }
        for more in other.held {
            if let Some(place) = self.place(more.number, true) {
                let facet = &mut self.held[place];
                facet.events = facet.events.saturating_add(more.events);
                facet.liked = facet.liked.saturating_add(more.liked);
                facet.fading.merge(&more.fading);
            }
        }
    }

    /// Renames every facet, as another shard's table numbers it.
    pub fn renumber(&mut self, mut number_of: impl FnMut(u32) -> u32) {
        self.held.iter_mut().for_each(|facet| facet.number = number_of(facet.number));
        self.held.sort_unstable_by_key(|facet| facet.number);
    }

    /// Heap bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.held.capacity() * size_of::<Facet>()
    }

    /// Appends all sums.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u64(self.events).u32(self.dropped);
        self.blocks.encode(out);
        out.count(self.held.len());
        for facet in &self.held {
            out.u32(facet.number).u32(facet.events).i64(facet.liked);
            facet.fading.encode(out);
        }
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no facets.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let (events, dropped, blocks) = (from.u64()?, from.u32()?, Blocks::decode(from)?);
        let count = from.count(64, FACETS_MAX)?;
        let mut held = Vec::with_capacity(count);
        for _ in 0..count {
            let (number, events, liked) = (from.u32()?, from.u32()?, from.i64()?);
            held.push(Facet { number, events, liked, fading: Fading::decode(from)? });
        }
        Ok(Self { events, dropped, blocks, held })
    }
}

/// How many events of all users met each facet: what is usual.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Population {
    events: u64,
    by_number: Vec<u64>,
}

impl Population {
    /// Counts an event or takes it away.
    pub fn count(&mut self, numbers: &[u32], by: i64) {
        if numbers.is_empty() {
            return;
        }
        self.events = self.events.saturating_add_signed(by);
        for number in numbers {
            let held = self.counted(*number);
            *held = held.saturating_add_signed(by);
        }
    }

    /// Adds all events of a user (`by` 1), or takes them away (`by` -1).
    #[expect(clippy::cast_possible_wrap, reason = "counts of events are far below 2^63")]
    pub fn take(&mut self, facets: &Facets, by: i64) {
        self.events = self.events.saturating_add_signed(by * facets.events as i64);
        for facet in &facets.held {
            let held = self.counted(facet.number);
            *held = held.saturating_add_signed(by * i64::from(facet.events));
        }
    }

    /// Adds what another table counted, whose facets have other numbers.
    pub fn merge(&mut self, other: &Self, number_of: impl Fn(u32) -> u32) {
        self.events = self.events.saturating_add(other.events);
        for (number, met) in (0..).zip(&other.by_number).filter(|(_, met)| **met > 0) {
            let held = self.counted(number_of(number));
            *held = held.saturating_add(*met);
        }
    }

    /// Takes `part` out, as far as it is there, and gives what was taken.
    #[must_use]
    pub fn split_off(&mut self, part: &Self) -> Self {
        let take = |held: &mut u64, wanted: u64| {
            let taken = wanted.min(*held);
            *held -= taken;
            taken
        };
        let events = take(&mut self.events, part.events);
        let by_number = self.by_number.iter_mut().zip(&part.by_number).map(|(held, wanted)| take(held, *wanted));
        Self { events, by_number: by_number.collect() }
    }

    fn counted(&mut self, number: u32) -> &mut u64 {
        let at = number as usize;
        if self.by_number.len() <= at {
            self.by_number.resize(at + 1, 0);
        }
        &mut self.by_number[at]
    }

    /// Share of events that met a facet; 0 before any.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of events")]
    pub fn share(&self, number: u32) -> f64 {
        let met = self.by_number.get(number as usize).copied().unwrap_or(0);
        met as f64 / self.events.max(1) as f64
    }

    /// Appends the counts.
    pub fn encode(&self, out: &mut Writer<'_>) {
        out.u64(self.events).count(self.by_number.len());
        self.by_number.iter().for_each(|met| {
            out.u64(*met);
        });
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are no counts.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, CursorError> {
        let events = from.u64()?;
        let count = from.count(8, usize::MAX)?;
        Ok(Self { events, by_number: (0..count).map(|_| from.u64()).collect::<Result<_, _>>()? })
    }
}

/// How much a user turns to a facet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affinity {
    /// Share of the user's events, drawn towards the population's where there are few:
    /// `(n_f + 10 p_f) / (n + 10)`, the mean of a Dirichlet posterior.
    pub share: f64,
    /// That share over the population's.
    pub lift: f64,
    /// The least and the greatest lift within 95 % (normal approximation of the posterior).
    pub lift_range: (f64, f64),
}

impl Affinity {
    /// The affinity of a user that met a facet in `met` of `events`, where the population's share is `usual`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of events")]
    pub fn of(met: u32, events: u64, usual: f64) -> Self {
        let strength = events as f64 + PRIOR_EVENTS;
        let share = (f64::from(met) + PRIOR_EVENTS * usual) / strength;
        let off = Z * (share * (1.0 - share).max(0.0) / (strength + 1.0)).sqrt();
        // A facet that nobody met is nobody's: its lift says nothing.
        let usual = if usual > 0.0 { usual } else { share.max(f64::MIN_POSITIVE) };
        let range = ((share - off).max(0.0) / usual, (share + off).min(1.0) / usual);
        Self { share, lift: share / usual, lift_range: range }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn order_has_no_say_and_taking_away_undoes() {
        let (seed, mut rng) = (3, Rng::new(3));
        let ladder = Ladder::new([60.0, 600.0, 6_000.0]);
        let events: Vec<(Vec<u32>, i64, f64)> = (0..300)
            .map(|_| {
                let mut numbers: Vec<u32> = (0..rng.below(4)).map(|_| rng.below(20) as u32).collect();
                numbers.sort_unstable();
                numbers.dedup();
                (numbers, rng.below(40_000_000) as i64, f64::from(rng.below(5) as u32) / 2.0 - 1.0)
            })
            .collect();
        let of = |events: &[(Vec<u32>, i64, f64)]| {
            let mut facets = Facets::default();
            events.iter().for_each(|(numbers, at, opinion)| facets.count(numbers, &ladder.at(*at), *opinion, 1));
            facets
        };
        let all = of(&events);
        let backwards: Vec<_> = events.iter().rev().cloned().collect();
        assert_eq!(of(&backwards), all, "seed {seed}");
        let (mut one, other) = (of(&events[..100]), of(&events[100..]));
        one.merge(other);
        assert_eq!(one, all, "seed {seed}");
        for (numbers, at, opinion) in &events[..100] {
            one.count(numbers, &ladder.at(*at), *opinion, -1);
        }
        assert_eq!(one.held(), of(&events[100..]).held(), "seed {seed}");
        let mut bytes = Vec::new();
        all.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Facets::decode(&mut Reader::new(&bytes)), Ok(all));
    }

    #[test]
    fn parts_of_a_population_are_taken_out_as_far_as_they_are_there() {
        let counted = |events: &[&[u32]]| {
            let mut population = Population::default();
            events.iter().for_each(|numbers| population.count(numbers, 1));
            population
        };
        let mut all = Population::default();
        all.merge(&counted(&[&[0, 1], &[1]]), |number| number + 1);
        all.merge(&counted(&[&[0]]), |_| 2);
        assert_eq!(all, counted(&[&[1, 2], &[2], &[2]]));
        let part = all.split_off(&counted(&[&[2], &[0, 2]]));
        assert_eq!((part.events, part.by_number), (2, vec![0, 0, 2]));
        assert_eq!(all, Population { events: 1, by_number: vec![0, 1, 1] });
        assert_eq!(all.split_off(&counted(&[&[2], &[2]])), Population { events: 1, by_number: vec![0, 0, 1] });
    }

    #[test]
    fn memory_is_bounded_and_says_so() {
        let ladder = Ladder::new([60.0, 600.0, 6_000.0]);
        let mut facets = Facets::default();
        for number in 0..1_000 {
            facets.count(&[7, number + 10], &ladder.at(0), 1.0, 1);
        }
        assert_eq!((facets.held().len(), facets.dropped), (FACETS_MAX, 1_001 - FACETS_MAX as u32));
        assert_eq!(facets.of(7).map(|facet| facet.events), Some(1_000), "what is met most stays");
    }

    #[test]
    fn affinities_rest_on_evidence() {
        let (few, many) = (Affinity::of(2, 2, 0.1), Affinity::of(200, 200, 0.1));
        assert!(few.lift < 3.0 && few.lift_range.0 < 1.0, "two events prove nothing: {few:?}");
        assert!(many.lift > 9.0 && many.lift_range.0 > 9.0, "{many:?}");
        let none = Affinity::of(0, 0, 0.1);
        assert!((none.share - 0.1).abs() < 1e-12 && (none.lift - 1.0).abs() < 1e-12);
    }
}
