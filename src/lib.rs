//! Mirra keeps a living profile of every user.

pub mod base;
pub mod evaluate;
pub mod learn;
pub mod linalg;
pub mod model;
pub mod state;
