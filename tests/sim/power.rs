//! What power loss leaves of a file that was not synced: a cut, zeros, torn and stale blocks, in any order. The simulator's
//! disk and the journal's own tests (`storage/journal/power_tests.rs` takes this file in by its path) lose it alike.

use super::Rng;

/// Sizes at which devices and file systems tear.
const BLOCKS: [usize; 3] = [64, 512, 4_096];
const SECTOR_BYTES: usize = 512;

/// One of the many things that could be left of `bytes`, of which the first `durable` were synced.
pub fn image(mut bytes: Vec<u8>, durable: usize, stale: &[u8], rng: &mut Rng) -> Vec<u8> {
    let unsynced = (bytes.len() - durable) as u64;
    match rng.below(4) {
        0 => bytes.truncate(durable + rng.below(unsynced + 1) as usize),
        1 if unsynced > 0 => bytes.resize(bytes.len().next_multiple_of(4_096), 0),
        _ => {}
    }
    let end = bytes.len();
    spoil(&mut bytes, durable, end, stale, rng);
    bytes
}

/// Leaves of `bytes[from..to]` what was never synced could leave.
pub fn spoil(bytes: &mut [u8], from: usize, to: usize, stale: &[u8], rng: &mut Rng) {
    let (block, style) = (BLOCKS[rng.below(3) as usize], rng.below(5));
    let border = from + rng.below((to - from) as u64 + 1) as usize;
    // Not always at a block: some tear at sizes of their own.
    let border = if rng.below(2) == 0 { border.next_multiple_of(SECTOR_BYTES) } else { border };
    let mut at = from;
    while at < to {
        let end = ((at / block + 1) * block).min(to);
        let part = &mut bytes[at..end];
        let split = border.clamp(at, end) - at;
        match style {
            // The end arrived and the beginning did not; the other way round; any blocks; any, and stale ones; all.
            0 => part[..split].fill(0),
            1 => part[split..].fill(0),
            2 if rng.below(2) == 0 => part.fill(0),
            3 => match rng.below(4) {
                0 => part.fill(0),
                1 => part.fill_with(|| rng.bits() as u8),
                // Not from the same offset: another segment's header in place of ours is refused, as a misplaced file.
                2 => part.iter_mut().zip(stale.iter().skip(at + SECTOR_BYTES)).for_each(|(byte, old)| *byte = *old),
                _ => {}
            },
            _ => {}
        }
        at = end;
    }
}
