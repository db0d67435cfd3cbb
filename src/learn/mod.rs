//! Floor 3: update strategies. A strategy holds hyper-parameters only; memory is handed to it as columns.
//!
//! The verbs are River's (`learn_one`, `score_one`, `rank`) with the ownership turned round: River's models own their
//! users, ours are handed a slice. The slab is therefore the snapshot, nothing is allocated per event, and a strategy
//! is tested with two arrays.
//!
//! *Linear scores.* Every strategy but popularity scores as `offset + query . item`, where the query is made from the
//! user's column ([`Learner::query`]). Ranking is one matrix-vector product for all of them, and an explanation can
//! take the score apart.
//!
//! *Both sides.* [`Learner::learn_one`] updates both columns from both old values. The owner of the user keeps the user
//! column, the owner of the item keeps the item column; where they are two shards the user column **as it was read**
//! travels, each runs the same function, and each drops the other half.
//!
//! *Other items.* A sign of interest says nothing of what was passed over, so some strategies contrast each event with
//! items that stand for it ([`Learner::negatives`], [`Learner::contrast`]); who those are is the shard's to say.
//!
//! To add one: a file here, a name in `strategies!`, a section in `config.toml`; `checks` runs over every name.

pub mod auto;
pub mod bank;
mod banked;
mod biased_mf;
mod bpr;
#[cfg(test)]
mod checks;
mod decay;
mod eals;
mod fold_in;
mod isgd;
mod mean;
pub mod parameters;
mod popularity;
mod raisgd;
pub mod ratings;

pub use banked::{Attention, Auto, Content, ItemKnn, Opinions, OverBank, Sequence, SessionKnn, Trend};
pub use biased_mf::BiasedMf;
pub use bpr::Bpr;
pub use decay::Decay;
pub use eals::Eals;
pub use fold_in::FoldIn;
pub use isgd::Isgd;
pub use mean::Mean;
pub use parameters::{Parameter, ParameterError};
pub use popularity::Popularity;
pub use raisgd::Raisgd;

use crate::linalg::solve::SpdSolver;
use crate::linalg::{AxesSolver, Slab, Sweep};

/// A sitting of a user ends with a gap longer than this, in milliseconds.
pub const SITTING_MS: i64 = 3_600_000;

/// One part of a score or of a predicted value, for those who explain it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScorePart {
    /// What it comes from.
    pub name: &'static str,
    /// How much.
    pub value: f32,
}

/// Where a strategy's item columns come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemSide {
    /// It has none.
    Absent,
    /// Learned event by event, by the item's owner.
    Learned,
    /// From the item model: tag signatures at epoch 0, fitted factors from epoch 1 on.
    Model,
}

/// What a strategy keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// `f32`s a user.
    pub user_rows: usize,
    /// `f32`s an item.
    pub item_rows: usize,
    /// Where the item's come from.
    pub items: ItemSide,
    /// Whether it predicts the value of an explicit event.
    pub predicts_value: bool,
}

/// The items that an event is contrasted with, besides its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negatives {
    /// None: the event teaches by itself.
    Absent,
    /// So many of the items that had no event for longest; being chosen counts as an event.
    LongestUnseen(usize),
    /// So many drawn among all items outside the user's history.
    Drawn(usize),
}

/// What a strategy needs that solves the user's and the item's column anew at each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweeps {
    /// Newest events of a user that are handed to it.
    pub history: usize,
    /// Newest users of an item that are kept for it.
    pub audience: usize,
    /// `f32`s that a shard keeps once.
    pub shared_rows: usize,
}

/// The users of an item.
#[derive(Clone, Copy, Debug)]
pub struct Audience<'a> {
    /// Columns of the newest users of this shard, each once, oldest first.
    pub slots: &'a [u32],
    /// All users of this shard.
    pub users: &'a Slab,
    /// The user of another shard whose event this is, as that column was read.
    pub guest: Option<&'a [f32]>,
}

/// One event, as a strategy sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The observed value.
    pub value: f32,
    /// Importance to what is learned of interest, 0 or more.
    pub weight: f32,
    /// Whether the value is a judgement.
    pub explicit: bool,
    /// Mean of all explicit values so far, this one included (the mu of biased factorisation).
    pub mean: f32,
    /// Milliseconds since the newest event of this user before; negative for a late event, 0 for the first.
    pub since_ms: i64,
}

/// One remembered event, for strategies that work from the history. Newest first in lists.
#[derive(Clone, Copy, Debug)]
pub struct Recent {
    /// Column of the item.
    pub item: u32,
    /// What the event weighed.
    pub weight: f32,
    /// Milliseconds from the event before it (0 for the oldest).
    pub since_ms: i64,
}

/// The fitted model behind the item columns of one strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemModel {
    /// 0 until the first refit.
    pub epoch: u32,
    /// `unobserved_weight x H'H`: `dim` numbers where that is diagonal, else `dim x dim`; empty at epoch 0.
    pub gram: Vec<f32>,
    /// Items that the model was fitted over.
    pub items: u64,
}

/// Scratch of one shard: solvers and buffers that strategies use and nobody keeps.
#[derive(Debug, Default)]
pub struct Work {
    solvers: Vec<SpdSolver>,
    axes: AxesSolver,
    sweep: Sweep,
    old: Vec<f32>,
}

impl Work {
    /// The solver for systems of `dim` unknowns, made at first use.
    fn solver(&mut self, dim: usize) -> &mut SpdSolver {
        let at = self.solvers.iter().position(|solver| solver.dim() == dim).unwrap_or_else(|| {
            self.solvers.push(SpdSolver::new(dim));
            self.solvers.len() - 1
        });
        &mut self.solvers[at]
    }
}

/// An update strategy.
pub trait Learner {
    /// Its name in configuration, on the wire and in snapshots.
    const NAME: &'static str;

    /// What it keeps.
    fn shape(&self) -> Shape;

    /// Fills the column of a new user. `seed` belongs to the id, so the order of arrival does not matter.
    fn init_user(&self, _seed: u64, _user: &mut [f32]) {}

    /// Fills the column of a new item.
    fn init_item(&self, _seed: u64, _item: &mut [f32]) {}

    /// Learns one event: both columns from both old values (see the module's head).
    fn learn_one(&self, _user: &mut [f32], _item: &mut [f32], _seen: &Seen) {}

    /// Which items [`Self::contrast`] is called with.
    fn negatives(&self) -> Negatives {
        Negatives::Absent
    }

    /// Learns that the user was with `item` and not with `other`: once for each of [`Self::negatives`], before
    /// [`Self::learn_one`]. The columns of both items are kept where their owner runs this, as in `learn_one`.
    fn contrast(&self, _user: &mut [f32], _item: &mut [f32], _other: &mut [f32], _seen: &Seen) {}

    /// Rows of an item's column, from the first, that say what the item is like; biases and counts stand behind them.
    fn factor_rows(&self) -> usize {
        self.shape().item_rows
    }

    /// Whether [`Self::fold_in`] runs after each event, instead of [`Self::learn_one`].
    fn learns_from_history(&self) -> bool {
        false
    }

    /// Makes the user's column anew from `recent` (newest first) against the item columns of the present epoch.
    fn fold_in(&self, _user: &mut [f32], _recent: &[Recent], _items: &Slab, _model: &ItemModel, _work: &mut Work) {}

    /// What [`Self::sweep_user`] and [`Self::sweep_item`] need, if they run after each event that weighs something,
    /// instead of [`Self::learn_one`].
    fn sweeps(&self) -> Option<Sweeps> {
        None
    }

    /// Makes the user's column anew from `recent` (newest first), and `shared` with it.
    fn sweep_user(&self, _user: &mut [f32], _recent: &[Recent], _items: &Slab, _shared: &mut [f32], _work: &mut Work) {}

    /// Makes the item's column anew from its users, the user of the event among them, and `shared` with it.
    fn sweep_item(&self, _item: &mut [f32], _audience: &Audience<'_>, _shared: &mut [f32], _work: &mut Work) {}

    /// An item's column was replaced by what its owner published.
    fn item_replaced(&self, _old: &[f32], _new: &[f32], _shared: &mut [f32]) {}

    /// A user's column was put there as another shard has swept it.
    fn user_came(&self, _user: &[f32], _shared: &mut [f32]) {}

    /// Makes the query of this user: `score(item) = offset + query . item`; returns the offset. `query` is as long as an
    /// item column and comes zeroed; `mean` is the running mean of explicit values.
    fn query(&self, user: &[f32], mean: f32, query: &mut [f32]) -> f32;
}

macro_rules! strategies {
    ($($variant:ident),* $(,)?) => {
        /// Every strategy. Dispatch is one predictable branch; the list is what checks iterate over.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Strategy {
            $(#[doc = concat!("See [`", stringify!($variant), "`].")] $variant($variant),)*
        }

        impl Strategy {
            /// The names of all strategies.
            pub const NAMES: &'static [&'static str] = &[$($variant::NAME),*];

            /// The strategy of this name with its default parameters.
            #[must_use]
            pub fn default_named(name: &str) -> Option<Self> {
                $(if name == $variant::NAME { return Some(Self::$variant($variant::default())); })*
                None
            }

            /// Its name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $variant::NAME),* }
            }

            /// See [`Learner::shape`].
            #[must_use]
            pub fn shape(&self) -> Shape {
                match self { $(Self::$variant(inner) => inner.shape()),* }
            }

            /// See [`Learner::init_user`].
            pub fn init_user(&self, seed: u64, user: &mut [f32]) {
                match self { $(Self::$variant(inner) => inner.init_user(seed, user)),* }
            }

            /// See [`Learner::init_item`].
            pub fn init_item(&self, seed: u64, item: &mut [f32]) {
                match self { $(Self::$variant(inner) => inner.init_item(seed, item)),* }
            }

            /// See [`Learner::learn_one`].
            #[inline]
            pub fn learn_one(&self, user: &mut [f32], item: &mut [f32], seen: &Seen) {
                match self { $(Self::$variant(inner) => inner.learn_one(user, item, seen)),* }
            }

            /// See [`Learner::negatives`].
            #[must_use]
            pub fn negatives(&self) -> Negatives {
                match self { $(Self::$variant(inner) => inner.negatives()),* }
            }

            /// See [`Learner::contrast`].
            #[inline]
            pub fn contrast(&self, user: &mut [f32], item: &mut [f32], other: &mut [f32], seen: &Seen) {
                match self { $(Self::$variant(inner) => inner.contrast(user, item, other, seen)),* }
            }

            /// See [`Learner::factor_rows`].
            #[must_use]
            pub fn factor_rows(&self) -> usize {
                match self { $(Self::$variant(inner) => inner.factor_rows()),* }
            }

            /// See [`Learner::learns_from_history`].
            #[must_use]
            #[inline]
            pub fn learns_from_history(&self) -> bool {
                match self { $(Self::$variant(inner) => inner.learns_from_history()),* }
            }

            /// See [`Learner::fold_in`].
            pub fn fold_in(&self, user: &mut [f32], recent: &[Recent], items: &Slab, model: &ItemModel, work: &mut Work) {
                match self { $(Self::$variant(inner) => inner.fold_in(user, recent, items, model, work)),* }
            }

            /// See [`Learner::sweeps`].
            #[must_use]
            pub fn sweeps(&self) -> Option<Sweeps> {
                match self { $(Self::$variant(inner) => inner.sweeps()),* }
            }

            /// See [`Learner::sweep_user`].
            pub fn sweep_user(&self, user: &mut [f32], recent: &[Recent], items: &Slab, shared: &mut [f32], work: &mut Work) {
                match self { $(Self::$variant(inner) => inner.sweep_user(user, recent, items, shared, work)),* }
            }

            /// See [`Learner::sweep_item`].
            pub fn sweep_item(&self, item: &mut [f32], audience: &Audience<'_>, shared: &mut [f32], work: &mut Work) {
                match self { $(Self::$variant(inner) => inner.sweep_item(item, audience, shared, work)),* }
            }

            /// See [`Learner::item_replaced`].
            pub fn item_replaced(&self, old: &[f32], new: &[f32], shared: &mut [f32]) {
                match self { $(Self::$variant(inner) => inner.item_replaced(old, new, shared)),* }
            }

            /// See [`Learner::user_came`].
            pub fn user_came(&self, user: &[f32], shared: &mut [f32]) {
                match self { $(Self::$variant(inner) => inner.user_came(user, shared)),* }
            }

            /// See [`Learner::query`].
            #[inline]
            pub fn query(&self, user: &[f32], mean: f32, query: &mut [f32]) -> f32 {
                match self { $(Self::$variant(inner) => inner.query(user, mean, query)),* }
            }
        }
    };
}

strategies!(
    Auto, Decay, Mean, BiasedMf, FoldIn, Popularity, ItemKnn, SessionKnn, Trend, Sequence, Attention, Isgd, Raisgd,
    Bpr, Eals, Content
);

impl Strategy {
    /// Whether it is meant for ranking items; else it predicts values only.
    #[must_use]
    pub fn ranks(&self) -> bool {
        !matches!(self, Self::BiasedMf(_))
    }

    /// Whether it ranks by the bank, and has no query.
    #[must_use]
    pub fn over_bank(&self) -> bool {
        matches!(self, Self::Auto(_)) || self.as_over_bank().is_some()
    }

    /// The strategy, if one part of the bank is all that it ranks by.
    #[must_use]
    pub fn as_over_bank(&self) -> Option<&dyn OverBank> {
        match self {
            Self::ItemKnn(strategy) => Some(strategy),
            Self::SessionKnn(strategy) => Some(strategy),
            Self::Trend(strategy) => Some(strategy),
            Self::Sequence(strategy) => Some(strategy),
            Self::Attention(strategy) => Some(strategy),
            Self::Content(strategy) => Some(strategy),
            _ => None,
        }
    }

    /// The newest events of a user that it reads at each event, if it reads any.
    #[must_use]
    pub fn reads_history(&self) -> Option<usize> {
        match self {
            Self::FoldIn(fold_in) => Some(fold_in.history),
            _ => self.sweeps().map(|sweeps| sweeps.history),
        }
    }

    /// Whether scores are the item's popularity and no query exists.
    #[must_use]
    pub fn ranks_by_popularity(&self) -> bool {
        matches!(self, Self::Popularity(_))
    }

    /// The score of one item: `offset + query . item`.
    #[must_use]
    pub fn score_one(&self, user: &[f32], item: &[f32], mean: f32, query: &mut [f32]) -> f32 {
        query.fill(0.0);
        let offset = self.query(user, mean, query);
        offset + crate::linalg::kernels::dot(query, item)
    }
}
