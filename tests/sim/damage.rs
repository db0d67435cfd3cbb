//! D4: bits flipped, sectors zeroed, swapped and repeated, files cut, in everything that lies on disk. A start either finds
//! it out and says where, or is what it was before, to the bit: from an older generation and more journal, or because the
//! damaged bytes are of no use any more. Nothing is accepted in silence.

use mirra::base::Rng;

use crate::steps;
use crate::world::{Weather, World};

const SECTOR: usize = 512;

/// Damages of one directory.
const DAMAGES_EACH: u64 = 200;

/// What became of them.
#[derive(Clone, Debug, Default)]
pub struct Damages {
    pub tried: u64,
    /// It does not start, and says where the damage is.
    pub refused: u64,
    /// It is what it was.
    pub same: u64,
    /// It starts as another, in silence.
    pub silent: Vec<String>,
}

/// Tries about so many damages, each of a fresh copy.
pub fn damages(seed: u64, count: u64) -> Damages {
    crate::runs::quiet();
    let mut found = Damages::default();
    let mut rng = Rng::new(seed);
    for _ in 0..count.div_ceil(DAMAGES_EACH) {
        let seed = rng.bits();
        let world = at_rest(seed);
        let expected = world.digests();
        for _ in 0..DAMAGES_EACH {
            found.tried += 1;
            let (what, started) = start_damaged(&world, &mut rng);
            match started {
                Err(_) => found.refused += 1,
                Ok(digests) if digests == expected => found.same += 1,
                Ok(_) => found.silent.push(format!("world {seed}: {what}")),
            }
        }
    }
    found
}

/// A server that was stopped, with generations and a journal behind them.
fn at_rest(seed: u64) -> World {
    let mut rng = Rng::new(seed);
    let mut world = World::new(rng.bits(), Weather::Kills, steps::options(&mut rng));
    world.run(6, 80).unwrap_or_else(|error| panic!("world {seed}: {error}"));
    // Everything is said to be synced: no tail may be cut.
    let cores = &mut world.running.as_mut().expect("it runs").cores;
    assert!(cores.iter_mut().all(mirra::shard::Journaled::drain));
    world
}

/// What was damaged, and what each shard then is.
fn start_damaged(world: &World, rng: &mut Rng) -> (String, Result<Vec<u64>, String>) {
    let disk = world.disk.copy();
    let chunks = world.chunks.copy(&disk);
    let (at, kind, place) = (rng.bits(), rng.below(5), rng.bits());
    let what = if rng.below(3) == 0 {
        chunks.damage(|count| (at % count.max(1) as u64) as usize, |bytes| spoil(bytes, kind, place));
        format!("chunk {at}, {kind}")
    } else {
        let path = disk.damage(|paths| (at % paths.len() as u64) as usize, |bytes| spoil(bytes, kind, place));
        format!("{}, {kind}", path.display())
    };
    let mut after = World::new(1, world.weather, world.options.clone());
    (after.disk, after.chunks) = (disk, chunks);
    (what, after.look())
}

fn spoil(bytes: &mut Vec<u8>, kind: u64, place: u64) {
    if bytes.is_empty() {
        return;
    }
    let at = (place % bytes.len() as u64) as usize;
    let sector = at / SECTOR * SECTOR;
    let end = (sector + SECTOR).min(bytes.len());
    let other = (place >> 32) as usize % bytes.len() / SECTOR * SECTOR;
    let length = (end - sector).min(bytes.len() - other);
    match kind {
        0 => bytes[at] ^= 1 << (place >> 61),
        1 => bytes[sector..end].fill(0),
        2 => bytes.copy_within(other..other + length, sector),
        3 => {
            for offset in 0..length {
                bytes.swap(sector + offset, other + offset);
            }
        }
        _ => bytes.truncate(at),
    }
}
