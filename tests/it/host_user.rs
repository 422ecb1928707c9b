//! The database user of a host that only serves VPN, against a MongoDB that asks who one is.

use std::collections::BTreeMap;
use std::process::Command;

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ClientOptions;
use postern::domain::audit::Actor;
use postern::domain::join::DatabaseUser;
use postern::domain::secret::Secret;
use postern::keys::host::HostKey;
use postern::services::hosts::joining::{
    HostDatabase, IssuedJoinToken, JoinCredentials, JoinRequest, Joined, UnauthenticatedPeer, database_place,
};
use postern::services::{Act, ServiceError};
use postern::store::hosts::database_user::HostRole;
use serde_json::{Value, json};

use crate::api_rig::{Rig, settings};
use crate::commands::Installation;
use crate::support::mongod::{Mongod, Options};
use crate::support::mongosh::{HOST_PASSWORD, WEB_PASSWORD, apply, program, uri_of};

/// What the user may do: find, insert, update, remove. What is not named here, it may not touch at all.
const MAY: [(&str, &str); 18] = [
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
    ("session_orders", "f"),
    ("sessions", "fiu"),
    ("settings", "f"),
    ("tombstones", "f"),
    ("usage", "fiu"),
    ("users", "f"),
];

/// A cluster on a database that asks for passwords, whose users `deploy/mongodb/apply.js` has made. The process has the
/// user `web` and no more.
pub(crate) struct Cluster {
    pub(crate) rig: Rig,
    _set: Mongod,
    /// The connection string of the database's administrator.
    administrator: String,
}

/// What became of an attempt to join.
type Attempt = Result<(Joined, String), ServiceError>;

impl Cluster {
    pub(crate) async fn new() -> Self {
        Self::with(|administrator, name| uri_of(administrator, "web", WEB_PASSWORD, name), None).await
    }

    /// One whose process connects as `uri` says, and its hosts as `for_hosts` says or else likewise.
    async fn with(uri: impl FnOnce(&str, &str) -> String, for_hosts: Option<fn(&str, &str) -> String>) -> Self {
        let set = Mongod::start(Options { auth: true, ..Options::default() });
        let mut database = set.database();
        let administrator = std::mem::take(&mut database.uri);
        apply(Command::new(program()), &administrator, &database.name);
        make_lesser_users(&open(&administrator, &database.name).await).await;
        database.uri = uri(&administrator, &database.name);
        let hosts = HostDatabase {
            uri: Secret::new(for_hosts.map_or_else(|| database.uri.clone(), |uri| uri(&administrator, &database.name))),
            name: database.name.clone(),
            for_hosts: for_hosts.is_some(),
        };
        Self { rig: Rig::for_hosts(database, settings(), hosts).await, _set: set, administrator }
    }

    /// The database, as its administrator.
    async fn as_administrator(&self) -> mongodb::Database {
        open(&self.administrator, &self.rig.database.name).await
    }

    fn apply_again(&self) {
        apply(Command::new(program()), &self.administrator, &self.rig.database.name);
    }

    /// A token, made as the API makes it.
    async fn token(&self, body: Value) -> Result<IssuedJoinToken, ServiceError> {
        let act = Act::of(Actor::Shell("test"));
        self.rig.services.hosts().create_join_token(&act, serde_json::from_value(body).unwrap()).await
    }

    /// What a machine with this key gets for a token: who it is, and its way to the database.
    async fn redeem(&self, token: &IssuedJoinToken, key: &HostKey) -> Attempt {
        let shown = JoinCredentials { token: Secret::new(token.token.expose().clone()), public_key: key.public() };
        let request = JoinRequest { shown, public_addresses: vec!["203.0.113.7".parse().unwrap()] };
        let stranger = UnauthenticatedPeer { address: "127.0.0.1".parse().unwrap(), request_id: None };
        let joined = self.rig.services.hosts().redeem_join_token(&request, &stranger).await?;
        let sealed = data_encoding::BASE64.decode(joined.sealed_database_uri.as_bytes()).unwrap();
        let uri = key.open(&database_place(&joined.host_id.to_string()), &sealed).unwrap();
        Ok((joined, String::from_utf8(uri.to_vec()).unwrap()))
    }

    /// Makes a machine with this key a host; answers who it is and its way to the database.
    pub(crate) async fn join(&self, name: &str, key: &HostKey) -> (Joined, String) {
        let token = self.token(json!({ "host_name": name })).await.unwrap();
        self.redeem(&token, key).await.unwrap()
    }

    /// What the API says of a token.
    fn shown(&self, token: &IssuedJoinToken) -> Value {
        self.rig.owner().get(&format!("/join-tokens/{}", token.view.id))
    }
}

/// Users that an administrator may have made instead: `poor` makes no users, `thin` makes users but no roles.
async fn make_lesser_users(database: &mongodb::Database) {
    let name = database.name();
    let actions =
        ["createUser", "dropUser", "grantRole", "revokeRole", "changePassword", "viewUser", "viewRole"].map(Bson::from);
    let privileges = vec![doc! { "resource": { "db": name, "collection": "" }, "actions": actions.to_vec() }];
    let role = doc! { "createRole": "usersOnly", "privileges": privileges, "roles": Vec::<Document>::new() };
    database.run_command(role).await.unwrap();
    let roles = |more: &[&str]| -> Vec<Document> {
        [&["readWrite", "dbAdmin"], more].concat().iter().map(|role| doc! { "role": *role, "db": name }).collect()
    };
    for (user, roles) in [("poor", roles(&[])), ("thin", roles(&["usersOnly"]))] {
        database.run_command(doc! { "createUser": user, "pwd": user, "roles": roles }).await.unwrap();
    }
}

/// The sentence of a refusal.
#[track_caller]
fn refused(attempt: Attempt) -> String {
    match attempt {
        Err(ServiceError::Conflict(refusal)) => refusal.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) async fn open(uri: &str, name: &str) -> mongodb::Database {
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.server_selection_timeout = Some(std::time::Duration::from_secs(20));
    Client::with_options(options).unwrap().database(name)
}

pub(crate) fn code(error: &mongodb::error::Error) -> Option<i32> {
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
async fn the_shipped_users_are_enough_for_ten_joins_repeated_ones_and_removals() {
    let cluster = Cluster::new().await;
    let name = &cluster.rig.database.name;
    let find = || doc! { "find": "hosts" };
    let mut hosts = Vec::new();
    for number in 1..=10_u8 {
        let key = HostKey::from_bytes(&[number; 32]);
        let token = cluster.token(json!({ "host_name": format!("vpn-{number}") })).await.unwrap();
        let (joined, uri) = cluster.redeem(&token, &key).await.unwrap();
        let (again, same) = cluster.redeem(&token, &key).await.unwrap();
        assert_eq!((joined.host_id, &uri), (again.host_id, &same), "the same machine may ask again");
        assert!(uri.contains(&joined.host_id.to_string()), "{number}: a user of its own");
        let mine = open(&uri, name).await;
        assert!(may(&mine, find()).await && !may(&mine, doc! { "insert": "hosts", "documents": [{}] }).await);
        let shown = cluster.shown(&token);
        assert_eq!((&shown["state"], &shown["database_user"]), (&json!("redeemed"), &json!("own")));
        hosts.push((joined, uri));
    }
    // Run again, as an upgrade asks for, the file changes nothing for those who are there.
    cluster.apply_again();
    for (joined, uri) in hosts {
        assert!(may(&open(&uri, name).await, find()).await, "{}", joined.host_name);
        cluster.rig.owner().expect(204, "DELETE", &format!("/hosts/{}", joined.host_id), None);
        assert!(open(&uri, name).await.run_command(find()).await.is_err(), "{}", joined.host_name);
    }
    let users = cluster.as_administrator().await.run_command(doc! { "usersInfo": 1 }).await.unwrap();
    assert!(!users.to_string().contains("hst_"), "{users}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_role_of_an_earlier_release_lacks_is_granted_and_more_is_left_alone() {
    let cluster = Cluster::new().await;
    let (name, role) = (&cluster.rig.database.name, "posternHost");
    let administrator = cluster.as_administrator().await;
    let on = |collection: &str, actions: &[&str]| {
        vec![doc! { "resource": { "db": name, "collection": collection }, "actions": actions.to_vec() }]
    };
    let usage = on("usage", &["find", "insert", "update"]);
    administrator.run_command(doc! { "revokePrivilegesFromRole": role, "privileges": usage }).await.unwrap();
    administrator
        .run_command(doc! { "grantPrivilegesToRole": role, "privileges": on("of_a_later_release", &["find"]) })
        .await
        .unwrap();
    let lacks = cluster.rig.store.hosts().host_role_state().await.unwrap();
    assert_eq!(lacks, HostRole::Lacks(["find", "insert", "update"].map(|right| format!("{right} on usage")).to_vec()));

    let (_, uri) = cluster.join("vpn-3", &HostKey::from_bytes(&[1; 32])).await;
    assert_eq!(cluster.rig.store.hosts().host_role_state().await.unwrap(), HostRole::Ready);
    let mine = open(&uri, name).await;
    assert!(may(&mine, doc! { "find": "usage" }).await && may(&mine, doc! { "find": "of_a_later_release" }).await);

    // Without the role there is one again; without a join, `postern migrate apply` sees to it.
    administrator.run_command(doc! { "dropRole": role }).await.unwrap();
    cluster.join("vpn-4", &HostKey::from_bytes(&[2; 32])).await;
    administrator
        .run_command(doc! { "revokePrivilegesFromRole": role, "privileges": on("users", &["find"]) })
        .await
        .unwrap();
    let uri = &cluster.rig.database.uri;
    let machine = Installation::with(&format!("[database]\nuri = \"{uri}\"\nname = \"{name}\"\n"), "");
    let ran = machine.run(&["doctor"]);
    assert!(ran.out.contains("it lacks find on users") && ran.out.contains("migrate apply"), "{ran:?}");
    let ran = machine.run(&["migrate", "apply"]);
    assert!(ran.code == Some(0) && ran.err.contains("now allows: find on users"), "{ran:?}");
    assert_eq!(cluster.rig.store.hosts().host_role_state().await.unwrap(), HostRole::Ready);
    let ran = machine.run(&["doctor"]);
    assert!(ran.out.contains("hosts that join get a database user of their own"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_fails_for_want_of_the_role_says_what_to_run_and_spends_nothing() {
    // Its user may make users, and no roles.
    let cluster = Cluster::with(|administrator, name| uri_of(administrator, "thin", "thin", name), None).await;
    cluster.as_administrator().await.run_command(doc! { "dropRole": "posternHost" }).await.unwrap();
    let owner = cluster.rig.owner();
    let server = json!({ "name": "office", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp" });
    let server = owner.post("/servers", &server)["id"].clone();
    let token = cluster.token(json!({ "host_name": "vpn-3", "server_ids": [server] })).await.unwrap();
    let key = HostKey::from_bytes(&[1; 32]);
    for _ in 0..2 {
        let sentence = refused(cluster.redeem(&token, &key).await);
        for part in ["no role posternHost", "apply.js", "the join token is as good as before"] {
            assert!(sentence.contains(part), "{part}: {sentence}");
        }
        assert_eq!(cluster.shown(&token)["state"], "open");
        assert_eq!(owner.get("/hosts")["items"], json!([]), "nothing is there by half");
        assert_eq!(owner.get(&format!("/servers/{}/hosts", server.as_str().unwrap()))["items"], json!([]));
    }
    cluster.apply_again();
    // Nothing holds the token for the machine that failed.
    let (joined, _) = cluster.redeem(&token, &HostKey::from_bytes(&[2; 32])).await.unwrap();
    assert_eq!(cluster.shown(&token)["host_id"], json!(joined.host_id));
    assert!(refused(cluster.redeem(&token, &key).await).contains("used by another machine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_gets_the_web_processs_user_only_if_the_token_says_so_in_words() {
    let cluster = Cluster::with(|administrator, name| uri_of(administrator, "poor", "poor", name), None).await;
    assert!(!cluster.rig.store.hosts().drop_host_user("hst_1").await.unwrap());
    let owner = cluster.rig.owner();
    let answer = owner.ask("POST", "/join-tokens", Some(&json!({ "host_name": "vpn-3" })));
    // The listener tells where machines find it; that there is no user comes first.
    assert_eq!(answer.checked(), 422, "{answer:?}");
    assert_eq!(answer.json()["errors"][0]["pointer"], "/share_database_user");
    for part in ["userAdmin", "database.uri_for_hosts", "may read and change everything"] {
        assert!(answer.body.contains(part), "{part}: {answer:?}");
    }

    let body = json!({ "host_name": "vpn-3", "share_database_user": true });
    let token = cluster.token(body).await.unwrap();
    assert_eq!(cluster.shown(&token)["share_database_user"], true);
    let (joined, uri) = cluster.redeem(&token, &HostKey::from_bytes(&[1; 32])).await.unwrap();
    assert_eq!(uri, cluster.rig.database.uri);
    assert_eq!(
        (joined.database_user, &cluster.shown(&token)["database_user"]),
        (DatabaseUser::SharedWithWeb, &json!("shared_with_web"))
    );
    let audit = owner.get("/audit?action=host.join")["items"][0]["changes"]["database_user"].clone();
    assert_eq!(audit, json!([null, "shared_with_web"]));
    let audit = owner.get("/audit?action=join_token.create")["items"][0]["changes"]["share_database_user"].clone();
    assert_eq!(audit, json!([null, true]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_lost_between_token_and_join_refuses_and_comes_back() {
    let cluster = Cluster::new().await;
    let token = cluster.token(json!({ "host_name": "vpn-3" })).await.unwrap();
    let administrator = cluster.as_administrator().await;
    let name = &cluster.rig.database.name;
    let roles = || vec![doc! { "role": "userAdmin", "db": name }];
    administrator.run_command(doc! { "revokeRolesFromUser": "web", "roles": roles() }).await.unwrap();
    let key = HostKey::from_bytes(&[1; 32]);
    let sentence = refused(cluster.redeem(&token, &key).await);
    assert!(sentence.contains("userAdmin") && sentence.contains("This one is as good as before"), "{sentence}");
    assert_eq!(cluster.shown(&token)["state"], "open");
    administrator.run_command(doc! { "grantRolesToUser": "web", "roles": roles() }).await.unwrap();
    let (joined, _) = cluster.redeem(&token, &key).await.unwrap();
    assert_eq!(joined.database_user, DatabaseUser::Own);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_users_can_be_made_hosts_share_the_one_that_is_configured_for_them() {
    let uri_for_hosts = |administrator: &str, name: &str| uri_of(administrator, "host", HOST_PASSWORD, name);
    let uri = |administrator: &str, name: &str| uri_of(administrator, "poor", "poor", name);
    let cluster = Cluster::with(uri, Some(uri_for_hosts)).await;
    let name = &cluster.rig.database.name;
    let for_hosts = uri_for_hosts(&cluster.administrator, name);
    let (joined, uri) = cluster.join("vpn-3", &HostKey::from_bytes(&[1; 32])).await;
    assert_eq!((joined.database_user, &uri), (DatabaseUser::SharedByHosts, &for_hosts));
    let mine = open(&uri, name).await;
    assert!(
        may(&mine, doc! { "find": "hosts" }).await && !may(&mine, doc! { "insert": "hosts", "documents": [{}] }).await
    );
}
