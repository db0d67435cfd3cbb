//! `auto`.
pub mod features;
pub mod gather;
pub mod network;
pub mod trainer;
