//! `popularity`: what everybody likes, plainly counted or with a half-life. A baseline, and the answer for users and
//! items not seen before.
//!
//! The counts are facts of the item table (`c_i <- c_i + weight x 2^((t - t0) / half_life)`), so this strategy keeps
//! nothing of its own.

use super::{ItemSide, Learner, Shape};

/// Parameters of `popularity`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Popularity {}

impl Learner for Popularity {
    const NAME: &'static str = "popularity";

    fn shape(&self) -> Shape {
        Shape { user_rows: 0, item_rows: 0, items: ItemSide::Absent, predicts_value: false }
    }

    fn query(&self, _user: &[f32], _mean: f32, _query: &mut [f32]) -> f32 {
        0.0
    }
}
