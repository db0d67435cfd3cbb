//! Fitting the item model of a shard under evaluation, by the engine's own refit.

use super::EvaluateError;
use super::spec::Spec;
use crate::engine::fit_epoch;
use crate::shard::messages::Histories;
use crate::state::Shard;

/// Fits the item model over the shard's histories and installs it, if its strategy wants one. Where nothing was learned
/// yet there is nothing to fit: items then are what their tags say, as on a server before its first refit.
///
/// # Errors
/// [`EvaluateError::Fit`].
pub fn refit(shard: &mut Shard, spec: &Spec) -> Result<(), EvaluateError> {
    if !spec.needs_model() {
        return Ok(());
    }
    let histories = Histories::of(shard);
    if histories.users.iter().all(Vec::is_empty) {
        return Ok(());
    }
    let fitted = fit_epoch(&[histories], &[spec.strategy.name()], &spec.around.fit, shard.epoch() + 1);
    let (model, _) = fitted.map_err(|source| EvaluateError::Fit { strategy: spec.label.clone(), source })?;
    shard.install(&model);
    Ok(())
}
