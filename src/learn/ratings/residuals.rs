//! Running figures of users and items: what the bank keeps missing about them, lately and for long.
//!
//! Ratings of one user within a sitting lean the same way (Koren, *Collaborative filtering with temporal dynamics*, CACM 53
//! (2010), the day-specific user bias). Instead of a bias a day there are averages of the bank's residual at several rates;
//! how much each is worth is left to the stack above.
//!
//! All figures are in units from the mean, and 0 is "nothing known", so that a stranger is a column of zeros.

use super::scale::BINS;

/// Figures of a user, as offsets into the column.
pub(super) mod user {
    /// Ratings.
    pub const COUNT: usize = 0;
    /// Sum of values.
    pub const SUM: usize = 1;
    /// Residual averaged at rate .3.
    pub const FAST: usize = 2;
    /// Residual averaged at rate .1.
    pub const MIDDLE: usize = 3;
    /// Residual averaged over all.
    pub const WHOLE: usize = 4;
    /// Residual averaged at rate .03.
    pub const SLOW: usize = 5;
    /// Squared residual over everybody's, at rate .05, less 1.
    pub const EXCESS: usize = 6;
    /// Residual of the last rating against the slow bias model.
    pub const LAST: usize = 7;
    /// Ratings of this sitting.
    pub const SITTING: usize = 8;
    /// Sum of residuals of this sitting.
    pub const SITTING_SUM: usize = 9;
    /// Sum of squared distances from the user's own mean as it then was.
    pub const SQUARES: usize = 10;
    /// Ratings by fifth of the range; five of them.
    pub const BINS: usize = 11;
}

/// Figures of an item, as offsets into the column.
pub(super) mod item {
    /// Ratings.
    pub const COUNT: usize = 0;
    /// Sum of values.
    pub const SUM: usize = 1;
    /// Sum of values as distances from their user's mean in that user's own spread.
    pub const RELATIVE: usize = 2;
    /// Residual averaged at rate .1.
    pub const MIDDLE: usize = 3;
    /// Residual averaged over all.
    pub const WHOLE: usize = 4;
    /// Residual averaged at rate .03.
    pub const SLOW: usize = 5;
    /// Squared residual over everybody's, at rate .05, less 1.
    pub const EXCESS: usize = 6;
    /// Sum of squared residuals against the slow bias model.
    pub const POWER: usize = 7;
    /// Ratings by fifth of the range; five of them.
    pub const BINS: usize = 8;
}

/// Ratings after which sums and counts are halved: `f32`s stop counting at 2^24.
const MANY: f32 = 1_048_576.0;

/// Halves what adds up, so that means and shares stay what they are.
fn settle(figures: &mut [f32], count: usize, sums: &[usize], bins: usize) {
    if figures[count] < MANY {
        return;
    }
    for at in sums.iter().copied().chain(bins..bins + BINS).chain([count]) {
        figures[at] *= 0.5;
    }
}

/// Spread of a user's values, pulled to 1 while little is known.
#[inline]
pub(super) fn spread(user: &[f32]) -> f32 {
    ((user[self::user::SQUARES] + 4.0) / (user[self::user::COUNT] + 4.0)).sqrt()
}

/// One over the standard deviation of an item's residuals against the slow bias model, pulled to 1.4 while little is
/// known.
#[inline]
pub(super) fn inverse_deviation(item: &[f32]) -> f32 {
    ((item[self::item::COUNT] + 1.0) / (item[self::item::POWER] + 0.5)).sqrt()
}

/// Figures of everybody.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Common {
    /// Residual averaged at rate .01.
    pub residual: f32,
    /// Squared residual averaged at rate .001.
    pub power: f32,
}

impl Default for Common {
    fn default() -> Self {
        Self { residual: 0.0, power: 1.0 }
    }
}

/// What one rating brings.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    /// Value in units from the mean before.
    pub value: f32,
    /// Value less the mean of the bank.
    pub residual: f32,
    /// Value less the slow bias model.
    pub slow_residual: f32,
    /// Fifth of the range.
    pub bin: usize,
    /// Whether it belongs to the sitting of the one before.
    pub near: bool,
}

/// Takes a rating into the figures of its user, its item and everybody.
pub(super) fn learn(common: &mut Common, user: &mut [f32], item: &mut [f32], news: &News) {
    let excess = news.residual * news.residual;
    common.residual += 0.01 * (news.residual - common.residual);
    common.power += 0.001 * (excess - common.power);
    let excess = excess / common.power.max(1e-6) - 1.0;
    let own = news.value - user[self::user::SUM] / (user[self::user::COUNT] + 3.0);
    let own_spread = spread(user);
    learn_user(user, news, excess, own);
    item[self::item::RELATIVE] += own / own_spread;
    item[self::item::SUM] += news.value;
    item[self::item::MIDDLE] += 0.1 * (news.residual - item[self::item::MIDDLE]);
    item[self::item::WHOLE] += (news.residual - item[self::item::WHOLE]) / (item[self::item::COUNT] + 5.0);
    item[self::item::SLOW] += 0.03 * (news.residual - item[self::item::SLOW]);
    item[self::item::EXCESS] += 0.05 * (excess - item[self::item::EXCESS]);
    item[self::item::POWER] += news.slow_residual * news.slow_residual;
    item[self::item::BINS + news.bin] += 1.0;
    item[self::item::COUNT] += 1.0;
    settle(item, self::item::COUNT, &[self::item::SUM, self::item::RELATIVE, self::item::POWER], self::item::BINS);
}

fn learn_user(user: &mut [f32], news: &News, excess: f32, own: f32) {
    use self::user::{
        BINS as FIRST_BIN, COUNT, EXCESS, FAST, LAST, MIDDLE, SITTING, SITTING_SUM, SLOW, SQUARES, SUM, WHOLE,
    };
    if !news.near {
        user[SITTING] = 0.0;
        user[SITTING_SUM] = 0.0;
    }
    user[SITTING] += 1.0;
    user[SITTING_SUM] += news.residual;
    user[FAST] += 0.3 * (news.residual - user[FAST]);
    user[MIDDLE] += 0.1 * (news.residual - user[MIDDLE]);
    user[WHOLE] += (news.residual - user[WHOLE]) / (user[COUNT] + 5.0);
    user[SLOW] += 0.03 * (news.residual - user[SLOW]);
    user[EXCESS] += 0.05 * (excess - user[EXCESS]);
    user[LAST] = news.slow_residual;
    user[SQUARES] += own * own;
    user[SUM] += news.value;
    user[FIRST_BIN + news.bin] += 1.0;
    user[COUNT] += 1.0;
    settle(user, COUNT, &[SUM, SQUARES], FIRST_BIN);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lives_keep_their_means() {
        let (mut user, mut item) = ([0.0; 16], [0.0; 16]);
        user[self::user::COUNT] = MANY - 1.0;
        user[self::user::SUM] = 0.5 * (MANY - 1.0);
        user[self::user::BINS + 2] = MANY - 1.0;
        let news = News { value: 0.5, residual: 0.0, slow_residual: 0.0, bin: 2, near: true };
        learn(&mut Common::default(), &mut user, &mut item, &news);
        assert!(user[self::user::COUNT] < MANY);
        assert!((user[self::user::SUM] / user[self::user::COUNT] - 0.5).abs() < 1e-4);
        assert!((user[self::user::BINS + 2] / user[self::user::COUNT] - 1.0).abs() < 1e-4);
    }
}
