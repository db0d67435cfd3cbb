//! The wire codec of a batch of 256 events with integer ids, the usual case, and with text ids.
//!
//! `decode` is what the server does to an EVENT_BATCH: check the whole body, then walk the events. `owned` is the same
//! through the declared command, which allocates its events: what it costs not to borrow. `watermark` is what the door adds
//! to tell how late events are, of a stream in which one in four is.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mirra::base::{Id, IdRef, Rng};
use mirra::pipeline::Watermark;
use mirra::wire::commands::EventBatch;
use mirra::wire::message::decode_request;
use mirra::wire::{BatchWriter, EventBatchView, EventRef, HEADER_BYTES};

const EVENTS: usize = 256;

fn frame(ids: &[[Id; 2]]) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, ids);
    out
}

fn write(out: &mut Vec<u8>, ids: &[[Id; 2]]) {
    let mut batch = BatchWriter::new(out, 1, 1, 0);
    for ([user, item], event_id) in ids.iter().zip(1..) {
        let (event_id, user, item) = (IdRef::Int(event_id), user.as_ref(), item.as_ref());
        batch.push(&EventRef { event_id, user, item, kind: 0, value: 1.0, time_ms: 0 }).expect("ids are short");
    }
    batch.finish().expect("256 events fit a frame");
}

fn codec(criterion: &mut Criterion) {
    let mut rng = Rng::new(1);
    let ints: Vec<[Id; 2]> = (0..EVENTS).map(|_| [rng.below(100_000).into(), rng.below(10_000).into()]).collect();
    let texts: Vec<[Id; 2]> = (0..EVENTS)
        .map(|_| {
            [Id::parse(&format!("user-{}", rng.below(100_000))), Id::parse(&format!("item-{}", rng.below(10_000)))]
        })
        .collect();
    for (name, ids) in [("ints", &ints), ("texts", &texts)] {
        let mut group = criterion.benchmark_group(format!("codec/{name}"));
        group.throughput(Throughput::Elements(EVENTS as u64));
        let bytes = frame(ids);
        let body = &bytes[HEADER_BYTES..];
        group.bench_function("decode", |bench| {
            bench.iter(|| {
                let view = EventBatchView::decode(black_box(body)).expect("own bytes");
                view.events().for_each(|event| {
                    black_box(event);
                });
            });
        });
        group.bench_function("owned", |bench| bench.iter(|| decode_request::<EventBatch>(black_box(body))));
        let mut out = Vec::new();
        group.bench_function("encode", |bench| {
            bench.iter(|| {
                out.clear();
                write(black_box(&mut out), ids);
            });
        });
    }
}

fn watermark(criterion: &mut Criterion) {
    let mut rng = Rng::new(1);
    let late = |rng: &mut Rng| if rng.below(4) == 0 { rng.below(100_000) as i64 } else { 0 };
    let times: Vec<i64> = (0..EVENTS as i64).map(|at| 1_700_000_000_000 + 1_000 * at - late(&mut rng)).collect();
    let mut group = criterion.benchmark_group("door");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("watermark", |bench| {
        bench.iter(|| {
            let mut mark = Watermark::default();
            for time_ms in black_box(&times) {
                black_box(mark.observe(*time_ms, 0));
            }
            mark
        });
    });
}

criterion_group!(benches, codec, watermark);
criterion_main!(benches);
