//! Columns of `f32` in pages of 4,096: one column an entity, `rows` padded to whole lane groups with zeros.
//!
//! Growth maps a new arena and moves nothing, so there is no latency cliff. Arenas are aligned to 2 MiB and advised
//! for huge pages (random access to 2 million columns: 44-62 ns instead of 88-107). An arena is viewed by faer as one
//! column-major matrix, which is how ranking reads it.
//!
//! Invariants: a column never moves; rows past `rows()` stay zero (callers write through [`Slab::col_mut`], which
//! gives the padded column, and kernels keep zeros zero).

#![expect(unsafe_code, reason = "maps memory; every block says why it is sound")]

use std::ptr::NonNull;

use faer::MatRef;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use super::padded;

/// Columns of one page.
pub const PAGE_COLUMNS: usize = 4_096;

const HUGE_BYTES: usize = 2 << 20;

/// A growing matrix whose columns never move.
#[derive(Debug)]
pub struct Slab {
    rows: usize,
    stride: usize,
    /// Columns of an arena, as a power of two: where a column lies is found without a division.
    arena_shift: u32,
    arenas: Vec<Arena>,
    len: usize,
}

impl Slab {
    /// No columns yet, of `rows` rows each. `rows` may be 0: columns are then empty and cost nothing.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        let stride = padded(rows);
        let page_bytes = PAGE_COLUMNS * stride * size_of::<f32>();
        let pages = if page_bytes == 0 { 1 } else { HUGE_BYTES.div_ceil(page_bytes) };
        let arena_shift = (PAGE_COLUMNS * pages).next_power_of_two().trailing_zeros();
        Self { rows, stride, arena_shift, arenas: Vec::new(), len: 0 }
    }

    fn arena_columns(&self) -> usize {
        1 << self.arena_shift
    }

    /// Arena of a column, and its first float there.
    #[inline]
    fn place(&self, column: usize) -> (usize, usize) {
        assert!(column < self.len, "column {column} of {}", self.len);
        (column >> self.arena_shift, (column & (self.arena_columns() - 1)) * self.stride)
    }

    /// Rows that carry values.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows with padding: the length of every column slice.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Columns.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no columns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes mapped.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arenas.iter().map(|arena| arena.bytes).sum()
    }

    /// Adds a column of zeros and says which it is.
    pub fn push(&mut self) -> usize {
        if self.stride > 0 && self.len == self.arenas.len() << self.arena_shift {
            self.arenas.push(Arena::map(self.arena_columns() * self.stride));
        }
        self.len += 1;
        self.len - 1
    }

    /// Column `column`, padded.
    ///
    /// # Panics
    /// If there is no such column.
    #[must_use]
    #[inline]
    pub fn col(&self, column: usize) -> &[f32] {
        let (arena, start) = self.place(column);
        if self.stride == 0 {
            return &[];
        }
        &self.arenas[arena].floats()[start..start + self.stride]
    }

    /// Column `column`, padded, to be written. Padding must stay zero.
    ///
    /// # Panics
    /// If there is no such column.
    #[inline]
    pub fn col_mut(&mut self, column: usize) -> &mut [f32] {
        let (arena, start) = self.place(column);
        if self.stride == 0 {
            return &mut [];
        }
        let stride = self.stride;
        &mut self.arenas[arena].floats_mut()[start..start + stride]
    }

    /// The arenas in order: index of the first column, and a `stride x columns` matrix.
    pub fn blocks(&self) -> impl Iterator<Item = (usize, MatRef<'_, f32>)> {
        self.arenas.iter().enumerate().map(|(index, arena)| {
            let first = index << self.arena_shift;
            let columns = self.arena_columns().min(self.len - first);
            let used = &arena.floats()[..columns * self.stride];
            (first, MatRef::from_column_major_slice(used, self.stride, columns))
        })
    }
}

/// One mapping, aligned to 2 MiB, zeroed by the kernel at first touch.
#[derive(Debug)]
struct Arena {
    mapping: NonNull<f32>,
    mapped_bytes: usize,
    offset: usize,
    floats: usize,
    bytes: usize,
}

// SAFETY: an arena owns its mapping alone, as a `Box<[f32]>` would; access goes through `&self` and `&mut self`.
unsafe impl Send for Arena {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Arena {}

impl Arena {
    fn map(floats: usize) -> Self {
        let bytes = floats * size_of::<f32>();
        let mapped_bytes = bytes + HUGE_BYTES;
        // SAFETY: a fresh anonymous private mapping at an address of the kernel's choice aliases nothing.
        let raw = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                mapped_bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        };
        let Some(mapping) = raw.ok().and_then(|raw| NonNull::new(raw.cast::<f32>())) else {
            // Like any allocation that fails: there is nothing to go on with. Limits refuse work long before.
            panic!("the system refuses {mapped_bytes} bytes of memory for a page of columns");
        };
        let address = mapping.as_ptr() as usize;
        let offset = address.next_multiple_of(HUGE_BYTES) - address;
        // SAFETY: the range lies inside the mapping just made. Advice may be refused; it changes speed alone.
        let _ = unsafe { madvise(mapping.as_ptr().byte_add(offset).cast(), bytes, Advice::LinuxHugepage) };
        Self { mapping, mapped_bytes, offset, floats, bytes }
    }

    fn floats(&self) -> &[f32] {
        // SAFETY: `offset + bytes` is inside the mapping (it was made one huge page larger), the pointer is aligned to
        // 2 MiB, the kernel zeroed the memory, every bit pattern is an f32, and `&self` keeps writers out.
        unsafe { std::slice::from_raw_parts(self.mapping.as_ptr().byte_add(self.offset), self.floats) }
    }

    fn floats_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `floats`, and `&mut self` keeps everyone else out.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.as_ptr().byte_add(self.offset), self.floats) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `mmap_anonymous` gave; no slice outlives the arena.
        let _ = unsafe { munmap(self.mapping.as_ptr().cast(), self.mapped_bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_padded_zeroed_and_never_move() {
        for rows in [0, 1, 16, 34, 64, 512] {
            let mut slab = Slab::new(rows);
            let first = slab.push();
            assert_eq!(slab.col(first).len(), padded(rows));
            let address = slab.col(first).as_ptr();
            for column in 1..2 * PAGE_COLUMNS + 3 {
                assert_eq!(slab.push(), column);
                if rows > 0 {
                    assert!(slab.col(column).iter().all(|value| *value == 0.0));
                    slab.col_mut(column)[0] = column as f32;
                }
            }
            assert_eq!(slab.col(first).as_ptr(), address);
            if rows > 0 {
                let seen: Vec<f32> =
                    slab.blocks().flat_map(|(_, block)| (0..block.ncols()).map(move |c| block[(0, c)])).collect();
                assert!(seen.iter().enumerate().all(|(column, value)| *value == column as f32), "rows {rows}");
            }
        }
    }
}
