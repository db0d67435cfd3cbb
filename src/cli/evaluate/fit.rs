//! Fitting the item model of a shard under evaluation, as a refit of the server does it.

use std::ops::ControlFlow;

use super::EvaluateError;
use super::spec::Spec;
use crate::linalg::{Interactions, LinalgError, als};
use crate::state::{EpochModel, EpochPart, Shard};

/// Fits the item model over the shard's histories and installs it, if its strategy wants one.
///
/// # Errors
/// [`EvaluateError::Fit`].
pub fn refit(shard: &mut Shard, spec: &Spec, alive: &mut dyn FnMut()) -> Result<(), EvaluateError> {
    if !spec.needs_model() {
        return Ok(());
    }
    let model =
        fit_epoch(shard, spec, alive).map_err(|source| EvaluateError::Fit { strategy: spec.label.clone(), source })?;
    shard.install(&model);
    Ok(())
}

fn fit_epoch(shard: &Shard, spec: &Spec, alive: &mut dyn FnMut()) -> Result<EpochModel, LinalgError> {
    let ids: Vec<_> = shard.item_ids().cloned().collect();
    let histories = shard.histories();
    let pairs: Vec<(u32, u32)> =
        (0..).zip(&histories).flat_map(|(user, items)| items.iter().map(move |item| (user, *item))).collect();
    let interactions = Interactions::new(histories.len(), ids.len(), &pairs)?;
    let mut parts = Vec::new();
    for dim in shard.model_dims() {
        let options = crate::linalg::IalsOptions { dim, ..spec.around.fit.clone() };
        let fitted = als::fit(&interactions, &options, &mut |_| {
            alive();
            ControlFlow::Continue(())
        })?;
        parts.push(EpochPart { dim, gram: fitted.gram, factors: fitted.factors });
    }
    Ok(EpochModel { epoch: shard.epoch() + 1, ids, parts })
}
