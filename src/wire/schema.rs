//! What a record and a command are: the traits, the rows of the tables, and the two macros that make them.
//!
//! `records!` turns a documented struct into its codec (fields in order, nothing between them) and its row of the type
//! table. `commands!` takes the whole command table at once and makes the request and reply records, the
//! [`Command`] implementations, the `Request` enum and `COMMANDS`. See the head of [`commands`](super::commands).

use super::field::Field;
use crate::base::IdRef;

/// What a command may do, and therefore who may send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// About the connection; always allowed.
    Session,
    /// Changes a profile or an item.
    Write,
    /// Changes nothing.
    Read,
    /// Operates the server.
    Admin,
}

impl Class {
    /// Its name in documents and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Write => "write",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// One field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldInfo {
    /// Name.
    pub name: &'static str,
    /// Rust type, as written in the table.
    pub kind: &'static str,
    /// Most bytes of a text, most entries of a list; 0 if the size is fixed.
    pub max: usize,
    /// What it means.
    pub doc: &'static str,
}

/// One record: name, meaning, fields in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeInfo {
    /// Name.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Its fields, in order.
    pub fields: &'static [FieldInfo],
}

/// A struct whose bytes are its fields in order.
pub trait Record: Field {
    /// Its row of the type table.
    const INFO: TypeInfo;
}

/// One command: a row of [`COMMANDS`](super::commands::COMMANDS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandInfo {
    /// Number on the wire.
    pub opcode: u16,
    /// Name in documents, metrics and messages.
    pub name: &'static str,
    /// What it may do.
    pub class: Class,
    /// What it does.
    pub doc: &'static str,
    /// The field whose id says which shard should get it, if one does.
    pub route: Option<&'static str>,
    /// Fields of the request, in order.
    pub request: &'static [FieldInfo],
    /// Name of the reply's record.
    pub reply_name: &'static str,
    /// Fields of the reply, in order.
    pub reply: &'static [FieldInfo],
}

/// A request that knows its opcode and what answers it.
pub trait Command: Record {
    /// What a success carries.
    type Reply: Record;
    /// Number on the wire.
    const OPCODE: u16;
    /// Name in documents, metrics and messages.
    const NAME: &'static str;
    /// What it may do.
    const CLASS: Class;

    /// The id that says which shard should get it; `None` if any will do.
    fn route(&self) -> Option<IdRef<'_>>;

    /// Whether event ids make it harmless to send it twice.
    fn is_repeatable(&self) -> bool;
}

/// Is shown every command in turn ([`each_command`](super::commands::each_command)), for what must hold for all of them.
pub trait EachCommand {
    /// One command.
    fn command<C: Command>(&mut self);
}

/// What carries event ids: by them a repeat is recognised.
pub(super) trait Keyed {
    /// Whether every event in it has an event id.
    fn is_keyed(&self) -> bool;
}

/// Structs whose bytes are their fields in order, their rows, and (in tests) their samples.
macro_rules! records {
    ($(
        $(#[doc = $doc:expr])*
        $name:ident {
            $($(#[doc = $field_doc:expr])* $field:ident: $kind:ty $([max $max:expr])?),* $(,)?
        }
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[doc = $field_doc])* pub $field: $kind,)*
        }

        impl $crate::wire::field::Field for $name {
            const MIN_BYTES: usize = 0 $(+ <$kind as $crate::wire::field::Field>::MIN_BYTES)*;
            const MAX: usize = 0;

            fn encode(
                &self,
                out: &mut $crate::base::Writer<'_>,
                _max: usize,
            ) -> Result<(), $crate::wire::error::OverLimit> {
                $($crate::wire::field::Field::encode(
                    &self.$field,
                    out,
                    $crate::wire::schema::max_of!($kind $(, $max)?),
                )?;)*
                let _ = out;
                Ok(())
            }

            fn decode(
                reader: &mut $crate::base::Reader<'_>,
                _max: usize,
            ) -> Result<Self, $crate::base::CursorError> {
                let _ = &reader;
                Ok(Self {
                    $($field: $crate::wire::field::Field::decode(
                        reader,
                        $crate::wire::schema::max_of!($kind $(, $max)?),
                    )?,)*
                })
            }

            fn skip(reader: &mut $crate::base::Reader<'_>, _max: usize) -> Result<(), $crate::base::CursorError> {
                let _ = &reader;
                $(<$kind as $crate::wire::field::Field>::skip(
                    reader,
                    $crate::wire::schema::max_of!($kind $(, $max)?),
                )?;)*
                Ok(())
            }
        }

        impl $crate::wire::schema::Record for $name {
            const INFO: $crate::wire::schema::TypeInfo = $crate::wire::schema::TypeInfo {
                name: stringify!($name),
                doc: concat!($($doc,)*).trim_ascii(),
                fields: &[$($crate::wire::schema::FieldInfo {
                    name: stringify!($field),
                    kind: stringify!($kind),
                    max: $crate::wire::schema::max_of!($kind $(, $max)?),
                    doc: concat!($($field_doc,)*).trim_ascii(),
                },)*],
            };
        }

        #[cfg(test)]
        impl $crate::wire::sample::Sample for $name {
            fn sample(_rng: &mut $crate::base::Rng) -> Self {
                Self { $($field: $crate::wire::sample::Sample::sample(_rng),)* }
            }
        }
    )*};
}

/// The limit of a field: the one it states, or its type's.
macro_rules! max_of {
    ($kind:ty) => {
        <$kind as $crate::wire::field::Field>::MAX
    };
    ($kind:ty, $max:expr) => {
        $max
    };
}

/// The table of commands; everything that is made from it is listed in the head of this file.
macro_rules! commands {
    ($(
        $(#[doc = $doc:literal])*
        $opcode:literal $class:ident $wire_name:ident $name:ident
        $(by ($($route:tt)+))? $(once ($once:ident))?
        { $($request:tt)* } -> $reply:ident $({ $($reply_fields:tt)* })?;
    )*) => {
        $(
            $crate::wire::schema::records! { $(#[doc = $doc])* $name { $($request)* } }

            $($crate::wire::schema::records! {
                #[doc = concat!("Reply of ", stringify!($wire_name), ".")]
                $reply { $($reply_fields)* }
            })?

            impl $crate::wire::schema::Command for $name {
                type Reply = $reply;
                const OPCODE: u16 = $opcode;
                const NAME: &'static str = stringify!($wire_name);
                const CLASS: $crate::wire::schema::Class = $crate::wire::schema::Class::$class;

                fn route(&self) -> Option<$crate::base::IdRef<'_>> {
                    $(return Some(self.$($route)+.as_ref());)?
                    #[allow(unreachable_code)]
                    None
                }

                fn is_repeatable(&self) -> bool {
                    $(return $crate::wire::schema::Keyed::is_keyed(&self.$once);)?
                    #[allow(unreachable_code)]
                    false
                }
            }
        )*

        /// Any request.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Request {
            $($(#[doc = $doc])* $name($name),)*
        }

        impl Request {
            /// Decodes the body of a request; bytes left over are an error.
            ///
            /// # Errors
            /// [`WireError::UnknownOpcode`], or [`WireError::Body`].
            pub fn decode(opcode: u16, body: &[u8]) -> Result<Self, WireError> {
                match opcode {
                    $($opcode => $crate::wire::message::decode_request::<$name>(body).map(Self::$name),)*
                    _ => Err(WireError::UnknownOpcode { opcode }),
                }
            }

            /// Appends it as a whole frame.
            ///
            /// # Errors
            /// [`WireError::Limit`] or [`WireError::FrameTooLong`]; `out` is then as before.
            pub fn encode(&self, out: &mut Vec<u8>, request_id: u64) -> Result<(), WireError> {
                match self {
                    $(Self::$name(request) => $crate::wire::message::put_request(out, request_id, request),)*
                }
            }

            /// Its row of the table.
            #[must_use]
            pub fn info(&self) -> &'static CommandInfo {
                match self {
                    $(Self::$name(_) => <$name as $crate::wire::schema::CommandRow>::ROW,)*
                }
            }
        }

        /// Every command, by rising opcode.
        pub const COMMANDS: &[CommandInfo] = &[$(*<$name as $crate::wire::schema::CommandRow>::ROW,)*];

        $(impl $crate::wire::schema::CommandRow for $name {
            const ROW: &'static CommandInfo = &CommandInfo {
                opcode: $opcode,
                name: stringify!($wire_name),
                class: $crate::wire::schema::Class::$class,
                doc: <$name as $crate::wire::schema::Record>::INFO.doc,
                route: $crate::wire::schema::route_of!($($($route)+)?),
                request: <$name as $crate::wire::schema::Record>::INFO.fields,
                reply_name: stringify!($reply),
                reply: <$reply as $crate::wire::schema::Record>::INFO.fields,
            };
        })*

        /// Shows every command to `each`, in order of opcode.
        pub fn each_command(each: &mut impl $crate::wire::schema::EachCommand) {
            $(each.command::<$name>();)*
        }

        /// As [`each_command`], with samples.
        #[cfg(test)]
        pub(crate) fn visit_commands(visitor: &mut impl $crate::wire::sample::CommandVisitor) {
            $(visitor.visit::<$name>();)*
        }
    };
}

macro_rules! route_of {
    () => {
        None
    };
    ($($route:tt)+) => {
        Some(concat!($(stringify!($route)),+))
    };
}

/// Where `commands!` leaves the row of each command.
pub(super) trait CommandRow {
    const ROW: &'static CommandInfo;
}

pub(super) use {commands, max_of, records, route_of};
