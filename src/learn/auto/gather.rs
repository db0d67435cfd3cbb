//! What a query gathers from the bank: who is a candidate, and what each part says of it, before logarithms.
//!
//! One pass over the neighbours of the user's newest items, one over the trails of like sessions (`sums`), two products
//! over the items alive (`vectors`), and a look at the lists of the most popular. Candidates are the union of the best
//! of every source, or the items that the caller gives. Everything is scratch: nothing of the bank changes.

use crate::learn::ItemModel;
use crate::learn::bank::counts::{Moment, cohort};
use crate::learn::bank::{Bank, sequence};
use crate::linalg::solve::SpdSolver;
use crate::linalg::{AxesSolver, Slab};

/// Sums over a user's newest items, per candidate: four pair sums at two discounts, and the newest item's two ordered.
pub const PAIR_SUMS: usize = 10;
/// Sums over like sessions, per candidate.
pub const SESSION_SUMS: usize = 2;
/// Length of the item factors.
pub const DIM: usize = 32;
/// Sources among the pair sums, and the power of the item's count that divides them: together, by cosine; after; after
/// of late; together of late.
const PAIR_SOURCES: [(usize, Power); 4] =
    [(4, Power::Half), (1, Power::Quarter), (2, Power::None), (7, Power::Quarter)];

#[derive(Clone, Copy, Debug)]
enum Power {
    None,
    Quarter,
    Half,
}

/// What one query found of an item.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Raw {
    /// Sums over pairs: `[0..4]` discounted fast, `[4..8]` slowly, `[8..]` of the newest item alone.
    pub pairs: [f32; PAIR_SUMS],
    /// Session neighbours: by likeness, by what followed.
    pub sessions: [f32; SESSION_SUMS],
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
    pub(super) touched: Vec<u32>,
    pub(super) raws: Vec<Raw>,
    norms: Vec<f32>,
    pub(super) keys: Vec<(f32, u32)>,
    pub(super) neighbours: Vec<(f32, u32, i64)>,
    pub(super) neighbour_of: hashbrown::HashMap<u32, u32, foldhash::fast::FixedState>,
    pub(super) scores: Vec<f32>,
    pub(super) solver: SpdSolver,
    pub(super) axes: AxesSolver,
    /// The candidates.
    pub candidates: Vec<u32>,
    /// Largest of each pair sum over all that was found, plain and over sqrt(count).
    pub pair_max: [[f32; PAIR_SUMS]; 2],
    /// Largest of each session sum, likewise.
    pub session_max: [[f32; SESSION_SUMS]; 2],
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
            norms: Vec::new(),
            keys: Vec::new(),
            neighbours: Vec::new(),
            neighbour_of: hashbrown::HashMap::with_hasher(foldhash::fast::FixedState::with_seed(0)),
            scores: Vec::new(),
            solver: SpdSolver::new(DIM),
            axes: AxesSolver::default(),
            candidates: Vec::new(),
            pair_max: [[0.0; PAIR_SUMS]; 2],
            session_max: [[0.0; SESSION_SUMS]; 2],
            folds: None,
            context: None,
        }
    }
}

impl Gather {
    /// Gathers for one user: the union of the best `each` of every source.
    pub fn run(&mut self, bank: &Bank, factors: Factors<'_>, asker: Asker<'_>, each: usize) {
        self.look(bank, factors, asker);
        self.propose_pairs(each);
        self.propose_sessions(each);
        self.propose_vectors(bank, factors, each);
        self.propose_popular(bank, each);
    }

    /// Gathers what there is to say of the given items, in their order, whoever would propose them. Items that are
    /// excluded are described as if nothing were found of them; items without a row are left out.
    pub fn describe(&mut self, bank: &Bank, factors: Factors<'_>, asker: Asker<'_>, items: &[u32]) {
        self.look(bank, factors, asker);
        self.candidates.extend(items.iter().filter(|item| (**item as usize) < bank.items()));
    }

    fn look(&mut self, bank: &Bank, factors: Factors<'_>, asker: Asker<'_>) {
        self.begin(bank.items(), asker.excluded);
        self.folds = None;
        self.context = None;
        if let Some(user) = asker.user {
            self.sum_pairs(bank, user);
            self.sum_sessions(bank, user);
            self.find_vectors(bank, factors, user);
        }
        self.measure(bank);
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

    /// What was found of an item; zeros if nothing was.
    #[inline]
    pub fn raw(&self, item: u32) -> Raw {
        let place = self.places[item as usize];
        if place.raw_query == self.query { self.raws[place.at as usize] } else { Raw::default() }
    }

    /// Every item that something was found of.
    pub fn found(&self) -> impl Iterator<Item = (u32, &Raw)> {
        self.touched.iter().copied().zip(&self.raws)
    }

    /// Where to note what is found of an item, unless it is excluded.
    #[inline]
    pub(super) fn raw_mut(&mut self, item: u32) -> Option<&mut Raw> {
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

    /// Whether an item may be a candidate.
    #[inline]
    pub(super) fn open(&self, item: u32) -> bool {
        self.places[item as usize].excluded != self.query
    }

    /// Norms of what was found, and the largest of every sum.
    fn measure(&mut self, bank: &Bank) {
        self.pair_max = [[1e-9; PAIR_SUMS]; 2];
        self.session_max = [[1e-9; SESSION_SUMS]; 2];
        self.norms.clear();
        for (raw, item) in self.raws.iter().zip(&self.touched) {
            let norm = norm(bank, *item);
            self.norms.push(norm);
            for at in 0..PAIR_SUMS {
                self.pair_max[0][at] = self.pair_max[0][at].max(raw.pairs[at]);
                self.pair_max[1][at] = self.pair_max[1][at].max(raw.pairs[at] * norm);
            }
            for at in 0..SESSION_SUMS {
                self.session_max[0][at] = self.session_max[0][at].max(raw.sessions[at]);
                self.session_max[1][at] = self.session_max[1][at].max(raw.sessions[at] * norm);
            }
        }
    }

    fn propose_pairs(&mut self, each: usize) {
        for (sum, power) in PAIR_SOURCES {
            self.propose_found(each, power, |raw| raw.pairs[sum]);
        }
    }

    fn propose_sessions(&mut self, each: usize) {
        for sum in 0..SESSION_SUMS {
            self.propose_found(each, Power::Quarter, |raw| raw.sessions[sum]);
        }
    }

    fn propose_found(&mut self, each: usize, power: Power, sum_of: impl Fn(&Raw) -> f32) {
        self.keys.clear();
        for ((raw, norm), item) in self.raws.iter().zip(&self.norms).zip(&self.touched) {
            let sum = sum_of(raw);
            if sum > 0.0 {
                let factor = match power {
                    Power::None => 1.0,
                    Power::Quarter => norm.sqrt(),
                    Power::Half => *norm,
                };
                self.keys.push((sum * factor, *item));
            }
        }
        self.take_keys(each);
    }

    fn propose_popular(&mut self, bank: &Bank, each: usize) {
        for list in &bank.lists {
            let (query, places) = (self.query, &self.places);
            let items = list.iter().filter(|item| places[*item as usize].excluded != query).take(each);
            self.keys.clear();
            self.keys.extend(items.map(|item| (0.0, item)));
            self.take_keys(usize::MAX);
        }
    }

    /// Makes the best `each` of `self.keys` candidates.
    pub(super) fn take_keys(&mut self, each: usize) {
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
}

/// 1 / sqrt(events of the item), 1 for one without.
#[inline]
pub(super) fn norm(bank: &Bank, item: u32) -> f32 {
    1.0 / (bank.counts.get(item as usize).events.max(1) as f32).sqrt()
}

/// The user's bucket of experience.
pub(super) fn bucket(bank: &Bank, user: Option<usize>) -> usize {
    user.map_or(0, |user| cohort(bank.trail(user).count()))
}

/// How sums read now.
pub(super) fn moment(bank: &Bank) -> Moment {
    bank.counts.at(bank.events())
}
