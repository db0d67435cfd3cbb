//! Renders `docs/protocol.md` from the tables, so that the page cannot differ from the code.
//!
//! The page alone must be enough to write a client in another language. A test compares the file with what is
//! rendered here; `MIRRA_BLESS=1 cargo test --lib wire` writes it.

use std::fmt::Write as _;

use super::commands::{COMMANDS, EventPut, EventPutReply};
use super::frame::{HEADER_BYTES, VERSION};
use super::message::{ErrorBody, MESSAGE_BYTES_MAX, put_reply, put_request};
use super::schema::{CommandInfo, FieldInfo, Record};
use super::status::{STATUSES, Status};
use super::types::{Event, TYPES};
use crate::base::limits::{FRAME_BYTES_MAX, ID_BYTES_MAX, ITEM_TAGS_MAX, LIST_MAX, TEXT_BYTES_MAX};
use crate::base::{Id, IdRef, Routing};

/// The whole page, in Markdown.
#[must_use]
pub fn protocol_page() -> String {
    [frames(), values(), session(), durability(), routing(), statuses(), commands(), types(), example()].concat()
}

fn frames() -> String {
    format!(
        "# Mirra's binary protocol, version {VERSION}

Rendered from `src/wire/`; do not edit. This page is all that a client in another language needs;
`examples/wire_client.py` is one, in Python's standard library alone.

## Frames

One TCP connection carries frames in both directions. Every number is little-endian.

```text
 byte 0        4           6       7         8                    16
      +--------+-----------+-------+---------+--------------------+----------------
      | length | code      | flags | version | request id         | body ...
      | u32    | u16       | u8    | u8      | u64                | `length` bytes
      +--------+-----------+-------+---------+--------------------+----------------
```

* `length` counts the bytes of the body, without the {HEADER_BYTES} of the header. A whole frame has at most
  {FRAME_BYTES_MAX} bytes; a longer one is answered BAD_REQUEST and the connection is closed.
* `code` is the opcode of a request and the status of a response.
* `flags` is 0. A request with any flag is answered UNSUPPORTED.
* `version` is {VERSION}. A request with another one is answered UNSUPPORTED.
* `request id` is chosen by the client, any number; the response carries the same. Many requests may be in flight on one
  connection, up to `in_flight_max` of HELLO, and **responses come in any order**. Writes
  for one user that are sent on one connection are carried out in the order in which they were sent.
* The body is the fields of the request or reply in order, with nothing between them. Bytes left over are an error: a
  command never grows a field, a new command carries what is new.

"
    )
}

fn values() -> String {
    format!(
        "## Values

| type | bytes |
|---|---|
| `u8` `u16` `u32` `u64` `i64` | the integer, little-endian; `i64` in two's complement |
| `f32` `f64` | IEEE 754, little-endian |
| `bool` | one byte, 0 or 1; anything else is an error |
| `text` | `u16` byte length, then UTF-8. At most {TEXT_BYTES_MAX} bytes unless said |
| `id` | an integer: byte 0, then `u64`. A text: its byte length (1 to {ID_BYTES_MAX}), then UTF-8 |
| `list of T` | `u32` count, then that many T. At most {LIST_MAX} unless said |
| `AttributeValue` | `u8` tag, then the value: 0 removed (nothing follows), 1 `f64`, 2 `text`, 3 `bool`, 4 `list of text` (at most {ITEM_TAGS_MAX}) |
| `optional T` | a `bool`; if it is 1, T follows |
| a record | its fields in order |

A length or count over its limit, a tag that is not listed, a text that is not UTF-8, too few bytes: the body is malformed
and refused as a whole, BAD_REQUEST. A number may have any bits: what its meaning asks of it (a finite value,
a known kind) is looked at afterwards, and of a batch only the events that lack it are refused.

**Ids have one canonical form.** A text that is exactly the decimal form of a number from 0 to 18446744073709551615, without
sign and leading zeros, *is* that number: `\"42\"` and 42 are the same user, `\"042\"` is another. The server takes both
forms and always answers with the canonical one; a client must make the text canonical before it routes (below).

Times are milliseconds since 1970-01-01 UTC.

"
    )
}

fn session() -> String {
    "## Session

Connect, send HELLO with the lowest and highest version you speak, read its reply. The server chooses the highest version
that both speak; if there is none it answers UNSUPPORTED, for a wrong token UNAUTHORISED, and closes. Until HELLO is
answered OK, every other command is answered UNAUTHORISED. Close the connection when you like: what was acknowledged
stays, what was in flight may or may not have been carried out. Send such events again **with the same `event_id`**:
those that were learned are answered DUPLICATE and change nothing.

When OVERLOADED comes, nothing was done: wait `retry_after_ms` and send the request again.

"
    .to_owned()
}

fn durability() -> String {
    "## Durability levels

A reply to a write is sent after the owner's state has changed, so a read that follows sees it. What else is true when the
reply is sent depends on the level that the request asks for; the reply says which was reached.

| level | name | when the reply is sent, the write survives |
|---|---|---|
| 0 | (in requests only) | the server's default, see HELLO |
| 1 | applied | nothing: it is in memory |
| 2 | journaled | the death of the process: the journal's bytes were handed to the operating system |
| 3 | durable | loss of power: the journal was synced to the disk, many writes with one sync |

"
    .to_owned()
}

fn routing() -> String {
    let mut rows = String::new();
    let key = [0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908];
    for routing in [Routing::Plain, Routing::Keyed(key)] {
        for text in ["0", "1", "42", "18446744073709551615", "user-7", "größe"] {
            let id = IdRef::text(text);
            let [two, seven, many] = [2, 7, 64].map(|shards| routing.shard(id, shards));
            let (rule, hash) = (routing.version(), routing.hash(id));
            let _ = writeln!(rows, "| {rule} | `{text}` | `{hash:#018x}` | {two} | {seven} | {many} |");
        }
    }
    format!(
        "## Routing

Every user and every item is owned by one shard. A server answers for all of its shards on any connection, so routing is
never needed to be right, only to be fast: a request that comes in at its owner's address is spared a hop between threads.
To route, take `shards` and `shard_map` of HELLO and rule and key of ROUTING_GET, and send each command to the address of the
shard of the id that its section names. An older server, which answers UNSUPPORTED, goes by rule 1. All arithmetic is on
unsigned 64-bit integers and wraps.

```text
rule 1:

mix(z):    z = z + 0x9E3779B97F4A7C15                      (the finaliser of SplitMix64)
           z = (z xor (z >> 30)) * 0xBF58476D1CE4E5B9
           z = (z xor (z >> 27)) * 0x94D049BB133111EB
           return z xor (z >> 31)

hash(integer n):  mix(n)
hash(text t):     h = 0xCBF29CE484222325                   (FNV-1a, 64 bits)
                  for each byte b of the UTF-8 of t:  h = (h xor b) * 0x100000001B3
                  return mix(h xor 0xA5A55A5AC3C33C3C)

rule 2:

hash(integer n):  SipHash-2-4 under the key of the 8 bytes of n, the lowest first
hash(text t):     SipHash-2-4 under the key of the UTF-8 of t

both:

shard(id) = (hash(canonical id) * shards) >> 64            (the product has 128 bits)
```

| rule | id | hash | shard of 2 | of 7 | of 64 |
|---|---|---|---|---|---|
{rows}
The key of the lines of rule 2 is 00 01 02 .. 0f, that of the paper. A data directory draws its own when it is made: names are
chosen by people, and nobody should be able to choose many of one shard. Those who may connect are trusted with it.
An EVENT_BATCH may mix users of all shards; a fast client sends each shard a batch of its own.

"
    )
}

fn statuses() -> String {
    let mut page = String::from(
        "## Statuses

The `code` of a response. After OK, PARTIAL and DUPLICATE (all below 16) the body is the reply of the command; after every
other status it is an `ErrorBody`. Numbers are never reused. Treat a number that you do not know as INTERNAL.

| number | name | send again? | meaning |
|---|---|---|---|
",
    );
    for row in STATUSES {
        let again = if row.retryable { "yes, later" } else { "no" };
        let _ = writeln!(page, "| {} | {} | {again} | {} |", row.number, row.name, row.doc);
    }
    let _ = write!(page, "\n### ErrorBody\n\n{}\n", fields(ErrorBody::INFO.fields));
    debug_assert!(page.contains(&MESSAGE_BYTES_MAX.to_string()));
    page
}

fn commands() -> String {
    let mut page = String::from("## Commands\n\n| opcode | name | class | routed by |\n|---|---|---|---|\n");
    for row in COMMANDS {
        let route = row.route.map_or("any".to_owned(), |field| format!("`{field}`"));
        let link = row.name.to_lowercase();
        let _ = writeln!(page, "| `{:#06x}` | [{}](#{link}) | {} | {route} |", row.opcode, row.name, row.class.name());
    }
    page.push('\n');
    for row in COMMANDS {
        page.push_str(&command(row));
    }
    page
}

fn command(row: &CommandInfo) -> String {
    let reply = match TYPES.iter().find(|known| known.name == row.reply_name) {
        Some(known) => format!("A [{0}](#{1}).\n", known.name, known.name.to_lowercase()),
        None => fields(row.reply),
    };
    format!(
        "### {}\n\nOpcode `{:#06x}`, {}. {}\n\nRequest:\n\n{}\nReply:\n\n{reply}\n",
        row.name,
        row.opcode,
        row.class.name(),
        row.doc,
        fields(row.request)
    )
}

fn types() -> String {
    let mut page = String::from("## Records\n\n");
    for row in TYPES {
        let _ = write!(page, "### {}\n\n{}\n\n{}\n", row.name, row.doc, fields(row.fields));
    }
    page
}

fn fields(rows: &[FieldInfo]) -> String {
    if rows.is_empty() {
        return "No fields: the body is empty.\n".to_owned();
    }
    let mut page = String::from("| field | type | meaning |\n|---|---|---|\n");
    for row in rows {
        let _ = writeln!(page, "| `{}` | {} | {} |", row.name, kind_in_words(row), row.doc);
    }
    page
}

fn kind_in_words(row: &FieldInfo) -> String {
    let word = |kind: &str| match kind {
        "String" => "text".to_owned(),
        "Id" => "id".to_owned(),
        other if TYPES.iter().any(|known| known.name == other) => format!("[{other}](#{})", other.to_lowercase()),
        other => other.to_owned(),
    };
    let bare: String = row.kind.chars().filter(|c| !c.is_whitespace()).collect();
    let list = bare.strip_prefix("Vec<").and_then(|rest| rest.strip_suffix('>'));
    match (list, row.max) {
        (Some(each), LIST_MAX) => format!("list of {}", word(each)),
        (Some(each), max) => format!("list of {}, at most {max}", word(each)),
        (None, 0 | TEXT_BYTES_MAX) => match bare.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')) {
            Some(inner) => format!("optional {}", word(inner)),
            None => word(&bare),
        },
        (None, max) => format!("{}, at most {max} bytes", word(&bare)),
    }
}

fn example() -> String {
    let event = Event {
        event_id: Id::Int(1_001),
        user: Id::parse("user-7"),
        item: Id::Int(42),
        kind: 3,
        value: 1.5,
        time_ms: 1_700_000_000_000,
    };
    let reply = EventPutReply {
        shard: 1,
        sequence: 17,
        profile_version: 5,
        durability: 2,
        score_before: 0.25,
        rank_before: 12,
    };
    let (mut request_bytes, mut reply_bytes) = (Vec::new(), Vec::new());
    // Constants far within every limit: if one of these failed, the page would be without its bytes and the test red.
    let _ = put_request(&mut request_bytes, 7, &EventPut { event, durability: 2 });
    let _ = put_reply::<EventPut>(&mut reply_bytes, 7, Status::Ok, &reply);
    let widths = [4, 2, 1, 1, 8, 9, 7, 9, 1, 4, 8, 1];
    let says = [
        "length: bytes of the body",
        "opcode 0x0101, EVENT_PUT",
        "flags",
        "version",
        "request id 7",
        "event_id: integer 1001",
        "user: a text of 6 bytes, \"user-7\"",
        "item: integer 42",
        "kind 3",
        "value 1.5",
        "time_ms 1700000000000",
        "durability: journaled",
    ];
    let request = annotate(&request_bytes, &widths, &says);
    let widths = [4, 2, 1, 1, 8, 2, 8, 4, 1, 4, 4];
    let says = [
        "length",
        "status 0, OK",
        "flags",
        "version",
        "request id 7",
        "shard 1",
        "sequence 17",
        "profile_version 5",
        "durability: journaled",
        "score_before 0.25",
        "rank_before 12",
    ];
    let reply = annotate(&reply_bytes, &widths, &says);
    format!(
        "## Example\n\nAn EVENT_PUT, {} bytes:\n\n```text\n{request}```\n\nand its reply, {} bytes:\n\n```text\n{reply}```\n",
        request_bytes.len(),
        reply_bytes.len()
    )
}

/// One line a field: its bytes in hex, then what they say.
fn annotate(bytes: &[u8], widths: &[usize], says: &[&str]) -> String {
    debug_assert_eq!(widths.iter().sum::<usize>(), bytes.len());
    let (mut page, mut rest) = (String::new(), bytes);
    for (width, say) in widths.iter().zip(says) {
        let (field, after) = rest.split_at(rest.len().min(*width));
        let hex: Vec<String> = field.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(page, "{:<28} {say}", hex.join(" "));
        rest = after;
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md");
        crate::wire::sample::assert_fixture(path, &protocol_page());
    }

    #[test]
    fn the_page_has_every_command_status_record_and_field() {
        let page = protocol_page();
        for row in COMMANDS {
            assert!(page.contains(&format!("### {}\n\nOpcode `{:#06x}`", row.name, row.opcode)), "{}", row.name);
            for field in row.request.iter().chain(row.reply) {
                assert!(page.contains(&format!("| `{}` | ", field.name)), "{}.{}", row.name, field.name);
                assert!(!field.doc.is_empty() && field.doc.ends_with('.'), "{}.{}", row.name, field.name);
            }
        }
        assert!(STATUSES.iter().all(|row| page.contains(&format!("| {} | {} |", row.number, row.name))));
        assert!(TYPES.iter().all(|row| page.contains(&format!("### {}\n", row.name))));
        assert!(!page.contains("Vec<") && !page.contains("String"), "Rust's words are not the page's");
    }

    #[test]
    fn every_type_named_on_the_page_is_explained_on_it() {
        let known = ["u8", "u16", "u32", "u64", "i64", "f32", "f64", "bool", "text", "id", "AttributeValue"];
        let rows = COMMANDS.iter().flat_map(|row| row.request.iter().chain(row.reply));
        for row in rows.chain(TYPES.iter().flat_map(|row| row.fields)) {
            let kind = kind_in_words(row);
            let word = kind
                .trim_start_matches("list of ")
                .trim_start_matches("optional ")
                .split([',', ']'])
                .next()
                .unwrap_or_default();
            let record = TYPES.iter().any(|known| word == format!("[{}", known.name));
            assert!(record || known.contains(&word), "{}: {kind}", row.name);
        }
    }
}
