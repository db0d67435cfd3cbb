//! THE table: every command, declared once. Structs, codec, `Request`, `COMMANDS`, `docs/protocol.md`, the golden
//! fixtures and the client's routing come from these entries.
//!
//! An entry reads: opcode, class, name on paper, request struct, then optionally `by (field)` (the id that says which
//! shard should get it) and `once (field)` (the events whose ids make a repeat harmless), the request's fields, and
//! the reply: its fields, or the name of a record of [`types`](super::types). `[max N]` limits a text in bytes or a
//! list in entries; without it a text has [`TEXT_BYTES_MAX`](crate::base::limits::TEXT_BYTES_MAX), a list
//! [`LIST_MAX`](crate::base::limits::LIST_MAX).
//!
//! Opcodes are for ever: 0x00 session, 0x01 write, 0x02 read, 0x03 evaluation, 0x04 administration. A command never
//! changes its fields; what needs others gets a new opcode.

use super::error::WireError;
use super::portrait::Person;
pub use super::replies::{
    EventBatchReply, EventPutReply, EventRetractReply, ExplainReply, ExposureReply, HelloReply, ItemGetReply,
    OutcomeReply, ProfileEmbeddingReply, ProfileGetReply, RecommendReply, RoutingGetReply, UserGetReply,
};
use super::schema::{CommandInfo, commands};
use super::types::{
    Attribute, DecisionsCell, Event, MetricsCell, RecentEvent, RejectCount, RejectRow, Score, ScoredItem, ShardDigest,
    ShardSequence, Stat, StrategyMetrics, WriteAck,
};
use crate::base::Id;
use crate::base::limits::{
    ARMS_MAX, ATTRIBUTES_MAX, BATCH_EVENTS_MAX, EMBEDDING_DIM_MAX, ITEM_TAGS_MAX, PROFILES_MAX, SCHEMA_BYTES_MAX,
    SHARDS_MAX, TOP_K_MAX,
};

/// Most shards in a list of shards.
const SHARD_LIST_MAX: usize = SHARDS_MAX as usize;

/// Most reasons for which an event is refused: their codes are one byte.
const REJECT_REASONS_MAX: usize = 255;

/// Most figures of METRICS_BY: five cohorts and all, three windows.
const METRICS_CELLS_MAX: usize = ARMS_MAX * 6 * 3;

commands! {
    /// Opens a session: the first request on every connection. Chooses the version, proves who calls, and tells the
    /// client the limits and where the shards answer.
    0x0001 Session HELLO Hello {
        /// Name of the client program, for logs.
        client: String,
        /// Lowest protocol version that the client speaks.
        version_min: u8,
        /// Highest protocol version that the client speaks.
        version_max: u8,
        /// Secret; empty if the server asks for none.
        token: String,
    } -> HelloReply;

    /// Asks whether the server answers.
    0x0002 Session PING Ping {} -> PingReply {
        /// The server's clock, in milliseconds since 1970-01-01 UTC.
        server_ms: i64,
        /// How long the server runs, in milliseconds.
        uptime_ms: u64,
    };

    /// Figures about the running server.
    0x0003 Session STATS Stats {} -> StatsReply {
        /// Figures, by name.
        stats: Vec<Stat>,
    };

    /// Says how long requests of this connection may wait for their shard, from now on. A request that would
    /// wait more than half of it, by the pace of late, is answered OVERLOADED at once; one that has waited for all of it is
    /// answered DEADLINE, and nothing of it was done.
    0x0004 Session SESSION_SET SessionSet {
        /// Most milliseconds between the reading of a request and its beginning; 0: as the server's configuration says.
        deadline_ms: u32,
    } -> SessionSetReply {
        /// The deadline in force, in milliseconds; 0: none.
        deadline_ms: u32,
    };

    /// How ids are routed to shards: see "Routing". The answer never changes for one data directory.
    0x0005 Session ROUTING_GET RoutingGet {} -> RoutingGetReply;

    /// Records one event. The reply is sent after the user's profile has learned it. DUPLICATE carries the same reply.
    0x0101 Write EVENT_PUT EventPut by (event.user) once (event) {
        /// The event.
        event: Event,
        /// Durability level to reach before the reply: 0 the server's default, 1 applied, 2 journaled, 3 durable.
        durability: u8,
    } -> EventPutReply;

    /// Records events, in order for each user. Each stands for itself: some may be refused (PARTIAL). The reply is sent
    /// after every profile has learned its events.
    0x0102 Write EVENT_BATCH EventBatch once (events) {
        /// Durability level to reach before the reply: 0 the server's default, 1 applied, 2 journaled, 3 durable.
        durability: u8,
        /// 0: a summary; 1: also a result for each event.
        want: u8,
        /// The events.
        events: Vec<Event> [max BATCH_EVENTS_MAX],
    } -> EventBatchReply;

    /// Sets attributes of a user. Of two values of one attribute the one with the later time wins.
    0x0103 Write USER_UPSERT UserUpsert by (user) {
        /// User.
        user: Id,
        /// When the values hold from, in milliseconds since 1970-01-01 UTC. 0: when the server gets them.
        time_ms: i64,
        /// What to set or remove.
        attributes: Vec<Attribute> [max ATTRIBUTES_MAX],
        /// Durability level to reach before the reply, as in EVENT_PUT.
        durability: u8,
    } -> WriteAck;

    /// What is known about a user, without what was learned.
    0x0104 Read USER_GET UserGet by (user) {
        /// User.
        user: Id,
    } -> UserGetReply;

    /// Sets tags and attributes of an item. The tags replace those it had; of two values of one attribute the one with
    /// the later time wins.
    0x0105 Write ITEM_UPSERT ItemUpsert by (item) {
        /// Item.
        item: Id,
        /// When the values hold from, in milliseconds since 1970-01-01 UTC. 0: when the server gets them.
        time_ms: i64,
        /// All tags of the item.
        tags: Vec<String> [max ITEM_TAGS_MAX],
        /// What to set or remove.
        attributes: Vec<Attribute> [max ATTRIBUTES_MAX],
        /// Durability level to reach before the reply, as in EVENT_PUT.
        durability: u8,
    } -> WriteAck;

    /// What is known about an item.
    0x0106 Read ITEM_GET ItemGet by (item) {
        /// Item.
        item: Id,
    } -> ItemGetReply;

    /// Reports that a recommended list was shown to its user: it counts from now on, whatever comes of it, and outcomes
    /// find it after a restart too. DUPLICATE if it counted before.
    0x0107 Write EXPOSURE Exposure by (user) {
        /// Decision id of the list, as RECOMMEND gave it.
        decision_id: u64,
        /// The user that it was for.
        user: Id,
        /// Places that were shown, from the top. 0: all.
        places: u16,
        /// When, in milliseconds since 1970-01-01 UTC. 0: when the server gets it.
        time_ms: i64,
        /// Durability level to reach before the reply, as in EVENT_PUT.
        durability: u8,
    } -> ExposureReply;

    /// Records an event that came of a recommended list: it is learned like any other, and the list is credited. A list
    /// that no EXPOSURE reported counts as shown with its first outcome. DUPLICATE, for an event whose id was seen,
    /// credits nothing.
    0x0108 Write OUTCOME Outcome by (event.user) once (event) {
        /// Decision id of the list, as RECOMMEND gave it.
        decision_id: u64,
        /// The event.
        event: Event,
        /// Durability level to reach before the reply, as in EVENT_PUT.
        durability: u8,
    } -> OutcomeReply;

    /// Carries out what a user asks of the profile: in force at the next request, kept like any write, taken back with `on`
    /// false.
    0x0109 Write USER_CONTROL UserControl by (user) {
        /// User.
        user: Id,
        /// 1 mute a facet: nothing that has it is recommended; 2 mute an item; 3 less of a facet; 4 pause learning; 5 reset
        /// a dimension: what was learned in it is set aside.
        control: u8,
        /// Whether it is to be in force, or no longer.
        on: bool,
        /// The facet (1, 3), or the dimension (5): `behaviours`, `facets`, `rhythm`, `prices` or `history`; else empty.
        name: String,
        /// The item (2); else none.
        item: Option<Id>,
        /// Greatest share of a list that may have the facet (3), 0 to 1.
        share: f32,
        /// When, in milliseconds since 1970-01-01 UTC. 0: when the server gets it.
        time_ms: i64,
        /// Durability level to reach before the reply, as in EVENT_PUT.
        durability: u8,
    } -> WriteAck;

    /// Takes an event away as if it had never come; NOT_FOUND if it is not retained.
    0x010A Write EVENT_RETRACT EventRetract by (user) {
        /// Whose.
        user: Id,
        /// The event's id.
        event_id: Id,
        /// Durability level to reach before the reply, as in EVENT_PUT.
        durability: u8,
    } -> EventRetractReply;

    /// Makes two users one, for instance an anonymous visitor and the customer that it turned out to be. Durable when it is
    /// answered; sent again it changes nothing. What comes later for the one goes to the other.
    0x010B Write USER_MERGE UserMerge by (user) {
        /// Who is no longer a user of its own.
        user: Id,
        /// Who it becomes.
        into: Id,
    } -> UserMergeReply {
        /// Who it is in the end, where `into` became another before.
        user: Id,
        /// Version of that profile.
        version: u32,
        /// Whether all is as if it had come under one id; else as in EVENT_RETRACT.
        exact: bool,
    };

    /// Gives an item a vector in a modality of the schema (what an encoder of texts, images or sounds made of it), or takes it
    /// away. Of two vectors the one with the later time wins. In force for every user when it is answered. UNSUPPORTED
    /// where no active strategy looks at embeddings (`auto`, `content`).
    0x010C Write EMBEDDING_PUT EmbeddingPut by (item) {
        /// Item.
        item: Id,
        /// Name of the modality.
        modality: String,
        /// As many numbers as the modality has; their direction counts, their length does not. Empty: the item has none.
        vector: Vec<f32> [max EMBEDDING_DIM_MAX],
        /// When that was so, in milliseconds since 1970-01-01 UTC. 0: when the server gets it.
        time_ms: i64,
        /// Durability level to reach before the reply, as in EVENT_PUT.
        durability: u8,
    } -> WriteAck;

    /// The living profile of a user.
    0x0201 Read PROFILE_GET ProfileGet by (user) {
        /// User.
        user: Id,
        /// Most recent events wanted; the reply holds at most 4,096.
        recent_max: u16,
        /// Whether the user factors are wanted.
        factors: bool,
    } -> ProfileGetReply;

    /// Scores items for a user.
    0x0202 Read PREDICT Predict by (user) {
        /// User.
        user: Id,
        /// Items.
        items: Vec<Id>,
        /// Strategy; empty for the first.
        strategy: String,
    } -> PredictReply {
        /// Strategy that answered.
        strategy: String,
        /// Version of the profile that was used; 0 if the user was not seen.
        profile_version: u32,
        /// A score for each item, in their order.
        scores: Vec<Score>,
    };

    /// The best items for a user.
    0x0203 Read RECOMMEND Recommend by (user) {
        /// User.
        user: Id,
        /// How many items, at most 1,000.
        k: u16,
        /// Whether to leave out items of the user's history.
        exclude_seen: bool,
        /// Only these items; empty for all.
        allow_items: Vec<Id>,
        /// Not these items.
        deny_items: Vec<Id>,
        /// Only items with one of these tags; empty for all.
        allow_tags: Vec<String> [max ITEM_TAGS_MAX],
        /// No item with one of these tags.
        deny_tags: Vec<String> [max ITEM_TAGS_MAX],
        /// Strategy; empty for the first.
        strategy: String,
    } -> RecommendReply;

    /// The items that are most alike.
    0x0204 Read SIMILAR_ITEMS SimilarItems {
        /// Item.
        item: Id,
        /// How many items, at most 1,000.
        k: u16,
        /// Strategy; empty for the first.
        strategy: String,
    } -> SimilarItemsReply {
        /// Strategy that answered.
        strategy: String,
        /// Items, the most alike first, without the item itself.
        items: Vec<ScoredItem> [max TOP_K_MAX],
    };

    /// Why an item has its score for a user: parts that add up to the score, and for strategies that make the profile out
    /// of remembered events (mean, decay, fold_in) the part of each of the newest. NOT_FOUND for an item not known.
    0x0205 Read EXPLAIN Explain by (user) {
        /// User.
        user: Id,
        /// Item.
        item: Id,
        /// Strategy; empty for the first.
        strategy: String,
        /// Whether to explain the score that RECOMMEND orders by, where that is another than PREDICT's.
        ranking: bool,
        /// Most of the newest events wanted, at most 100.
        events_max: u16,
    } -> ExplainReply;

    /// The whole person, or parts of it: attributes, behaviours, facets, rhythm, interests, traits, controls, each value with
    /// its age, evidence and uncertainty.
    0x0206 Read PROFILE_PARTS ProfileParts by (user) {
        /// User.
        user: Id,
        /// Sum of the parts that are wanted: 1 attributes, 2 behaviours, 4 facets, 8 rhythm and sessions, 16 interests, 32
        /// traits, 64 controls, 128 sensitive attributes as well. 0: all but the last.
        parts: u16,
        /// Most facets.
        facets_max: u16,
    } -> Person;

    /// Retained events of a user, the newest first.
    0x0207 Read PROFILE_HISTORY ProfileHistory by (user) {
        /// User.
        user: Id,
        /// The earliest wanted, in milliseconds since 1970-01-01 UTC.
        from_ms: i64,
        /// The latest wanted. 0: up to now.
        to_ms: i64,
        /// Kinds that are wanted; empty for all.
        kinds: Vec<u8>,
        /// How many of those are to be passed over: the next page.
        skip: u32,
        /// Most events, at most 4,096.
        max: u16,
    } -> ProfileHistoryReply {
        /// Events that match, in all.
        matching: u32,
        /// The page of them.
        events: Vec<RecentEvent>,
    };

    /// Several whole persons at once, by whatever shards own them.
    0x0208 Read PROFILES_GET ProfilesGet {
        /// Users.
        users: Vec<Id> [max PROFILES_MAX],
        /// As in PROFILE_PARTS.
        parts: u16,
        /// Most facets of each.
        facets_max: u16,
    } -> ProfilesGetReply {
        /// Those that are known, in the order asked.
        profiles: Vec<Person> [max PROFILES_MAX],
        /// Those that are not.
        missing: Vec<Id> [max PROFILES_MAX],
    };

    /// A user as the embeddings of its newest items show it: what each modality says and is worth, the vector that they are
    /// fused into, and the items nearest to that.
    0x0209 Read PROFILE_EMBEDDING ProfileEmbedding by (user) {
        /// User.
        user: Id,
        /// Whether the fused vector is wanted.
        vector: bool,
        /// Nearest items wanted, at most 1,000.
        nearest: u16,
    } -> ProfileEmbeddingReply;

    /// The vector of an item in a modality, brought to length 1. NOT_FOUND if it has none.
    0x020A Read EMBEDDING_GET EmbeddingGet by (item) {
        /// Item.
        item: Id,
        /// Name of the modality.
        modality: String,
    } -> EmbeddingGetReply {
        /// Its numbers.
        vector: Vec<f32> [max EMBEDDING_DIM_MAX],
    };

    /// How well the strategies do: every event is foretold before it is learned.
    0x0301 Read METRICS Metrics {
        /// Strategy; empty for all.
        strategy: String,
    } -> MetricsReply {
        /// One entry a strategy.
        strategies: Vec<StrategyMetrics> [max ARMS_MAX],
    };

    /// The same by cohort and window, with every measure (`docs/measures.md`).
    0x0302 Read METRICS_BY MetricsBy {
        /// Strategy; empty for all.
        strategy: String,
        /// Cohort, as in the reply; empty for all, each on its own.
        cohort: String,
        /// Window, as in the reply; empty for all, each on its own.
        window: String,
    } -> MetricsByReply {
        /// One entry a strategy, cohort and window.
        cells: Vec<MetricsCell> [max METRICS_CELLS_MAX],
    };

    /// What came of the lists that were shown, by strategy, cohort and window (`docs/measures.md`).
    0x0303 Read DECISIONS Decisions {
        /// Strategy; empty for all.
        strategy: String,
        /// Cohort, as in the reply; empty for all, each on its own.
        cohort: String,
        /// Window, as in the reply; empty for all, each on its own.
        window: String,
    } -> DecisionsReply {
        /// Exposures and outcomes, ever, that named a list too old, or pushed out by newer ones.
        expired: u64,
        /// Exposures and outcomes, ever, that named no list served to that user, or one from before a restart.
        unknown: u64,
        /// One entry a strategy, cohort and window.
        cells: Vec<DecisionsCell> [max METRICS_CELLS_MAX],
    };

    /// Solves the item model again over the kept histories, and publishes it as a new epoch.
    0x0401 Admin REFIT Refit {
        /// Seed of first values; 0 for the configured one.
        seed: u64,
    } -> RefitReply {
        /// The new epoch.
        epoch: u32,
        /// Users that took part.
        users: u64,
        /// Items that took part.
        items: u64,
        /// Pairs of user and item that took part.
        pairs: u64,
        /// How long it took, in milliseconds.
        took_ms: u64,
    };

    /// Writes a snapshot.
    0x0402 Admin SNAPSHOT Snapshot {} -> SnapshotReply {
        /// Generation that was written.
        generation: u64,
        /// Its size.
        bytes: u64,
        /// How long it took, in milliseconds.
        took_ms: u64,
        /// The newest record that it holds, for each shard.
        shards: Vec<ShardSequence> [max SHARD_LIST_MAX],
    };

    /// Digests of what the shards hold, to compare two servers, or one before and after a restart.
    0x0403 Admin DIGEST Digest {} -> DigestReply {
        /// One entry a shard.
        shards: Vec<ShardDigest> [max SHARD_LIST_MAX],
    };

    /// Stops the server after it has answered what is in flight.
    0x0404 Admin SHUTDOWN Shutdown {
        /// Whether to write a snapshot first.
        snapshot: bool,
    } -> ShutdownReply {};

    /// Events that were refused: counted by reason, and kept for inspection as far as there is room (`[rejects]` in the
    /// configuration), in the order in which they were refused. To read all: ask from 0, then from `next` until it is 0.
    0x0405 Admin REJECTS Rejects {
        /// Sequence of the first that is wanted. 0: the oldest kept. 18446744073709551615: the newest `max`.
        from: u64,
        /// Most events wanted; the reply holds at most 4,096. 0: the counts alone.
        max: u16,
        /// Only those refused for the reason with this code, as in the counts; 0 for all.
        reason: u8,
    } -> RejectsReply {
        /// Sequence from which to ask for more; 0: there are no more.
        next: u64,
        /// Events refused ever, kept or not, by reason; where none are kept, since the start of the server.
        counts: Vec<RejectCount> [max REJECT_REASONS_MAX],
        /// Of these, events that could not be kept: too many at once, or the disk failed.
        dropped: u64,
        /// Places in what was read for this reply where something could not be read and was passed over.
        damaged: u64,
        /// The events, the oldest first.
        rejects: Vec<RejectRow>,
    };

    /// The schema in force.
    0x0406 Admin SCHEMA_GET SchemaGet {} -> SchemaGetReply {
        /// Its version.
        version: u32,
        /// Its bytes (`docs/storage.md`).
        schema: Vec<u8> [max SCHEMA_BYTES_MAX],
    };

    /// Puts another schema in the place of the one in force, if all that is kept keeps its meaning.
    0x0407 Admin SCHEMA_SET SchemaSet {
        /// Its bytes.
        schema: Vec<u8> [max SCHEMA_BYTES_MAX],
        /// Whether only to say whether it could.
        dry_run: bool,
    } -> SchemaSetReply {
        /// Version in force now.
        version: u32,
    };
}
