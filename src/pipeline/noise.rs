//! The noise term `delta_i` of the update `p_f = sum (g(x_i) + delta_i) w_i / sum w_i`: outliers and missing values.
//!
//! With `mu` the mean that is expected of the user and `s` the deviation that is expected around it:
//!
//! ```text
//! mu      = (n u + m p) / (n + m)                    u, p: means of user and population, n events, m of prior
//! s^2     = ((n - 1) s_u^2 + m s_p^2) / (n - 1 + m)  for n > 1, else s_p^2
//! z_i     = (x_i - mu) / s
//! delta_i = (h(z_i) - 1) (x_i - mu)                  an outlier,  h(z) = min(1, k / |z|)
//! x_i     = mu, delta_i = 0                          a missing value
//! ```
//!
//! `x_i + delta_i = mu + h(z_i) (x_i - mu)` is the value drawn towards what was expected, never farther away than `k s`
//! (Huber, *Robust estimation of a location parameter*, Annals of Mathematical Statistics 35, 1964); a learner by
//! gradient gets the same by weighing the event by `h(z_i)`. `mu` is the estimate of James & Stein (1961) in its
//! empirical form (Efron & Morris, *Stein's estimation rule and its competitors*, JASA 68, 1973).
//!
//! [`Moments`] are exact: any order of arrival gives the same bits, and taking a value back undoes its addition.

pub use crate::base::Moments;

/// Events that the population counts as beside a user's own, `m`: after ten events of a kind a user is believed half.
pub const PRIOR_EVENTS: f64 = 10.0;

/// What is expected where nothing was said, or of what will be said next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Imputed {
    /// The expected value, `mu`.
    pub value: f64,
    /// Deviation of values around it, the uncertainty of `mu` included: `s sqrt(1 + 1 / (n + m))`; 0 if the population
    /// has one value or all are the same.
    pub deviation: f64,
}

/// The value to expect of a user where it is missing: the user's own mean of that kind, shrunk to the population's by
/// [`PRIOR_EVENTS`]. `None` if nobody ever had a value of that kind; a user without a population stands for itself.
#[must_use]
pub fn impute(user: &Moments, population: &Moments) -> Option<Imputed> {
    let own = user.mean();
    let all = population.mean().or(own)?;
    let count = user.count() as f64;
    let value = (count * own.unwrap_or(all) + PRIOR_EVENTS * all) / (count + PRIOR_EVENTS);
    let (around_own, around_all) = (user.variance(), population.variance().or(user.variance()).unwrap_or(0.0));
    let around = around_own.map_or(around_all, |variance| {
        ((count - 1.0) * variance + PRIOR_EVENTS * around_all) / (count - 1.0 + PRIOR_EVENTS)
    });
    Some(Imputed { value, deviation: (around * (1.0 + 1.0 / (count + PRIOR_EVENTS))).sqrt() })
}

/// Huber's weight of a standardised residual, `min(1, k / |z|)`, in 0..=1: 1 within `k`, 0 for what is no number.
///
/// `k` is above 0; anything else weighs nothing.
#[must_use]
pub fn huber(z: f64, k: f64) -> f64 {
    match (z.abs(), k > 0.0) {
        (_, false) => 0.0,
        (size, true) if size <= k => 1.0,
        (size, true) if size > k => k / size,
        // Not a number.
        _ => 0.0,
    }
}

/// How far a value is from what was expected of the user, in deviations: `z = (x - mu) / s`. Ask before the value is
/// added. `None` where that says nothing: nobody has a value of that kind yet, or all have the same one.
#[must_use]
pub fn residual(value: f64, user: &Moments, population: &Moments) -> Option<f64> {
    let expected = impute(user, population)?;
    (expected.deviation > 0.0).then(|| (value - expected.value) / expected.deviation)
}

#[cfg(test)]
mod tests;
