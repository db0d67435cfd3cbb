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
use super::schema::{CommandInfo, commands};
use super::types::{
    ArmProfile, Attribute, AttributeAt, DecisionsCell, Event, EventError, EventPart, EventResult, KindInfo,
    MetricsCell, RecentEvent, RejectCount, RejectRow, Score, ScorePart, ScoredItem, ShardAddr, ShardDigest,
    ShardSequence, Stat, StrategyMetrics, WriteAck,
};
use crate::base::Id;
use crate::base::limits::{
    ARMS_MAX, ATTRIBUTES_MAX, BATCH_EVENTS_MAX, EXPLAINED_EVENTS_MAX, ITEM_TAGS_MAX, SCORE_PARTS_MAX, SHARDS_MAX,
    TOP_K_MAX,
};

/// Most shards in a list of shards.
const SHARD_LIST_MAX: usize = SHARDS_MAX as usize;

/// Most behaviour kinds: their codes are one byte.
const KINDS_MAX: usize = 256;

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
    } -> HelloReply {
        /// Protocol version of this connection.
        version: u8,
        /// Name and version of the server program.
        server: String,
        /// Number of shards that ids are routed over.
        shards: u16,
        /// Where each shard answers; empty if one address serves all.
        shard_map: Vec<ShardAddr> [max SHARD_LIST_MAX],
        /// Behaviour kinds.
        kinds: Vec<KindInfo> [max KINDS_MAX],
        /// Strategies that learn here; the first one answers where a request names none.
        strategies: Vec<String> [max ARMS_MAX],
        /// Longest frame that the server reads, header included.
        frame_bytes_max: u32,
        /// Most events of one batch.
        batch_events_max: u32,
        /// Most requests of one connection that may wait for their replies.
        in_flight_max: u32,
        /// Durability level of requests that ask for 0.
        durability: u8,
    };

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

    /// Records one event. The reply is sent after the user's profile has learned it. DUPLICATE carries the same reply.
    0x0101 Write EVENT_PUT EventPut by (event.user) once (event) {
        /// The event.
        event: Event,
        /// Durability level to reach before the reply: 0 the server's default, 1 applied, 2 journaled, 3 durable.
        durability: u8,
    } -> EventPutReply {
        /// Shard that owns the user.
        shard: u16,
        /// Number of the shard's record that holds the event.
        sequence: u64,
        /// Version of the profile that has learned the event.
        profile_version: u32,
        /// Durability level that was reached.
        durability: u8,
        /// Score of the item just before the event was learned; NaN when there is none.
        score_before: f32,
        /// Rank of the item just before the event was learned, from 1; 0 when it was not ranked.
        rank_before: u32,
    };

    /// Records events, in order for each user. Each stands for itself: some may be refused (PARTIAL). The reply is sent
    /// after every profile has learned its events.
    0x0102 Write EVENT_BATCH EventBatch once (events) {
        /// Durability level to reach before the reply: 0 the server's default, 1 applied, 2 journaled, 3 durable.
        durability: u8,
        /// 0: a summary; 1: also a result for each event.
        want: u8,
        /// The events.
        events: Vec<Event> [max BATCH_EVENTS_MAX],
    } -> EventBatchReply {
        /// Events that were learned.
        accepted: u32,
        /// Events whose ids had been seen.
        duplicates: u32,
        /// Events that were refused.
        rejected: u32,
        /// Lowest durability level that was reached.
        durability: u8,
        /// Newest record of each shard that took part.
        shards: Vec<ShardSequence> [max SHARD_LIST_MAX],
        /// The events that were refused.
        errors: Vec<EventError> [max BATCH_EVENTS_MAX],
        /// A result for each event, in their order, if wanted; else empty.
        results: Vec<EventResult> [max BATCH_EVENTS_MAX],
    };

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
    } -> UserGetReply {
        /// User.
        user: Id,
        /// Version of the profile.
        version: u32,
        /// Events learned.
        events: u64,
        /// Time of the first event, in milliseconds since 1970-01-01 UTC.
        first_ms: i64,
        /// Time of the newest event.
        last_ms: i64,
        /// Attributes.
        attributes: Vec<AttributeAt> [max ATTRIBUTES_MAX],
    };

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
    } -> ItemGetReply {
        /// Item.
        item: Id,
        /// Version of the item.
        version: u32,
        /// Events that named it.
        events: u64,
        /// Decayed count of its events.
        popularity: f64,
        /// Time of the newest event, in milliseconds since 1970-01-01 UTC.
        last_ms: i64,
        /// Tags.
        tags: Vec<String> [max ITEM_TAGS_MAX],
        /// Attributes.
        attributes: Vec<AttributeAt> [max ATTRIBUTES_MAX],
    };

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
    } -> ExposureReply {
        /// Shard that owns the user.
        shard: u16,
        /// Number of the shard's record that holds the report.
        sequence: u64,
        /// Durability level that was reached.
        durability: u8,
        /// Whether the list is known: 1 shown, 3 expired (too old, or too many since), 4 unknown (never served to this
        /// user, or before a restart).
        join: u8,
        /// Strategy that ranked the list; empty if it is not known.
        strategy: String,
    };

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
    } -> OutcomeReply {
        /// Shard that owns the user.
        shard: u16,
        /// Number of the shard's record that holds the event.
        sequence: u64,
        /// Version of the profile that has learned the event.
        profile_version: u32,
        /// Durability level that was reached.
        durability: u8,
        /// Score of the item just before the event was learned; NaN when there is none.
        score_before: f32,
        /// Rank of the item just before the event was learned, from 1; 0 when it was not ranked.
        rank_before: u32,
        /// Whether the list was credited: 0 no (DUPLICATE), 1 yes, 2 yes, but the item is none of the list's, 3 expired
        /// (too old, or too many since), 4 unknown (never served to this user, or before a restart).
        join: u8,
        /// Strategy that ranked the list; empty if it is not known.
        strategy: String,
        /// Where the item stood in the list, from 1; 0 if nowhere.
        position: u16,
        /// Time from the list to the event, in milliseconds.
        delay_ms: i64,
    };

    /// The living profile of a user.
    0x0201 Read PROFILE_GET ProfileGet by (user) {
        /// User.
        user: Id,
        /// Most recent events wanted; the reply holds at most 4,096.
        recent_max: u16,
        /// Whether the user factors are wanted.
        factors: bool,
    } -> ProfileGetReply {
        /// User.
        user: Id,
        /// Shard that owns the user.
        shard: u16,
        /// Version of the profile: it grows by one with every event learned.
        version: u32,
        /// Events learned.
        events: u64,
        /// Time of the first event, in milliseconds since 1970-01-01 UTC.
        first_ms: i64,
        /// Time of the newest event.
        last_ms: i64,
        /// Mean value of the events; NaN when there is none.
        value_mean: f64,
        /// Attributes.
        attributes: Vec<AttributeAt> [max ATTRIBUTES_MAX],
        /// What each strategy has learned, if wanted; else empty.
        arms: Vec<ArmProfile> [max ARMS_MAX],
        /// Newest events, the newest first.
        recent: Vec<RecentEvent>,
        /// Digest of all that is held about the user: equal profiles have equal digests.
        digest: u64,
    };

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
    } -> RecommendReply {
        /// Joins this list to what comes of it.
        decision_id: u64,
        /// Strategy that answered.
        strategy: String,
        /// What the list rests on: 0 learned, 1 popularity.
        basis: u8,
        /// Version of the profile that was used; 0 if the user was not seen.
        profile_version: u32,
        /// Items, the best first.
        items: Vec<ScoredItem> [max TOP_K_MAX],
    };

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
    } -> ExplainReply {
        /// Strategy that answered.
        strategy: String,
        /// Version of the profile that was used; 0 if the user was not seen.
        profile_version: u32,
        /// The score: the sum of all parts, those of events included.
        score: f32,
        /// What it rests on, as in Score.
        basis: u8,
        /// Named parts. Of the ranking of `auto`: the score of the mean candidate, then what each group of features adds.
        parts: Vec<ScorePart> [max SCORE_PARTS_MAX],
        /// What the score became by each event, less what it was without it; the newest first.
        events: Vec<EventPart> [max EXPLAINED_EVENTS_MAX],
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
}
