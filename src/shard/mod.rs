//! Floor 6: shards as actors. One actix actor owns one [`Shard`](crate::state::Shard), its journal and its queue.
//!
//! * [`messages`]: what an actor is asked: kinds of turn, not kinds of command.
//! * [`queue`]: how many events may wait; the only bound, because actix mailboxes are soft.
//! * [`journaled`]: a machine and its journal: apply, append, write, come back.
//! * [`actor`]: the turn around it: mailbox, pace, answers.
//! * `turn`: a turn as it is carried out.
//! * [`control`]: what the engine tells an actor beside turns.
//! * `away`: a machine that is made anew elsewhere.
//! * [`decisions`]: what was served, until an outcome names it.
//! * [`teacher`]: trains the ranker of `auto` off the path of events.
//! * [`poison`]: operations that a shard broke at.
//! * [`priority`]: how much threads of the background give way.
//! * [`rejects`]: counts refused events, and the thread that keeps them.
//! * [`room`]: what a full memory still takes.
//! * `sync`: the thread that syncs the journal and then lets durable answers go.
//! * [`progress`]: how far a start is.
//! * [`recovery`]: newest valid snapshot and the journal's tail make the same bits as before.

pub mod actor;
mod answer;
mod away;
pub mod control;
pub mod decisions;
mod exchange;
mod fair;
pub mod journaled;
pub mod messages;
pub mod poison;
pub mod priority;
pub mod progress;
pub mod queue;
pub mod recovery;
pub mod rejects;
pub mod room;
mod snapshot;
mod sync;
pub mod teacher;
mod turn;

pub use actor::{ShardActor, ShardSetup};
pub use decisions::DecisionOptions;
pub use journaled::Journaled;
pub use messages::{Answer, Install, Query, Refusal, Refused, Snapshot, SnapshotPart, Step, StepDone, Turn, Written};
pub use progress::{StartProgress, StartStatus, StartStep};
pub use queue::{Queue, Share};
pub use recovery::{Home, RecoverError, Recovered, recover};
pub use rejects::{RejectKeeper, RejectSink};
