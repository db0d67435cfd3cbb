//! In which order traits that read each other are computed.

use std::collections::HashMap;
use std::fmt;

use super::Formula;

/// Traits that read each other in a circle, in the order in which they do; the last one reads the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle(pub Vec<String>);

impl fmt::Display for Cycle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.0.first().map(String::as_str).unwrap_or_default();
        write!(
            out,
            "trait `{first}` needs itself: {} → {first}; write one of them without the other",
            self.0.join(" → ")
        )
    }
}

impl std::error::Error for Cycle {}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Places of `traits` in an order in which every one comes after those that it reads; names that are not among them
/// (built-in ones) do not count. Of equal names the last one holds.
///
/// # Errors
/// [`Cycle`] if there is no such order.
pub fn order(traits: &[(&str, &Formula)]) -> Result<Vec<usize>, Cycle> {
    let places: HashMap<&str, usize> = traits.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
    let reads: Vec<Vec<usize>> = traits
        .iter()
        .map(|(_, formula)| formula.traits().filter_map(|name| places.get(name).copied()).collect())
        .collect();
    let (mut marks, mut order) = (vec![Mark::New; traits.len()], Vec::new());
    for start in 0..traits.len() {
        // The way to where we are, each with how many of what it reads were looked at; no recursion, as a chain of
        // traits may be as long as the schema.
        let mut way = if marks[start] == Mark::New { vec![(start, 0)] } else { Vec::new() };
        marks[start] = if marks[start] == Mark::New { Mark::Open } else { marks[start] };
        while let Some((at, looked)) = way.last_mut() {
            let Some(next) = reads[*at].get(*looked).copied() else {
                marks[*at] = Mark::Done;
                order.push(*at);
                way.pop();
                continue;
            };
            *looked += 1;
            match marks[next] {
                Mark::Done => {}
                Mark::New => {
                    marks[next] = Mark::Open;
                    way.push((next, 0));
                }
                Mark::Open => {
                    let circle = way.iter().skip_while(|(at, _)| *at != next);
                    return Err(Cycle(circle.map(|(at, _)| traits[*at].0.to_owned()).collect()));
                }
            }
        }
    }
    Ok(order)
}
