//! What all hosts must agree on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::oidc::Oidc;
use super::text::{Comment, Name};

/// The cluster's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Settings {
    /// The company, as people read it.
    pub company_name: Option<Name>,
    /// Whom people may ask, in words.
    pub contact: Option<Comment>,
    /// How people sign in.
    pub oidc: Oidc,
    /// For how many days a new profile is valid.
    pub profile_lifetime_days: ProfileLifetime,
    /// How many active profiles a user may have.
    pub profiles_per_user: ProfileLimit,
    /// For how many hours hosts go on admitting people while the database is away.
    pub outage_admission_hours: OutageAdmission,
    /// For how long what is about people is kept.
    pub retention: Retention,
}

/// For how long what is about people is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Retention {
    /// How many days after the end of a VPN session the address that it came from is shortened to its network (/24, of
    /// IPv6 /48).
    pub address_days: AddressDays,
    /// How many days after its end a VPN session is forgotten.
    pub session_days: SessionDays,
    /// How many days after the end of a VPN session it stops telling whose it was, if the account is gone by then.
    pub departed_days: DepartedDays,
    /// For how many days the audit log is kept.
    pub audit_days: AuditDays,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            address_days: AddressDays(30),
            session_days: SessionDays(90),
            departed_days: DepartedDays(30),
            audit_days: AuditDays(400),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            company_name: None,
            contact: None,
            oidc: Oidc::default(),
            profile_lifetime_days: ProfileLifetime(90),
            profiles_per_user: ProfileLimit(10),
            outage_admission_hours: OutageAdmission(4),
            retention: Retention::default(),
        }
    }
}

macro_rules! bounded {
    ($($(#[$doc:meta])* $name:ident = $min:tt ..= $max:tt, $sentence:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(try_from = "u32", into = "u32")]
        #[schema(value_type = u32, minimum = $min, maximum = $max)]
        pub struct $name(u32);

        impl $name {
            /// The largest.
            pub const MAX: Self = Self($max);

            /// The number.
            pub fn get(self) -> u32 {
                self.0
            }
        }

        impl TryFrom<u32> for $name {
            type Error = &'static str;

            fn try_from(number: u32) -> Result<Self, Self::Error> {
                ($min..=$max).contains(&number).then_some(Self(number)).ok_or($sentence)
            }
        }

        impl From<$name> for u32 {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    )*};
}

bounded! {
    /// Days a profile is valid: 1 to 397.
    ProfileLifetime = 1..=397, "must be between 1 and 397 days";
    /// Active profiles per user: 1 to 1,000.
    ProfileLimit = 1..=1000, "must be between 1 and 1000";
    /// Hours of admission without the database: 0 (none) to 168.
    OutageAdmission = 0..=168, "must be between 0 and 168 hours";
    /// Days until the address of an ended session is shortened: 1 to 730.
    AddressDays = 1..=730, "must be between 1 and 730 days";
    /// Days until an ended session is forgotten: 1 to 730.
    SessionDays = 1..=730, "must be between 1 and 730 days";
    /// Days until an ended session of somebody whose account is gone names nobody: 1 to 730.
    DepartedDays = 1..=730, "must be between 1 and 730 days";
    /// Days of audit log: 30 to 3,650.
    AuditDays = 30..=3650, "must be between 30 and 3650 days";
}
