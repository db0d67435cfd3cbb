//! Checksums put right, so that what stands behind them is tried.

use mirra::base::Reader;
use mirra::storage::archive::format::{FORMAT_VERSION, HEADER_BYTES, SECTION_HEAD_BYTES};

/// Checksums as a writer would have made them, of header, sections and footer; the rest stays as it is.
pub fn archive(bytes: &mut [u8]) {
    let masked = |crc: u32| crc.rotate_right(15).wrapping_add(0xA282_EAD8);
    let Some(head) = bytes.get_mut(..HEADER_BYTES) else { return };
    head[..8].copy_from_slice(b"MIRRAAR1");
    head[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    let crc = masked(crc32c::crc32c(&head[..26]));
    head[26..].copy_from_slice(&crc.to_le_bytes());
    let seed = crc32c::crc32c(&head[10..26]);
    let (mut all, mut rest, mut index) = (crc32c::crc32c(&crc.to_le_bytes()), &mut bytes[HEADER_BYTES..], 0_u64);
    while let Some(length) = rest.get(1..5).map(|raw| Reader::new(raw).u32().unwrap_or(0) as usize) {
        if rest.len() < SECTION_HEAD_BYTES + length {
            break;
        }
        let (section, after) = rest.split_at_mut(SECTION_HEAD_BYTES + length);
        if section[0] == 7 && length == 44 {
            section[SECTION_HEAD_BYTES + 40..].copy_from_slice(&all.to_le_bytes());
        }
        let place = crc32c::crc32c_append(crc32c::crc32c_append(seed, &index.to_le_bytes()), &section[..5]);
        let crc = masked(crc32c::crc32c_append(place, &section[SECTION_HEAD_BYTES..]));
        section[5..9].copy_from_slice(&crc.to_le_bytes());
        all = crc32c::crc32c_append(all, &crc.to_le_bytes());
        (rest, index) = (after, index + 1);
    }
}
