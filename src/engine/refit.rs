//! Fitting the item model anew over the retained histories: pure, on whatever thread the caller gives it.
//!
//! A fit goes on from the model there is ([`FitFrom`]): items keep their factors by id and new ones start at random, so
//! that a few sweeps do what the first fit needs many for. The model comes out in its principal axes, where users are
//! folded in by small systems.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::EngineError;
use crate::base::ids::mix;
use crate::base::{Id, Rng};
use crate::linalg::als::{self, initial_factor};
use crate::linalg::{FitProgress, IalsOptions, Interactions, LinalgError};
use crate::shard::messages::Histories;
use crate::state::{EpochModel, EpochPart};

/// What a fit was made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitSize {
    /// Users with a history.
    pub users: u64,
    /// Items known.
    pub items: u64,
    /// Pairs of a user and an item.
    pub pairs: u64,
    /// Sweeps over all of them, the most that a length of factor took.
    pub sweeps: usize,
    /// What the fit of the longest factors came to (see [`als`]).
    pub objective: f64,
}

/// The model that a fit goes on from.
#[derive(Clone, Copy, Debug)]
pub struct FitFrom<'a> {
    /// The model.
    pub model: &'a EpochModel,
    /// Sweeps from there.
    pub sweeps: usize,
}

/// Least share of the items that a model must know for a fit to go on from it; below, factors that are new to each
/// other want as many sweeps as any first fit.
const KNOWN_MIN: f64 = 0.5;

/// Fits one factor model for each length that the strategies want, from random factors. `options.dim` is set from the
/// histories.
///
/// # Errors
/// [`EngineError::NothingToFit`] if no length is wanted, [`EngineError::Fit`] if there are no pairs or the fit fails.
pub fn fit_epoch(
    shards: &[Histories],
    active: &[&'static str],
    options: &IalsOptions,
    epoch: u32,
) -> Result<(EpochModel, FitSize), EngineError> {
    fit_epoch_from(None, shards, active, options, epoch, &mut |_| ControlFlow::Continue(()))
}

/// As [`fit_epoch`], going on from a model, telling `report` the share that is done; it can stop the fit.
///
/// # Errors
/// As [`fit_epoch`]; [`EngineError::Stopping`] if `report` said so.
pub fn fit_epoch_from(
    from: Option<FitFrom<'_>>,
    shards: &[Histories],
    active: &[&'static str],
    options: &IalsOptions,
    epoch: u32,
    report: &mut dyn FnMut(f64) -> ControlFlow<()>,
) -> Result<(EpochModel, FitSize), EngineError> {
    let mut dims: Vec<usize> = shards.iter().flat_map(|shard| shard.dims.iter().copied()).collect();
    dims.sort_unstable();
    dims.dedup();
    if dims.is_empty() {
        return Err(EngineError::NothingToFit { active: active.to_vec() });
    }
    let (ids, pairs, users) = join(shards);
    let interactions = Interactions::new(users, ids.len(), &pairs)?;
    let mut size = FitSize {
        users: users as u64,
        items: ids.len() as u64,
        pairs: pairs.len() as u64,
        sweeps: 0,
        objective: f64::NAN,
    };
    let work: usize = dims.iter().map(|dim| dim * dim).sum();
    let (mut parts, mut done) = (Vec::with_capacity(dims.len()), 0);
    for dim in dims {
        let mut options = IalsOptions { dim, ..options.clone() };
        let start = from.and_then(|from| Some((from.sweeps, known_factors(from.model, &ids, &options)?)));
        let (sweeps, start) = start.unwrap_or_else(|| (options.iterations, options.first_factors(ids.len())));
        options.iterations = sweeps;
        let mut tell = |FitProgress { solved, to_solve, .. }: FitProgress| {
            let here = solved as f64 / to_solve.max(1) as f64;
            report((done as f64 + here * (dim * dim) as f64) / work as f64)
        };
        let fitted = match als::fit_from(&interactions, &options, start, &mut tell) {
            Err(LinalgError::Stopped { .. }) => return Err(EngineError::Stopping("refit")),
            fitted => fitted?.0.into_principal_axes(),
        };
        (size.sweeps, size.objective) = (size.sweeps.max(sweeps), fitted.objective);
        parts.push(EpochPart { dim, gram: fitted.gram, factors: fitted.factors });
        done += dim * dim;
    }
    Ok((EpochModel { epoch, ids, parts }, size))
}

/// Factors to go on from, in the order of `ids`: those of the model, and random ones that depend on the id alone for items
/// that it does not know or knows nothing of (zeros would stay as they are). `None` if it knows too few.
fn known_factors(model: &EpochModel, ids: &[Id], options: &IalsOptions) -> Option<Vec<f32>> {
    let part = model.parts.iter().find(|part| part.dim == options.dim)?;
    let factors = part.factors.chunks_exact(part.dim).filter(|factor| factor.iter().any(|value| *value != 0.0));
    let known: HashMap<&Id, &[f32]> = model.ids.iter().zip(part.factors.chunks_exact(part.dim)).collect();
    if (factors.count() as f64) < KNOWN_MIN * ids.len() as f64 {
        return None;
    }
    let mut start = Vec::with_capacity(ids.len() * part.dim);
    for id in ids {
        match known.get(id).filter(|factor| factor.iter().any(|value| *value != 0.0)) {
            Some(factor) => start.extend_from_slice(factor),
            None => start.extend(initial_factor(&mut Rng::new(mix(options.seed ^ id.as_ref().stable_hash())), options)),
        }
    }
    Some(start)
}

/// One numbering of items and users over all shards. With one shard, items keep their rows.
fn join(shards: &[Histories]) -> (Vec<Id>, Vec<(u32, u32)>, usize) {
    let mut ids: Vec<Id> = Vec::new();
    let mut numbers: HashMap<&Id, u32> = HashMap::new();
    let (mut pairs, mut users) = (Vec::new(), 0_u32);
    for shard in shards {
        let rows: Vec<u32> = shard
            .items
            .iter()
            .map(|id| {
                *numbers.entry(id).or_insert_with(|| {
                    ids.push(id.clone());
                    u32::try_from(ids.len() - 1).expect("rows are numbered in u32")
                })
            })
            .collect();
        for history in &shard.users {
            pairs.extend(history.iter().map(|row| (users, rows[*row as usize])));
            users += 1;
        }
    }
    (ids, pairs, users as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Users and items in four camps, so that there is something to find; the items of `count` ids.
    fn histories(seed: u64, users: u64, count: u64) -> Histories {
        let mut rng = Rng::new(seed);
        let mut user = |camp: u64| {
            let mut rows: Vec<u32> = (0..12)
                .map(|_| {
                    let any = rng.below(count) as u32;
                    if rng.below(8) == 0 { any } else { any / 4 * 4 % (count as u32 - 4) + camp as u32 }
                })
                .collect();
            rows.sort_unstable();
            rows.dedup();
            rows
        };
        let users = (0..users).map(|at| user(at % 4)).collect();
        Histories { items: (0..count).map(Id::Int).collect(), users, dims: vec![8, 16], ..Histories::default() }
    }

    fn go_on(_: f64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// A few sweeps from the factors that there are come as far as all sweeps from random ones, with new items and users
    /// among them; as many from random ones do not.
    #[test]
    fn a_fit_that_goes_on_needs_few_sweeps() {
        let options = IalsOptions::default();
        // As it was: users who are to come and items past 200 not there yet.
        let (mut before, now) = (histories(3, 300, 200), histories(3, 380, 220));
        before.users = now.users[..300].to_vec();
        before.users.iter_mut().for_each(|rows| rows.retain(|row| *row < 200));
        let (model, first) = fit_epoch(&[before], &["fold_in"], &options, 1).unwrap();
        assert_eq!((first.sweeps, first.users, first.items), (16, 300, 200));
        let now = [now];
        let mut shares = Vec::new();
        let mut note = |share| {
            shares.push(share);
            ControlFlow::Continue(())
        };
        let from = Some(FitFrom { model: &model, sweeps: 3 });
        let (next, warm) = fit_epoch_from(from, &now, &["fold_in"], &options, 2, &mut note).unwrap();
        let (_, cold) = fit_epoch(&now, &["fold_in"], &options, 2).unwrap();
        let few = IalsOptions { iterations: 3, ..options };
        let (_, short) = fit_epoch(&now, &["fold_in"], &few, 2).unwrap();
        assert_eq!((warm.sweeps, warm.items, next.epoch), (3, 220, 2));
        assert!(warm.objective < 1.02 * cold.objective, "{} warm, {} cold", warm.objective, cold.objective);
        assert!(warm.objective < short.objective, "{} warm, {} short", warm.objective, short.objective);
        assert!(shares.is_sorted() && shares.last().is_some_and(|last| (last - 1.0).abs() < 1e-9), "{shares:?}");
        for part in &next.parts {
            let beside = (0..part.gram.len()).filter(|at| !at.is_multiple_of(part.dim + 1));
            assert!(beside.into_iter().all(|at| part.gram[at] == 0.0), "principal axes");
        }
    }

    #[test]
    fn a_model_that_knows_few_items_is_no_start_and_a_stop_is_told() {
        let options = IalsOptions { iterations: 5, ..IalsOptions::default() };
        let (model, _) = fit_epoch(&[histories(5, 100, 60)], &["fold_in"], &options, 1).unwrap();
        let now = [histories(5, 100, 200)];
        let from = Some(FitFrom { model: &model, sweeps: 2 });
        let (_, size) = fit_epoch_from(from, &now, &["fold_in"], &options, 2, &mut go_on).unwrap();
        assert_eq!(size.sweeps, 5);
        let stopped = fit_epoch_from(None, &now, &["fold_in"], &options, 2, &mut |_| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(EngineError::Stopping("refit"))), "{stopped:?}");
        let nothing = fit_epoch(&[Histories { dims: Vec::new(), ..histories(5, 10, 20) }], &["bpr"], &options, 1);
        assert!(matches!(nothing, Err(EngineError::NothingToFit { .. })));
    }
}
