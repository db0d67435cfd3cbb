//! What an operation would add: users, items and facets are what memory grows by.

use super::{Op, Shard};
use crate::base::IdRef;
use crate::person::Control;

impl Shard {
    /// Whether the operation would make a user, an item or a facet known that is not. Those that come of the server itself
    /// (exchange, models, merged users) add nothing that another shard, or the engine, has not let in.
    #[must_use]
    pub fn would_add(&self, op: &Op<'_>) -> bool {
        match op {
            Op::Event(event) | Op::Outcome { event, .. } => {
                self.is_new(event.user) || self.items.find(event.item).is_none()
            }
            Op::UserUpsert { user, .. } | Op::Exposure { user, .. } => self.is_new(*user),
            Op::Control { user, control, .. } => {
                self.is_new(*user)
                    || match control {
                        Control::MuteItem(item, _) => self.items.find(*item).is_none(),
                        Control::MuteFacet(name, _) | Control::Less(name, _) => self.tags.find(name).is_none(),
                        Control::Pause(_) | Control::Reset(..) => false,
                    }
            }
            Op::ItemUpsert { item, tags, .. } => {
                self.items.find(*item).is_none() || tags.iter().any(|tag| self.tags.find(tag).is_none())
            }
            Op::Embedding { item, .. } => self.items.find(*item).is_none(),
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
