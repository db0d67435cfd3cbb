//! H2: the decoder of the server and a slow one made out of `docs/protocol.md` (`page/`) say the same of every frame: both
//! refuse it, or both read it and write it again as the same bytes; and these are the bytes that came, but for ids in
//! decimal that came as texts. What is drawn by the page's rules is read.
//!
//! * `MIRRA_HOSTILE_CASES=1000000` tries as many frames.
//! * `MIRRA_HOSTILE_SEED=7` begins with that seed; with `MIRRA_HOSTILE_CASES=1` it is one frame again.

use mirra::base::Rng;
use mirra::wire::commands::{EventBatch, EventPut, Request};
use mirra::wire::message::{decode_error, decode_request};
use mirra::wire::{
    COMMANDS, Command, EachCommand, EventBatchView, EventPutView, HEADER_BYTES, Header, Status, decode_reply,
    each_command, put_error, put_reply, put_request, split,
};

use crate::corpus::frames_of;
use crate::mutate;
use crate::page::draw::Draw;
use crate::page::slow::Slow;
use crate::page::{Page, PageCommand, page, text};
use crate::runs::number;

/// Frames that are tried.
const CASES: u64 = 50_000;

/// Disagreements that are told; more are only counted.
const TOLD: u64 = 20;

/// Reads a body and writes it again; `None` if it is refused.
type Again = fn(&[u8]) -> Option<Vec<u8>>;

/// The server's decoder of one command.
struct Fast {
    opcode: u16,
    request: Again,
    reply: Again,
}

struct Commands(Vec<Fast>);

impl EachCommand for Commands {
    fn command<C: Command>(&mut self) {
        self.0.push(Fast { opcode: C::OPCODE, request: request::<C>, reply: reply::<C> });
    }
}

fn request<C: Command>(body: &[u8]) -> Option<Vec<u8>> {
    let value = decode_request::<C>(body);
    assert_eq!(value.is_ok(), Request::decode(C::OPCODE, body).is_ok(), "the enumeration of requests reads otherwise");
    // The server reads these two without making them.
    let viewed = match C::OPCODE {
        EventPut::OPCODE => EventPutView::decode(body).is_ok(),
        EventBatch::OPCODE => EventBatchView::decode(body).is_ok(),
        _ => value.is_ok(),
    };
    assert_eq!(value.is_ok(), viewed, "the view reads otherwise");
    let mut again = Vec::new();
    put_request(&mut again, 7, &value.ok()?).expect("what can be read can be written");
    Some(again.split_off(HEADER_BYTES))
}

fn reply<C: Command>(body: &[u8]) -> Option<Vec<u8>> {
    let mut again = Vec::new();
    put_reply::<C>(&mut again, 7, Status::Ok, &decode_reply::<C>(body).ok()?).expect("what can be read can be written");
    Some(again.split_off(HEADER_BYTES))
}

fn refusal(body: &[u8]) -> Option<Vec<u8>> {
    let error = decode_error(body).ok()?;
    let mut again = Vec::new();
    put_error(&mut again, 7, Status::Overloaded, error.retry_after_ms, &error.message);
    Some(again.split_off(HEADER_BYTES))
}

/// A frame, and the command whose reply it is to be read as, if it is no request.
struct Case<'a> {
    frame: Vec<u8>,
    reply_of: Option<&'a PageCommand>,
    /// It follows the page's rules.
    good: bool,
}

/// What a decoder makes of a frame: the frame that it writes, or why not.
type Verdict = Result<Vec<u8>, String>;

/// By the code of the server.
fn by_code(fast: &[Fast], case: &Case<'_>) -> Verdict {
    let (header, body) = split(&case.frame).next().ok_or("not all there")?.map_err(|error| error.to_string())?;
    header.check().map_err(|error| error.to_string())?;
    let row = |opcode: u16| fast.iter().find(|row| row.opcode == opcode);
    let read = match case.reply_of {
        None => row(header.code).ok_or("no such opcode")?.request,
        // "Treat a number that you do not know as INTERNAL."
        Some(_) if !Status::from_number(header.code).is_some_and(Status::is_success) => refusal,
        Some(command) => row(command.opcode).ok_or("no such opcode")?.reply,
    };
    let body = read(body).ok_or("the body is refused")?;
    let length = u32::try_from(body.len()).map_err(|error| error.to_string())?;
    Ok([&Header { length, ..header }.encode()[..], &body].concat())
}

/// By the page: also whether an id was a number in another spelling, and how many bytes were read.
fn by_page(page: &Page, case: &Case<'_>) -> Result<(Vec<u8>, bool, usize), String> {
    let mut slow = Slow::new(page, &case.frame);
    let told = slow.frame(case.reply_of)?;
    let body = told.body.bytes();
    Ok((framed(page, &told.header, &body), slow.respelled > 0, slow.at()))
}

/// A frame by the page; the length is that of the body, whatever the header says.
fn framed(page: &Page, header: &[u64], body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    for (at, (field, width)) in header.iter().zip(&page.header).enumerate() {
        let field = if at == 0 { body.len() as u64 } else { *field };
        frame.extend_from_slice(&field.to_le_bytes()[..*width]);
    }
    frame.extend_from_slice(body);
    frame
}

/// A frame for a seed: out of the golden ones or drawn by the page, as it is, with a rule broken, or with bytes changed.
fn case<'a>(page: &'a Page, golden: &[[Vec<u8>; 2]], seed: u64) -> Case<'a> {
    let mut rng = Rng::new(seed ^ 0x9A6E);
    let at = rng.below(page.commands.len() as u64) as usize;
    let command = &page.commands[at];
    let is_reply = rng.below(2) == 1;
    let refused = is_reply && rng.below(16) == 0;
    let fields = match (is_reply, refused) {
        (false, _) => &command.request,
        (true, false) => &command.reply,
        (true, true) => &page.records["ErrorBody"],
    };
    let code = match (is_reply, refused) {
        (false, _) => u64::from(command.opcode),
        (true, false) => u64::from(page.successes[rng.below(page.successes.len() as u64) as usize]),
        (true, true) => 16 + rng.below(60),
    };
    let way = rng.below(8);
    let wrong = if way < 3 { 12 } else { 0 };
    let mut body = if way == 7 && !refused {
        golden[at][usize::from(is_reply)][HEADER_BYTES..].to_vec()
    } else {
        Draw { page, rng: &mut rng, wrong }.fields(fields).bytes()
    };
    if way >= 5 {
        body = mutate::input(&[body], &mut rng);
    }
    let mut frame = framed(page, &[0, code, 0, page.version, rng.bits()], &body);
    let changed = rng.below(16) == 0;
    if changed {
        // The header with it.
        frame = mutate::input(&[frame, golden[at][0].clone()], &mut rng);
    }
    let good = (3..5).contains(&way) && !changed && frame.len() <= page.frame_max;
    Case { frame, reply_of: is_reply.then_some(command), good }
}

/// Tries one frame: whether both read it, and whether it was spelled otherwise; what they disagree in.
fn compare(page: &Page, fast: &[Fast], case: &Case<'_>) -> Result<(bool, bool), String> {
    let (code, slow) = (by_code(fast, case), by_page(page, case));
    match (code, slow) {
        (Err(why), Err(reason)) if case.good => Err(format!("drawn by the rules, and refused: {why}; {reason}")),
        (Err(_), Err(_)) => Ok((false, false)),
        (Ok(_), Err(reason)) => Err(format!("the code reads what the page refuses: {reason}")),
        (Err(why), Ok(_)) => Err(format!("the code refuses what the page reads: {why}")),
        (Ok(code), Ok((slow, _, _))) if code != slow => Err("they write it as other bytes".to_owned()),
        (Ok(_), Ok((slow, respelled, taken))) => {
            let same = slow == case.frame[..taken];
            let again = Case { frame: slow.clone(), reply_of: case.reply_of, good: true };
            if same == respelled {
                Err(format!("written as the bytes that came: {same}; an id in another spelling: {respelled}"))
            } else if by_code(fast, &again) != Ok(slow.clone())
                || by_page(page, &again) != Ok((slow, false, again.frame.len()))
            {
                Err("what is written is read otherwise".to_owned())
            } else {
                Ok((true, respelled))
            }
        }
    }
}

/// The golden frames, in the order of the page.
fn golden(page: &Page) -> Vec<[Vec<u8>; 2]> {
    page.commands.iter().map(|command| frames_of(&command.name.to_lowercase())).collect()
}

fn commands() -> Vec<Fast> {
    let mut commands = Commands(Vec::new());
    each_command(&mut commands);
    commands.0
}

#[test]
fn a_decoder_made_from_the_page_agrees_on_every_frame() {
    let (page, fast) = (page(), commands());
    let golden = golden(&page);
    let (first, cases) = (number("SEED", 0), number("CASES", CASES));
    let (mut read, mut respelled, mut disagreements) = (0_u64, 0_u64, 0_u64);
    for seed in first..first + cases {
        let case = case(&page, &golden, seed);
        match compare(&page, &fast, &case) {
            Ok((was_read, was_respelled)) => {
                read += u64::from(was_read);
                respelled += u64::from(was_respelled);
            }
            Err(what) => {
                disagreements += 1;
                if disagreements <= TOLD {
                    let whose =
                        case.reply_of.map_or("a request".to_owned(), |command| format!("a reply to {}", command.name));
                    let hex: String = case.frame.iter().take(2_000).map(|byte| format!("{byte:02x}")).collect();
                    println!("MIRRA_HOSTILE_SEED={seed} MIRRA_HOSTILE_CASES=1: {whose}: {what}");
                    println!("frame of {} bytes: {hex}", case.frame.len());
                }
            }
        }
    }
    let refused = cases - read - disagreements;
    println!(
        "seeds from {first}, {cases} frames: {read} read ({respelled} with ids in another spelling), {refused} refused"
    );
    assert_eq!(disagreements, 0, "disagreements");
    assert!(cases < 1_000 || read > cases / 4 && refused > cases / 4 && respelled > cases / 100, "a poor mixture");
}

/// The page lists what the code has, and its examples are frames.
#[test]
fn the_page_lists_every_command_and_its_examples_are_frames() {
    let page = page();
    let listed: Vec<(&str, u16)> = page.commands.iter().map(|command| (&command.name[..], command.opcode)).collect();
    let known: Vec<(&str, u16)> = COMMANDS.iter().map(|row| (row.name, row.opcode)).collect();
    assert_eq!(listed, known);
    let event_put = page.commands.iter().find(|command| command.name == "EVENT_PUT").expect("listed");
    assert_eq!(page.examples.len(), 2, "a request and its reply");
    for (frame, reply_of) in page.examples.iter().cloned().zip([None, Some(event_put)]) {
        let case = Case { frame, reply_of, good: true };
        assert_eq!(compare(&page, &commands(), &case), Ok((true, false)), "{:02x?}", case.frame);
    }
}

/// What the page could say wrongly, and instead of what.
const MISTAKES: [(&str, &str); 10] = [
    ("At most 256 bytes unless", "At most 255 bytes unless"),
    ("At most 4096 unless", "At most 4097 unless"),
    ("length (1 to 128)", "length (1 to 129)"),
    ("`list of text` (at most 64)", "`list of text` (at most 63)"),
    ("3 `bool`", "3 `u8`"),
    ("at most 1024 bytes", "at most 1023 bytes"),
    ("| `item` | optional id |", "| `item` | id |"),
    ("| `kind` | u8 |", "| `kind` | u16 |"),
    ("[Attribute](#attribute), at most 64", "[Attribute](#attribute), at most 65"),
    ("`version` is 1", "`version` is 2"),
];

/// The comparison is worth something: it notices if one word of the page is another.
#[test]
fn a_page_that_is_wrong_in_one_place_disagrees() {
    let (right, fast) = (page(), commands());
    let golden = golden(&right);
    for (says, instead) in MISTAKES {
        let text = text();
        assert!(text.contains(says), "the page does not say {says:?}");
        let wrong = Page::read(&text.replace(says, instead));
        let found = (0..CASES).find(|seed| compare(&wrong, &fast, &case(&right, &golden, *seed)).is_err());
        println!("{instead:?} for {says:?}: noticed by frame {found:?}");
        assert!(found.is_some(), "{instead:?} for {says:?} is not noticed");
    }
}
