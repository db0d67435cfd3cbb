//! Writing down what many things were at one moment, while they go on changing (copy on write).
//!
//! ```text
//! section: kind u8 | first u32 | count u32 | length u32 | body
//! ```
//!
//! A [`Capture`] knows which things are written down already. They are taken a run at a time when there is leisure, and
//! alone by whoever is about to change one; sections therefore come in any order. How long a change is held up is what one
//! thing takes to encode: that is why an image has many small things instead of a few large ones.

use std::ops::Range;

use super::cursor::{CursorError, Reader, Writer};

/// Bytes after which sections go into another buffer.
const PIECE_BYTES: usize = 64 << 10;

/// Encoded sections, back to back.
pub type Sections = Vec<u8>;

/// Appends a section of things `range`, whose body is what `body` writes.
///
/// # Panics
/// If the body is 4 GiB or more.
pub fn put_section(out: &mut Sections, kind: u8, range: Range<usize>, body: impl FnOnce(&mut Writer<'_>)) {
    Writer::new(out).u8(kind).count(range.start).count(range.len()).u32(0);
    let start = out.len();
    body(&mut Writer::new(out));
    let length = u32::try_from(out.len() - start).expect("a section is far below 4 GiB: what it holds is bounded");
    out[start - 4..start].copy_from_slice(&length.to_le_bytes());
}

/// Things of one kind, and which of them are written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Capture {
    kind: u8,
    /// Things there were at the moment.
    count: usize,
    /// Most of one section.
    run: usize,
    /// A bit each.
    taken: Vec<u64>,
    next: usize,
    done: Vec<Sections>,
}

impl Capture {
    /// Nothing is written down of `count` things of a kind; at leisure, sections will hold up to `run` of them.
    #[must_use]
    pub fn new(kind: u8, count: usize, run: usize) -> Self {
        Self { kind, count, run, taken: vec![0; count.div_ceil(64)], next: 0, done: Vec::new() }
    }

    /// Takes one to be written down now, if it was there and is not written down yet.
    #[inline]
    pub fn take(&mut self, at: usize) -> bool {
        let Some(word) = self.taken.get_mut(at / 64).filter(|_| at < self.count) else { return false };
        let bit = 1 << (at % 64);
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    /// Takes the next ones that are not written down, as many in a row as there are, up to a run. `None` at the end.
    pub fn take_run(&mut self) -> Option<Range<usize>> {
        while self.next < self.count && !self.take(self.next) {
            self.next += 1;
        }
        let first = self.next;
        while self.next < self.count && self.next - first < self.run && (self.next == first || self.take(self.next)) {
            self.next += 1;
        }
        (first < self.next).then_some(first..self.next)
    }

    /// Writes down what was taken.
    pub fn put(&mut self, range: Range<usize>, mut encode: impl FnMut(usize, &mut Writer<'_>)) {
        if self.done.last().is_none_or(|piece| piece.len() >= PIECE_BYTES) {
            // With room from the start: a buffer that grows is copied again and again.
            self.done.push(Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4));
        }
        let piece = self.done.last_mut().expect("one was just put there");
        put_section(piece, self.kind, range.clone(), |out| range.for_each(|at| encode(at, out)));
    }

    /// Hands over the buffers that are full; the last one too, if that is `all` that comes.
    pub fn drain(&mut self, all: bool, into: &mut Vec<Sections>) {
        let begun = self.done.pop_if(|piece| !all && piece.len() < PIECE_BYTES);
        into.append(&mut self.done);
        self.done.extend(begun);
    }
}

/// Things that are part of an image, each with bytes of its own.
pub trait Captured {
    /// How many there are.
    fn count(&self) -> usize;

    /// Appends one.
    fn encode_one(&self, at: usize, out: &mut Writer<'_>);

    /// Adds one as [`Self::encode_one`] wrote it.
    ///
    /// # Errors
    /// [`CursorError`] for bytes that are none.
    fn decode_one(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError>;

    /// The capture under way, if there is one.
    fn capture(&mut self) -> &mut Option<Box<Capture>>;

    /// Begins, or gives up what was begun.
    fn set_capture(&mut self, capture: Option<Capture>) {
        *self.capture() = capture.map(Box::new);
    }

    /// To be called before one changes.
    #[inline]
    fn keep(&mut self, at: usize) {
        if let Some(capture) = self.capture()
            && capture.take(at)
        {
            self.write_down(at..at + 1);
        }
    }

    /// To be called before all change.
    fn keep_all(&mut self) {
        while self.keep_run() {}
    }

    /// Writes down the next run; says whether there was one.
    fn keep_run(&mut self) -> bool {
        let Some(range) = self.capture().as_mut().and_then(|capture| capture.take_run()) else { return false };
        self.write_down(range);
        true
    }

    /// Writes down what was taken.
    #[cold]
    fn write_down(&mut self, range: Range<usize>) {
        let Some(mut capture) = self.capture().take() else { return };
        capture.put(range, |at, out| self.encode_one(at, out));
        *self.capture() = Some(capture);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    /// Numbers that change while they are written down.
    struct Numbers(Vec<u32>, Option<Box<Capture>>);

    impl Captured for Numbers {
        fn capture(&mut self) -> &mut Option<Box<Capture>> {
            &mut self.1
        }

        fn count(&self) -> usize {
            self.0.len()
        }

        fn encode_one(&self, at: usize, out: &mut Writer<'_>) {
            out.u32(self.0[at]);
        }

        fn decode_one(&mut self, from: &mut Reader<'_>) -> Result<(), CursorError> {
            self.0.push(from.u32()?);
            Ok(())
        }
    }

    #[test]
    fn everything_is_written_down_once_as_it_was() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let count = rng.below(300) as usize;
            let mut numbers = Numbers((0..count as u32).collect(), None);
            numbers.set_capture(Some(Capture::new(7, count, 1 + rng.below(20) as usize)));
            let mut pieces = Vec::new();
            while numbers.keep_run() {
                for _ in 0..rng.below(8) {
                    let at = rng.below(count as u64 + 5) as usize;
                    match rng.below(40) {
                        0 => numbers.keep_all(),
                        _ => numbers.keep(at),
                    }
                    if let Some(number) = numbers.0.get_mut(at) {
                        *number += 1_000;
                    }
                }
                numbers.0.push(9); // comes later, and has no part in it
                numbers.capture().as_mut().expect("it goes on").drain(rng.below(2) == 0, &mut pieces);
            }
            numbers.capture().as_mut().expect("it goes on").drain(true, &mut pieces);
            let mut found = vec![None; count];
            for piece in &pieces {
                let mut from = Reader::new(piece);
                while from.left() > 0 {
                    assert_eq!(from.u8(), Ok(7));
                    let (first, count, length) = (from.u32().unwrap(), from.u32().unwrap(), from.u32().unwrap());
                    assert_eq!(length, 4 * count);
                    for at in first..first + count {
                        assert_eq!(found[at as usize].replace(from.u32().unwrap()), None, "seed {seed}: {at} twice");
                    }
                }
            }
            assert!(found.into_iter().eq((0..count as u32).map(Some)), "seed {seed}");
        }
    }
}
