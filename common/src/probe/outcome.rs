//! What comes of one try of a probe: from a closed list, so that it can travel as numbers.

use serde::{Deserialize, Serialize};

/// How a probe stands after a try. The numbers stay for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ProbeState {
    /// The target answered as it should.
    Up = 1,
    /// It answered, and something will become trouble: its certificate ends soon.
    Warning = 2,
    /// It did not.
    Down = 3,
    /// Nothing can be said of the target: the prober could not ask.
    Unknown = 4,
    /// The question may not be asked from there.
    Refused = 5,
}

impl ProbeState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Up, Self::Warning, Self::Down, Self::Unknown, Self::Refused];

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// From its number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| i64::from(state.number()) == number)
    }

    /// The word for it, as in the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Warning => "warning",
            Self::Down => "down",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $number:literal $name:ident $word:literal $state:ident;)*) => {
        /// Why a try ended as it did. The numbers stay for ever.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u8)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name = $number,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word for it, as in the API and in the catalogue of messages.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// How a probe stands for this reason.
            #[must_use]
            pub const fn state(self) -> ProbeState {
                match self { $(Self::$name => ProbeState::$state,)* }
            }
        }
    };
}

reasons! {
    /// It answered as it should. Of a ping the number tells how many of its packets were lost.
    1 Answered "answered" Up;
    /// No answer in time.
    2 TimedOut "timed_out" Down;
    /// Nobody listens there.
    3 ConnectionRefused "connection_refused" Down;
    /// No way leads there.
    4 Unreachable "unreachable" Down;
    /// There is no such name.
    5 NameUnknown "name_unknown" Down;
    /// The name could not be asked for: the resolver failed.
    6 NameFailed "name_failed" Down;
    /// The connection ended before the answer did.
    7 Closed "closed" Down;
    /// What came is not the protocol.
    8 Malformed "malformed" Down;
    /// Another status than expected; the number is it.
    9 Status "status" Down;
    /// The text that must be there is not in the answer's first part.
    10 TextMissing "text_missing" Down;
    /// It leads on more often than is followed.
    11 TooManyRedirects "too_many_redirects" Down;
    /// It leads to another host, which is not followed.
    12 ForeignRedirect "foreign_redirect" Down;
    /// The certificate has ended; the number is the days since, negative.
    13 CertificateExpired "certificate_expired" Down;
    /// The certificate is not valid yet.
    14 CertificateEarly "certificate_early" Down;
    /// Nobody who is trusted stands for the certificate.
    15 CertificateUntrusted "certificate_untrusted" Down;
    /// The certificate is another name's.
    16 CertificateName "certificate_name" Down;
    /// TLS did not come about.
    17 TlsFailed "tls_failed" Down;
    /// The certificate ends soon; the number is the days left.
    18 CertificateSoon "certificate_soon" Warning;
    /// The certificate ends very soon; the number is the days left.
    19 CertificateVerySoon "certificate_very_soon" Down;
    /// The answer lacks an expected value; the number is how many.
    20 WrongAnswer "wrong_answer" Down;
    /// The name has no record of this type.
    21 NoRecord "no_record" Down;
    /// The kernel does not let this process ping.
    22 PingNotPermitted "ping_not_permitted" Unknown;
    /// This controller does not ask such targets.
    23 TargetForbidden "target_forbidden" Refused;
    /// The host's owner does not allow it.
    24 PolicyRefused "policy_refused" Refused;
    /// Too many were under way.
    25 Overloaded "overloaded" Unknown;
    /// There is no store of trusted certificates to check against.
    26 NoRoots "no_roots" Unknown;
    /// Something failed on this side.
    27 LocalFault "local_fault" Unknown;
    /// The host does not take the probe: it is outside what an agent runs.
    28 NotTaken "not_taken" Refused;
    /// The host that runs it says nothing of it.
    29 NoResult "no_result" Unknown;
}

impl Reason {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// From its number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| i64::from(reason.number()) == number)
    }

    /// Whether it is about the end of a certificate.
    #[must_use]
    pub const fn is_expiry(self) -> bool {
        matches!(self, Self::CertificateExpired | Self::CertificateSoon | Self::CertificateVerySoon)
    }
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Why.
    pub reason: Reason,
    /// What the reason counts; 0 where it counts nothing.
    pub number: i64,
    /// Time to the answer, in µs.
    pub micros: Option<u64>,
    /// Days until the certificate ends, where one was seen.
    pub days: Option<i64>,
}

impl Outcome {
    /// An outcome without an answer.
    #[must_use]
    pub const fn of(reason: Reason) -> Self {
        Self { reason, number: 0, micros: None, days: None }
    }

    /// How the probe stands.
    #[must_use]
    pub const fn state(&self) -> ProbeState {
        self.reason.state()
    }
}
