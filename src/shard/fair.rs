//! Whose turn is next: who asks for little at once comes first, and connections take turns.
//!
//! Turns of a few units ([`LITTLE`]) are of people who wait for an answer, larger ones of loaders and of crowds that pipeline.
//! While both wait, three quarters of the work done are small turns: one hardly ever waits for more than the step of a turn
//! that is being carried out, and the large ones never stand still. Among small ones every connection has a turn a round,
//! among large ones a quantum of units (deficit round robin, Shreedhar & Varghese 1996). Turns of one connection stay in
//! their order: behind a large one the small ones of the same connection wait.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::queue::LITTLE;
use super::turn::TurnRun;

/// Units that a connection has in one round of the large ones: about what it sends at once.
const QUANTUM: i64 = 64;

/// What small turns have of the work, against one of the large ones.
const WEIGHT: i64 = 3;

/// Emptied queues that are kept for the next connections.
const SPARE: usize = 64;

/// Turns that wait, by connection.
#[derive(Debug, Default)]
pub(super) struct Fair {
    flows: HashMap<u64, Flow, foldhash::fast::RandomState>,
    /// Connections whose next turn is small.
    small: VecDeque<u64>,
    /// Connections whose next turn is large.
    large: VecDeque<u64>,
    /// Units by which small turns are ahead of their part, while large ones wait.
    ahead: i64,
    /// The turn that was taken last.
    taken: Taken,
    spare: Vec<VecDeque<TurnRun>>,
}

/// A turn that was taken, for the case that it comes back.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    small: bool,
    units: i64,
    /// By how much small turns were ahead before.
    ahead: i64,
}

/// What waits of one connection.
#[derive(Debug)]
struct Flow {
    turns: VecDeque<TurnRun>,
    /// Units that it has left in this round, among the large ones.
    left: i64,
}

impl Flow {
    /// Units of its next turn.
    fn next(&self) -> Option<i64> {
        self.turns.front().map(units)
    }
}

fn units(turn: &TurnRun) -> i64 {
    turn.units.max(1) as i64
}

fn is_small(units: i64) -> bool {
    units <= LITTLE as i64
}

impl Fair {
    /// Puts a turn behind those of its connection.
    pub(super) fn push(&mut self, turn: TurnRun) {
        let Self { flows, small, large, spare, .. } = self;
        let flow = flows.entry(turn.flow).or_insert_with_key(|number| {
            if is_small(units(&turn)) { small } else { large }.push_back(*number);
            Flow { turns: spare.pop().unwrap_or_default(), left: 0 }
        });
        flow.turns.push_back(turn);
    }

    /// Takes the next turn.
    pub(super) fn pop(&mut self) -> Option<TurnRun> {
        self.sort_out();
        let of_small = !self.small.is_empty() && (self.large.is_empty() || self.ahead < WEIGHT * QUANTUM);
        let turn = if of_small { self.pop_small()? } else { self.pop_large()? };
        self.taken = Taken { small: of_small, units: units(&turn), ahead: self.ahead };
        self.count(self.taken.units);
        Some(turn)
    }

    /// Counts so many units of the turn that was taken last.
    fn count(&mut self, units: i64) {
        let ahead = self.taken.ahead + if self.taken.small { units } else { -WEIGHT * units };
        // Without large ones there is nobody to be ahead of.
        self.ahead = if self.large.is_empty() { 0 } else { ahead.max(0) };
    }

    /// Puts the turn that was taken last, of which something is left, before those of its connection. Only what is done of
    /// it counts.
    pub(super) fn put_back(&mut self, turn: TurnRun) {
        let left = units(&turn);
        match self.flows.get_mut(&turn.flow) {
            Some(flow) => {
                if !self.taken.small {
                    flow.left += left; // only those of the large ones were taken off
                }
                flow.turns.push_front(turn);
            }
            None => self.push(turn),
        }
        self.count(self.taken.units - left);
    }

    /// Moves connections that stand among the small ones, and whose next turn is large since one was put back, to where they
    /// belong.
    fn sort_out(&mut self) {
        while let Some(number) = self.small.front().copied()
            && self.flows.get(&number).and_then(Flow::next).is_some_and(|units| !is_small(units))
        {
            self.small.pop_front();
            self.large.push_back(number);
        }
    }

    /// A turn of the connection that comes up.
    fn pop_small(&mut self) -> Option<TurnRun> {
        let number = self.small.pop_front()?;
        let turn = self.flows.get_mut(&number)?.turns.pop_front();
        self.line_up(number);
        turn
    }

    /// A turn of the connection that comes up with units left in its round.
    fn pop_large(&mut self) -> Option<TurnRun> {
        let (number, flow) = loop {
            let number = *self.large.front()?;
            let flow = self.flows.get_mut(&number)?;
            if flow.left > 0 {
                break (number, flow);
            }
            flow.left += QUANTUM;
            self.large.rotate_left(1);
        };
        let turn = flow.turns.pop_front()?;
        flow.left -= units(&turn);
        if flow.next().is_none_or(is_small) {
            self.large.pop_front();
            self.line_up(number);
        }
        Some(turn)
    }

    /// Puts a connection that stands nowhere behind the others, or forgets it if nothing waits of it.
    fn line_up(&mut self, number: u64) {
        match self.flows.get(&number).and_then(Flow::next) {
            Some(units) if is_small(units) => self.small.push_back(number),
            Some(_) => self.large.push_back(number),
            None => {
                if let Some(flow) = self.flows.remove(&number)
                    && self.spare.len() < SPARE
                {
                    self.spare.push(flow.turns);
                }
            }
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::messages::Turn;
    use super::super::queue::{Queue, Share};
    use super::*;

    /// Turns of connections, told apart by the number of their bytes.
    struct World {
        queue: Queue,
        fair: Fair,
        shares: HashMap<u64, Share>,
    }

    impl World {
        fn new() -> Self {
            let queue = Queue::new(0, 1 << 20, Duration::from_secs(3_600));
            Self { queue, fair: Fair::default(), shares: HashMap::new() }
        }

        fn push(&mut self, flow: u64, units: usize, mark: usize) {
            let share = self.shares.entry(flow).or_insert_with(|| Share::new(flow, 1));
            let credits = self.queue.take(units, None, Some(share)).expect("room");
            let (reply, _) = tokio::sync::oneshot::channel();
            let (ops, steps, credits) = (vec![0; mark], Vec::new(), Some(credits));
            self.fair.push(TurnRun::new(Turn { flow, ops, steps, credits, expires: None, reply }));
        }

        fn pop(&mut self) -> Option<(u64, usize)> {
            self.fair.pop().map(|turn| (turn.flow, turn.ops.len()))
        }
    }

    #[test]
    fn who_asks_for_little_does_not_wait_behind_a_crowd() {
        let mut world = World::new();
        for flow in 1..=500 {
            (0..3).for_each(|mark| world.push(flow, 64, mark));
        }
        for asked in 0..100 {
            world.push(501, 1, asked);
            assert_eq!(world.pop(), Some((501, asked)), "at once");
            assert_ne!(world.pop().expect("the crowd waits").0, 501);
        }
        let mut done = [0; 501];
        while let Some((flow, mark)) = world.pop() {
            let before = std::mem::replace(&mut done[flow as usize], mark + 1);
            assert!(before <= mark, "in its order");
        }
        assert!(done[1..].iter().all(|done| *done == 3));
        assert!(world.fair.is_empty() && world.fair.flows.is_empty(), "nothing is left of who has gone");
    }

    #[test]
    fn rounds_are_of_equal_work_and_turns_in_their_order() {
        let mut world = World::new();
        for mark in 0..200 {
            world.push(1, 96, mark);
            (0..4).for_each(|part| world.push(2, 24, 4 * mark + part));
        }
        let (mut units, mut next) = ([0_usize; 2], [0_usize; 2]);
        for _ in 0..900 {
            let (flow, mark) = world.pop().expect("both wait");
            let at = flow as usize - 1;
            assert_eq!(mark, next[at], "in its order");
            next[at] += 1;
            units[at] += [96, 24][at];
            assert!(units[0].abs_diff(units[1]) <= 4 * QUANTUM as usize, "{units:?}");
        }
    }

    /// However many small turns there are, a quarter of the work are large ones; and the other way round.
    #[test]
    fn nobody_starves() {
        let mut world = World::new();
        let mut done = [0_i64; 2];
        for asked in 0..4_000 {
            world.push(1 + asked as u64 % 7, 4, asked);
            world.push(100 + asked as u64 % 3, 64, asked);
            let (flow, _) = world.pop().expect("both wait");
            done[usize::from(flow >= 100)] += if flow >= 100 { 64 } else { 4 };
        }
        assert!((done[0] - WEIGHT * done[1]).abs() <= 2 * WEIGHT * QUANTUM, "{done:?}");
    }

    /// A turn that goes on stays before those of its connection, and is counted once: others have their part of the work
    /// between its pieces.
    #[test]
    fn a_turn_in_pieces_lets_others_in_between() {
        let mut world = World::new();
        let (mut done, mut next, mut longest, mut since) = ([0_i64; 2], 0, 0, 0);
        (0..20).for_each(|mark| world.push(1, 200, mark));
        for asked in 0..4_000 {
            world.push(2 + asked as u64 % 5, 1, asked);
            let mut run = world.fair.pop().expect("both wait");
            if run.flow != 1 {
                (done[0], since) = (done[0] + 1, 0);
                continue;
            }
            assert_eq!(run.ops.len(), next, "in its order");
            let piece = run.units.min(3);
            run.units -= piece;
            (done[1], since) = (done[1] + piece as i64, since + piece);
            longest = longest.max(since);
            match run.units {
                0 => next += 1,
                _ => world.fair.put_back(run),
            }
        }
        assert!(done[1] > 900 && next > 3, "it goes on: {done:?}");
        assert!((done[0] - WEIGHT * done[1]).abs() <= 2 * WEIGHT * QUANTUM, "{done:?}");
        assert!(longest <= 6, "{longest} units of pieces one after the other while small turns wait");
    }

    /// A small turn behind a large one of the same connection stays there.
    #[test]
    fn a_connection_is_answered_in_its_order() {
        let (seed, mut world) = (3, World::new());
        let mut rng = crate::base::Rng::new(seed);
        let (mut pushed, mut popped) = ([0_usize; 6], [0_usize; 6]);
        for step in 0..20_000 {
            if step % 5_000 < 2_500 || rng.below(3) == 0 {
                let flow = 1 + rng.below(5);
                let units = if rng.below(2) == 0 { 1 + rng.below(4) } else { 5 + rng.below(200) };
                world.push(flow, units as usize, pushed[flow as usize]);
                pushed[flow as usize] += 1;
            } else if let Some(mut run) = world.fair.pop() {
                let at = &mut popped[run.flow as usize];
                assert_eq!(run.ops.len(), *at, "seed {seed}, step {step}");
                if run.units > 1 && rng.below(3) > 0 {
                    run.units -= 1 + rng.below(run.units as u64 - 1) as usize;
                    world.fair.put_back(run);
                } else {
                    *at += 1;
                }
            }
        }
        while let Some((flow, mark)) = world.pop() {
            assert_eq!(mark, popped[flow as usize], "seed {seed}");
            popped[flow as usize] += 1;
        }
        assert!(pushed == popped && world.fair.is_empty());
    }
}
