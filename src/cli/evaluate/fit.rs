//! Fitting the item model of a shard under evaluation, by the engine's own refit.

use super::EvaluateError;
use super::spec::Spec;
use crate::engine::fit_epoch;
use crate::shard::messages::Histories;
use crate::state::Shard;

/// Fits the item model over the shard's histories and installs it, if its strategy wants one.
///
/// # Errors
/// [`EvaluateError::Fit`].
pub fn refit(shard: &mut Shard, spec: &Spec) -> Result<(), EvaluateError> {
    if !spec.needs_model() {
        return Ok(());
    }
    let fitted = fit_epoch(&[Histories::of(shard)], &[spec.strategy.name()], &spec.around.fit, shard.epoch() + 1);
    let (model, _) = fitted.map_err(|source| EvaluateError::Fit { strategy: spec.label.clone(), source })?;
    shard.install(&model);
    Ok(())
}
