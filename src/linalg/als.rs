//! Implicit alternating least squares (iALS): item factors from who has what, and users folded in exactly.
//!
//! Hu, Koren & Volinsky 2008 in the form of Rendle, Krichene, Zhang & Koren 2022 ("Revisiting the performance of iALS
//! on item recommendation benchmarks"). For pairs S with weights g, user factors w and item factors h it minimises
//!
//! ```text
//!   sum over S of g (1 - w.h)^2  +  a0 sum over all pairs (w.h)^2
//!   + l2 [ sum_u (n_u + a0 |I|) |w_u|^2  +  sum_i (n_i + a0 |U|) |h_i|^2 ]
//! ```
//!
//! with n_u, n_i the sums of g of a user's and an item's pairs (frequency-scaled regularisation, nu = 1) and a0 the
//! [`IalsOptions::unobserved_weight`]. Each half step solves every row exactly, so the objective never rises.
//!
//! Storage is `f32`, one thread, the same result for the same seed on one machine. Rows without pairs are zero.

use std::ops::ControlFlow;

use super::LinalgError;
use super::fold_in::{FoldInTerms, solve_row};
use super::interactions::{Interactions, Rows};
use super::solve::{SpdSolver, gram};
use crate::base::Rng;
use crate::base::limits::DIM_MAX;

/// Multiplications between two calls of the progress function: half a millisecond of work, whatever the dimension and
/// however many pairs a row has. Who shares a core with others gives way there: left to itself the system takes the core
/// from it after milliseconds.
const WORK_PER_REPORT: usize = 1 << 21;

/// What [`fit`] is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct IalsOptions {
    /// Numbers per factor, 1 to [`DIM_MAX`].
    pub dim: usize,
    /// Times that all users and then all items are solved, at least 1.
    pub iterations: usize,
    /// Regularisation per (weighted) pair, at least 0.
    pub l2: f64,
    /// a0: weight of "no event" against the weight 1 of an event, at least 0.
    pub unobserved_weight: f64,
    /// Standard deviation of an initial factor's norm: numbers start as normal(0, `init_std` / sqrt(dim)), above 0.
    pub init_std: f64,
    /// Seed of the initial factors.
    pub seed: u64,
}

impl Default for IalsOptions {
    /// A compromise that does well by both `decay` and `fold_in` on MovieLens-100K and on a shop's stream, chosen on events
    /// before the last tenth of each; no stream is best served by it.
    fn default() -> Self {
        Self { dim: 64, iterations: 16, l2: 0.01, unobserved_weight: 0.2, init_std: 0.1, seed: 1 }
    }
}

/// How far a fit is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitProgress {
    /// Iteration under way, from 1.
    pub iteration: usize,
    /// Iterations asked for.
    pub iterations: usize,
    /// Rows solved so far, over all iterations.
    pub solved: u64,
    /// Rows that will have been solved at the end.
    pub to_solve: u64,
    /// The objective (see the module's head) after the last complete half step; NaN before the first.
    pub objective: f64,
}

/// What a fit leaves: enough to fold any user in and to score any item.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemFactors {
    /// Numbers per factor.
    pub dim: usize,
    /// Items, with or without pairs.
    pub items: usize,
    /// Item-major: item `i` has `factors[i * dim..][..dim]`.
    pub factors: Vec<f32>,
    /// `unobserved_weight` x H'H, `dim * dim`, symmetric.
    pub gram: Vec<f32>,
    /// Regularisation per weighted pair that the fit used.
    pub l2: f64,
    /// a0 that the fit used.
    pub unobserved_weight: f64,
    /// The objective at the end.
    pub objective: f64,
}

impl ItemFactors {
    /// Item `item`'s factor.
    ///
    /// # Panics
    /// If there is no such item.
    #[must_use]
    pub fn row(&self, item: usize) -> &[f32] {
        &self.factors[item * self.dim..][..self.dim]
    }

    /// What [`fold_in`](super::fold_in()) needs besides a user's events.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of items are far below 2^52")]
    pub fn terms(&self) -> FoldInTerms<'_> {
        FoldInTerms { gram: &self.gram, l2: self.l2, unobserved_mass: self.unobserved_weight * self.items as f64 }
    }
}

/// Fits item factors to `interactions`. `report` is called every millisecond or so and can stop the fit.
///
/// # Errors
/// [`LinalgError::BadOption`], [`LinalgError::NoPairs`], [`LinalgError::Stopped`] if `report` said so,
/// [`LinalgError::NotPositiveDefinite`] if the regularisation is too weak for the data.
pub fn fit(
    interactions: &Interactions,
    options: &IalsOptions,
    report: &mut dyn FnMut(FitProgress) -> ControlFlow<()>,
) -> Result<ItemFactors, LinalgError> {
    fit_both(interactions, options, report).map(|(items, _)| items)
}

/// As [`fit`], and also the user factors (user-major) of the last half step over users.
///
/// # Errors
/// As [`fit`].
pub fn fit_both(
    interactions: &Interactions,
    options: &IalsOptions,
    report: &mut dyn FnMut(FitProgress) -> ControlFlow<()>,
) -> Result<(ItemFactors, Vec<f32>), LinalgError> {
    options.check()?;
    fit_from(interactions, options, options.first_factors(interactions.items()), report)
}

/// As [`fit_both`], from these item factors (item-major) instead of random ones: a refit of a model that changed
/// little needs a sweep or two where the first fit needs many.
///
/// # Errors
/// As [`fit`].
///
/// # Panics
/// If there are not `dim` numbers for each item.
pub fn fit_from(
    interactions: &Interactions,
    options: &IalsOptions,
    start: Vec<f32>,
    report: &mut dyn FnMut(FitProgress) -> ControlFlow<()>,
) -> Result<(ItemFactors, Vec<f32>), LinalgError> {
    options.check()?;
    let (users, items) = (interactions.users(), interactions.items());
    if interactions.pairs() == 0 {
        return Err(LinalgError::NoPairs { users, items });
    }
    let dim = options.dim;
    assert_eq!(start.len(), items * dim, "factors to start from");
    let mut of_items = start;
    // Written to at once, so that whoever has set memory aside for a fit knows what it takes before it goes on for minutes.
    let mut of_users = Vec::with_capacity(users * dim);
    of_users.resize(users * dim, 0.0_f32);
    let mut solver = SpdSolver::new(dim);
    let progress = FitProgress {
        iteration: 0,
        iterations: options.iterations,
        solved: 0,
        to_solve: ((users + items) * options.iterations) as u64,
        objective: f64::NAN,
    };
    let mut steps = HalfSteps { options, solver: &mut solver, progress, report };
    for iteration in 1..=options.iterations {
        steps.progress.iteration = iteration;
        steps.run(&interactions.by_user, &of_items, items, &mut of_users, &interactions.by_item)?;
        steps.run(&interactions.by_item, &of_users, users, &mut of_items, &interactions.by_user)?;
    }
    let objective = steps.progress.objective;
    let found = ItemFactors {
        dim,
        items,
        gram: gram(&of_items, dim, options.unobserved_weight),
        factors: of_items,
        l2: options.l2,
        unobserved_weight: options.unobserved_weight,
        objective,
    };
    Ok((found, of_users))
}

/// Solves all rows of one side, the other side fixed.
struct HalfSteps<'a> {
    options: &'a IalsOptions,
    solver: &'a mut SpdSolver,
    progress: FitProgress,
    report: &'a mut dyn FnMut(FitProgress) -> ControlFlow<()>,
}

impl HalfSteps<'_> {
    /// `solved_rows` says what each solved row has; `fixed` are the factors of the other side, whose own rows are
    /// `fixed_rows` (they carry that side's share of the regularisation).
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn run(
        &mut self,
        solved_rows: &Rows,
        fixed: &[f32],
        fixed_count: usize,
        solved: &mut [f32],
        fixed_rows: &Rows,
    ) -> Result<(), LinalgError> {
        let (dim, a0, l2) = (self.options.dim, self.options.unobserved_weight, self.options.l2);
        let shared = gram(fixed, dim, a0);
        let terms = FoldInTerms { gram: &shared, l2, unobserved_mass: a0 * fixed_count as f64 };
        // At a row's optimum its own terms are sum g - b.w, so the objective costs no second pass over the pairs.
        let mut objective = fixed_rows.penalty(fixed, dim, l2, a0 * solved_rows.count() as f64);
        let mut work = 0;
        for (at, factor) in solved.chunks_exact_mut(dim).enumerate() {
            let seen = solved_rows.row(at).map(|(other, weight)| (&fixed[other as usize * dim..][..dim], weight));
            objective += solve_row(self.solver, terms, seen, factor)?;
            self.progress.solved += 1;
            work += dim * dim * (dim / 3 + solved_rows.count_of(at));
            if work >= WORK_PER_REPORT {
                work = 0;
                self.tell()?;
            }
        }
        self.progress.objective = objective;
        self.tell()
    }

    fn tell(&mut self) -> Result<(), LinalgError> {
        let FitProgress { iteration, iterations, .. } = self.progress;
        match (self.report)(self.progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(LinalgError::Stopped { iteration, iterations }),
        }
    }
}

/// A random factor to start from.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "f32 storage; dim is below 2^10")]
pub fn initial_factor<'r>(rng: &'r mut Rng, options: &IalsOptions) -> impl Iterator<Item = f32> + 'r {
    let std = options.init_std / (options.dim as f64).sqrt();
    (0..options.dim).map(move |_| (std * rng.normal()) as f32)
}

impl IalsOptions {
    /// Random factors to start from, item-major.
    #[must_use]
    pub fn first_factors(&self, items: usize) -> Vec<f32> {
        let mut rng = Rng::new(self.seed);
        (0..items).flat_map(|_| initial_factor(&mut rng, self).collect::<Vec<f32>>()).collect()
    }

    /// Says which option is outside what it may be.
    ///
    /// # Errors
    /// [`LinalgError::BadOption`].
    #[expect(clippy::cast_precision_loss, reason = "for a message")]
    pub fn check(&self) -> Result<(), LinalgError> {
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        let rules = [
            ("dim", self.dim as f64, (1..=DIM_MAX).contains(&self.dim), "1 to 512"),
            ("iterations", self.iterations as f64, (1..=10_000).contains(&self.iterations), "1 to 10000"),
            ("l2", self.l2, not_negative(self.l2), "finite, at least 0"),
            ("unobserved_weight", self.unobserved_weight, not_negative(self.unobserved_weight), "finite, at least 0"),
            ("init_std", self.init_std, self.init_std.is_finite() && self.init_std > 0.0, "finite, above 0"),
        ];
        match rules.into_iter().find(|rule| !rule.2) {
            Some((option, found, _, allowed)) => Err(LinalgError::BadOption { option, found, allowed }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::fold_in::fold_in;

    fn go_on(_: FitProgress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// Users and items in `groups` camps; a user likes items of the own camp nine times out of ten.
    fn camps(seed: u64, users: u32, items: u32, groups: u32, pairs: usize) -> Vec<(u32, u32)> {
        let mut rng = Rng::new(seed);
        let mut below = move |bound: u32| u32::try_from(rng.below(u64::from(bound))).unwrap();
        let mut drawn = std::collections::BTreeSet::new();
        while drawn.len() < pairs {
            let (user, item) = (below(users), below(items));
            if user % groups == item % groups || below(10) == 0 {
                drawn.insert((user, item));
            }
        }
        drawn.into_iter().collect()
    }

    fn options(dim: usize, iterations: usize) -> IalsOptions {
        IalsOptions { dim, iterations, l2: 0.01, unobserved_weight: 0.2, init_std: 0.1, seed: 3 }
    }

    /// The objective as the module's head has it, by brute force over all pairs of users and items.
    #[expect(clippy::needless_range_loop, reason = "as in the formula")]
    fn objective(pairs: &[(u32, u32)], weights: &[f32], users: &[f32], fit: &ItemFactors) -> f64 {
        let dim = fit.dim;
        let count = users.len() / dim;
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let user = |at: usize| &users[at * dim..][..dim];
        let (mut of_user, mut of_item) = (vec![0.0; count], vec![0.0; fit.items]);
        let mut total = 0.0;
        for (&(u, i), &g) in pairs.iter().zip(weights) {
            of_user[u as usize] += f64::from(g);
            of_item[i as usize] += f64::from(g);
            total += f64::from(g) * (1.0 - dot(user(u as usize), fit.row(i as usize))).powi(2);
        }
        for u in 0..count {
            total += fit.l2 * (of_user[u] + fit.unobserved_weight * fit.items as f64) * dot(user(u), user(u));
            total += (0..fit.items).map(|i| fit.unobserved_weight * dot(user(u), fit.row(i)).powi(2)).sum::<f64>();
        }
        for i in 0..fit.items {
            total += fit.l2 * (of_item[i] + fit.unobserved_weight * count as f64) * dot(fit.row(i), fit.row(i));
        }
        total
    }

    #[test]
    fn the_objective_falls_with_every_half_step_and_is_the_one_stated() {
        let pairs = camps(5, 60, 40, 4, 500);
        let mut rng = Rng::new(6);
        let weights: Vec<f32> = pairs.iter().map(|_| 0.25 + rng.unit() as f32).collect();
        let interactions = Interactions::weighted(61, 42, &pairs, &weights).unwrap();
        let mut seen = Vec::new();
        let mut note = |progress: FitProgress| {
            seen.push(progress);
            ControlFlow::Continue(())
        };
        let (fit, users) = fit_both(&interactions, &options(6, 8), &mut note).unwrap();
        assert_eq!(seen.len(), 16);
        assert_eq!((seen[15].solved, seen[15].to_solve, seen[15].iteration), (8 * 103, 8 * 103, 8));
        for pair in seen.windows(2) {
            assert!(pair[1].objective <= pair[0].objective * (1.0 + 1e-5), "{pair:?}");
        }
        assert!(seen[15].objective < 0.9 * seen[0].objective, "{seen:?}");
        let brute = objective(&pairs, &weights, &users, &fit);
        assert!((fit.objective - brute).abs() < 1e-4 * brute, "{} instead of {brute}", fit.objective);
        assert!(fit.row(41).iter().chain(&users[60 * 6..]).all(|&x| x.abs() == 0.0), "rows without pairs are zero");
    }

    #[test]
    fn tells_camps_apart_and_repeats_itself() {
        let pairs = camps(7, 120, 60, 3, 1_500);
        let interactions = Interactions::new(120, 60, &pairs).unwrap();
        let fit_once = |seed| fit(&interactions, &IalsOptions { seed, ..options(8, 10) }, &mut go_on).unwrap();
        let (fit, again, other) = (fit_once(3), fit_once(3), fit_once(4));
        assert_eq!(fit, again);
        assert_ne!(fit, other);
        let mut solver = SpdSolver::new(8);
        for camp in 0..3 {
            // A newcomer with three items of one camp: the camp's other items come first (chance: half).
            let mut user = vec![0.0; 8];
            let events = (0..3).map(|at| (fit.row(camp + 3 * at), 1.0));
            fold_in(&mut solver, fit.terms(), events, &mut user).unwrap();
            let score = |item: usize| -> f32 { fit.row(item).iter().zip(&user).map(|(h, w)| h * w).sum() };
            let (own, others): (Vec<usize>, Vec<usize>) = (9..60).partition(|item| item % 3 == camp);
            let above = |item: &usize| others.iter().filter(|&&other| score(*item) > score(other)).count();
            let share = own.iter().map(above).sum::<usize>() as f64 / (own.len() * others.len()) as f64;
            assert!(share > 0.9, "camp {camp}: only {share} of its items' comparisons are won");
        }
    }

    #[test]
    fn refuses_bad_options_and_stops_when_told() {
        let interactions = Interactions::new(2, 2, &[(0, 0), (1, 1)]).unwrap();
        let bad = [
            ("dim", IalsOptions { dim: 0, ..options(2, 1) }),
            ("dim", IalsOptions { dim: DIM_MAX + 1, ..options(2, 1) }),
            ("iterations", options(2, 0)),
            ("l2", IalsOptions { l2: f64::NAN, ..options(2, 1) }),
            ("unobserved_weight", IalsOptions { unobserved_weight: -1.0, ..options(2, 1) }),
            ("init_std", IalsOptions { init_std: 0.0, ..options(2, 1) }),
        ];
        for (name, options) in bad {
            let error = fit(&interactions, &options, &mut go_on).unwrap_err();
            assert!(matches!(error, LinalgError::BadOption { option, .. } if option == name), "{error}");
        }
        let empty = Interactions::new(2, 2, &[]).unwrap();
        let error = fit(&empty, &options(2, 1), &mut go_on).unwrap_err();
        assert_eq!(error, LinalgError::NoPairs { users: 2, items: 2 });
        let mut calls = 0;
        let mut stop = |_| {
            calls += 1;
            if calls == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let error = fit(&interactions, &options(2, 5), &mut stop).unwrap_err();
        assert_eq!(error, LinalgError::Stopped { iteration: 2, iterations: 5 });
    }
}
