//! The table of statuses: what a response frame carries where a request carries its opcode.
//!
//! Numbers are for ever. A status that goes out of use stays in the table as retired, so that its number is not taken
//! again. 0-15 are successes and carry the reply of the command; the others carry an
//! [`ErrorBody`](super::message::ErrorBody).

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusInfo {
    /// Number on the wire.
    pub number: u16,
    /// Name in documents and metrics.
    pub name: &'static str,
    /// Whether the same request may succeed when it is sent again unchanged, after `retry_after_ms`.
    pub retryable: bool,
    /// What it means.
    pub doc: &'static str,
}

macro_rules! statuses {
    ($($(#[doc = $doc:literal])* $number:literal $name:literal $variant:ident $retry:ident;)*) => {
        /// How a request ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Status {
            $($(#[doc = $doc])* $variant = $number,)*
        }

        /// Every status, by rising number.
        pub const STATUSES: &[StatusInfo] = &[
            $(StatusInfo {
                number: $number,
                name: $name,
                retryable: statuses!(@ $retry),
                doc: concat!($($doc,)*).trim_ascii(),
            },)*
        ];

        impl Status {
            /// Every status, by rising number.
            pub const ALL: &[Status] = &[$(Status::$variant,)*];

            /// The status with this number, if there is one.
            #[must_use]
            pub fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its row of the table.
            #[must_use]
            pub fn info(self) -> StatusInfo {
                match self {
                    $(Self::$variant => StatusInfo {
                        number: $number,
                        name: $name,
                        retryable: statuses!(@ $retry),
                        doc: concat!($($doc,)*).trim_ascii(),
                    },)*
                }
            }
        }
    };
    (@ retry) => { true };
    (@ final) => { false };
}

statuses! {
    /// Done.
    0 "OK" Ok final;
    /// Some of a batch was done and some was refused; the reply says which.
    1 "PARTIAL" Partial final;
    /// An event with this event id was learned before; nothing changed; the reply is that of a success.
    2 "DUPLICATE" Duplicate final;
    /// There is no such user, item or strategy.
    16 "NOT_FOUND" NotFound final;
    /// The user was erased and must not come back.
    17 "ERASED" Erased final;
    /// The user has not consented to this use.
    18 "NO_CONSENT" NoConsent final;
    /// The user behaves like a machine: what it does is set aside until it stops.
    19 "QUARANTINED" Quarantined final;
    /// The request is malformed or a value is out of range; the message says which.
    32 "BAD_REQUEST" BadRequest final;
    /// The event is older than the server accepts.
    33 "TOO_LATE" TooLate final;
    /// The token is missing, wrong, or does not allow this class of command.
    34 "UNAUTHORISED" Unauthorised final;
    /// The opcode, flag or version is not spoken here.
    35 "UNSUPPORTED" Unsupported final;
    /// Nothing can be written at present, for instance after a failed journal write; reads go on.
    36 "READ_ONLY" ReadOnly final;
    /// A queue is full; nothing was done; come back after `retry_after_ms`.
    48 "OVERLOADED" Overloaded retry;
    /// The request waited too long and was dropped before it was started.
    49 "DEADLINE" Deadline retry;
    /// The connection has asked for more than its quota; nothing was done; come back after `retry_after_ms`.
    50 "QUOTA" Quota retry;
    /// There is no memory for another user or item; nothing was done. Those that are known go on.
    51 "MEMORY" Memory retry;
    /// There is too little room on the disk for another write; nothing was done. Questions are answered, and what takes something
    /// away is carried out.
    52 "DISK_FULL" DiskFull retry;
    /// A fault of the server; whether the request was carried out is not known.
    64 "INTERNAL" Internal final;
}

impl Status {
    /// Number on the wire.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }

    /// Name in documents and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// Whether the body is the reply of the command, not an [`ErrorBody`](super::message::ErrorBody).
    #[must_use]
    pub fn is_success(self) -> bool {
        self.number() < 16
    }

    /// Whether the same request may succeed when it is sent again unchanged.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        self.info().retryable
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: these numbers are on the wire and may never change; new rows are added, none is removed.
    #[test]
    fn numbers_are_frozen() {
        let frozen = [
            (0, "OK"),
            (1, "PARTIAL"),
            (2, "DUPLICATE"),
            (16, "NOT_FOUND"),
            (17, "ERASED"),
            (18, "NO_CONSENT"),
            (19, "QUARANTINED"),
            (32, "BAD_REQUEST"),
            (33, "TOO_LATE"),
            (34, "UNAUTHORISED"),
            (35, "UNSUPPORTED"),
            (36, "READ_ONLY"),
            (48, "OVERLOADED"),
            (49, "DEADLINE"),
            (50, "QUOTA"),
            (51, "MEMORY"),
            (52, "DISK_FULL"),
            (64, "INTERNAL"),
        ];
        for (number, name) in frozen {
            assert_eq!(Status::from_number(number).map(Status::name), Some(name), "{number}");
        }
        assert!(STATUSES.is_sorted_by(|a, b| a.number < b.number), "sorted, and no number twice");
        let retryable: Vec<&str> = STATUSES.iter().filter(|row| row.retryable).map(|row| row.name).collect();
        assert_eq!(retryable, ["OVERLOADED", "DEADLINE", "QUOTA", "MEMORY", "DISK_FULL"]);
    }

    #[test]
    fn every_other_number_is_unknown() {
        let known = (0..=u16::MAX).filter_map(Status::from_number).inspect(|status| {
            assert_eq!(Status::from_number(status.number()), Some(*status));
            assert_eq!(status.is_success(), matches!(status, Status::Ok | Status::Partial | Status::Duplicate));
        });
        assert_eq!(known.count(), STATUSES.len());
    }
}
