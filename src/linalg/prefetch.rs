//! Asking memory early: several waits then pass at the same time, where one lookup after the other would wait for each.

#![expect(unsafe_code, reason = "the instruction has no safe form; the block says why it is sound")]

/// Bytes that memory hands out at a time.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// Asks memory for `values`, and does not wait. Changes speed alone; does nothing where there is no such instruction.
#[inline]
pub fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..size_of_val(values)).step_by(LINE_BYTES) {
        // SAFETY: the address lies inside the slice, and a prefetch neither faults nor changes what a program can see.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().byte_add(offset).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}
