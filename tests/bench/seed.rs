//! Thousands of users and profiles, put into the database as the store would have written them.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use futures_util::TryStreamExt as _;
use jiff::{SignedDuration, Timestamp};
use mongodb::bson::{DateTime, Document, RawDocumentBuf, doc, serialize_to_raw_document_buf};
use postern::domain::Revision;
use postern::domain::clock::{Clock as _, SystemClock};
use postern::domain::ids::{Id, OrganizationId, ProfileId, ServerId, UserId};
use postern::domain::network::ServerNetwork;
use postern::domain::profile::{Fingerprint, Profile, ProfileState};
use postern::domain::role::Role;
use postern::domain::user::User;
use postern::runtime::random;
use postern::store::entity::Entity;
use postern::store::{Settings, Store};

use crate::cluster::Cluster;

/// The name of the database in the laboratory.
const DATABASE: &str = "postern";
/// The network of the laboratory's server.
const NETWORK: &str = "10.200.0.0/16";

/// Adds `users`, each with `profiles`, to a cluster; returns the users. Hosts that run learn of them within a period.
pub(crate) fn seed(cluster: &Cluster, users: usize, profiles: usize) -> Vec<UserId> {
    let (organization, server) = (cluster.organization.parse().unwrap(), cluster.server.parse().unwrap());
    inside(cluster, async |store| add(&store, organization, server, users, profiles).await)
}

/// Runs `work` with a store of the cluster's database, on a thread in its first host's namespace.
pub(crate) fn inside<T: Send>(cluster: &Cluster, work: impl AsyncFnOnce(Store) -> T + Send) -> T {
    let settings = settings(cluster.lab.mongod().uri());
    cluster.hosts[0].machine().namespace.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { work(Store::connect(&settings).await.unwrap()).await })
    })
}

/// How to reach the laboratory's database.
pub(crate) fn settings(uri: &str) -> Settings {
    Settings { uri: uri.to_owned(), database: DATABASE.to_owned() }
}

/// Adds users and their profiles at a revision of their own, as one large change would.
pub(crate) async fn add(
    store: &Store,
    organization: OrganizationId,
    server: ServerId,
    users: usize,
    profiles: usize,
) -> Vec<UserId> {
    let network: ServerNetwork = NETWORK.parse().unwrap();
    let now = SystemClock.now();
    let rev = Revision(store.access().revision().await.unwrap().0 + 1);
    let people: Vec<User> = (0..users).map(|number| user(organization, number, now)).collect();
    let mut taken = taken(store).await;
    let issued: Vec<Profile> = people
        .iter()
        .flat_map(|user| std::iter::repeat_n(user.id, profiles))
        .map(|user| profile(user, server, network, &mut taken, now))
        .collect();
    let addresses = issued.iter().map(|profile| {
        doc! {
            "_id": profile.id.to_string(), "server_id": server.to_string(), "profile_id": profile.id.to_string(),
            "address": profile.address.to_string(), "at": DateTime::now(),
        }
    });
    let addresses = addresses.map(|row| RawDocumentBuf::try_from(&row).unwrap());
    insert(store, "addresses", addresses.collect()).await;
    insert(store, Profile::COLLECTION, documents(&issued, rev)).await;
    insert(store, User::COLLECTION, documents(&people, rev)).await;
    let cluster = store.database().collection::<Document>("cluster");
    cluster.update_one(doc! { "_id": "cluster" }, doc! { "$max": { "revision": rev.0 } }).await.unwrap();
    people.iter().map(|user| user.id).collect()
}

fn documents<E: Entity>(entities: &[E], rev: Revision) -> Vec<RawDocumentBuf> {
    entities.iter().map(|entity| serialize_to_raw_document_buf(&entity.to_doc(rev)).unwrap()).collect()
}

/// Puts rows into a collection.
pub(crate) async fn insert(store: &Store, collection: &str, rows: Vec<RawDocumentBuf>) {
    for some in rows.chunks(5_000) {
        store.database().collection::<RawDocumentBuf>(collection).insert_many(some).ordered(false).await.unwrap();
    }
}

fn user(organization_id: OrganizationId, number: usize, now: Timestamp) -> User {
    let id: UserId = Id::from_parts(now, random::u128());
    User {
        id,
        organization_id,
        name: format!("User {number}").parse().unwrap(),
        email: Some(format!("{}@example.com", id.to_string().to_lowercase()).parse().unwrap()),
        groups: ["staff", "vpn"].map(|group| group.parse().unwrap()).into(),
        role: Role::User,
        disabled: false,
        identity: None,
    }
}

/// A profile with the address that the product would have given it: a hash decides where to look first, and a block of
/// addresses without holes would make each later search long.
fn profile(
    user_id: UserId,
    server_id: ServerId,
    network: ServerNetwork,
    taken: &mut HashSet<Ipv4Addr>,
    now: Timestamp,
) -> Profile {
    let id: ProfileId = Id::from_parts(now, random::u128());
    Profile {
        id,
        user_id,
        server_id,
        name: "laptop".parse().unwrap(),
        address: network.candidates(id).find(|address| taken.insert(*address)).unwrap(),
        state: ProfileState::Active,
        issued_at: now,
        expires_at: now + SignedDuration::from_hours(24 * 365),
        revoked_at: None,
        last_connected_at: None,
        replaced_by: None,
        written_for: None,
        fingerprint: Fingerprint(random::bytes()),
    }
}

async fn taken(store: &Store) -> HashSet<Ipv4Addr> {
    let rows = store.database().collection::<Document>("addresses").find(doc! {}).await.unwrap();
    let rows: Vec<Document> = rows.try_collect().await.unwrap();
    rows.iter().map(|row| row.get_str("address").unwrap().parse().unwrap()).collect()
}
