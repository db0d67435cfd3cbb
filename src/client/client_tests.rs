//! The asynchronous client against a scripted peer: one test a fear.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;

use super::peer::{Peer, event, hello, put_reply_of};
use super::*;
use crate::base::IdRef;
use crate::wire::commands::{Ping, PingReply, Request};
use crate::wire::types::{EventError, ShardAddr, ShardSequence};
use crate::wire::{Header, WireError, put_error, put_reply};

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn options() -> ClientOptions {
    ClientOptions {
        connect_timeout_ms: 2_000,
        request_timeout_ms: 2_000,
        reconnect: Backoff { first_ms: 2, max_ms: 20 },
        ..ClientOptions::default()
    }
}

fn put(user: u64, event_id: u64) -> EventPut {
    EventPut { event: event(user, event_id), durability: 1 }
}

fn pong(request_id: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_reply::<Ping>(&mut out, request_id, Status::Ok, &PingReply { server_ms: 1, uptime_ms: 2 }).unwrap();
    out
}

/// Answers every put, and every batch with one error at its first event.
fn serve_events(mut peer: super::peer::PeerConnection, shard: u16) {
    while let Some((header, request)) = peer.next() {
        match request {
            Request::EventPut(put) => peer.send(&put_reply_of(header.request_id, &put)),
            Request::EventBatch(batch) => {
                let events = u32::try_from(batch.events.len()).unwrap();
                let error = EventError { index: 0, status: 33, retry_after_ms: 0, message: format!("shard {shard}") };
                let reply = EventBatchReply {
                    accepted: events - 1,
                    duplicates: 0,
                    rejected: 1,
                    durability: 1,
                    shards: vec![ShardSequence { shard, sequence: 7 }],
                    errors: vec![error],
                    results: vec![],
                };
                let mut out = Vec::new();
                put_reply::<EventBatch>(&mut out, header.request_id, Status::Partial, &reply).unwrap();
                peer.send(&out);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_hundred_calls_share_a_write_and_get_their_own_answers_in_any_order() {
    let reads = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&reads);
    let peer = Peer::start(hello(), move |mut peer| {
        let before = peer.reads;
        let mut asked: Vec<_> = (0..100).map_while(|_| peer.next()).collect();
        seen.store(peer.reads - before, Ordering::SeqCst);
        asked.sort_by_key(|(header, _)| IdRef::Int(header.request_id).stable_hash());
        for (header, request) in asked {
            let Request::EventPut(put) = request else { panic!("{request:?}") };
            peer.send(&put_reply_of(header.request_id, &put));
        }
        peer.next();
    });
    block_on(async {
        let client = Client::connect(&peer.addr, options()).await.unwrap();
        let mut calls = JoinSet::new();
        for user in 0..100 {
            let client = client.clone();
            calls.spawn(async move { (user, client.call(&put(user, 0)).await.unwrap().sequence) });
        }
        while let Some(done) = calls.join_next().await {
            let (user, sequence) = done.unwrap();
            assert_eq!(user, sequence);
        }
    });
    assert!(reads.load(Ordering::SeqCst) <= 3, "{reads:?} reads for what should have gone out in one write");
}

#[test]
fn no_more_than_the_server_allows_are_in_flight() {
    let peer = Peer::start(HelloReply { in_flight_max: 4, ..hello() }, |mut peer| {
        for _ in 0..5 {
            let asked: Vec<_> = (0..4).map_while(|_| peer.next()).collect();
            assert!(peer.is_quiet_for(Duration::from_millis(20)), "a fifth request came");
            for (header, _) in asked {
                peer.send(&pong(header.request_id));
            }
        }
    });
    block_on(async {
        let client = Client::connect(&peer.addr, options()).await.unwrap();
        let mut calls = JoinSet::new();
        for _ in 0..20 {
            let client = client.clone();
            calls.spawn(async move { client.call(&Ping {}).await });
        }
        while let Some(done) = calls.join_next().await {
            done.unwrap().unwrap();
        }
    });
}

#[test]
fn what_was_in_flight_is_lost_and_the_connection_comes_back() {
    let puts = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&puts);
    let peer = Peer::start(hello(), move |mut peer| {
        // The first two connections take a request and die.
        if peer.nth < 2 {
            peer.next();
            seen.fetch_add(1, Ordering::SeqCst);
            return;
        }
        while let Some((header, request)) = peer.next() {
            seen.fetch_add(1, Ordering::SeqCst);
            let Request::EventPut(put) = request else { panic!("{request:?}") };
            peer.send(&put_reply_of(header.request_id, &put));
        }
    });
    block_on(async {
        let client = Client::connect(&peer.addr, options()).await.unwrap();
        let lost = client.call(&put(5, 0)).await.unwrap_err();
        assert!(matches!(lost, ClientError::ConnectionLost { .. }) && lost.is_outcome_unknown(), "{lost:?}");
        assert_eq!(puts.load(Ordering::SeqCst), 1, "an event without an id is not sent twice");

        let (status, reply) = client.put_event(event(6, 77), 1).await.unwrap();
        assert_eq!((status, reply.sequence), (Status::Ok, 6));
        assert_eq!(puts.load(Ordering::SeqCst), 3, "one with an id is");
        assert_eq!(peer.connections.load(Ordering::SeqCst), 3);
    });
}

#[test]
fn repeats_end() {
    let peer = Peer::start(hello(), |mut peer| {
        peer.next();
    });
    block_on(async {
        let options = ClientOptions { repeats_max: 2, ..options() };
        let client = Client::connect(&peer.addr, options).await.unwrap();
        let lost = client.call(&put(5, 9)).await.unwrap_err();
        assert!(matches!(lost, ClientError::ConnectionLost { .. }), "{lost:?}");
        assert!(peer.connections.load(Ordering::SeqCst) >= 3);
    });
}

#[test]
fn a_call_times_out_and_its_late_answer_disturbs_nobody() {
    let peer = Peer::start(hello(), |mut peer| {
        let (first, _) = peer.next().unwrap();
        let (second, _) = peer.next().unwrap();
        peer.send(&pong(first.request_id));
        peer.send(&pong(second.request_id));
        peer.next();
    });
    block_on(async {
        let client = Client::connect(&peer.addr, ClientOptions { request_timeout_ms: 150, ..options() }).await.unwrap();
        let begun = Instant::now();
        let late = client.call(&Ping {}).await.unwrap_err();
        assert_eq!(late, ClientError::Timeout { command: "PING", timeout_ms: 150 });
        assert!((150..1_500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        assert!(client.call(&Ping {}).await.is_ok());
        assert_eq!(peer.connections.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn nonsense_from_the_server_breaks_the_connection_at_once() {
    let cut = |id: u64| pong(id)[..25].to_vec();
    let huge = |id: u64| Header::new(0, id, u32::MAX).encode().to_vec();
    let alien = |id: u64| Header { version: 9, ..Header::new(0, id, 0) }.encode().to_vec();
    type Answer = fn(u64) -> Vec<u8>;
    for (bytes, expected) in [
        (cut as Answer, "within a frame, after 25 bytes"),
        (huge as Answer, "over the limit"),
        (alien as Answer, "version 9"),
    ] {
        let peer = Peer::start(hello(), move |mut peer| {
            let Some((header, _)) = peer.next() else { return };
            peer.send(&bytes(header.request_id));
        });
        block_on(async {
            let client = Client::connect(&peer.addr, options()).await.unwrap();
            let lost = client.call(&Ping {}).await.unwrap_err();
            assert!(lost.to_string().contains(expected), "{lost}");
        });
    }
}

#[test]
fn a_reply_that_is_too_long_by_a_byte_is_typed_and_the_connection_stays() {
    let peer = Peer::start(hello(), |mut peer| {
        let (header, _) = peer.next().unwrap();
        let mut reply = pong(header.request_id);
        reply.push(0);
        reply[0] += 1;
        peer.send(&reply);
        let (header, _) = peer.next().unwrap();
        peer.send(&pong(header.request_id));
        peer.next();
    });
    block_on(async {
        let client = Client::connect(&peer.addr, options()).await.unwrap();
        let found = client.call(&Ping {}).await;
        assert!(matches!(found, Err(ClientError::Wire(WireError::Body { command: "PING", .. }))), "{found:?}");
        assert!(client.call(&Ping {}).await.is_ok());
    });
}

#[test]
fn a_server_of_another_version_or_that_refuses_is_not_connected_to() {
    let answer = |code: u8| {
        Peer::start_raw(move |mut peer| {
            let Some((header, _)) = peer.next() else { return };
            let mut out = Vec::new();
            match code {
                0 => put_reply::<Hello>(&mut out, header.request_id, Status::Ok, &HelloReply { version: 2, ..hello() })
                    .unwrap(),
                1 => put_error(&mut out, header.request_id, Status::Unauthorised, 0, "wrong token"),
                _ => {
                    put_reply::<Hello>(&mut out, header.request_id, Status::Ok, &hello()).unwrap();
                    out[7] = 2;
                }
            }
            peer.send(&out);
            peer.next();
        })
    };
    block_on(async {
        let found = Client::connect(&answer(0).addr, options()).await.unwrap_err();
        assert_eq!(found, ClientError::Version { chosen: 2, offered: 1 });
        let found = Client::connect(&answer(1).addr, options()).await.unwrap_err();
        assert!(matches!(found, ClientError::Refused { status: Status::Unauthorised, .. }), "{found}");
        let found = Client::connect(&answer(2).addr, options()).await.unwrap_err();
        assert_eq!(found, ClientError::Wire(WireError::Version { found: 2, spoken: 1 }));
    });
    let found = BlockingClient::connect(&answer(0).addr, &options()).unwrap_err();
    assert_eq!(found, ClientError::Version { chosen: 2, offered: 1 });
}

#[test]
fn overloaded_says_when_to_come_back() {
    let peer = Peer::start(hello(), |mut peer| {
        while let Some((header, _)) = peer.next() {
            let mut out = Vec::new();
            put_error(&mut out, header.request_id, Status::Overloaded, 25, "shard 1 is full");
            peer.send(&out);
        }
    });
    block_on(async {
        let client = Client::connect(&peer.addr, options()).await.unwrap();
        let found = client.call(&put(1, 1)).await.unwrap_err();
        let message = "shard 1 is full".to_owned();
        let (command, status) = ("EVENT_PUT", Status::Overloaded);
        assert_eq!(found, ClientError::Refused { command, status, retry_after_ms: 25, message });
    });
}

#[test]
fn a_server_that_is_gone_is_reported_in_time_and_found_again_when_it_is_back() {
    let peer = Peer::start(hello(), |mut peer| {
        peer.next();
    });
    block_on(async {
        let client = Client::connect(&peer.addr, ClientOptions { request_timeout_ms: 200, ..options() }).await.unwrap();
        peer.stop();
        assert!(client.call(&Ping {}).await.is_err());
        let gone = client.call(&Ping {}).await.unwrap_err();
        assert!(matches!(gone, ClientError::NotConnected { waited_ms: 200, .. }), "{gone:?}");
        assert!(!gone.is_outcome_unknown());

        let listener = std::net::TcpListener::bind(&peer.addr).unwrap();
        let _back = Peer::serve(listener, |mut peer| {
            let Some((header, _)) = peer.next() else { return };
            let mut out = Vec::new();
            put_reply::<Hello>(&mut out, header.request_id, Status::Ok, &hello()).unwrap();
            peer.send(&out);
            while let Some((header, _)) = peer.next() {
                peer.send(&pong(header.request_id));
            }
        });
        assert!(client.call(&Ping {}).await.is_ok());
    });
}

#[test]
fn requests_go_to_their_owners_and_batches_are_split_and_merged() {
    let other = Peer::start(hello(), |peer| serve_events(peer, 1));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = listener.local_addr().unwrap().to_string();
    let map = [home.clone(), other.addr.clone()];
    let shard_map = (0..).zip(map).map(|(shard, addr)| ShardAddr { shard, addr }).collect();
    let greeting = HelloReply { shard_map, ..hello() };
    let _home = Peer::serve(listener, move |mut peer| {
        let (header, _) = peer.next().unwrap();
        let mut out = Vec::new();
        put_reply::<Hello>(&mut out, header.request_id, Status::Ok, &greeting).unwrap();
        peer.send(&out);
        serve_events(peer, 0);
    });
    block_on(async {
        let client = Client::connect(&home, options()).await.unwrap();
        let events: Vec<Event> = (0..50).map(|user| event(user, 0)).collect();
        let first_of = |shard| u32::try_from((0..50).position(|n| IdRef::Int(n).shard(2) == shard).unwrap()).unwrap();
        let reply = client.put_batch(EventBatch { durability: 1, want: 0, events }).await.unwrap();
        assert_eq!((reply.accepted, reply.rejected, reply.durability), (48, 2, 1));
        let shards: Vec<u16> = reply.shards.iter().map(|entry| entry.shard).collect();
        assert_eq!(shards, [0, 1]);
        // Each peer refuses the first event that it is given, so the places prove who was given what.
        let mut errors: Vec<_> = reply.errors.iter().map(|e| (e.message.as_str(), e.index)).collect();
        errors.sort_unstable();
        assert_eq!(errors, [("shard 0", first_of(0)), ("shard 1", first_of(1))]);

        let alone = ClientOptions { shard_aware: false, ..options() };
        let client = Client::connect(&home, alone).await.unwrap();
        let events: Vec<Event> = (0..50).map(|user| event(user, 0)).collect();
        let reply = client.put_batch(EventBatch { durability: 1, want: 0, events }).await.unwrap();
        assert_eq!((reply.accepted, reply.shards.len()), (49, 1));
    });
    assert_eq!(other.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn while_an_owner_is_down_its_requests_go_home() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    let shard_map = (0..2).map(|shard| ShardAddr { shard, addr: nobody.clone() }).collect();
    let home = Peer::start(HelloReply { shard_map, ..hello() }, |peer| serve_events(peer, 0));
    block_on(async {
        let client = Client::connect(&home.addr, options()).await.unwrap();
        for user in 0..10 {
            assert_eq!(client.call(&put(user, 0)).await.unwrap().sequence, user);
        }
    });
}

#[test]
fn a_request_over_a_limit_is_not_sent_and_harms_nothing() {
    let peer = Peer::start(hello(), |peer| serve_events(peer, 0));
    block_on(async {
        let client = Client::connect(&peer.addr, options()).await.unwrap();
        let events = vec![event(1, 1); 4_097];
        let found = client.put_batch(EventBatch { durability: 1, want: 0, events }).await.unwrap_err();
        assert!(matches!(found, ClientError::Wire(WireError::Limit { .. })) && !found.is_outcome_unknown(), "{found}");
        assert_eq!(client.call(&put(3, 0)).await.unwrap().sequence, 3);
    });
}

#[test]
fn a_dropped_call_leaves_nothing_behind() {
    let peer = Peer::start(hello(), |mut peer| {
        while let Some((header, _)) = peer.next() {
            if header.request_id > 50 {
                peer.send(&pong(header.request_id));
            }
        }
    });
    block_on(async {
        let options = ClientOptions { in_flight_max: 50, ..options() };
        let client = Client::connect(&peer.addr, options).await.unwrap();
        let mut calls = JoinSet::new();
        for _ in 0..50 {
            let client = client.clone();
            calls.spawn(async move { client.call(&Ping {}).await });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(client.inner.links[0].in_flight(), 50);
        calls.shutdown().await;
        assert_eq!(client.inner.links[0].in_flight(), 0);
        assert!(client.call(&Ping {}).await.is_ok(), "their places are free again");
    });
}

#[test]
fn the_last_clone_closes_the_connection() {
    let ended = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&ended);
    let peer = Peer::start(hello(), move |mut peer| {
        while peer.next().is_some() {}
        seen.fetch_add(1, Ordering::SeqCst);
    });
    block_on(async {
        let client = Client::connect(&peer.addr, options()).await.unwrap();
        let clone = client.clone();
        drop(client);
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(ended.load(Ordering::SeqCst), 0);
        drop(clone);
        let deadline = Instant::now() + Duration::from_secs(5);
        while ended.load(Ordering::SeqCst) == 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

#[test]
fn a_repeat_that_could_not_be_sent_does_not_hide_that_the_first_was() {
    let peer = Peer::start(hello(), |mut peer| {
        peer.next();
    });
    block_on(async {
        let client = Client::connect(&peer.addr, ClientOptions { request_timeout_ms: 200, ..options() }).await.unwrap();
        peer.stop();
        let lost = client.call(&put(1, 77)).await.unwrap_err();
        assert!(matches!(lost, ClientError::ConnectionLost { .. }) && lost.is_outcome_unknown(), "{lost:?}");
    });
}

#[test]
fn threads_with_runtimes_of_their_own_share_a_client() {
    let peer = Peer::start(hello(), |peer| serve_events(peer, 0));
    let (handed, taken) = std::sync::mpsc::channel();
    let (done, finish) = tokio::sync::oneshot::channel::<()>();
    let addr = peer.addr.clone();
    let home = std::thread::spawn(move || {
        block_on(async {
            handed.send(Client::connect(&addr, options()).await.unwrap()).unwrap();
            finish.await.unwrap();
        });
    });
    let client = taken.recv().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let client = client.clone();
            scope.spawn(move || {
                block_on(async {
                    for user in thread * 1_000..thread * 1_000 + 200 {
                        assert_eq!(client.call(&put(user, 0)).await.unwrap().sequence, user);
                    }
                });
            });
        }
    });
    done.send(()).unwrap();
    home.join().unwrap();
    assert_eq!(peer.connections.load(Ordering::SeqCst), 1);
}
