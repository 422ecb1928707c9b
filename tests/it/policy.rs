//! Changes of policy: serialised, seen as deltas, and addresses that nobody shares.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern::domain::Revision;
use postern::domain::access::Snapshot;
use postern::domain::audit::Actor;
use postern::domain::clock::SystemClock;
use postern::domain::ids::{Id, OrganizationId, ProfileId, ServerId};
use postern::domain::network::ServerNetwork;
use postern::domain::role::Role;
use postern::keys::master::MasterKey;
use postern::runtime::random;
use postern::services::network::servers::NewServer;
use postern::services::people::organizations::NewOrganization;
use postern::services::people::users::{NewUser, UserPatch};
use postern::services::{Act, Refusal, ServiceError, Services};
use postern::store::policy::PolicyChange;
use postern::store::{Emitter, Settings, Store, migrate};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::mongod::{TestDatabase, shared};

struct Cluster {
    database: TestDatabase,
    store: Store,
    services: Services,
}

impl Cluster {
    async fn new() -> Self {
        let database = shared().database();
        let store = Self::store(&database).await;
        migrate::apply(&store).await.unwrap();
        let services = Self::process(&store);
        services.network().ensure_authorities().await.unwrap();
        Self { database, store, services }
    }

    async fn store(database: &TestDatabase) -> Store {
        Store::connect(&Settings { uri: shared().uri().to_owned(), database: database.name.clone() }).await.unwrap()
    }

    fn process(store: &Store) -> Services {
        let emitter = Emitter::start(store, Duration::from_secs(8), &TaskTracker::new(), &CancellationToken::new());
        Services::builder(store.clone(), emitter, Arc::new(SystemClock))
            .master_key(Some(MasterKey::from_bytes(&[7; 32])))
            .build()
    }

    async fn snapshot(&self) -> Snapshot {
        follow(&self.store, Snapshot::default()).await
    }
}

async fn follow(store: &Store, snapshot: Snapshot) -> Snapshot {
    let delta = store.access().changes_since(snapshot.revision).await.unwrap();
    snapshot.with(delta.revision, delta.changes)
}

fn owner() -> Act {
    Act::of(Actor::Token { id: Id::from_parts(Timestamp::UNIX_EPOCH, 1), role: Role::Owner })
}

fn new_id<T: Id>() -> T {
    T::from_parts(Timestamp::UNIX_EPOCH, random::u128())
}

fn from_json<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

async fn organization(services: &Services, name: &str) -> OrganizationId {
    let new = NewOrganization { name: name.parse().unwrap() };
    services.people().create_organization(&owner(), new).await.unwrap().value.id
}

fn user(organization: OrganizationId, name: &str) -> NewUser {
    from_json(serde_json::json!({ "organization_id": organization, "name": name }))
}

#[tokio::test]
async fn a_delta_brings_a_snapshot_to_what_a_full_read_gives() {
    let cluster = Cluster::new().await;
    let (services, act) = (&cluster.services, &owner());
    let organization = organization(services, "one").await;
    let ana = services.people().create_user(act, user(organization, "Ana")).await.unwrap();
    let before = cluster.snapshot().await;
    assert_eq!(before.revision, ana.rev);

    let patch = UserPatch { disabled: Some(true), ..UserPatch::default() };
    services.people().update_user(act, ana.value.id, patch, None).await.unwrap();
    let bo = services.people().create_user(act, user(organization, "Bo")).await.unwrap();
    services.people().delete_user(act, bo.value.id, None).await.unwrap();
    let server: NewServer = from_json(serde_json::json!({
        "name": "main", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp", "organization_ids": [organization],
    }));
    let server = services.network().create_server(act, server).await.unwrap();

    let delta = cluster.store.access().changes_since(before.revision).await.unwrap();
    assert_eq!(delta.changes.len(), 3, "Ana, the server, and that Bo is gone: {:?}", delta.changes);
    let after = before.with(delta.revision, delta.changes);
    assert_eq!(after.revision, server.rev);
    assert!(after.server(server.value.id).is_some());

    services.network().delete_server(act, server.value.id, None).await.unwrap();
    let gone = follow(&cluster.store, after).await;
    assert!(gone.server(server.value.id).is_none());
    assert_eq!(gone.revision, cluster.snapshot().await.revision);
}

#[tokio::test]
async fn commit_order_is_revision_order_between_processes() {
    let cluster = Cluster::new().await;
    let organization = organization(&cluster.services, "one").await;
    let mut writers = tokio::task::JoinSet::new();
    for process in 0..3 {
        let services = Cluster::process(&Cluster::store(&cluster.database).await);
        for n in 0..20 {
            let services = services.clone();
            writers.spawn(async move {
                services
                    .people()
                    .create_user(&owner(), user(organization, &format!("{process}-{n}")))
                    .await
                    .unwrap()
                    .rev
            });
        }
    }
    // A reader that follows all the while must never miss one.
    let mut snapshot = cluster.snapshot().await;
    let mut seen = HashSet::new();
    let last = Revision(snapshot.revision.0 + 60);
    while snapshot.revision < last {
        let delta = cluster.store.access().changes_since(snapshot.revision).await.unwrap();
        for change in &delta.changes {
            if let postern::domain::access::Change::User(user) = change {
                assert!(seen.insert(user.id), "each new user is in exactly one delta");
            }
        }
        snapshot = snapshot.with(delta.revision, delta.changes);
    }
    let revisions: HashSet<Revision> = writers.join_all().await.into_iter().collect();
    assert_eq!((revisions.len(), seen.len()), (60, 60));
}

#[tokio::test]
async fn what_is_refused_leaves_no_trace() {
    let cluster = Cluster::new().await;
    let organization = organization(&cluster.services, "one").await;
    let before = cluster.store.access().revision().await.unwrap();
    let refused = cluster
        .store
        .change(|tx: PolicyChange| async move {
            tx.insert(&postern::domain::organization::Organization { id: new_id(), name: "two".parse().unwrap() })
                .await?;
            Err::<(), _>(ServiceError::Conflict(Refusal::LastOwner))
        })
        .await;
    assert!(matches!(refused, Err(ServiceError::Conflict(_))));
    let same_name =
        cluster.services.people().create_organization(&owner(), NewOrganization { name: "one".parse().unwrap() }).await;
    assert!(matches!(same_name, Err(ServiceError::Conflict(_))));
    let nothing_new = cluster
        .services
        .people()
        .update_organization(&owner(), organization, from_json(serde_json::json!({})), None)
        .await;
    assert_eq!(nothing_new.unwrap().value.id, organization);
    assert_eq!(cluster.store.access().revision().await.unwrap(), before);
    let database = cluster.database.open().await;
    let count = |name: &'static str| {
        let collection = database.collection::<mongodb::bson::Document>(name);
        async move { collection.count_documents(mongodb::bson::doc! {}).await.unwrap() }
    };
    assert_eq!(count("organizations").await, 1);
    assert_eq!(count("audit").await, 4, "two authorities, the audit key and one organization");
}

#[tokio::test]
async fn a_thousand_reservations_at_once_share_no_address() {
    let cluster = Cluster::new().await;
    let (server, network): (ServerId, ServerNetwork) = (new_id(), "10.9.0.0/22".parse().unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let store = cluster.store.clone();
        tasks.spawn(async move {
            store.access().reserve_address(server, network, new_id(), Timestamp::UNIX_EPOCH).await.unwrap()
        });
    }
    let addresses: HashSet<_> = tasks.join_all().await.into_iter().map(Option::unwrap).collect();
    assert_eq!(addresses.len(), 1000);
    assert!(!addresses.contains(&network.gateway()));
}

#[tokio::test]
async fn a_full_network_gives_nothing_until_an_address_is_released() {
    let cluster = Cluster::new().await;
    let (server, network): (ServerId, ServerNetwork) = (new_id(), "10.9.0.0/29".parse().unwrap());
    let reserve =
        |profile: ProfileId| cluster.store.access().reserve_address(server, network, profile, Timestamp::UNIX_EPOCH);
    let profiles: Vec<ProfileId> = (0..network.capacity()).map(|_| new_id()).collect();
    for profile in &profiles {
        assert!(reserve(*profile).await.unwrap().is_some());
    }
    let late: ProfileId = new_id();
    assert_eq!(reserve(late).await.unwrap(), None);
    cluster.store.access().release_address(profiles[0]).await.unwrap();
    assert!(reserve(late).await.unwrap().is_some());
}

#[tokio::test]
async fn an_address_that_no_profile_came_of_is_given_back_after_a_while() {
    let cluster = Cluster::new().await;
    let (server, network): (ServerId, ServerNetwork) = (new_id(), "10.9.0.0/29".parse().unwrap());
    let began = Timestamp::UNIX_EPOCH;
    cluster.store.access().reserve_address(server, network, new_id(), began).await.unwrap();
    assert_eq!(cluster.store.access().release_orphaned_addresses(began).await.unwrap(), 0, "too early");
    let later = began + jiff::SignedDuration::from_mins(10);
    assert_eq!(cluster.store.access().release_orphaned_addresses(later).await.unwrap(), 1);
    assert_eq!(cluster.store.access().release_orphaned_addresses(later).await.unwrap(), 0);
}

#[tokio::test]
async fn another_clusters_master_key_is_refused_by_name() {
    let cluster = Cluster::new().await;
    let emitter =
        Emitter::start(&cluster.store, Duration::from_secs(8), &TaskTracker::new(), &CancellationToken::new());
    let other = MasterKey::from_bytes(&[8; 32]);
    let wanted = MasterKey::from_bytes(&[7; 32]).fingerprint().to_string();
    let services =
        Services::builder(cluster.store.clone(), emitter, Arc::new(SystemClock)).master_key(Some(other)).build();
    let ServiceError::Internal(cause) = services.network().ensure_authorities().await.unwrap_err() else {
        panic!("a wrong key is no reason to wait");
    };
    assert!(cause.to_string().contains(&wanted), "{cause}");
}
