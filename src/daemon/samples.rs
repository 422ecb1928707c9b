//! One user, one profile, one server, one host: the world of the unit tests.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use domain::{
    Revision,
    access::{Change, ProfileAccess, Snapshot, UserAccess},
    host::Host,
    ids::{HostId, Id},
    presence::Moment,
    profile::{Fingerprint, ProfileState},
    server::{Attachment, Keepalive, Protocol, Server},
    session::Session,
};

const START: Timestamp = Timestamp::UNIX_EPOCH;

pub(super) fn id<T: Id>(n: u128) -> T {
    T::from_parts(START, n)
}

pub(super) fn server() -> Server {
    Server {
        id: id(2),
        name: "main".parse().unwrap(),
        network: "10.9.0.0/16".parse().unwrap(),
        port: 1194.try_into().unwrap(),
        protocol: Protocol::Udp,
        enabled: true,
        organization_ids: BTreeSet::from([id(1)]),
        groups: BTreeSet::new(),
        routes: vec![serde_json::from_str(r#"{"network": "10.77.0.0/16"}"#).unwrap()],
        dns_servers: vec!["10.77.0.53".parse().unwrap()],
        search_domains: vec!["corp.example".parse().unwrap()],
        keepalive: Keepalive::default(),
    }
}

pub(super) fn profile() -> ProfileAccess {
    ProfileAccess {
        id: id(4),
        user_id: id(3),
        server_id: server().id,
        address: "10.9.0.7".parse().unwrap(),
        state: ProfileState::Active,
        expires_at: START + SignedDuration::from_hours(1),
        fingerprint: Fingerprint([5; 32]),
        file: None,
    }
}

pub(super) fn host() -> HostId {
    id(6)
}

pub(super) fn session(n: u128) -> Session {
    Session {
        id: id(100 + n),
        user_id: id(3),
        profile_id: profile().id,
        server_id: server().id,
        host_id: host(),
        address: profile().address,
        remote_address: "192.0.2.1:1000".parse().unwrap(),
        connected_at: START,
        bytes_received: 0,
        bytes_sent: 0,
        client_version: Some("2.6.14".to_owned()),
        client_protocol: Some(990),
    }
}

pub(super) fn moment() -> Moment {
    let at = std::time::Duration::from_mins(1);
    Moment::new("boot", Some(at), at, None)
}

pub(super) fn snapshot() -> Snapshot {
    let user = UserAccess { id: id(3), organization_id: id(1), groups: Box::new([]), disabled: false };
    let host = Host {
        id: host(),
        name: "vpn-1".parse().unwrap(),
        public_addresses: vec!["203.0.113.10".parse().unwrap()],
        roles: BTreeSet::new(),
        public_key: [0; 32],
        drain: None,
    };
    let attachment = Attachment { server_id: server().id, host_id: host.id, credentials: None };
    Snapshot::default().with(
        Revision(1),
        [
            Change::User(user),
            Change::Profile(profile()),
            Change::Server(Box::new(server())),
            Change::Host(Box::new(host)),
            Change::Attachment(Box::new(attachment)),
        ],
    )
}
