//! One user, one profile, one server, one host: the world of the unit tests.

use jiff::{SignedDuration, Timestamp};

use domain::access::{Change, ProfileAccess, Snapshot};
use domain::host::Host;
use domain::ids::HostId;
use domain::presence::Moment;
pub(super) use domain::samples::id;
use domain::server::{Attachment, Server};
use domain::session::Session;
use domain::{Revision, samples};

const START: Timestamp = Timestamp::UNIX_EPOCH;

pub(super) fn server() -> Server {
    Server {
        routes: vec![serde_json::from_str(r#"{"network": "10.77.0.0/16"}"#).unwrap()],
        dns_servers: vec!["10.77.0.53".parse().unwrap()],
        search_domains: vec!["corp.example".parse().unwrap()],
        ..samples::server(2)
    }
}

pub(super) fn profile() -> ProfileAccess {
    ProfileAccess { expires_at: START + SignedDuration::from_hours(1), ..samples::profile_access(4) }
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
        connected_at: START,
        bytes_received: 0,
        bytes_sent: 0,
        client_version: Some("2.6.14".to_owned()),
        client_protocol: Some(990),
        ..samples::session(n)
    }
}

pub(super) fn moment() -> Moment {
    let at = std::time::Duration::from_mins(1);
    Moment::new("boot", Some(at), at, None)
}

pub(super) fn snapshot() -> Snapshot {
    let user = samples::user_access(3);
    let host = Host { name: "vpn-1".parse().unwrap(), ..samples::host(6) };
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
