//! What holds for every command alike: golden bytes, truncation, bytes left over, round trips, hostile counts.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::commands::{COMMANDS, Request, visit_commands};
use super::error::WireError;
use super::frame::{HEADER_BYTES, split};
use super::message::{decode_error, decode_reply, decode_request, put_error, put_reply, put_request};
use super::sample::{CommandVisitor, Sample, assert_fixture};
use super::schema::Command;
use super::status::Status;
use crate::base::{CursorError, Rng};

/// The request and reply that the fixture of a command holds: the draw with the fewest empty lists.
fn specimen<C: Command + Sample + std::fmt::Debug>() -> (C, C::Reply)
where
    C::Reply: Sample + std::fmt::Debug,
{
    let mut rng = Rng::new(u64::from(C::OPCODE));
    let draws = (0..64).map(|_| (C::sample(&mut rng), C::Reply::sample(&mut rng)));
    let fullest = draws.min_by_key(|drawn| format!("{drawn:?}").matches("[]").count());
    fullest.expect("64 draws are not none")
}

fn frames_of<C: Command>(request: &C, reply: &C::Reply) -> [Vec<u8>; 2] {
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    put_request(&mut asked, 0x0102_0304_0506_0708, request).unwrap();
    put_reply::<C>(&mut answered, 0x0102_0304_0506_0708, Status::Ok, reply).unwrap();
    [asked, answered]
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        let line: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(text, "{}", line.join(" "));
    }
    text
}

struct Golden;

impl CommandVisitor for Golden {
    fn visit<C>(&mut self)
    where
        C: Command + Sample + PartialEq + std::fmt::Debug,
        C::Reply: Sample + PartialEq + std::fmt::Debug,
    {
        let (request, reply) = specimen::<C>();
        let [asked, answered] = frames_of(&request, &reply);
        let fresh = format!(
            "# {} request: {request:?}\n{}# {} reply: {reply:?}\n{}",
            C::NAME,
            hex(&asked),
            C::NAME,
            hex(&answered)
        );
        let name = C::NAME.to_lowercase();
        let path = format!("{}/tests/fixtures/wire/{name}.hex", env!("CARGO_MANIFEST_DIR"));
        assert_fixture(&path, &fresh);
    }
}

#[test]
fn golden_bytes_of_every_command() {
    visit_commands(&mut Golden);
}

#[test]
fn every_command_has_a_fixture_and_every_fixture_a_command() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/wire");
    let mut stored: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".hex"))
        .collect();
    let mut expected: Vec<String> = COMMANDS.iter().map(|row| format!("{}.hex", row.name.to_lowercase())).collect();
    stored.sort();
    expected.sort();
    assert_eq!(stored, expected);
}

/// Truncation at every byte, one byte too many, and a round trip, for one command.
struct Bodies {
    seed: u64,
}

impl Bodies {
    fn check<T: PartialEq + std::fmt::Debug>(
        &self,
        name: &str,
        value: &T,
        frame: &[u8],
        decode: impl Fn(&[u8]) -> Result<T, WireError>,
    ) {
        let body = &frame[HEADER_BYTES..];
        assert_eq!(decode(body).as_ref(), Ok(value), "{name}, seed {}", self.seed);
        for cut in 0..body.len() {
            let found = decode(&body[..cut]);
            let short = matches!(&found, Err(WireError::Body { cause: CursorError::Short { offset, have, .. }, .. })
                if offset + have == cut);
            assert!(short, "{name} cut at {cut}, seed {}: {found:?}", self.seed);
        }
        let found = decode(&[body, &[0]].concat());
        let trailing = WireError::Body {
            command: COMMANDS.iter().find(|row| row.name == name).unwrap().name,
            cause: CursorError::Trailing { offset: body.len(), extra: 1 },
        };
        assert_eq!(found, Err(trailing), "{name}, seed {}", self.seed);
    }
}

impl CommandVisitor for Bodies {
    fn visit<C>(&mut self)
    where
        C: Command + Sample + PartialEq + std::fmt::Debug,
        C::Reply: Sample + PartialEq + std::fmt::Debug,
    {
        let mut rng = Rng::new(self.seed);
        let (request, reply) = (C::sample(&mut rng), C::Reply::sample(&mut rng));
        let [asked, answered] = frames_of(&request, &reply);
        self.check(C::NAME, &request, &asked, decode_request::<C>);
        self.check(C::NAME, &reply, &answered, decode_reply::<C>);

        let any = Request::decode(C::OPCODE, &asked[HEADER_BYTES..]).unwrap();
        assert_eq!((any.info().name, any.info().opcode), (C::NAME, C::OPCODE));
        let mut again = Vec::new();
        any.encode(&mut again, 0x0102_0304_0506_0708).unwrap();
        assert_eq!(again, asked, "{}, seed {}", C::NAME, self.seed);
    }
}

#[test]
fn specimens_cut_at_every_byte_fail_cleanly() {
    struct Cut;
    impl CommandVisitor for Cut {
        fn visit<C>(&mut self)
        where
            C: Command + Sample + PartialEq + std::fmt::Debug,
            C::Reply: Sample + PartialEq + std::fmt::Debug,
        {
            let (request, reply) = specimen::<C>();
            let [asked, answered] = frames_of(&request, &reply);
            let bodies = Bodies { seed: u64::from(C::OPCODE) };
            bodies.check(C::NAME, &request, &asked, decode_request::<C>);
            bodies.check(C::NAME, &reply, &answered, decode_reply::<C>);
        }
    }
    visit_commands(&mut Cut);
}

/// Every four bytes of every specimen replaced by a count of `u32::MAX`: refused or read as something else, but never
/// a panic, and never more memory than the bytes could fill.
struct Counts {
    refused: usize,
}

impl CommandVisitor for Counts {
    fn visit<C>(&mut self)
    where
        C: Command + Sample + PartialEq + std::fmt::Debug,
        C::Reply: Sample + PartialEq + std::fmt::Debug,
    {
        let (request, reply) = specimen::<C>();
        for (frame, is_request) in frames_of(&request, &reply).into_iter().zip([true, false]) {
            for at in HEADER_BYTES..frame.len().saturating_sub(3) {
                let mut hostile = frame[HEADER_BYTES..].to_vec();
                hostile[at - HEADER_BYTES..at - HEADER_BYTES + 4].fill(0xFF);
                let refused = if is_request {
                    decode_request::<C>(&hostile).is_err()
                } else {
                    decode_reply::<C>(&hostile).is_err()
                };
                self.refused += usize::from(refused);
            }
        }
    }
}

#[test]
fn counts_of_u32_max_are_refused() {
    let mut counts = Counts { refused: 0 };
    visit_commands(&mut counts);
    assert!(counts.refused > 1_000, "only {} hostile bodies were refused", counts.refused);

    // Each list of each command stands alone at a known place in these bodies: two fixed bytes, then the count.
    let hostile = [1, 0, 0xFF, 0xFF, 0xFF, 0xFF];
    let found = Request::decode(0x0102, &hostile);
    let refused = matches!(
        found,
        Err(WireError::Body {
            command: "EVENT_BATCH",
            cause: CursorError::Bad { what: "count", found: 0xFFFF_FFFF, .. }
        })
    );
    assert!(refused, "{found:?}");
    let fits_the_limit_but_not_the_bytes = [1, 0, 0, 0x10, 0, 0];
    let found = Request::decode(0x0102, &fits_the_limit_but_not_the_bytes);
    assert!(matches!(found, Err(WireError::Body { cause: CursorError::Short { .. }, .. })), "{found:?}");
}

#[test]
fn the_table_is_sorted_unique_and_documented() {
    assert!(COMMANDS.is_sorted_by(|a, b| a.opcode < b.opcode), "sorted, and no opcode twice");
    let mut names: Vec<&str> = COMMANDS.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), COMMANDS.len());
    assert!(COMMANDS.iter().all(|row| row.doc.ends_with('.')));
}

/// Golden: opcodes are on the wire and may never change; new ones are added.
#[test]
fn opcodes_are_frozen() {
    let frozen = [
        (0x0001, "HELLO"),
        (0x0002, "PING"),
        (0x0003, "STATS"),
        (0x0101, "EVENT_PUT"),
        (0x0102, "EVENT_BATCH"),
        (0x0103, "USER_UPSERT"),
        (0x0104, "USER_GET"),
        (0x0105, "ITEM_UPSERT"),
        (0x0106, "ITEM_GET"),
        (0x0201, "PROFILE_GET"),
        (0x0202, "PREDICT"),
        (0x0203, "RECOMMEND"),
        (0x0204, "SIMILAR_ITEMS"),
        (0x0301, "METRICS"),
        (0x0302, "METRICS_BY"),
        (0x0401, "REFIT"),
        (0x0402, "SNAPSHOT"),
        (0x0403, "DIGEST"),
        (0x0404, "SHUTDOWN"),
        (0x0405, "REJECTS"),
    ];
    for (opcode, name) in frozen {
        assert!(COMMANDS.iter().any(|row| (row.opcode, row.name) == (opcode, name)), "{name}");
    }
}

#[test]
fn unknown_opcodes_are_typed() {
    let known: Vec<u16> = COMMANDS.iter().map(|row| row.opcode).collect();
    for opcode in (0..=u16::MAX).filter(|opcode| !known.contains(opcode)) {
        assert_eq!(Request::decode(opcode, &[]), Err(WireError::UnknownOpcode { opcode }));
    }
}

#[test]
fn refusals_always_fit_and_are_cut_at_a_whole_character() {
    for (message, expected) in [("busy", 4), (&"ü".repeat(600), 1_024), (&format!("a{}", "ü".repeat(600)), 1_023)] {
        let mut bytes = Vec::new();
        put_error(&mut bytes, 3, Status::Overloaded, 25, message);
        let (header, body) = split(&bytes).next().unwrap().unwrap();
        let error = decode_error(body).unwrap();
        assert_eq!((header.code, header.request_id), (48, 3));
        assert_eq!((error.retry_after_ms, error.message.len()), (25, expected));
        for cut in 0..body.len() {
            assert!(decode_error(&body[..cut]).is_err(), "cut at {cut}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_encoded_decodes_to_the_same(seed in any::<u64>()) {
        visit_commands(&mut Bodies { seed });
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        row in 0..COMMANDS.len(),
    ) {
        let opcode = COMMANDS[row].opcode;
        // f32 bits survive a round trip, NaNs with them, so what was read is written back as it was, except that a
        // text id in decimal form becomes the integer that it is.
        if let Ok(request) = Request::decode(opcode, &bytes) {
            let mut again = Vec::new();
            request.encode(&mut again, 1).unwrap();
            let twice = Request::decode(opcode, &again[HEADER_BYTES..]).unwrap();
            prop_assert_eq!(format!("{request:?}"), format!("{twice:?}"));
        }
        for frame in split(&bytes) {
            let _ = frame;
        }
    }
}
