//! Mirra keeps a living profile of every user.

pub mod base;
pub mod cli;
pub mod config;
