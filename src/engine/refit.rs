//! Fitting the item model anew over the retained histories: pure, on whatever thread the caller gives it.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::EngineError;
use crate::base::Id;
use crate::linalg::{IalsOptions, Interactions, als};
use crate::shard::messages::Histories;
use crate::state::{EpochModel, EpochPart};

/// What a fit was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FitSize {
    /// Users with a history.
    pub users: u64,
    /// Items known.
    pub items: u64,
    /// Pairs of a user and an item.
    pub pairs: u64,
}

/// Fits one factor model for each length that the strategies want. `options.dim` is set from the histories.
///
/// # Errors
/// [`EngineError::NothingToFit`] if no length is wanted, [`EngineError::Fit`] if there are no pairs or the fit fails.
pub fn fit_epoch(
    shards: &[Histories],
    active: &[&'static str],
    options: &IalsOptions,
    epoch: u32,
) -> Result<(EpochModel, FitSize), EngineError> {
    let mut dims: Vec<usize> = shards.iter().flat_map(|shard| shard.dims.iter().copied()).collect();
    dims.sort_unstable();
    dims.dedup();
    if dims.is_empty() {
        return Err(EngineError::NothingToFit { active: active.to_vec() });
    }
    let (ids, pairs, users) = join(shards);
    let interactions = Interactions::new(users, ids.len(), &pairs)?;
    let mut parts = Vec::with_capacity(dims.len());
    for dim in dims {
        let fitted =
            als::fit(&interactions, &IalsOptions { dim, ..options.clone() }, &mut |_| ControlFlow::Continue(()))?
                .into_principal_axes();
        parts.push(EpochPart { dim, gram: fitted.gram, factors: fitted.factors });
    }
    let size = FitSize { users: users as u64, items: ids.len() as u64, pairs: pairs.len() as u64 };
    Ok((EpochModel { epoch, ids, parts }, size))
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
