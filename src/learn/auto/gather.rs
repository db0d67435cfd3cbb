//! What a query gathers from the bank: who is a candidate, and what each part says of it, before logarithms.
//!
//! One pass over the neighbours of the user's newest items, one over the trails of like sessions (`sums`), two products
//! over the items alive (`vectors`), and a look at the lists of the most popular. Candidates are the union of the best
//! of every source, or the items that the caller gives. Everything is scratch: nothing of the bank changes.

use crate::base::Rng;
use crate::base::ids::mix;
use crate::learn::ItemModel;
use crate::learn::bank::counts::{Moment, cohort};
use crate::learn::bank::tags::Liking;
use crate::learn::bank::taste::{LOOKED, Taste};
use crate::learn::bank::{Bank, sequence};
use crate::linalg::attention;
use crate::linalg::scatter::{SUMS, Scatter, Sums};
use crate::linalg::{BestSet, ConjugateSolver, Slab};

/// What is summed up of an item, by accumulator (see [`Scatter`]): first four pair sums of the user's newest items,
/// discounted fast; the same discounted slowly; then these.
pub mod sum {
    /// Together, discounted fast; the other pair sums follow.
    pub const NEAR: usize = 0;
    /// Together, discounted slowly; the other pair sums follow.
    pub const FAR: usize = 4;
    /// Together, counted plainly: how much there is to go by.
    pub const COUNT: usize = 8;
    /// After the newest item.
    pub const AFTER_NEWEST: usize = 9;
    /// After the newest item, of late.
    pub const AFTER_NEWEST_LATE: usize = 10;
    /// Together by sitting, over the items of this sitting alone.
    pub const SITTING: usize = 11;
    /// Session neighbours: by likeness.
    pub const LIKE: usize = 12;
    /// After the one before the newest.
    pub const AFTER_SECOND: usize = 13;
    /// Session neighbours: by what followed.
    pub const FOLLOWED: usize = 14;
    /// How many of the user's items know this one.
    pub const SUPPORT: usize = 15;
}

/// Length of the item factors, in principal axes, the largest first.
pub const MODEL_DIM: usize = 128;
/// Of them, the axes that short fold-ins and likeness are about: what a few events can say.
pub const DIM: usize = 32;
/// The user's newest items that a candidate's factor is compared with one by one.
pub const COMPARED: usize = 5;
/// Items found among neighbours that suffice to look for the best by vector among them alone.
pub(super) const FOUND_ENOUGH: usize = 500;
/// Events up to which a user is asked about by its groups.
const FEW: usize = 20;
/// Candidates of other sources for each one that nobody met yet: these are many where a catalogue is loaded, and events on
/// them few.
const FRESH_SHARE: usize = 5;
/// Items with a vector that nobody met yet of which a query looks at, at most.
const FRESH_LOOKED: usize = 1_024;
/// The user's newest items whose tags are liked.
const LIKED: usize = 20;
/// Sources among the sums, and the power of the item's count that divides them.
const SOURCES: [(usize, Power); 6] = [
    (sum::FAR, Power::Half),
    (sum::NEAR + 1, Power::Quarter),
    (sum::NEAR + 2, Power::None),
    (sum::FAR + 3, Power::Quarter),
    (sum::LIKE, Power::Quarter),
    (sum::FOLLOWED, Power::Quarter),
];

#[derive(Clone, Copy, Debug)]
enum Power {
    None,
    Quarter,
    Half,
}

/// The user as the query sees it.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Slot, if the user was seen.
    pub user: Option<usize>,
    /// Rows of what the user met, as far as the history goes back.
    pub met: &'a [u32],
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

/// The user as vectors, made at query time.
#[derive(Clone, Debug, Default)]
pub struct Vectors {
    /// Fold-ins of the newest items; `None` without a model or items.
    pub folds: Option<[[f32; DIM]; 3]>,
    /// Fold-in of all that the user met, each alike.
    pub whole: Option<[f32; MODEL_DIM]>,
    /// Factors of the newest items, each of length 1, newest first; empty without a model.
    pub newest: Vec<[f32; DIM]>,
    /// What attention makes of the user; `None` without that part or without items.
    pub attention: Option<attention::Vector>,
    /// Context of the sequence embedding, and the newest item's input vector, of length 1.
    pub context: Option<[[f32; sequence::DIM]; 2]>,
}

impl Vectors {
    fn forget(&mut self) {
        (self.folds, self.whole, self.context, self.attention) = (None, None, None, None);
        self.newest.clear();
    }
}

/// Scratch of queries, and what the newest one found.
#[derive(Debug)]
pub struct Gather {
    query: u32,
    /// Query in which an item became a candidate.
    chosen: Vec<u32>,
    pub(super) scatter: Scatter,
    /// 1 / sqrt(events) of every item that was found, and the root of that.
    norms: Vec<f32>,
    roots: Vec<f32>,
    best: BestSet,
    /// Items alive that are open to the user.
    pub(super) open: Vec<u32>,
    pub(super) neighbours: Neighbours,
    pub(super) scores: Vec<f32>,
    /// One over the lengths of the candidates' vectors.
    pub(super) lengths: Vec<f32>,
    pub(super) solver: ConjugateSolver,
    /// The candidates: those that were proposed, then those that were added.
    pub candidates: Vec<u32>,
    /// How many of them were proposed.
    pub proposed: usize,
    /// How many of these come of events: what a candidate is compared with.
    pub compared: usize,
    /// Items that are to be described, behind the candidates, as if nobody had met them.
    pub newcomers: Vec<u32>,
    /// Largest of each sum over all that was found, plain and over sqrt(count).
    pub largest: [[f32; SUMS]; 2],
    /// The user as vectors.
    pub vectors: Vectors,
    /// What tags the user likes.
    pub liking: Liking,
    /// What embeddings say of the user, and the fused scores of the candidates.
    pub taste: Taste,
    pub(in crate::learn) fused: Vec<[f32; 2]>,
    /// The user's newest items that belong to this sitting.
    pub sitting: usize,
}

/// Scratch for finding like sessions.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    /// Likeness, slot, latest place of a shared item in the trail.
    pub found: Vec<(f32, u32, i64)>,
    /// Query in which a user was found, and where.
    pub marks: Vec<(u32, u32)>,
}

impl Default for Gather {
    fn default() -> Self {
        Self {
            query: 0,
            chosen: Vec::new(),
            scatter: Scatter::default(),
            norms: Vec::new(),
            roots: Vec::new(),
            best: BestSet::default(),
            open: Vec::new(),
            neighbours: Neighbours::default(),
            scores: Vec::new(),
            lengths: Vec::new(),
            solver: ConjugateSolver::default(),
            candidates: Vec::new(),
            proposed: 0,
            compared: 0,
            newcomers: Vec::new(),
            largest: [[LEAST; SUMS]; 2],
            vectors: Vectors::default(),
            liking: Liking::default(),
            taste: Taste::default(),
            fused: Vec::new(),
            sitting: 0,
        }
    }
}

/// Shares of the largest are shares of this at least.
const LEAST: f32 = 1e-9;

impl Gather {
    /// Gathers for one user: the union of the best `each` of every source.
    pub fn run(&mut self, bank: &Bank, factors: Factors<'_>, asker: Asker<'_>, each: usize) {
        self.look(bank, factors, asker);
        self.propose_found(each);
        self.propose_vectors(bank, factors, each);
        self.propose_popular(bank, each);
        self.propose_groups(bank, asker, each);
        self.compared = self.candidates.len();
        self.propose_fresh(bank, each / FRESH_SHARE);
        self.propose_embedded(bank, each / FRESH_SHARE);
        self.proposed = self.candidates.len();
    }

    /// Adds given items to the candidates of [`Self::run`], whoever would propose them, in their order and though they
    /// stand there already. Items that are excluded are described as if nothing were found of them; items without a row
    /// are left out.
    pub fn add_given(&mut self, bank: &Bank, items: &[u32]) {
        self.candidates.extend(items.iter().filter(|item| (**item as usize) < bank.items()));
    }

    /// Adds `count` items at random, whatever is known of them, to the candidates of [`Self::run`].
    pub fn add_strangers(&mut self, bank: &Bank, count: usize, rng: &mut Rng) {
        let items = bank.alive.items();
        for _ in 0..count.min(items.len()) {
            let item = items[rng.below(items.len() as u64) as usize];
            if self.scatter.open(item) {
                choose(item, self.query, &mut self.chosen, &mut self.candidates);
            }
        }
    }

    /// The item that came and the strangers among the candidates of [`Self::run`] as newcomers, those of which tags or
    /// embeddings would say something to this user; none if they would not of the item that came.
    pub fn add_newcomers(&mut self, bank: &Bank, came: u32) {
        let (tastes, likes) = (self.taste.known(), self.liking.known());
        let speaks = |item: &u32| {
            let item = *item as usize;
            (tastes && bank.embeddings.has(item)) || (likes && !bank.tags.of(item).is_empty())
        };
        let Self { candidates, newcomers, proposed, .. } = self;
        if speaks(&came) {
            newcomers.push(came);
            newcomers.extend(candidates[*proposed..].iter().filter(|item| **item != came && speaks(item)));
        }
        if newcomers.len() == 1 {
            newcomers.clear(); // nothing to tell it from
        }
    }

    fn look(&mut self, bank: &Bank, factors: Factors<'_>, asker: Asker<'_>) {
        self.begin(bank.items(), asker.excluded);
        self.vectors.forget();
        self.sitting = 0;
        self.liking.forget();
        self.taste.forget();
        if let Some(user) = asker.user {
            self.sitting = bank.trail(user).sitting(asker.time_ms);
            self.sum_pairs(bank, user);
            self.sum_sessions(bank, user);
            self.find_vectors(bank, factors, user, asker.met);
            bank.tags.like(bank.trail(user).newest(LIKED), &mut self.liking);
            if bank.embeddings.any() {
                self.taste.of(&bank.embeddings, bank.trail(user).newest(LOOKED));
            }
        }
        self.norms.clear();
        self.norms.extend(self.scatter.items().iter().map(|item| norm(bank, *item)));
        self.roots.clear();
        self.roots.extend(self.norms.iter().map(|norm| norm.sqrt()));
        self.largest = self.scatter.largest(&self.norms, LEAST);
    }

    /// Begins a query: forgets what the one before found; `excluded` are no candidates.
    pub fn begin(&mut self, items: usize, excluded: &[u32]) {
        self.query = self.query.wrapping_add(1);
        if self.query == 0 {
            self.chosen.clear();
            self.neighbours.marks.clear();
            self.query = 1;
        }
        self.chosen.resize(items, 0);
        self.scatter.begin(items);
        excluded.iter().for_each(|item| self.scatter.exclude(*item));
        self.candidates.clear();
        self.newcomers.clear();
    }

    /// Number of this query, for marks.
    pub(super) fn query(&self) -> u32 {
        self.query
    }

    /// What was found of an item; zeros if nothing was.
    #[inline]
    #[must_use]
    pub fn sums(&self, item: u32) -> Sums {
        self.scatter.get(item)
    }

    /// Every item that something was found of.
    pub fn found(&self) -> impl Iterator<Item = (u32, &Sums)> {
        self.scatter.items().iter().copied().zip(self.scatter.sums())
    }

    /// The best by every sum of [`SOURCES`].
    fn propose_found(&mut self, each: usize) {
        let Self { query, scatter, norms, roots, scores, best, chosen, candidates, .. } = self;
        for (at, power) in SOURCES {
            let keys = scatter.sums().iter().map(|Sums(sums)| sums[at]);
            scores.clear();
            match power {
                Power::None => scores.extend(keys),
                Power::Quarter => scores.extend(keys.zip(&*roots).map(|(key, factor)| key * factor)),
                Power::Half => scores.extend(keys.zip(&*norms).map(|(key, factor)| key * factor)),
            }
            let found = best.of(scores, each).iter().filter(|(key, _)| *key > 0.0);
            found.for_each(|(_, at)| choose(scatter.items()[*at as usize], *query, chosen, candidates));
        }
    }

    fn propose_popular(&mut self, bank: &Bank, each: usize) {
        for list in &bank.lists {
            let Self { scatter, candidates, chosen, query, .. } = self;
            let open = list.iter().filter(|item| scatter.open(*item)).take(each);
            open.for_each(|item| choose(item, *query, chosen, candidates));
        }
    }

    /// The items that nobody met yet: those whose tags this user likes most, the newest ones for a stranger.
    fn propose_fresh(&mut self, bank: &Bank, each: usize) {
        let fresh = bank.tags.fresh();
        self.scores.clear();
        for (item, age) in fresh.iter().zip((0..fresh.len()).rev()) {
            let liked = bank.tags.affinity(&self.liking, *item as usize) - 1e-6 * age as f32;
            self.scores.push(if self.scatter.open(*item) { liked } else { f32::NEG_INFINITY });
        }
        self.choose_best(fresh, each);
    }

    /// The items with a vector that nobody met yet, nearest to the user's taste. Of many a part is looked at, another one
    /// after every event, so that each has its turn.
    fn propose_embedded(&mut self, bank: &Bank, each: usize) {
        let fresh = bank.embeddings.fresh();
        if fresh.is_empty() || !self.taste.known() {
            return;
        }
        let mut open = std::mem::take(&mut self.open);
        open.clear();
        let first = mix(bank.events()) as usize % fresh.len();
        let turn = fresh[first..].iter().chain(&fresh[..first]).take(FRESH_LOOKED);
        open.extend(turn.copied().filter(|item| self.scatter.open(*item)));
        self.taste.score(&bank.embeddings, &open, &mut self.fused);
        self.scores.clear();
        self.scores.extend(self.fused.iter().map(|[score, _]| *score));
        self.choose_best(&open, each);
        self.open = open;
    }

    /// To a user of few events: what people alike turn to, by how much they do and how much everybody does.
    fn propose_groups(&mut self, bank: &Bank, asker: Asker<'_>, each: usize) {
        let Some(user) = asker.user.filter(|user| bank.trail(*user).count() < FEW) else { return };
        let Some(alike) = bank.groups.alike(user) else { return };
        let mut items: Vec<u32> = alike.items(4 * each).filter(|item| self.scatter.open(*item)).collect();
        items.sort_unstable(); // the order in which they are kept means nothing
        self.scores.clear();
        let score = |item: &u32| alike.affinity(*item) + bank.counts.get(*item as usize).log_events;
        self.scores.extend(items.iter().map(score));
        self.choose_best(&items, each);
    }

    /// Makes the best of `items` by `self.scores` candidates.
    pub(super) fn choose_best(&mut self, items: &[u32], each: usize) {
        let Self { query, best, scores, chosen, candidates, .. } = self;
        best.of(scores, each).iter().for_each(|(_, at)| choose(items[*at as usize], *query, chosen, candidates));
    }
}

/// Makes an item a candidate, once.
#[inline]
fn choose(item: u32, query: u32, chosen: &mut [u32], candidates: &mut Vec<u32>) {
    let mark = &mut chosen[item as usize];
    if *mark != query {
        *mark = query;
        candidates.push(item);
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
