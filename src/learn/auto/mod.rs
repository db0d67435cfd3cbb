//! The ranker: one strategy without a setting a stream.
//!
//! The bank's parts **propose** candidates and **describe** each with some 50 numbers, nearly all logarithms ([`gather`],
//! [`features`]); small networks **order** them ([`network`]), trained online to give the item that really came the
//! highest share among the candidates ([`trainer`]). Half-lives, powers and blends are thereby weights, learned a stream.
//! Learning to rank after Cao et al. 2007 and, as a second stage over proposals, Covington, Adams & Sargin 2016.

pub mod features;
pub mod gather;
pub mod network;
mod sums;
pub mod trainer;
mod vectors;
