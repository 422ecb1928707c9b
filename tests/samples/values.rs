//! One test value for each noun: what unit tests, samples of pages and the tests of this folder start from.
//!
//! A test names only what it is about and takes the rest from here, `Server { enabled: false, ..server(2) }`, so a
//! younger field of a noun is one line here. The crate of the nouns compiles this for tests only (feature `samples`).

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::access::{ProfileAccess, UserAccess};
use crate::host::Host;
use crate::ids::{HostId, Id, OrganizationId, ProfileId, ServerId, UserId};
use crate::login::{Login, Surface, Who};
use crate::organization::Organization;
use crate::profile::{Fingerprint, Profile, ProfileState};
use crate::role::Role;
use crate::server::{Attachment, Keepalive, Port, Protocol, Server};
use crate::session::Session;
use crate::token::ApiToken;
use crate::user::User;

/// The moment of all samples: 2026-11-23, 14:02 UTC.
const NOW: i64 = 1_795_442_520;

/// The moment of all samples.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// So many hours before it; a negative number is after it.
#[must_use]
pub fn ago(hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(hours)
}

/// A value from its text.
///
/// # Panics
/// When the text is not one; the texts of samples are constants.
#[must_use]
pub fn text<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a sample is well formed")
}

/// A port.
///
/// # Panics
/// When there is no such port.
#[must_use]
pub fn port(number: u32) -> Port {
    number.try_into().expect("a sample is well formed")
}

/// The id with a number.
#[must_use]
pub fn id<T: Id>(number: u128) -> T {
    T::from_parts(now(), number)
}

/// An organization.
#[must_use]
pub fn organization(number: u128, name: &str) -> Organization {
    Organization { id: id(number), name: text(name) }
}

/// A user of organization 1 without an account at the identity provider.
#[must_use]
pub fn user(number: u128, name: &str) -> User {
    User {
        id: id::<UserId>(number),
        organization_id: id::<OrganizationId>(1),
        name: text(name),
        email: None,
        groups: BTreeSet::new(),
        role: Role::User,
        disabled: false,
        identity: None,
    }
}

/// What access asks of a user of organization 1.
#[must_use]
pub fn user_access(number: u128) -> UserAccess {
    UserAccess { id: id(number), organization_id: id(1), groups: Box::new([]), disabled: false }
}

/// A server that is open to organization 1.
#[must_use]
pub fn server(number: u128) -> Server {
    Server {
        id: id::<ServerId>(number),
        name: text("main"),
        network: text("10.9.0.0/16"),
        port: port(1194),
        protocol: Protocol::Udp,
        enabled: true,
        organization_ids: BTreeSet::from([id(1)]),
        groups: BTreeSet::new(),
        routes: Vec::new(),
        dns_servers: Vec::new(),
        search_domains: Vec::new(),
        keepalive: Keepalive::default(),
    }
}

/// The host `vpn-N` at the address `203.0.113.N`.
#[must_use]
pub fn host(number: u8) -> Host {
    Host {
        id: id::<HostId>(number.into()),
        name: text(&format!("vpn-{number}")),
        public_addresses: vec![text(&format!("203.0.113.{number}"))],
        roles: BTreeSet::new(),
        public_key: [0; 32],
        drain: None,
    }
}

/// That a host carries a server.
#[must_use]
pub fn attachment(server: u128, host: u128) -> Attachment {
    Attachment { server_id: id(server), host_id: id(host), credentials: None }
}

/// A profile of user 1 for server 1, sixteen days old, that connected two hours ago.
#[must_use]
pub fn profile(number: u128, name: &str) -> Profile {
    Profile {
        id: id::<ProfileId>(number),
        user_id: id::<UserId>(1),
        server_id: id::<ServerId>(1),
        name: text(name),
        address: [10, 200, 14, 7].into(),
        state: ProfileState::Active,
        issued_at: ago(24 * 16),
        expires_at: ago(-24 * 74),
        revoked_at: None,
        last_connected_at: Some(ago(2)),
        replaced_by: None,
        fingerprint: Fingerprint([7; 32]),
        written_for: None,
    }
}

/// What access asks of a profile of user 3 for server 2.
#[must_use]
pub fn profile_access(number: u128) -> ProfileAccess {
    ProfileAccess {
        id: id(number),
        user_id: id(3),
        server_id: id(2),
        address: [10, 9, 0, 7].into(),
        state: ProfileState::Active,
        expires_at: ago(-1),
        fingerprint: Fingerprint([5; 32]),
        file: None,
    }
}

/// A session of user 1 by the profile of the same number, for three hours.
#[must_use]
pub fn session(number: u128) -> Session {
    Session {
        id: id(number),
        user_id: id(1),
        profile_id: id(number),
        server_id: id(1),
        host_id: id(1),
        address: [10, 200, 14, 7].into(),
        remote_address: ([198, 51, 100, 7], 50_123).into(),
        connected_at: ago(3),
        bytes_received: 48_200_000,
        bytes_sent: 1_412_000_000,
        client_version: None,
        client_protocol: None,
    }
}

/// A login of user 1 at the portal.
#[must_use]
pub fn login(number: u128) -> Login {
    Login {
        id: id(number),
        who: Who::User(id(1)),
        surface: Surface::Portal,
        label: "Firefox 140".to_owned(),
        address: [198, 51, 100, 7].into(),
        since: ago(2),
        seen_at: ago(1),
    }
}

/// An API token of nobody who is known, good for another month.
#[must_use]
pub fn token(number: u128, name: &str) -> ApiToken {
    ApiToken {
        id: id(number),
        name: text(name),
        role: Role::Auditor,
        created_by: None,
        owner_id: None,
        created_at: Some(ago(500)),
        expires_at: ago(-24 * 30),
        last_used_at: None,
    }
}
