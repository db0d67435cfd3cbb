//! The 16-byte header, and splitting a buffer into whole frames. Sans I/O: bytes in, borrowed frames out.
//!
//! ```text
//!  0       4      6       7         8                16
//!  | length | code | flags | version | request id     | body: `length` bytes ...
//!  | u32    | u16  | u8    | u8      | u64            |
//! ```
//! `code` is the opcode of a request and the status of a response. A length over the limit is refused from the header
//! alone, before anything is read or allocated for it; after that the stream cannot be followed, so it is closed.

use super::error::{OverLimit, WireError};
use crate::base::Writer;
use crate::base::limits::FRAME_BYTES_MAX;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 16;

/// Most bytes of a body.
pub const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - HEADER_BYTES;

/// The protocol version that is spoken here.
pub const VERSION: u8 = 1;

/// What stands before every body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the body.
    pub length: u32,
    /// Opcode of a request, status of a response.
    pub code: u16,
    /// 0 in version 1.
    pub flags: u8,
    /// Protocol version.
    pub version: u8,
    /// Chosen by the client; the response carries the same, and responses come in any order.
    pub request_id: u64,
}

impl Header {
    /// A header of this version, without flags.
    #[must_use]
    pub fn new(code: u16, request_id: u64, length: u32) -> Self {
        Self { length, code, flags: 0, version: VERSION, request_id }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut raw = [0_u8; HEADER_BYTES];
        raw[0..4].copy_from_slice(&self.length.to_le_bytes());
        raw[4..6].copy_from_slice(&self.code.to_le_bytes());
        raw[6] = self.flags;
        raw[7] = self.version;
        raw[8..16].copy_from_slice(&self.request_id.to_le_bytes());
        raw
    }

    /// The header that these bytes are. Any bytes are some header; see [`Header::check`].
    #[must_use]
    pub fn decode(raw: [u8; HEADER_BYTES]) -> Self {
        let [l0, l1, l2, l3, c0, c1, flags, version, id @ ..] = raw;
        Self {
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            code: u16::from_le_bytes([c0, c1]),
            flags,
            version,
            request_id: u64::from_le_bytes(id),
        }
    }

    /// Checks version and flags. A request that fails is answered UNSUPPORTED; the stream itself is still good.
    ///
    /// # Errors
    /// [`WireError::Version`] or [`WireError::Flags`].
    pub fn check(self) -> Result<(), WireError> {
        if self.version != VERSION {
            return Err(WireError::Version { found: self.version, spoken: VERSION });
        }
        if self.flags != 0 {
            return Err(WireError::Flags { found: self.flags });
        }
        Ok(())
    }

    /// Bytes of the whole frame.
    ///
    /// # Errors
    /// [`WireError::FrameTooLong`] if they are over [`FRAME_BYTES_MAX`].
    pub fn frame_bytes(self) -> Result<usize, WireError> {
        let bytes = u64::from(self.length) + HEADER_BYTES as u64;
        match usize::try_from(bytes) {
            Ok(fits) if fits <= FRAME_BYTES_MAX => Ok(fits),
            _ => Err(WireError::FrameTooLong { bytes, max: FRAME_BYTES_MAX }),
        }
    }
}

/// The whole frames at the start of `bytes`, in order. What is left over is the start of the next frame: keep it, read
/// more behind it, split again.
#[must_use]
pub fn split(bytes: &[u8]) -> Frames<'_> {
    Frames { bytes, consumed: 0, failed: false }
}

/// Iterator over whole frames; ends at the first frame that is not all there, and after an error.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    consumed: usize,
    failed: bool,
}

impl Frames<'_> {
    /// Bytes of the frames that were yielded: what the caller may drop from the front of its buffer.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// How long the buffer must be, counted from the first byte not consumed, for the next frame to be whole: a hint
    /// for reading. At most [`FRAME_BYTES_MAX`].
    #[must_use]
    pub fn wanted(&self) -> usize {
        match self.peek() {
            Some(header) => header.frame_bytes().unwrap_or(HEADER_BYTES),
            None => HEADER_BYTES,
        }
    }

    fn peek(&self) -> Option<Header> {
        self.bytes[self.consumed..].first_chunk().map(|raw| Header::decode(*raw))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<(Header, &'a [u8]), WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let header = self.peek()?;
        let frame_bytes = match header.frame_bytes() {
            Ok(bytes) => bytes,
            Err(error) => {
                self.failed = true;
                return Some(Err(error));
            }
        };
        let frame = self.bytes[self.consumed..].get(..frame_bytes)?;
        self.consumed += frame_bytes;
        Some(Ok((header, &frame[HEADER_BYTES..])))
    }
}

/// Appends a frame whose body is what `body` writes. If that fails, or the frame would be too long, `out` is as before.
///
/// # Errors
/// [`WireError::Limit`], or [`WireError::FrameTooLong`].
pub fn put_frame(
    out: &mut Vec<u8>,
    code: u16,
    request_id: u64,
    command: &'static str,
    body: impl FnOnce(&mut Writer<'_>) -> Result<(), OverLimit>,
) -> Result<(), WireError> {
    let start = out.len();
    out.extend_from_slice(&Header::new(code, request_id, 0).encode());
    let written = body(&mut Writer::new(out)).map_err(|cause| WireError::Limit { command, cause });
    let done = written.and_then(|()| close_frame(out, start));
    if done.is_err() {
        out.truncate(start);
    }
    done
}

/// Writes the length into the header at `start`, now that the body behind it is complete.
pub(super) fn close_frame(out: &mut [u8], start: usize) -> Result<(), WireError> {
    let bytes = out.len() - start;
    let too_long = WireError::FrameTooLong { bytes: bytes as u64, max: FRAME_BYTES_MAX };
    if bytes > FRAME_BYTES_MAX {
        return Err(too_long);
    }
    let length = u32::try_from(bytes - HEADER_BYTES).map_err(|_| too_long)?;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(code: u16, id: u64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_frame(&mut out, code, id, "TEST", |writer| {
            writer.bytes(body);
            Ok(())
        })
        .unwrap();
        out
    }

    #[test]
    fn the_header_is_frozen() {
        let header =
            Header { length: 0x0403_0201, code: 0x0605, flags: 7, version: 8, request_id: 0x100F_0E0D_0C0B_0A09 };
        assert_eq!(header.encode(), std::array::from_fn(|at| u8::try_from(at + 1).unwrap()));
        assert_eq!(Header::decode(header.encode()), header);
    }

    #[test]
    fn all_whole_frames_and_what_is_left() {
        let mut bytes = [frame(1, 10, b"one"), frame(2, 11, b""), frame(3, 12, b"three")].concat();
        let whole = bytes.len();
        bytes.extend_from_slice(&frame(4, 13, b"cut")[..17]);
        let mut frames = split(&bytes);
        let found: Vec<_> = frames.by_ref().map(|frame| frame.map(|(h, body)| (h.code, h.request_id, body))).collect();
        assert_eq!(found, [Ok((1, 10, b"one".as_slice())), Ok((2, 11, b"")), Ok((3, 12, b"three"))]);
        assert_eq!(frames.consumed(), whole);
        assert_eq!(frames.wanted(), HEADER_BYTES + 3);
    }

    #[test]
    fn byte_by_byte_gives_the_same_frames() {
        let bytes = [frame(1, 10, b"one"), frame(2, 11, b""), frame(3, 12, &[9; 300])].concat();
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        for byte in &bytes {
            buffer.push(*byte);
            let mut frames = split(&buffer);
            for each in frames.by_ref() {
                let (header, body) = each.unwrap();
                found.push((header.code, header.request_id, body.len()));
            }
            let consumed = frames.consumed();
            buffer.drain(..consumed);
        }
        assert_eq!(found, [(1, 10, 3), (2, 11, 0), (3, 12, 300)]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_length_over_the_limit_is_refused_from_the_header_alone() {
        let most = u32::try_from(BODY_BYTES_MAX).unwrap();
        for (length, refused) in [(most, false), (most + 1, true), (u32::MAX, true)] {
            let raw = Header::new(1, 1, length).encode();
            let mut frames = split(&raw);
            match frames.next() {
                None => assert!(!refused, "{length}"),
                Some(found) => {
                    let bytes = u64::from(length) + 16;
                    assert_eq!(found, Err(WireError::FrameTooLong { bytes, max: FRAME_BYTES_MAX }));
                    assert!(refused, "{length}");
                    assert_eq!(frames.next(), None, "nothing follows a lost boundary");
                }
            }
            assert_eq!(frames.consumed(), 0);
            assert!(frames.wanted() <= FRAME_BYTES_MAX);
        }
    }

    #[test]
    fn flags_and_versions_are_refused_without_losing_the_stream() {
        let mut bytes = frame(1, 5, b"x");
        (bytes[6], bytes[7]) = (0x80, VERSION);
        assert_eq!(split(&bytes).next().unwrap().unwrap().0.check(), Err(WireError::Flags { found: 0x80 }));
        bytes[7] = 9;
        assert_eq!(split(&bytes).next().unwrap().unwrap().0.check(), Err(WireError::Version { found: 9, spoken: 1 }));
        bytes.extend(frame(2, 6, b""));
        assert_eq!(split(&bytes).count(), 2);
    }

    #[test]
    fn a_failed_frame_leaves_the_buffer_as_it_was() {
        let mut out = vec![1, 2, 3];
        let refusal = OverLimit { what: "test", have: 2, max: 1 };
        let found = put_frame(&mut out, 1, 1, "TEST", |writer| {
            writer.u64(9);
            Err(refusal)
        });
        assert_eq!(found, Err(WireError::Limit { command: "TEST", cause: refusal }));
        let found = put_frame(&mut out, 1, 1, "TEST", |writer| {
            writer.bytes(&vec![0; BODY_BYTES_MAX + 1]);
            Ok(())
        });
        assert!(matches!(found, Err(WireError::FrameTooLong { .. })));
        assert_eq!(out, [1, 2, 3]);
    }
}
