//! An allocator that counts, thread by thread: what is alive, and the most that was.
//!
//! It stands in the test binary and in the fuzz targets, never in the product. Counts are of bytes asked for; while a
//! block is moved to grow, the old and the new one both count, as they both exist.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    // Constant and without a destructor, so that touching them never allocates.
    static ALIVE: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let alive = ALIVE.get() + bytes;
    ALIVE.set(alive);
    MOST.set(MOST.get().max(alive));
}

#[expect(unsafe_code, reason = "an allocator cannot be had otherwise; every call is handed on as it came")]
// SAFETY: every call goes to the system's allocator with the caller's own arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed());
        count(-layout.size().cast_signed());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// What a piece of work took of memory, on its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Most bytes at a time, above what was alive before.
    pub most: usize,
    /// Bytes still alive at its end, above what was alive before.
    pub held: usize,
}

/// Carries out `work` and says what it took.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, Taken) {
    let before = ALIVE.get();
    MOST.set(before);
    let done = work();
    let above = |bytes: isize| usize::try_from(bytes - before).unwrap_or(0);
    (done, Taken { most: above(MOST.get()), held: above(ALIVE.get()) })
}
