//! `examples/wire_client.py`, written from `docs/protocol.md`, against a peer made of wire code: the page, the example
//! and the codec agree. Skipped where there is no `python3`.

use std::process::Command;
use std::sync::{Arc, Mutex};

use super::peer::{Peer, PeerConnection, hello};
use crate::base::Id;
use crate::wire::commands::{
    EventPut, EventPutReply, HelloReply, ProfileGet, ProfileGetReply, Recommend, RecommendReply, Request,
};
use crate::wire::types::{
    ArmProfile, AttributeAt, AttributeValue, Event, KindInfo, RecentEvent, ScoredItem, ShardAddr,
};
use crate::wire::{Status, put_reply};

const SHARDS: u16 = 7;

/// What the peer gets wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Shard,
    Forgets,
    ExtraByte,
}

fn greeting() -> HelloReply {
    HelloReply {
        shards: SHARDS,
        shard_map: vec![ShardAddr { shard: 0, addr: "größe:1".to_owned() }],
        kinds: vec![KindInfo { code: 3, name: "purchase".to_owned(), weight: 2.0 }],
        ..hello()
    }
}

fn profile(user: &Id, events: &[Event], fault: Fault) -> ProfileGetReply {
    let newest = events.iter().rev();
    let recent = newest.map(|e| RecentEvent { item: e.item.clone(), kind: e.kind, value: e.value, time_ms: e.time_ms });
    let values = [
        AttributeValue::Removed,
        AttributeValue::Number(1.5),
        AttributeValue::Text("画像".to_owned()),
        AttributeValue::Bool(true),
        AttributeValue::Texts(vec!["a".to_owned(), String::new()]),
    ];
    let attributes = values.into_iter().map(|value| AttributeAt { name: "n".to_owned(), value, time_ms: -1 });
    ProfileGetReply {
        user: user.clone(),
        shard: user.as_ref().shard(SHARDS),
        version: 3,
        events: events.len() as u64,
        first_ms: 1,
        last_ms: 2,
        value_mean: f64::NAN,
        attributes: attributes.collect(),
        arms: vec![ArmProfile { strategy: "implicit".to_owned(), epoch: 1, factor: vec![0.5; 16] }],
        recent: recent.skip(usize::from(fault == Fault::Forgets)).collect(),
        digest: u64::MAX,
    }
}

fn serve(mut peer: PeerConnection, fault: Fault, seen: &Mutex<Vec<Event>>) {
    let mut events = Vec::new();
    let mut late = Vec::new();
    while let Some((header, request)) = peer.next() {
        let (id, mut out) = (header.request_id, Vec::new());
        match request {
            Request::EventPut(put) => {
                let user = &put.event.user;
                let shard = user.as_ref().shard(SHARDS);
                let shard = if fault == Fault::Shard { (shard + 1) % SHARDS } else { shard };
                events.push(put.event.clone());
                let (sequence, profile_version) = (events.len() as u64, u32::try_from(events.len()).unwrap());
                let (durability, score_before, rank_before) = (put.durability, f32::NAN, 0);
                let reply = EventPutReply { shard, sequence, profile_version, durability, score_before, rank_before };
                put_reply::<EventPut>(&mut out, id, Status::Ok, &reply).unwrap();
                // Out of order: the answers come in reverse, once all three are here.
                late.splice(0..0, std::mem::take(&mut out));
                if events.len() == 3 {
                    out = std::mem::take(&mut late);
                }
            }
            Request::ProfileGet(get) => {
                put_reply::<ProfileGet>(&mut out, id, Status::Ok, &profile(&get.user, &events, fault)).unwrap();
            }
            Request::Recommend(ask) => {
                let items = vec![ScoredItem { item: Id::Int(u64::from(ask.k) + 1_000), score: 0.25 }];
                let strategy = "implicit".to_owned();
                let reply = RecommendReply { decision_id: 9, strategy, basis: 0, profile_version: 3, items };
                put_reply::<Recommend>(&mut out, id, Status::Ok, &reply).unwrap();
                if fault == Fault::ExtraByte {
                    out[0] += 1;
                    out.push(0);
                }
            }
            other => panic!("{other:?}"),
        }
        peer.send(&out);
    }
    *seen.lock().unwrap() = events;
}

#[test]
fn the_client_in_another_language_speaks_the_page() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("SKIPPED: python3 is not installed, so examples/wire_client.py was not run");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/wire_client.py");
    for (fault, expected) in [
        (Fault::None, ""),
        (Fault::Shard, "mismatch: shard"),
        (Fault::Forgets, "mismatch: recent"),
        (Fault::ExtraByte, "mismatch: 1 bytes are left over"),
    ] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&seen);
        let peer = Peer::start(greeting(), move |peer| serve(peer, fault, &keep));
        let (host, port) = peer.addr.rsplit_once(':').unwrap();
        let done = Command::new("python3").args([script, host, port]).output().expect("python3 is installed");
        let (said, complaint) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert_eq!(done.status.code(), Some(i32::from(fault != Fault::None)), "{fault:?}: {said}{complaint}");
        assert!(complaint.contains(expected), "{fault:?}: {complaint}");
        if fault == Fault::None {
            let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
            while seen.lock().unwrap().is_empty() && std::time::Instant::now() < until {
                std::thread::yield_now();
            }
            let items: Vec<Id> = seen.lock().unwrap().iter().map(|event| event.item.clone()).collect();
            assert_eq!(items, [Id::parse("film-1"), Id::Int(2), Id::Int(3)]);
        }
    }
}
