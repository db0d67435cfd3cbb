//! What an operation would add: users and items are what memory grows by.

use super::{Op, Shard};
use crate::base::IdRef;

impl Shard {
    /// Whether the operation would make a user or an item known that is not. Those that come of the server itself (exchange,
    /// models, merged users) add nothing that another shard has not let in.
    #[must_use]
    pub fn would_add(&self, op: &Op<'_>) -> bool {
        match op {
            Op::Event(event) | Op::Outcome { event, .. } => {
                self.is_new(event.user) || self.items.find(event.item).is_none()
            }
            Op::UserUpsert { user, .. } | Op::Exposure { user, .. } | Op::Control { user, .. } => self.is_new(*user),
            Op::ItemUpsert { item, .. } | Op::Embedding { item, .. } => self.items.find(*item).is_none(),
            _ => false,
        }
    }

    /// Whether the operation may make what is kept of known users and items longer. Those that take away, and those of the
    /// server itself, do not.
    #[must_use]
    pub fn may_grow(op: &Op<'_>) -> bool {
        matches!(
            op,
            Op::Event(_)
                | Op::Outcome { .. }
                | Op::UserUpsert { .. }
                | Op::ItemUpsert { .. }
                | Op::Exposure { .. }
                | Op::Embedding { .. }
        )
    }

    fn is_new(&self, user: IdRef<'_>) -> bool {
        self.users.find(user).is_none()
    }
}
