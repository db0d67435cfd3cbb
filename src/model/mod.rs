//! Floor 2: the words of the field, as data with invariants and no algorithms.

pub mod attribute;
pub mod decision;
pub mod event;
pub mod history;
pub mod kind;
pub mod reject;
pub mod rule;
pub mod schema;
pub mod sound;

pub use attribute::{Attributes, Value};
pub use decision::{Recall, Remembered, ServedList};
pub use event::{Durability, Event};
pub use history::{Entry, History};
pub use kind::{Kind, Kinds};
pub use reject::{Reject, RejectReason, SentEvent};
pub use rule::{AttributeRule, AttributeType, Role, RuleFault};
pub use schema::{Cleaning, Incompatible, Modality, Schema, TraitRule};
pub use sound::Unsound;
