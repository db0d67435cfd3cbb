//! What one connection asks: requests drawn from the mix, written straight into its output.

use std::sync::Arc;

use super::Mix;
use super::latency::RequestKind;
use super::users::Zipf;
use crate::base::{IdRef, Rng};
use crate::wire::commands::{EventPut, ProfileGet, ProfileParts, Recommend};
use crate::wire::frame::put_frame;
use crate::wire::{BatchWriter, Command, EventRef, put_request};

/// Items of one recommendation.
const TOP_K: u16 = 10;

/// Events of one profile's answer.
const RECENT_MAX: u16 = 10;

/// Facets of one person told: as many as are kept.
const FACETS_MAX: u16 = crate::person::facets::FACETS_MAX as u16;

/// The requests of one connection.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where draws come from; a stream of its own for each connection.
    pub rng: Rng,
    /// Whom it asks about.
    pub users: Arc<Zipf>,
    /// What they behave towards.
    pub items: Arc<Zipf>,
    /// Shares.
    pub mix: Mix,
    /// Events of one request, at least 1.
    pub batch: u16,
    /// Level on the wire.
    pub durability: u8,
    /// Code of the behaviour kind.
    pub kind: u8,
    /// The next event id; none: events carry none.
    pub next_event_id: Option<u64>,
    /// Events written; requests, if the mix has no events.
    pub sent: u64,
}

impl Source {
    /// Whether there are events in the mix.
    #[must_use]
    pub fn ingests(&self) -> bool {
        self.mix.ingest > 0
    }

    /// Events of one request with events.
    #[must_use]
    pub fn events_a_request(&self) -> u64 {
        u64::from(self.batch)
    }

    /// Draws what the next request is.
    pub fn pick(&mut self) -> RequestKind {
        let Mix { ingest, profile, recommend, .. } = self.mix;
        let [ingest, profile, recommend] = [ingest, profile, recommend].map(u64::from);
        match self.rng.below(100) {
            at if at < ingest => RequestKind::Ingest,
            at if at < ingest + profile => RequestKind::Profile,
            at if at < ingest + profile + recommend => RequestKind::Recommend,
            _ => RequestKind::Parts,
        }
    }

    /// Draws the time to the next request of a Poisson process.
    pub fn gap(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.rng.unit()).ln()
    }

    /// Writes a request.
    pub fn put(&mut self, out: &mut Vec<u8>, kind: RequestKind, request_id: u64) {
        let written = match kind {
            RequestKind::Ingest if self.batch == 1 => {
                let (event, durability) = (self.event(), self.durability);
                put_frame(out, EventPut::OPCODE, request_id, EventPut::NAME, |writer| {
                    event.encode(writer)?;
                    writer.u8(durability);
                    Ok(())
                })
            }
            RequestKind::Ingest => {
                let mut batch = BatchWriter::new(out, request_id, self.durability, 0);
                (0..self.batch).try_for_each(|_| batch.push(&self.event())).and_then(|()| batch.finish())
            }
            RequestKind::Profile => {
                let user = self.users.draw(&mut self.rng).into();
                put_request(out, request_id, &ProfileGet { user, recent_max: RECENT_MAX, factors: false })
            }
            RequestKind::Recommend => put_request(out, request_id, &self.recommend()),
            RequestKind::Parts => {
                let user = self.users.draw(&mut self.rng).into();
                put_request(out, request_id, &ProfileParts { user, parts: 0, facets_max: FACETS_MAX })
            }
        };
        self.sent += match kind {
            RequestKind::Ingest => u64::from(self.batch),
            RequestKind::Profile | RequestKind::Recommend | RequestKind::Parts => u64::from(!self.ingests()),
        };
        // Integer ids and a batch within the limits of the command line always fit a frame.
        debug_assert!(written.is_ok(), "{written:?}");
    }

    #[inline]
    fn event(&mut self) -> EventRef<'static> {
        let event_id = self.next_event_id.map_or(0, |id| {
            self.next_event_id = Some(id.wrapping_add(1).max(1));
            id
        });
        EventRef {
            event_id: IdRef::Int(event_id),
            user: IdRef::Int(self.users.draw(&mut self.rng)),
            item: IdRef::Int(self.items.draw(&mut self.rng)),
            kind: self.kind,
            value: 1.0,
            time_ms: 0,
        }
    }

    fn recommend(&mut self) -> Recommend {
        Recommend {
            user: self.users.draw(&mut self.rng).into(),
            k: TOP_K,
            exclude_seen: true,
            allow_items: Vec::new(),
            deny_items: Vec::new(),
            allow_tags: Vec::new(),
            deny_tags: Vec::new(),
            strategy: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{EventBatchView, Request, split};

    fn source(mix: Mix, batch: u16, next_event_id: Option<u64>) -> Source {
        let table = |count| Arc::new(Zipf::new(count, |_| true).unwrap());
        let (users, items) = (table(100), table(10));
        Source { rng: Rng::new(3), users, items, mix, batch, durability: 1, kind: 4, next_event_id, sent: 0 }
    }

    #[test]
    fn requests_are_read_as_they_were_meant_and_keep_to_the_mix() {
        let mut source = source(Mix { ingest: 50, profile: 20, recommend: 20, parts: 10 }, 7, Some(u64::MAX - 2));
        let (mut out, mut asked) = (Vec::new(), Vec::new());
        for id in 0..2_000 {
            let kind = source.pick();
            source.put(&mut out, kind, id);
            asked.push(kind);
        }
        let mut event_ids = Vec::new();
        for ((frame, kind), id) in split(&out).zip(&asked).zip(0..) {
            let (header, body) = frame.unwrap();
            assert_eq!(header.request_id, id);
            match (kind, Request::decode(header.code, body).unwrap()) {
                (RequestKind::Ingest, Request::EventBatch(batch)) => {
                    assert_eq!((batch.events.len(), batch.events[0].kind), (7, 4));
                    event_ids.extend(EventBatchView::decode(body).unwrap().events().map(|event| event.event_id));
                }
                (RequestKind::Profile, Request::ProfileGet(_)) => {}
                (RequestKind::Recommend, Request::Recommend(recommend)) => assert_eq!(recommend.k, 10),
                (RequestKind::Parts, Request::ProfileParts(wanted)) => assert_eq!(wanted.parts, 0, "all of them"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(source.sent, event_ids.len() as u64);
        assert!(!event_ids.contains(&IdRef::Int(0)), "0 means no event id");
        let count = event_ids.len();
        event_ids.sort_by_key(|id| id.stable_hash());
        event_ids.dedup();
        assert_eq!(event_ids.len(), count, "event ids are unique");
        let share = |kind| asked.iter().filter(|asked| **asked == kind).count();
        assert!((900..1_100).contains(&share(RequestKind::Ingest)), "{}", share(RequestKind::Ingest));
        assert!((320..480).contains(&share(RequestKind::Profile)), "{}", share(RequestKind::Profile));
        assert!((140..260).contains(&share(RequestKind::Parts)), "{}", share(RequestKind::Parts));
    }

    #[test]
    fn a_batch_of_one_is_a_single_event() {
        let mut source = source(Mix { ingest: 100, ..Mix::default() }, 1, None);
        let mut out = Vec::new();
        source.put(&mut out, RequestKind::Ingest, 9);
        let (header, body) = split(&out).next().unwrap().unwrap();
        let Request::EventPut(put) = Request::decode(header.code, body).unwrap() else { panic!("no EVENT_PUT") };
        assert_eq!((put.durability, put.event.event_id), (1, crate::base::Id::Int(0)));
    }

    #[test]
    fn gaps_have_their_mean() {
        let mut source = source(Mix { ingest: 100, ..Mix::default() }, 1, None);
        let mean = (0..100_000).map(|_| source.gap(250.0)).sum::<f64>() / 100_000.0;
        assert!((mean - 250.0).abs() < 5.0, "{mean}");
    }
}
