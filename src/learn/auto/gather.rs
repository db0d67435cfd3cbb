//! What a query gathers from the bank: who is a candidate, and what each part says of it, before logarithms.
//!
//! One pass over the neighbours of the user's newest items, one over the trails of like sessions, a look at the lists of
//! the most popular, and two products over factors. Everything is scratch: nothing of the bank changes.

use crate::learn::ItemModel;
use crate::learn::bank::counts::{Moment, cohort};
use crate::learn::bank::{Bank, pairs, sequence};
use crate::linalg::solve::SpdSolver;
use crate::linalg::{FoldInTerms, Slab, fold_in, kernels};

/// Sums over a user's newest items, per candidate: four pair sums at two discounts, and the newest item's alone.
pub const PAIR_SUMS: usize = 12;
/// Discounts of older items in the pair sums.
const DISCOUNTS: [f32; 2] = [0.5, 0.85];
/// Newest items whose visitors are neighbours.
const SESSION_ITEMS: usize = 10;
/// Most neighbours.
const NEIGHBOURS: usize = 100;
/// Newest items of a neighbour that it proposes.
const NEIGHBOUR_ITEMS: usize = 30;
/// Weights of older items in the three fold-ins, and how many items each looks at.
const FOLDS: [(f32, usize); 3] = [(0.9, 50), (0.7, 20), (0.98, 64)];
/// Length of the item factors.
pub const DIM: usize = 32;

/// What one query found, a row a candidate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw {
    /// Sums over pairs: discounts side by side, `[0..4]` at .5, `[4..8]` at .85, `[8..12]` of the newest item alone.
    pub pairs: [f32; PAIR_SUMS],
    /// Session neighbours: by likeness, by what followed.
    pub sessions: [f32; 2],
}

/// The user as the query sees it.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Slot, if the user was seen.
    pub user: Option<usize>,
    /// Rows that are no candidates, rising.
    pub excluded: &'a [u32],
    /// Time of the question, in milliseconds.
    pub time_ms: i64,
}

/// The item model behind the factor features.
#[derive(Clone, Copy, Debug)]
pub struct Factors<'a> {
    /// A column an item.
    pub items: &'a Slab,
    /// Its terms.
    pub model: &'a ItemModel,
    /// L2 penalty of the fold-in.
    pub l2: f64,
    /// Weight of every item as unobserved.
    pub unobserved_weight: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Query in which `at` was set.
    raw_query: u32,
    at: u32,
    /// Query in which the item became a candidate.
    candidate: u32,
    /// Query in which the item was excluded.
    excluded: u32,
}

/// Scratch of queries, and what the newest one found.
#[derive(Debug)]
pub struct Gather {
    query: u32,
    places: Vec<Place>,
    touched: Vec<u32>,
    raws: Vec<Raw>,
    keys: Vec<(f32, u32)>,
    neighbours: Vec<(f32, u32, i64)>,
    neighbour_of: hashbrown::HashMap<u32, u32, foldhash::fast::FixedState>,
    scores: Vec<f32>,
    solver: SpdSolver,
    /// The candidates.
    pub candidates: Vec<u32>,
    /// Largest of each pair sum over the candidates' neighbours, plain and over sqrt(count).
    pub pair_max: [[f32; PAIR_SUMS]; 2],
    /// Largest of each session sum, likewise.
    pub session_max: [[f32; 2]; 2],
    /// Fold-ins of the user; `None` without a model or items.
    pub folds: Option<[[f32; DIM]; 3]>,
    /// Context of the sequence embedding.
    pub context: Option<[f32; sequence::DIM]>,
}

impl Default for Gather {
    fn default() -> Self {
        Self {
            query: 0,
            places: Vec::new(),
            touched: Vec::new(),
            raws: Vec::new(),
            keys: Vec::new(),
            neighbours: Vec::new(),
            neighbour_of: hashbrown::HashMap::with_hasher(foldhash::fast::FixedState::with_seed(0)),
            scores: Vec::new(),
            solver: SpdSolver::new(DIM),
            candidates: Vec::new(),
            pair_max: [[0.0; PAIR_SUMS]; 2],
            session_max: [[0.0; 2]; 2],
            folds: None,
            context: None,
        }
    }
}

impl Gather {
    /// Gathers for one user: the union of the best `each` of every source, then `given` items as well.
    pub fn run(&mut self, bank: &Bank, factors: Factors<'_>, asker: Asker<'_>, each: usize) {
        self.begin(bank.items(), asker.excluded);
        if let Some(user) = asker.user {
            self.sum_pairs(bank, user);
            self.propose_pairs(bank, each);
            self.sum_sessions(bank, user);
            self.propose_sessions(bank, each);
            self.find_vectors(bank, factors, user);
            self.propose_vectors(bank, factors, each);
        } else {
            self.folds = None;
            self.context = None;
            self.pair_max = [[1e-9; PAIR_SUMS]; 2];
            self.session_max = [[1e-9; 2]; 2];
        }
        for list in &bank.lists {
            let query = self.query;
            let places = &self.places;
            let items = list.iter().filter(|item| places[*item as usize].excluded != query).take(each);
            self.keys.clear();
            self.keys.extend(items.map(|item| (0.0, item)));
            self.take_keys(usize::MAX);
        }
    }

    /// Begins a query: forgets what the one before found; `excluded` are no candidates.
    pub fn begin(&mut self, items: usize, excluded: &[u32]) {
        self.query = self.query.wrapping_add(1);
        if self.query == 0 {
            self.places.clear();
            self.query = 1;
        }
        self.places.resize(items, Place::default());
        for item in excluded {
            if let Some(place) = self.places.get_mut(*item as usize) {
                place.excluded = self.query;
            }
        }
        self.touched.clear();
        self.raws.clear();
        self.candidates.clear();
    }

    /// What was found of a candidate; zeros if nothing was.
    #[inline]
    pub fn raw(&self, item: u32) -> Raw {
        let place = self.places[item as usize];
        if place.raw_query == self.query { self.raws[place.at as usize] } else { Raw::default() }
    }

    /// Every item that something was found of.
    pub fn found(&self) -> impl Iterator<Item = (u32, &Raw)> {
        self.touched.iter().copied().zip(&self.raws)
    }

    #[inline]
    fn raw_mut(&mut self, item: u32) -> Option<&mut Raw> {
        let place = &mut self.places[item as usize];
        if place.excluded == self.query {
            return None;
        }
        if place.raw_query != self.query {
            place.raw_query = self.query;
            place.at = self.raws.len() as u32;
            self.raws.push(Raw::default());
            self.touched.push(item);
        }
        Some(&mut self.raws[place.at as usize])
    }

    /// Sums over the pairs of the user's newest items.
    pub fn sum_pairs(&mut self, bank: &Bank, user: usize) {
        let x = bank.events();
        let (mut near, mut far) = (1.0_f32, 1.0_f32);
        for (age, item) in bank.trail(user).newest(pairs::PAIRED).enumerate() {
            let row = bank.pairs.row(item as usize);
            let norm = 1.0 / (bank.counts.get(item as usize).events.max(1) as f32).sqrt();
            let factors = row.factors(x);
            let (near_norm, far_norm) = (near * norm, far * norm);
            for (other, sums) in row.items().iter().zip(row.sums()) {
                let Some(raw) = self.raw_mut(*other) else { continue };
                for at in 0..pairs::SUMS {
                    let sum = sums[at] * factors[at];
                    raw.pairs[at] += near_norm * sum;
                    raw.pairs[4 + at] += far_norm * sum;
                    if age == 0 {
                        raw.pairs[8 + at] = sum;
                    }
                }
            }
            near *= DISCOUNTS[0];
            far *= DISCOUNTS[1];
        }
        self.pair_max = [[1e-9; PAIR_SUMS]; 2];
        for (raw, item) in self.raws.iter().zip(&self.touched) {
            let norm = 1.0 / (bank.counts.get(*item as usize).events.max(1) as f32).sqrt();
            for at in 0..PAIR_SUMS {
                self.pair_max[0][at] = self.pair_max[0][at].max(raw.pairs[at]);
                self.pair_max[1][at] = self.pair_max[1][at].max(raw.pairs[at] * norm);
            }
        }
    }

    fn propose_pairs(&mut self, bank: &Bank, each: usize) {
        // Together, by cosine; after, at half the power; after of late, raw; together of late, at half the power.
        let sources: [(usize, f32); 4] = [(4, 0.5), (1, 0.25), (2, 0.0), (7, 0.25)];
        for (sum, power) in sources {
            self.keys.clear();
            for (raw, item) in self.raws.iter().zip(&self.touched) {
                let count = bank.counts.get(*item as usize).events.max(1) as f32;
                let key = raw.pairs[sum]
                    / if power == 0.5 {
                        count.sqrt()
                    } else if power == 0.25 {
                        count.sqrt().sqrt()
                    } else {
                        1.0
                    };
                self.keys.push((key, *item));
            }
            self.take_keys(each);
        }
    }

    /// Sums over the trails of like users.
    pub fn sum_sessions(&mut self, bank: &Bank, user: usize) {
        self.neighbours.clear();
        self.neighbour_of.clear();
        let mut weight = 1.0_f32;
        for item in bank.trail(user).newest(SESSION_ITEMS) {
            let share = weight / (bank.counts.get(item as usize).events as f32 + 2.0).ln();
            for visit in bank.visitors.of(item as usize) {
                if visit.user as usize == user {
                    continue;
                }
                let next = self.neighbours.len() as u32;
                let at = *self.neighbour_of.entry(visit.user).or_insert(next);
                if at == next {
                    self.neighbours.push((0.0, visit.user, -1));
                }
                let neighbour = &mut self.neighbours[at as usize];
                neighbour.0 += share;
                neighbour.2 = neighbour.2.max(i64::from(visit.position));
            }
            weight *= 0.8;
        }
        if self.neighbours.len() > NEIGHBOURS {
            self.neighbours.select_nth_unstable_by(NEIGHBOURS - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            self.neighbours.truncate(NEIGHBOURS);
        }
        let neighbours = std::mem::take(&mut self.neighbours);
        for &(likeness, neighbour, latest) in &neighbours {
            let trail = bank.trail(neighbour as usize);
            let count = trail.count();
            let share = likeness / (count.min(NEIGHBOUR_ITEMS) as f32 + 1.0).sqrt();
            for (back, item) in trail.newest(NEIGHBOUR_ITEMS).enumerate() {
                let Some(raw) = self.raw_mut(item) else { continue };
                raw.sessions[0] += share;
                let steps = (count - 1 - back) as i64 - latest;
                if steps > 0 {
                    raw.sessions[1] += likeness * POWERS[(steps - 1).min(63) as usize];
                }
            }
        }
        self.neighbours = neighbours;
        self.session_max = [[1e-9; 2]; 2];
        for (raw, item) in self.raws.iter().zip(&self.touched) {
            let norm = 1.0 / (bank.counts.get(*item as usize).events.max(1) as f32).sqrt();
            for at in 0..2 {
                self.session_max[0][at] = self.session_max[0][at].max(raw.sessions[at]);
                self.session_max[1][at] = self.session_max[1][at].max(raw.sessions[at] * norm);
            }
        }
    }

    fn propose_sessions(&mut self, bank: &Bank, each: usize) {
        for at in 0..2 {
            self.keys.clear();
            for (raw, item) in self.raws.iter().zip(&self.touched) {
                if raw.sessions[at] > 0.0 {
                    let count = bank.counts.get(*item as usize).events.max(1) as f32;
                    self.keys.push((raw.sessions[at] / count.sqrt().sqrt(), *item));
                }
            }
            self.take_keys(each);
        }
    }

    fn find_vectors(&mut self, bank: &Bank, factors: Factors<'_>, user: usize) {
        let trail = bank.trail(user);
        let mut context = [0.0; sequence::DIM];
        self.context = bank.sequence.context(trail.newest(10), &mut context).then_some(context);
        self.folds = None;
        if factors.model.epoch == 0 || trail.is_empty() {
            return;
        }
        let terms = FoldInTerms {
            gram: &factors.model.gram,
            l2: factors.l2,
            unobserved_mass: factors.unobserved_weight * factors.model.items as f64,
        };
        let mut folds = [[0.0; DIM]; 3];
        for (fold, (recency, items)) in folds.iter_mut().zip(FOLDS) {
            let mut weight = 1.0 / recency;
            let events = trail.newest(items).map(|item| {
                weight *= recency;
                (&factors.items.col(item as usize)[..DIM], weight)
            });
            // A system that is not positive definite leaves zeros.
            let _ = fold_in(&mut self.solver, terms, events, fold);
        }
        self.folds = Some(folds);
    }

    fn propose_vectors(&mut self, bank: &Bank, factors: Factors<'_>, each: usize) {
        let query = self.query;
        if let Some(folds) = self.folds {
            crate::linalg::score::score_all(factors.items, &folds[0], 0.0, &mut self.scores);
            self.keys.clear();
            let rows = self.scores.iter().zip(&self.places).enumerate();
            let open = rows.filter(|(item, (_, place))| place.excluded != query && bank.counts.get(*item).events > 0);
            self.keys.extend(open.map(|(item, (score, _))| (*score, item as u32)));
            self.take_keys(each);
        }
        if let Some(context) = self.context {
            crate::linalg::score::score_all(bank.sequence.output(), &context, 0.0, &mut self.scores);
            self.keys.clear();
            let rows = self.scores.iter().zip(&self.places).enumerate();
            let open = rows.filter(|(item, (_, place))| place.excluded != query && bank.counts.get(*item).events > 0);
            self.keys.extend(
                open.map(|(item, (score, _))| (*score + 0.5 * (bank.counts.get(item).events as f32).ln(), item as u32)),
            );
            self.take_keys(each);
        }
    }

    /// Makes the best `each` of `self.keys` candidates.
    fn take_keys(&mut self, each: usize) {
        if self.keys.len() > each {
            self.keys.select_nth_unstable_by(each - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            self.keys.truncate(each);
        }
        for (_, item) in &self.keys {
            let place = &mut self.places[*item as usize];
            if place.candidate != self.query {
                place.candidate = self.query;
                self.candidates.push(*item);
            }
        }
    }

    /// The user's bucket of experience.
    pub fn cohort(bank: &Bank, user: Option<usize>) -> usize {
        user.map_or(0, |user| cohort(bank.trail(user).count()))
    }

    /// How sums read now.
    pub fn moment(bank: &Bank) -> Moment {
        bank.counts.at(bank.events())
    }
}

/// .8 to the power of the steps since the match.
const POWERS: [f32; 64] = {
    let mut powers = [1.0; 64];
    let mut at = 1;
    while at < 64 {
        powers[at] = powers[at - 1] * 0.8;
        at += 1;
    }
    powers
};

/// The score of one item by a vector of the user.
#[inline]
pub fn product(vector: &[f32; DIM], column: &[f32]) -> f32 {
    kernels::dot(vector, &column[..DIM])
}
