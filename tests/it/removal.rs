//! Removing hosts, and what becomes of the keys that they had.

use jiff::Timestamp;
use postern::domain::drain::DrainProgress;
use postern::domain::host::ProcessRole;
use postern::domain::ids::{HostId, ServerId};
use postern::domain::server::{Attachment, DaemonState};
use postern::keys::host::HostKey;
use postern::pki::request::LeafKey;
use postern::services::hosts::registry::HostFacts;
use postern::services::network::attachments::{CredentialState, credentials_for};
use postern::services::{AttachmentKey, DaemonStatus, Refusal, ServiceError};
use serde_json::{Value, json};

use crate::api_rig::{Caller, Rig, nobody};

/// A host that the test plays, with its key and its daemon's.
struct Played {
    id: HostId,
    name: String,
    key: HostKey,
    daemon_key: String,
}

struct World {
    rig: Rig,
    owner: Caller,
    organization: String,
}

impl World {
    async fn new() -> Self {
        let rig = Rig::new().await;
        let owner = rig.owner();
        let organization = text(&owner.post("/organizations", &json!({ "name": "Acme" }))["id"]);
        Self { rig, owner, organization }
    }

    fn server(&self, number: u8) -> String {
        let body = json!({
            "name": format!("server {number}"), "network": format!("10.{number}.0.0/24"), "protocol": "udp",
            "port": 1190 + u16::from(number), "organization_ids": [self.organization],
        });
        text(&self.owner.post("/servers", &body)["id"])
    }

    fn facts(name: &str, key: &HostKey) -> HostFacts {
        HostFacts {
            name: name.parse().unwrap(),
            public_addresses: vec!["203.0.113.10".parse().unwrap()],
            roles: [ProcessRole::Vpn].into(),
            public_key: *key.public().as_bytes(),
        }
    }

    async fn host(&self, number: u8) -> Played {
        let (name, key) = (format!("vpn-{number}"), HostKey::from_bytes(&[number; 32]));
        let id = self.rig.services.hosts().register_host(&Self::facts(&name, &key)).await.unwrap();
        self.rig.services.hosts().beat(id, 0).await.unwrap();
        let daemon_key = LeafKey::generate().unwrap().pem().expose().clone();
        Played { id, name, key, daemon_key }
    }

    /// Has a host run a server, as far as its certificate.
    async fn attach(&self, server: &str, host: &Played) {
        self.owner.expect(204, "PUT", &format!("/servers/{server}/hosts/{}", host.id), None);
        let request = LeafKey::from_pem(&host.daemon_key).unwrap().csr_pem().unwrap();
        let status = DaemonStatus {
            key: AttachmentKey { server_id: server.parse().unwrap(), host_id: host.id },
            state: DaemonState::Running,
            detail: None,
        };
        self.rig.services.network().request_certificate(&host.key, &status, &request).await.unwrap();
        assert_eq!(self.rig.services.network().certify().await.unwrap(), 1);
    }

    /// The key of a server as a host finds it, opened.
    async fn key_on(&self, server: &str, host: &Played) -> Option<String> {
        let key = AttachmentKey { server_id: server.parse().unwrap(), host_id: host.id };
        let attachment = self.rig.store.find::<Attachment>(&key).await.unwrap()?.value;
        match credentials_for(&host.key, &host.daemon_key, &attachment, self.rig.services.now()).unwrap() {
            CredentialState::Ready(secrets) => Some(secrets.tls_crypt.expose().clone()),
            other => panic!("{other:?}"),
        }
    }

    fn user(&self) -> String {
        text(&self.owner.post("/users", &json!({ "organization_id": self.organization, "name": "Ana" }))["id"])
    }

    fn profile(&self, user: &str, server: &str) -> Value {
        self.owner.post(&format!("/users/{user}/profiles"), &json!({ "server_id": server, "name": "laptop" }))
    }

    fn remove(&self, status: u16, host: &Played, query: &str) -> Value {
        self.owner.expect(status, "DELETE", &format!("/hosts/{}{query}", host.id), None)
    }

    fn last(&self, action: &str) -> Value {
        let entries = self.owner.get(&format!("/audit?action={action}"));
        entries["items"].as_array().unwrap().iter().max_by_key(|entry| text(&entry["id"])).unwrap().clone()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_service_is_removed_by_force_only() {
    let world = World::new().await;
    let (server, leaves, stays) = (world.server(1), world.host(1).await, world.host(2).await);
    world.attach(&server, &leaves).await;
    world.attach(&server, &stays).await;
    world.profile(&world.user(), &server);
    world.rig.services.hosts().beat(leaves.id, 3).await.unwrap();

    let refused = text(&world.remove(409, &leaves, "")["detail"]);
    assert!(refused.contains("host vpn-1 is in service"), "{refused}");
    assert!(refused.contains("3 live sessions") && refused.contains("1 active profile lists it"), "{refused}");
    let means = world.owner.get(&format!("/hosts/{}/removal", leaves.id));
    assert_eq!((&means["needs_force"], &means["sessions"], &means["profiles"]), (&json!(true), &json!(3), &json!(1)));
    let shared = json!([{ "server_id": server, "name": "server 1", "active_profiles": 1 }]);
    assert_eq!(means["servers"], shared);

    // One that is on its way out is not out.
    let path = format!("/hosts/{}/drain", leaves.id);
    let order = world.owner.expect(202, "POST", &path, Some(&json!({ "budget_seconds": 60 })));
    let refused = text(&world.remove(409, &leaves, "?force=false")["detail"]);
    assert!(refused.contains("not drained yet"), "{refused}");
    let order: Timestamp = text(&order["drain"]["started_at"]).parse().unwrap();
    let drained_at = Some(world.rig.services.now());
    let done = DrainProgress { order, taken_up_at: order, remaining: 0, refused: 0, held: false, drained_at };
    assert!(world.rig.services.hosts().report_drain(leaves.id, &done).await.unwrap());
    assert_eq!(world.owner.get(&format!("/hosts/{}/removal", leaves.id))["needs_force"], false);
    world.remove(204, &leaves, "");
    world.remove(404, &leaves, "");

    world.remove(409, &stays, "");
    world.remove(400, &stays, "?force=perhaps");
    world.remove(204, &stays, "?force=true");
    assert_eq!(world.last("host.delete")["changes"]["forced"], json!([null, true]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_removed_host_is_left_and_its_key_makes_no_host_again() {
    let world = World::new().await;
    let (server, host) = (world.server(1), world.host(1).await);
    world.attach(&server, &host).await;
    let profile = world.profile(&world.user(), &server)["profile"]["id"].clone();
    world.remove(204, &host, "?force=true");
    assert!(world.key_on(&server, &host).await.is_none());
    assert_eq!(world.owner.get(&format!("/servers/{server}/hosts"))["items"], json!([]));

    // Alive when it was removed, it may still say farewell; then its reports go.
    let services = &world.rig.services;
    assert_eq!(services.hosts().clear_removed_hosts().await.unwrap(), 0);
    services.hosts().beat_last(host.id).await.unwrap();
    assert_eq!(services.hosts().clear_removed_hosts().await.unwrap(), 1);
    assert_eq!(services.hosts().clear_removed_hosts().await.unwrap(), 0);
    let needle = host.id.to_string();
    for (collection, rows) in world.rig.dump().await {
        let names =
            rows.iter().filter(|row| row.as_bytes().windows(needle.len()).any(|part| part == needle.as_bytes()));
        // That it was, and that it is not any more, is remembered; and a profile's file names it, whatever we do.
        let kept = ["audit", "profiles", "removed_hosts", "tombstones"];
        assert!(names.count() == 0 || kept.contains(&collection.as_str()), "{collection} names the host");
    }
    assert_eq!(world.owner.get(&format!("/profiles/{}", text(&profile)))["state"], "active");

    for name in [host.name.as_str(), "another-name"] {
        let refused = services.hosts().register_host(&World::facts(name, &host.key)).await.unwrap_err();
        assert!(
            matches!(&refused, ServiceError::Conflict(Refusal::HostRemoved { host: removed }) if removed.id == host.id),
            "{refused:?}"
        );
        assert!(refused.to_string().contains("was host vpn-1 and has been removed"), "{refused}");
    }
    // Its name is free, for a machine with another key.
    let other = HostKey::from_bytes(&[77; 32]);
    let id = services.hosts().register_host(&World::facts(&host.name, &other)).await.unwrap();
    assert_ne!(id, host.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_that_a_removed_host_had_are_rotated_where_nobody_is_hurt() {
    let world = World::new().await;
    let (used, unused, other) = (world.server(1), world.server(2), world.server(3));
    let (leaves, stays) = (world.host(1).await, world.host(2).await);
    for server in [&used, &unused] {
        world.attach(server, &leaves).await;
        world.attach(server, &stays).await;
    }
    world.attach(&other, &stays).await;
    let keys = async || {
        let mut keys = Vec::new();
        for server in [&used, &unused, &other] {
            keys.push(world.key_on(server, &stays).await.unwrap());
        }
        keys
    };
    let before = keys().await;
    assert!(before.iter().all(|key| *key == before[0]), "all servers begin with the key of the cluster");
    let ana = world.user();
    world.profile(&ana, &used);

    world.remove(204, &leaves, "?force=true");
    let after = keys().await;
    assert_eq!(after[0], before[0], "its profile goes on working");
    // The other one was never on that host, but shares the key.
    assert!(after[1] != before[0] && after[2] != before[0] && after[1] != after[2]);
    let due = world.owner.get(&format!("/servers/{used}/key"));
    assert_eq!((&due["left_with"][0]["host_name"], &due["active_profiles"]), (&json!("vpn-1"), &json!(1)));
    assert_eq!(due["rotated_at"], Value::Null);
    let clean = world.owner.get(&format!("/servers/{unused}/key"));
    assert!(clean["rotated_at"].is_string() && clean["left_with"] == json!([]), "{clean}");
    let told = &world.last("host.delete")["changes"];
    assert_eq!(told["keys_known"], json!([null, [used]]));
    assert_eq!(told["keys_rotated"][1].as_array().unwrap().len(), 2, "{told}");

    // A host that is attached from now on gets the server's own key.
    let third = world.host(3).await;
    world.attach(&unused, &third).await;
    assert_eq!(world.key_on(&unused, &third).await.unwrap(), after[1]);
    assert_eq!(world.rig.dump().await["server_keys"].len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn rotating_the_key_of_a_server_revokes_its_profiles_and_no_others() {
    let world = World::new().await;
    let (server, other, host) = (world.server(1), world.server(2), world.host(1).await);
    world.attach(&server, &host).await;
    world.attach(&other, &host).await;
    let user = world.user();
    let old = text(&world.profile(&user, &server)["profile"]["id"]);
    let elsewhere = text(&world.profile(&user, &other)["profile"]["id"]);
    let before = world.key_on(&server, &host).await.unwrap();

    let path = format!("/servers/{server}/rotate");
    let refused = world.owner.expect(409, "POST", &path, Some(&json!({})));
    assert!(text(&refused["detail"]).contains("server 1 has 1 active profile, "), "{refused}");
    assert_eq!(world.key_on(&server, &host).await.unwrap(), before);

    let rotated = world.owner.expect(200, "POST", &path, Some(&json!({ "force": true })));
    assert!(rotated["rotated_at"].is_string(), "{rotated}");
    assert_eq!(rotated["active_profiles"], 0);
    assert_eq!(world.owner.get(&format!("/profiles/{old}"))["state"], "revoked");
    assert_eq!(world.owner.get(&format!("/profiles/{elsewhere}"))["state"], "active");
    let after = world.key_on(&server, &host).await.unwrap();
    assert_ne!(after, before);
    assert_eq!(world.last("server.rotate")["changes"]["profiles_revoked"], json!([null, 1]));

    // What is issued now is wrapped for the key that the hosts have now.
    let config = text(&world.profile(&user, &server)["config"]);
    assert!(wraps(&after, &config) && !wraps(&before, &config));
    let config = text(&world.profile(&user, &other)["config"]);
    assert!(wraps(&before, &config));
    // Nobody is hurt any more where nobody has a profile.
    let empty = world.server(4);
    world.owner.expect(200, "POST", &format!("/servers/{empty}/rotate"), Some(&json!({})));
    world.owner.expect(
        404,
        "POST",
        &format!("/servers/{}/rotate", nobody::<ServerId>()),
        Some(&json!({ "force": true })),
    );
}

/// Whether the client key in a profile is wrapped for a server key: its tag is made with it (`doc/tls-crypt-v2.txt`).
fn wraps(server_key: &str, profile: &str) -> bool {
    use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
    use ring::hmac;
    let (_, block) = profile.split_once("<tls-crypt-v2>").unwrap();
    let client = pem::parse(block.split_once("</tls-crypt-v2>").unwrap().0.trim()).unwrap().into_contents();
    let server = pem::parse(server_key).unwrap().into_contents();
    let (key, wrapped) = client.split_at(256);
    let (tag, rest) = wrapped.split_at(32);
    let (sealed, length) = rest.split_at(rest.len() - 2);
    let mut plain = sealed.to_vec();
    ctr::Ctr128BE::<aes::Aes256>::new_from_slices(&server[..32], &tag[..16]).unwrap().apply_keystream(&mut plain);
    let signed = [length, &plain].concat();
    let authentic = hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &server[64..96]), &signed, tag).is_ok();
    authentic && plain.starts_with(key)
}
