//! What a shard sums over all its users, divided among shards: each gets what its users account for, the first the rest.

use super::numbers::Numbers;
use crate::person::Population;
use crate::pipeline::Grain;
use crate::state::cleaning::Values;
use crate::state::{Shard, Spread};

/// Sums over all users that were not given to a shard yet.
pub(super) struct Totals {
    pub(super) events: u64,
    pub(super) spread: Spread,
    pub(super) population: Population,
    pub(super) values: Values,
    pub(super) grain: Grain,
}

/// What the users of one shard account for.
#[derive(Default)]
struct Part {
    events: u64,
    judgements: u64,
    population: Population,
    values: Values,
}

impl Totals {
    /// Of all old shards.
    pub(super) fn of(old: &[Shard], numbers: &Numbers) -> Self {
        let (population, values, grain) = (Population::default(), Values::default(), Grain::default());
        let mut all = Self { events: 0, spread: Spread::default(), population, values, grain };
        for (from, shard) in old.iter().enumerate() {
            all.events += shard.events;
            all.spread.merge(&shard.spread);
            all.population.merge(&shard.population, |number| numbers.tag(from, number));
            shard.values.iter().for_each(|(code, values)| all.values.merge(*code, values));
            all.grain.merge(&shard.grain);
        }
        all
    }

    /// Gives a shard what its users account for.
    pub(super) fn give_part(&mut self, shard: &mut Shard) {
        let part = Part::of(shard);
        shard.events = part.events.min(self.events);
        self.events -= shard.events;
        shard.spread = self.spread.split_off(part.judgements);
        shard.population = self.population.split_off(&part.population);
        shard.values = self.values.split_off(&part.values);
        shard.grain = self.grain;
    }

    /// Gives a shard all that is left.
    pub(super) fn give_rest(self, shard: &mut Shard) {
        let Self { events, spread, population, values, grain } = self;
        (shard.events, shard.spread, shard.population) = (events, spread, population);
        (shard.values, shard.grain) = (values, grain);
    }
}

impl Part {
    fn of(shard: &Shard) -> Self {
        let mut part = Self::default();
        for slot in 0..shard.users.len() {
            let user = shard.users.get(slot);
            part.events += user.events;
            part.judgements += user.value_count;
            // What a user has set aside was counted, and is taken away with its events if they are.
            let aside = user.controls.iter().flat_map(|controls| &controls.aside).map(|aside| &aside.person);
            for person in aside.chain([&*user.person]) {
                part.population.take(&person.facets, 1);
                let kinds = person.behaviours.kinds().iter();
                kinds.for_each(|sums| part.values.merge(sums.code, &sums.values));
            }
        }
        part
    }
}

impl Spread {
    /// Adds the values of another (Chan, Golub & LeVeque 1983).
    #[expect(clippy::cast_precision_loss, reason = "counts of events")]
    fn merge(&mut self, other: &Self) {
        let count = self.count + other.count;
        if other.count == 0 {
            return;
        }
        let (off, share) = (other.mean - self.mean, other.count as f64 / count as f64);
        self.squares += other.squares + off * off * self.count as f64 * share;
        self.mean += off * share;
        self.count = count;
    }

    /// Takes out a part of so many values, or as many as there are, with the mean and the deviation of all: what users have
    /// learned is against the mean that there was.
    #[expect(clippy::cast_precision_loss, reason = "counts of events")]
    fn split_off(&mut self, count: u64) -> Self {
        let count = count.min(self.count);
        let squares = if count == 0 { 0.0 } else { self.squares * (count as f64 / self.count as f64) };
        self.count -= count;
        self.squares -= squares;
        Self { count, mean: self.mean, squares }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn parts_of_a_spread_are_the_spread_again() {
        let (seed, mut rng) = (71, Rng::new(71));
        let spread = |values: &[f64]| {
            let mut spread = Spread::default();
            values.iter().for_each(|value| spread.add(*value));
            spread
        };
        let values: Vec<f64> = (0..900).map(|_| 3.0 + rng.normal()).collect();
        let whole = spread(&values);
        let near = |one: &Spread, two: &Spread| {
            let off = [one.mean - two.mean, (one.squares - two.squares) / two.squares];
            assert!(one.count == two.count && off.iter().all(|off| off.abs() < 1e-12), "seed {seed}: {one:?} {two:?}");
        };
        let mut merged = Spread::default();
        [&values[..100], &[], &values[100..130], &values[130..]].iter().for_each(|part| merged.merge(&spread(part)));
        near(&merged, &whole);
        let mut parts = vec![merged.split_off(300), merged.split_off(0), merged.split_off(1_000), merged.split_off(5)];
        assert_eq!(parts.iter().map(|part| part.count).collect::<Vec<_>>(), [300, 0, 600, 0]);
        parts.push(merged);
        let mut again = Spread::default();
        parts.iter().for_each(|part| again.merge(part));
        near(&again, &whole);
        assert!((parts[0].deviation() - whole.deviation()).abs() < 1e-2, "each is spread as all are");
    }
}
