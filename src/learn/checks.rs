//! The conformance suite: what every strategy in the list must hold, after River's estimator checks.

use super::{Audience, ItemModel, ItemSide, Negatives, Recent, Seen, Strategy, Work};
use crate::base::Rng;
use crate::linalg::{Slab, kernels};

/// One strategy, one user, some items with columns, as a shard would hold them.
struct Bench {
    strategy: Strategy,
    users: Slab,
    items: Slab,
    model: ItemModel,
    work: Work,
    history: Vec<Recent>,
    shared: Vec<f32>,
}

const ITEMS: usize = 40;

impl Bench {
    fn new(strategy: Strategy) -> Self {
        let shape = strategy.shape();
        let (mut users, mut items) = (Slab::new(shape.user_rows), Slab::new(shape.item_rows));
        let user = users.push();
        strategy.init_user(7, users.col_mut(user));
        for item in 0..ITEMS {
            let column = items.push();
            strategy.init_item(item as u64, items.col_mut(column));
            if shape.items == ItemSide::Model {
                let mut rng = Rng::new(item as u64 + 99);
                items.col_mut(column)[..shape.item_rows].fill_with(|| 0.3 * rng.normal() as f32);
            }
        }
        let dim = shape.item_rows;
        let gram = if shape.items == ItemSide::Model {
            crate::linalg::solve::gram(&flat(&items), dim, 0.3)
        } else {
            Vec::new()
        };
        Self {
            shared: vec![0.0; strategy.sweeps().map_or(0, |sweeps| sweeps.shared_rows)],
            strategy,
            users,
            items,
            model: ItemModel { epoch: 1, gram, items: ITEMS as u64 },
            work: Work::default(),
            history: Vec::new(),
        }
    }

    fn learn(&mut self, item: usize, value: f32, since_ms: i64) {
        let seen = Seen { value, weight: 1.0, explicit: true, mean: 3.0, since_ms };
        self.history.insert(0, Recent { item: item as u32, weight: 1.0, since_ms });
        if self.strategy.learns_from_history() {
            self.strategy.fold_in(self.users.col_mut(0), &self.history, &self.items, &self.model, &mut self.work);
        } else if self.strategy.sweeps().is_some() {
            self.sweep(item);
        } else {
            self.contrast(item, &seen);
            let column = self.items.col_mut(item);
            self.strategy.learn_one(self.users.col_mut(0), column, &seen);
        }
    }

    /// The items after this one stand for those that the strategy asks for.
    fn contrast(&mut self, item: usize, seen: &Seen) {
        let count = match self.strategy.negatives() {
            Negatives::Absent => 0,
            Negatives::LongestUnseen(count) | Negatives::Drawn(count) => count,
        };
        for other in (item + 1..=item + count).map(|other| other % ITEMS).filter(|other| *other != item) {
            let (mut own, mut others) = (self.items.col(item).to_vec(), self.items.col(other).to_vec());
            self.strategy.contrast(self.users.col_mut(0), &mut own, &mut others, seen);
            self.items.col_mut(item).copy_from_slice(&own);
            self.items.col_mut(other).copy_from_slice(&others);
        }
    }

    /// The one user is the audience of every item.
    fn sweep(&mut self, item: usize) {
        let Self { strategy, users, items, history, shared, work, .. } = self;
        strategy.sweep_user(users.col_mut(0), history, items, shared, work);
        let audience = Audience { slots: &[0], users, guest: None };
        strategy.sweep_item(items.col_mut(item), &audience, shared, work);
    }

    fn score(&self, item: usize) -> f32 {
        let mut query = vec![0.0; self.items.stride()];
        self.strategy.score_one(self.users.col(0), self.items.col(item), 3.0, &mut query)
    }
}

fn flat(items: &Slab) -> Vec<f32> {
    (0..items.len()).flat_map(|item| items.col(item)[..items.rows()].iter().copied()).collect()
}

fn every(check: impl Fn(Bench)) {
    for name in Strategy::NAMES {
        println!("{name}");
        check(Bench::new(Strategy::default_named(name).expect("a listed name")));
    }
}

#[test]
fn names_are_listed_and_lead_back() {
    for name in Strategy::NAMES {
        assert_eq!(Strategy::default_named(name).expect("a listed name").name(), *name);
    }
    assert_eq!(Strategy::default_named("no such strategy"), None);
}

#[test]
fn same_seed_same_bits() {
    every(|mut one| {
        let mut two = Bench::new(one.strategy.clone());
        for (item, value) in [(3, 5.0), (9, 1.0), (3, 4.0), (17, 2.0)] {
            one.learn(item, value, 60_000);
            two.learn(item, value, 60_000);
        }
        let bits = |bench: &Bench| bench.users.col(0).iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&one), bits(&two));
    });
}

#[test]
fn items_change_only_where_they_are_learned() {
    every(|mut bench| {
        let before = flat(&bench.items);
        bench.learn(5, 5.0, 0);
        let learned = bench.strategy.shape().items == ItemSide::Learned;
        assert_eq!(flat(&bench.items) != before, learned);
    });
}

#[test]
fn liked_items_rise() {
    every(|mut bench| {
        if bench.strategy.ranks_by_popularity() || bench.strategy.over_bank() {
            return; // what they count stands in the item table and in the bank
        }
        let before = bench.score(5);
        for _ in 0..10 {
            bench.learn(5, 5.0, 60_000);
        }
        assert!(bench.score(5) > before, "{} to {}", before, bench.score(5));
    });
}

#[test]
fn extremes_stay_finite_and_padding_stays_zero() {
    every(|mut bench| {
        for (step, value) in [5.0_f32, -1e9, 1e9, 0.0, 1e-30].into_iter().cycle().take(200).enumerate() {
            let since = [0, 1, -1, i64::MAX / 4, -i64::MAX / 4][step % 5];
            // Ratings of a billion may diverge a factor model; they must not reach it: the edge refuses by range.
            let value = if bench.strategy.shape().items == ItemSide::Learned { value.clamp(-5.0, 5.0) } else { value };
            bench.learn(step % ITEMS, value, since);
        }
        let shape = bench.strategy.shape();
        assert!(bench.users.col(0).iter().all(|value| value.is_finite()));
        assert!((0..ITEMS).all(|item| bench.score(item).is_finite()));
        assert!(bench.users.col(0)[shape.user_rows..].iter().all(|value| *value == 0.0));
        assert!((0..ITEMS).all(|item| bench.items.col(item)[shape.item_rows..].iter().all(|value| *value == 0.0)));
    });
}

#[test]
fn ranking_agrees_with_scoring_one_by_one() {
    every(|mut bench| {
        for item in [1, 4, 1, 30, 12] {
            bench.learn(item, 4.5, 3_600_000);
        }
        let mut query = vec![0.0; bench.items.stride()];
        let offset = bench.strategy.query(bench.users.col(0), 3.0, &mut query);
        let mut scores = Vec::new();
        crate::linalg::score::score_all(&bench.items, &query, offset, &mut scores);
        for item in 0..ITEMS {
            assert!((scores[item] - bench.score(item)).abs() < 1e-4);
            assert!((scores[item] - offset - kernels::dot(&query, bench.items.col(item))).abs() < 1e-4);
        }
    });
}

#[test]
fn users_without_events_have_no_opinion_of_their_own() {
    every(|bench| {
        if bench.strategy.shape().items == ItemSide::Model {
            assert!((0..ITEMS).all(|item| bench.score(item) == 0.0));
        }
    });
}
