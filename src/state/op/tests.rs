//! Operations come back from their bytes, and their bytes are frozen.

use super::*;
use crate::model::Value;

fn samples(attributes: &Attributes) -> Vec<Op<'static>> {
    let event = Event { event_id: 9, user: IdRef::Int(1), item: IdRef::Text("x"), kind: 5, value: 4.5, time_ms: 1_000 };
    let list = ServedList { user: 5, strategy: "decay", served_ms: 1, until_ms: 2, items: vec![9, 8] };
    vec![
        Op::Event(event),
        Op::UserUpsert { user: IdRef::Text("ann"), time_ms: 7, attributes: attributes.clone() },
        Op::ItemUpsert { item: IdRef::Int(3), time_ms: 8, tags: vec!["red", "shoe"], attributes: attributes.clone() },
        Op::Merge { source: 1, upto: 77, count: 2, bytes: &[1, 2, 3] },
        Op::Rows { owner: 0, generation: 5, count: 1, bytes: &[9] },
        Op::Epoch { epoch: 4 },
        Op::Ranker { version: 9, weights: &[7, 8] },
        Op::Exposure { decision: 7, user: IdRef::Int(1), places: 3, time_ms: 9, list: Recall::Forgotten },
        Op::Outcome { decision: 7, event, list: Recall::Unknown },
        Op::Outcome { decision: 8, event, list: Recall::Known(list) },
        Op::Pretrained { part: &[6, 5, 4] },
        Op::Schema { schema: &[3, 2] },
        Op::Control { user: IdRef::Int(1), time_ms: 5, control: Control::Less("sport", 0.5) },
        Op::Retract { user: IdRef::Text("ann"), event_id: 9 },
        Op::Seal { user: IdRef::Text("ann"), into: IdRef::Int(3) },
        Op::Absorb { into: IdRef::Int(3), user: IdRef::Text("ann"), bytes: &[4, 5] },
        Op::Empty { user: IdRef::Text("ann") },
        Op::Embedding { item: IdRef::Int(3), modality: "text", time_ms: 8, vector: &[0, 0, 128, 63] },
        Op::Embedding { item: IdRef::Int(3), modality: "text", time_ms: 9, vector: &[] },
    ]
}

#[test]
fn round_trip_and_truncation() {
    let mut attributes = Attributes::default();
    attributes.patch("age", Value::Number(41.0), 7);
    for op in samples(&attributes) {
        let mut bytes = Vec::new();
        op.encode(&mut bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!(Op::decode(&mut reader), Ok(op));
        assert_eq!(reader.finish(), Ok(()));
        for cut in 0..bytes.len() {
            assert!(Op::decode(&mut Reader::new(&bytes[..cut])).is_err(), "cut at {cut}");
        }
    }
}

/// Golden: journals hold these bytes.
#[test]
fn outcome_bytes_are_frozen() {
    let list = ServedList { user: 2, strategy: "ab", served_ms: 3, until_ms: 4, items: vec![5] };
    let event = Event { event_id: 1, user: IdRef::Int(1), item: IdRef::Int(2), kind: 5, value: 1.0, time_ms: -1 };
    let mut bytes = Vec::new();
    Op::Outcome { decision: 258, event, list: Recall::Known(list) }.encode(&mut bytes);
    let of_list = [&[1_u8][..], &[2, 0, 0, 0, 0, 0, 0, 0], &[2, 0, b'a', b'b'], &[3, 0, 0, 0, 0, 0, 0, 0]];
    let expected = [
        &[9, 2, 1, 0, 0, 0, 0, 0, 0][..],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0x80, 0x3F],
        &[255; 8],
        &of_list.concat(),
        &[4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0],
    ];
    assert_eq!(bytes, expected.concat());

    let mut bytes = Vec::new();
    let (user, list) = (IdRef::Text("u"), Recall::Unknown);
    Op::Exposure { decision: 1, user, places: 3, time_ms: 2, list }.encode(&mut bytes);
    assert_eq!(bytes, [8, 1, 0, 0, 0, 0, 0, 0, 0, 1, b'u', 3, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
}

/// Golden: journals hold these bytes.
#[test]
fn event_bytes_are_frozen() {
    let event = Event { event_id: 258, user: IdRef::Int(1), item: IdRef::Text("ab"), kind: 5, value: 1.0, time_ms: -1 };
    let mut bytes = Vec::new();
    put_event(&mut bytes, &event);
    let expected = [
        &[1_u8][..],
        &[2, 1, 0, 0, 0, 0, 0, 0],
        &[0, 1, 0, 0, 0, 0, 0, 0, 0],
        &[2, b'a', b'b'],
        &[5],
        &[0, 0, 0x80, 0x3F],
        &[255; 8],
    ]
    .concat();
    assert_eq!(bytes, expected);

    // Integers alone take the way of fixed places, to the same bytes.
    let event = Event { item: IdRef::Int(772), ..event };
    let mut bytes = Vec::new();
    put_event(&mut bytes, &event);
    let expected = [&expected[..18], &[0, 4, 3, 0, 0, 0, 0, 0, 0], &expected[21..]].concat();
    assert_eq!(bytes, expected);
    assert_eq!(Op::decode(&mut Reader::new(&bytes)), Ok(Op::Event(event)));
    for cut in 0..bytes.len() {
        assert!(Op::decode(&mut Reader::new(&bytes[..cut])).is_err(), "cut at {cut}");
    }
}
