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
//! To add one: a file here, a name in `strategies!`, a section in `config.toml`; `checks` runs over every name.

mod biased_mf;
#[cfg(test)]
mod checks;
mod decay;
mod fold_in;
mod mean;
pub mod parameters;
mod popularity;
pub mod ratings;

pub use biased_mf::BiasedMf;
pub use decay::Decay;
pub use fold_in::FoldIn;
pub use mean::Mean;
pub use parameters::{Parameter, ParameterError};
pub use popularity::Popularity;

use crate::linalg::Slab;
use crate::linalg::solve::SpdSolver;

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
    /// `unobserved_weight x H'H`, `dim x dim`, column-major; empty at epoch 0.
    pub gram: Vec<f32>,
    /// Items that the model was fitted over.
    pub items: u64,
}

/// Scratch of one shard: solvers and buffers that strategies use and nobody keeps.
#[derive(Debug, Default)]
pub struct Work {
    solvers: Vec<SpdSolver>,
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

    /// Whether [`Self::fold_in`] runs after each event, instead of [`Self::learn_one`].
    fn learns_from_history(&self) -> bool {
        false
    }

    /// Makes the user's column anew from `recent` (newest first) against the item columns of the present epoch.
    fn fold_in(&self, _user: &mut [f32], _recent: &[Recent], _items: &Slab, _model: &ItemModel, _work: &mut Work) {}

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

            /// See [`Learner::query`].
            #[inline]
            pub fn query(&self, user: &[f32], mean: f32, query: &mut [f32]) -> f32 {
                match self { $(Self::$variant(inner) => inner.query(user, mean, query)),* }
            }
        }
    };
}

strategies!(Decay, Mean, BiasedMf, FoldIn, Popularity);

impl Strategy {
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
