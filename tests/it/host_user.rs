//! The database user of a host that only serves VPN, against a MongoDB that asks who one is.

use std::collections::BTreeMap;

use mongodb::{
    Client,
    bson::{Document, doc},
    options::ClientOptions,
};
use postern::{
    domain::secret::Secret,
    keys::host::HostKey,
    services::joining::{HostDatabase, JoinRequest, Joined, Shown, Stranger, database_place},
};
use serde_json::json;

use crate::{
    api_rig::{Rig, settings},
    commands::Installation,
    support::mongod::{Mongod, Options},
};

/// What the user may do: find, insert, update, remove. What is not named here, it may not touch at all.
const MAY: [(&str, &str); 17] = [
    ("attachments", "f"),
    ("cluster", "f"),
    ("daemon_status", "fiur"),
    ("events", "fi"),
    ("host_status", "fiu"),
    ("hosts", "f"),
    ("migrations", "f"),
    ("presence", "fiu"),
    ("profiles", "f"),
    ("removed_hosts", "f"),
    ("restoring", "f"),
    ("servers", "f"),
    ("sessions", "fiu"),
    ("settings", "f"),
    ("tombstones", "f"),
    ("usage", "fiu"),
    ("users", "f"),
];

/// A cluster on a database that asks for passwords.
struct Cluster {
    rig: Rig,
    set: Mongod,
}

impl Cluster {
    async fn new() -> Self {
        let set = Mongod::start(Options { auth: true, ..Options::default() });
        let rig = Rig::over(set.database(), settings()).await;
        let uri = Secret::new(rig.database.uri.clone());
        rig.services.set_host_database(HostDatabase { uri, name: rig.database.name.clone(), for_hosts: false });
        Self { rig, set }
    }

    /// Makes a machine with this key a host; answers who it is and its way to the database.
    async fn join(&self, name: &str, key: &HostKey) -> (Joined, String) {
        let act = postern::services::Act::of(postern::domain::audit::Actor::Shell("test"));
        let new = serde_json::from_value(json!({ "host_name": name })).unwrap();
        let token = self.rig.services.create_join_token(&act, new).await.unwrap().token;
        let shown = Shown { token, public_key: key.public() };
        let request = JoinRequest { shown, public_addresses: vec!["203.0.113.7".parse().unwrap()] };
        let stranger = Stranger { address: "127.0.0.1".parse().unwrap(), request_id: None };
        let joined = self.rig.services.redeem_join_token(&request, &stranger).await.unwrap();
        let sealed = data_encoding::BASE64.decode(joined.sealed_database_uri.as_bytes()).unwrap();
        let uri = key.open(&database_place(&joined.host_id.to_string()), &sealed).unwrap();
        (joined, String::from_utf8(uri.to_vec()).unwrap())
    }
}

async fn open(uri: &str, name: &str) -> mongodb::Database {
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.server_selection_timeout = Some(std::time::Duration::from_secs(20));
    Client::with_options(options).unwrap().database(name)
}

fn code(error: &mongodb::error::Error) -> Option<i32> {
    match &*error.kind {
        mongodb::error::ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

/// Whether a command is let through; its effect is none.
async fn may(database: &mongodb::Database, command: Document) -> bool {
    match database.run_command(command.clone()).await {
        Ok(answer) => {
            // A unique index or a validator may stand in the way of a right that is there.
            let errors = answer.get_array("writeErrors").ok().into_iter().flatten();
            errors.filter_map(|error| error.as_document()?.get_i32("code").ok()).all(|code| code != 13)
        }
        Err(error) => {
            assert_eq!(code(&error), Some(13), "{command}: {error}");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hosts_user_reads_what_it_serves_and_writes_its_own_status_and_nothing_else() {
    let cluster = Cluster::new().await;
    let (_, uri) = cluster.join("vpn-3", &HostKey::from_bytes(&[1; 32])).await;
    assert!(!uri.contains("tester"), "the host has a user of its own");
    let name = &cluster.rig.database.name;
    let mine = open(&uri, name).await;
    let all = cluster.rig.database.open().await.list_collection_names().await.unwrap();
    assert!(all.len() > MAY.len(), "{all:?}");
    let rights: BTreeMap<&str, &str> = MAY.into();
    for collection in &all {
        let rights = rights.get(collection.as_str()).copied().unwrap_or_default();
        let nobody = doc! { "_id": "nobody at all" };
        for (right, command) in [
            ('f', doc! { "find": collection, "filter": &nobody }),
            ('i', doc! { "insert": collection, "documents": [{ "_id": format!("matrix {collection}") }] }),
            (
                'u',
                doc! { "update": collection, "updates": [{ "q": &nobody, "u": { "$set": { "a": 1 } }, "upsert": false }] },
            ),
            ('r', doc! { "delete": collection, "deletes": [{ "q": &nobody, "limit": 1 }] }),
        ] {
            assert_eq!(may(&mine, command).await, rights.contains(right), "{right} {collection}");
        }
        for command in [
            doc! { "drop": collection },
            doc! { "collMod": collection, "validationLevel": "off" },
            doc! { "createIndexes": collection, "indexes": [{ "key": { "z": 1 }, "name": "z" }] },
        ] {
            assert!(!may(&mine, command.clone()).await, "{command}");
        }
    }
    for command in [
        doc! { "create": "mine" },
        doc! { "dropDatabase": 1 },
        doc! { "createUser": "evil", "pwd": "x", "roles": [{ "role": "readWrite", "db": name }] },
        doc! { "grantRolesToUser": "evil", "roles": ["readWrite"] },
        doc! { "usersInfo": { "forAllDBs": true } },
    ] {
        assert!(!may(&mine, command.clone()).await, "{command}");
    }
    let other = mine.client().database("other");
    assert!(!may(&other, doc! { "find": "anything" }).await, "other databases are none of its business");
    assert!(!may(&mine.client().database("admin"), doc! { "find": "system.users" }).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joined_host_starts_with_its_own_user_and_without_the_master_key() {
    let cluster = Cluster::new().await;
    let rig = &cluster.rig;
    let mut machine = Installation::with("", "roles = [\"vpn\"]");
    std::fs::create_dir(machine.folder().join("data")).unwrap();
    let key = HostKey::load_or_create(&machine.folder().join("data/host.key")).unwrap();
    let (joined, uri) = cluster.join("vpn-1", &key).await;
    let text = std::fs::read_to_string(machine.config()).unwrap().replace("203.0.113.10", "203.0.113.7");
    let database = format!("[database]\nuri = \"{uri}\"\nname = \"{}\"\n", rig.database.name);
    std::fs::write(machine.config(), format!("{text}\n{database}")).unwrap();
    machine.serve();
    let host = rig.owner().get(&format!("/hosts/{}", joined.host_id));
    assert_eq!((&host["state"], &host["name"]), (&json!("online"), &json!("vpn-1")));
    machine.stop();

    // The same machine with another address in its configuration would have to change policy.
    let text = std::fs::read_to_string(machine.config()).unwrap().replace("203.0.113.7", "203.0.113.8");
    std::fs::write(machine.config(), text).unwrap();
    let ran = machine.run(&["serve"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.err.contains("join again with a new token"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_machine_under_the_name_and_a_removed_host_lose_the_way_in() {
    let cluster = Cluster::new().await;
    let (first, uri) = cluster.join("vpn-3", &HostKey::from_bytes(&[1; 32])).await;
    let name = &cluster.rig.database.name;
    let find = doc! { "find": "hosts" };
    assert!(open(&uri, name).await.run_command(find.clone()).await.is_ok());
    // Silent since it never ran, so a machine that was set up anew takes its name.
    let (second, newer) = cluster.join("vpn-3", &HostKey::from_bytes(&[2; 32])).await;
    assert_eq!(first.host_id, second.host_id);
    assert!(open(&uri, name).await.run_command(find.clone()).await.is_err(), "the password before is over");
    let connected = open(&newer, name).await;
    assert!(connected.run_command(find.clone()).await.is_ok());

    cluster.rig.owner().expect(204, "DELETE", &format!("/hosts/{}", second.host_id), None);
    assert!(open(&newer, name).await.run_command(find.clone()).await.is_err(), "nobody comes in");
    assert!(connected.run_command(find).await.is_err(), "and who is in can do nothing more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_may_make_no_users_shares_its_own() {
    let cluster = Cluster::new().await;
    let name = &cluster.rig.database.name;
    let admin = cluster.set.client().await.database(name);
    let roles = mongodb::bson::bson!([{ "role": "readWrite", "db": name }]);
    admin.run_command(doc! { "createUser": "web", "pwd": "web", "roles": roles }).await.unwrap();
    let (_, rest) = cluster.rig.database.uri.split_once('@').unwrap();
    let uri = format!("mongodb://web:web@{}", rest.replace("authSource=admin", &format!("authSource={name}")));
    let store =
        postern::store::Store::connect(&postern::store::Settings { uri, database: name.clone() }).await.unwrap();
    assert!(!store.make_host_user("hst_1", "password").await.unwrap());
    assert!(!store.drop_host_user("hst_1").await.unwrap());
}
