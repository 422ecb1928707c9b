//! Clocks that are wrong and news that comes late: which connection of a profile is the newest, and what is recorded.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use jiff::{SignedDuration, Timestamp};
use mongodb::bson;
use mongodb::bson::{Bson, DateTime, Document, doc};
use postern::domain::audit::Actor;
use postern::domain::chain::verify::Report;
use postern::domain::clock::{Clock, ClusterClock, ManualClock, SystemClock};
use postern::domain::ids::{HostId, Id, ProfileId, SessionId};
use postern::domain::presence::{ClockReading, Moment};
use postern::domain::problem::ProblemCode;
use postern::domain::role::Role;
use postern::domain::session::{EndReason, Session};
use postern::keys::master::MasterKey;
use postern::runtime::boot::boot_id;
use postern::runtime::random;
use postern::services::access::sessions::SessionRecord;
use postern::services::people::organizations::NewOrganization;
use postern::services::{Act, AuditFilter, PageRequest, Services};
use postern::store::{Emitter, Settings, Store, migrate};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::mongod::{TestDatabase, shared};

/// The clock of a machine that has been up for long and whose time of day is off.
#[derive(Debug)]
struct Wrong(SignedDuration);

impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.0
    }

    fn uptime(&self) -> Duration {
        SystemClock.uptime() + Duration::from_hours(24)
    }
}

struct World {
    database: TestDatabase,
    store: Store,
    right: Services,
    /// Ten minutes ahead, and behind.
    wrong: [Services; 2],
}

impl World {
    async fn new() -> Self {
        let database = shared().database();
        let settings = Settings { uri: shared().uri().to_owned(), database: database.name.clone() };
        let store = Store::connect(&settings).await.unwrap();
        migrate::apply(&store).await.unwrap();
        let off = |minutes| process(&store, Wrong(SignedDuration::from_mins(minutes)));
        let (right, wrong) = (off(0), [off(10), off(-10)]);
        right.network().ensure_authorities().await.unwrap();
        Self { database, store, right, wrong }
    }

    /// What a process records: that a session began so many seconds ago.
    async fn began(&self, services: &Services, session: &Session, seconds: u64) {
        let record = SessionRecord::began(session.clone(), Some(ago(seconds)));
        services.access().record_session(&record).await.unwrap();
    }

    async fn asked(&self, host: HostId) -> Vec<SessionId> {
        let sessions = self.database.open().await.collection::<Document>("sessions");
        let live = doc! { "host_id": host.to_string(), "ended_at": null };
        let rows: Vec<Document> = sessions.find(live).await.unwrap().try_collect().await.unwrap();
        let id = |row: &Document, field| row.get_str(field).unwrap().to_owned();
        let carried: Vec<(ProfileId, SessionId)> =
            rows.iter().map(|row| (id(row, "profile_id").parse().unwrap(), id(row, "_id").parse().unwrap())).collect();
        self.right.access().superseded(&carried).await.unwrap()
    }

    /// Whom the database holds for the newest of a profile.
    async fn newest(&self, profile: ProfileId) -> SessionId {
        let presence = self.database.open().await.collection::<Document>("presence");
        let row = presence.find_one(doc! { "_id": profile.to_string() }).await.unwrap().unwrap();
        assert!(row.get("connected_at").is_none(), "it would be compared by hosts of the previous release: {row}");
        row.get_str("session_id").unwrap().parse().unwrap()
    }

    /// What a host of the previous release does when a session begins: it goes by its own clock.
    async fn began_on_previous_release(&self, session: &Session) {
        self.store.access().upsert_session(session, None).await.unwrap();
        let presence = self.database.open().await.collection::<Document>("presence");
        let newest = date(session.connected_at + SignedDuration::from_secs(10));
        let filter = doc! { "_id": session.profile_id.to_string(), "connected_at": { "$not": { "$gt": newest } } };
        let mine = doc! { "session_id": session.id.to_string(), "connected_at": date(session.connected_at) };
        let before = presence.find_one_and_update(filter, doc! { "$set": mine }).upsert(true).await.unwrap();
        let older: Option<SessionId> = before.map(|before| before.get_str("session_id").unwrap().parse().unwrap());
        if let Some(older) = older {
            let sessions = self.database.open().await.collection::<Document>("sessions");
            let asked = doc! { "$set": { "end_requested": "superseded" } };
            sessions.update_one(doc! { "_id": older.to_string() }, asked).await.unwrap();
        }
    }
}

fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.as_millisecond())
}

fn process(store: &Store, machine: impl Clock + 'static) -> Services {
    let emitter = Emitter::start(store, Duration::from_secs(8), &TaskTracker::new(), &CancellationToken::new());
    let clock = Arc::new(ClusterClock::over(Arc::new(machine)));
    Services::builder(store.clone(), emitter, clock).master_key(Some(MasterKey::from_bytes(&[7; 32]))).build()
}

fn ago(seconds: u64) -> Moment {
    let age = Duration::from_secs(seconds);
    let uptime = Wrong(SignedDuration::ZERO).uptime().checked_sub(age).unwrap();
    let known = ClockReading { at: SystemClock.now() - age, asked: uptime, answered: uptime };
    Moment::new(&boot_id(), Some(uptime), uptime, Some(&known))
}

fn new_id<T: Id>() -> T {
    T::from_parts(SystemClock.now(), random::u128())
}

fn session(profile_id: ProfileId, host_id: HostId) -> Session {
    Session {
        id: new_id(),
        user_id: new_id(),
        profile_id,
        server_id: new_id(),
        host_id,
        address: "10.9.0.7".parse().unwrap(),
        remote_address: "203.0.113.9:4711".parse().unwrap(),
        connected_at: SystemClock.now(),
        bytes_received: 0,
        bytes_sent: 0,
        client_version: None,
        client_protocol: None,
    }
}

#[tokio::test]
async fn of_many_sessions_of_a_profile_exactly_the_newest_is_not_asked_to_end() {
    let world = World::new().await;
    let (profile, host): (ProfileId, HostId) = (new_id(), new_id());
    let sessions: Vec<Session> = (0..8).map(|_| session(profile, host)).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for (number, session) in sessions.iter().enumerate() {
        // Hosts whose clocks differ by twenty minutes write all of it at the same time.
        let (services, session) = (world.wrong[number % 2].clone(), session.clone());
        let moment = ago(100 - 10 * number as u64);
        let record = SessionRecord::began(session, Some(moment));
        tasks.spawn(async move { services.access().record_session(&record).await.unwrap() });
    }
    tasks.join_all().await;
    let newest = sessions.last().unwrap();
    assert_eq!(world.newest(profile).await, newest.id);
    let older: HashSet<SessionId> = sessions.iter().map(|session| session.id).filter(|id| *id != newest.id).collect();
    assert_eq!(world.asked(host).await.into_iter().collect::<HashSet<_>>(), older);
    let carried: Vec<(ProfileId, SessionId)> = sessions.iter().map(|session| (profile, session.id)).collect();
    let superseded: HashSet<SessionId> = world.right.access().superseded(&carried).await.unwrap().into_iter().collect();
    assert_eq!(superseded, older);

    // The record of an end is kept once, whoever repeats it.
    let (at, reason) = (SystemClock.now(), EndReason::Disconnected);
    let ended = SessionRecord::Ended { session: sessions[0].clone(), at, reason, moment: None };
    world.right.access().record_session(&ended).await.unwrap();
    world.began(&world.right, &sessions[0], 100).await;
    world.right.access().close_other_sessions(host, &[]).await.unwrap();
    assert!(world.asked(host).await.is_empty());
}

#[tokio::test]
async fn sessions_of_which_none_is_surely_newer_all_go_on() {
    let world = World::new().await;
    let (profile, host): (ProfileId, HostId) = (new_id(), new_id());
    let sessions: Vec<Session> = (0..4).map(|_| session(profile, host)).collect();
    world.began(&world.right, &sessions[0], 21).await;
    world.began(&world.right, &sessions[1], 20).await;
    // Nobody knows how old this one is: it was written down before the machine was started again.
    let before = Moment { boot: "another run".to_owned(), ..ago(0) };
    let records = [Some(before), None].into_iter().zip(&sessions[2..]);
    for (moment, session) in records {
        world.right.access().record_session(&SessionRecord::began(session.clone(), moment)).await.unwrap();
    }
    let carried: Vec<(ProfileId, SessionId)> = sessions.iter().map(|session| (profile, session.id)).collect();
    assert!(world.right.access().superseded(&carried).await.unwrap().is_empty());
    assert!(world.asked(host).await.is_empty());
}

#[tokio::test]
async fn after_an_outage_whoever_moved_meanwhile_is_left_alone() {
    let world = World::new().await;
    let (left, found): (HostId, HostId) = (new_id(), new_id());
    for outage in [5, 300] {
        for left_first in [true, false] {
            for (writes_left, writes_found) in [(0, 1), (1, 0)] {
                let profile = new_id();
                // The client came to one host when the outage began, its path broke, and it went on by the other one.
                let (before, after) = (session(profile, left), session(profile, found));
                let mut records =
                    [(&world.wrong[writes_left], &before, outage + 20), (&world.wrong[writes_found], &after, outage)];
                if !left_first {
                    records.reverse();
                }
                for (services, session, seconds) in records {
                    world.began(services, session, seconds).await;
                }
                assert_eq!(world.newest(profile).await, after.id);
                assert!(world.asked(found).await.is_empty());
                assert!(world.asked(left).await.contains(&before.id));
                let stored = world.store.access().find_session(after.id).await.unwrap().unwrap().connected_at;
                let age = SystemClock.now().duration_since(stored).as_secs();
                assert!((outage.cast_signed()..outage.cast_signed() + 60).contains(&age), "{age}");
            }
        }
    }
}

#[tokio::test]
async fn hosts_of_the_previous_release_throw_nobody_out() {
    let world = World::new().await;
    let (host, previous): (HostId, HostId) = (new_id(), new_id());
    for minutes in [-10, 0, 10] {
        let clock = SystemClock.now() + SignedDuration::from_mins(minutes);
        let of_previous = |profile| Session { connected_at: clock, ..session(profile, previous) };

        // Theirs comes second, and asks ours to end.
        let profile = new_id();
        let (ours, theirs) = (session(profile, host), of_previous(profile));
        world.began(&world.right, &ours, 30).await;
        world.began_on_previous_release(&theirs).await;
        assert!(world.asked(host).await.is_empty(), "{minutes}");
        assert!(world.right.access().superseded(&[(profile, ours.id)]).await.unwrap().is_empty(), "{minutes}");

        // Theirs is there; ours comes a moment later, or was written down long ago.
        for (age, newest_is_ours) in [(0, true), (300, false)] {
            let profile = new_id();
            let (ours, theirs) = (session(profile, host), of_previous(profile));
            world.began_on_previous_release(&theirs).await;
            world.began(&world.right, &ours, age).await;
            assert!(!world.asked(previous).await.contains(&theirs.id), "{minutes} {age}");
            if newest_is_ours {
                assert_eq!(world.newest(profile).await, ours.id);
            } else {
                assert!(world.right.access().superseded(&[(profile, ours.id)]).await.unwrap().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn a_presence_of_the_future_displaces_nobody() {
    let world = World::new().await;
    let (profile, host): (ProfileId, HostId) = (new_id(), new_id());
    let presence = world.database.open().await.collection::<Document>("presence");
    let future = bson::DateTime::from_millis((SystemClock.now() + SignedDuration::from_mins(10)).as_millisecond());
    let other = new_id::<SessionId>().to_string();
    let placed = doc! { "session_id": &other, "earliest": future, "latest": future };
    presence.insert_one(doc! { "_id": profile.to_string(), "session_id": &other, "placed": placed }).await.unwrap();
    let ours = session(profile, host);
    world.began(&world.right, &ours, 0).await;
    assert_eq!(world.newest(profile).await, ours.id);
    assert!(world.asked(host).await.is_empty());
}

#[tokio::test]
async fn when_a_profile_connected_last_is_told_by_old_and_new_records() {
    let world = World::new().await;
    let row = |id: ProfileId, field: &str, at: Bson| doc! { "_id": id.to_string(), field: at };
    let (old, new): (ProfileId, ProfileId) = (new_id(), new_id());
    let presence = world.database.open().await.collection::<Document>("presence");
    let at = DateTime::from_millis(1_764_000_000_000);
    let rows = [row(old, "connected_at", at.into()), row(new, "placed", doc! { "connected_at": at }.into())];
    presence.insert_many(rows).await.unwrap();
    let read = world.store.access().presence_of(&[old, new]).await.unwrap();
    assert_eq!(read.len(), 2);
    let last = world.store.access().last_connections(&[old, new]).await.unwrap();
    assert_eq!(last.values().map(|at| at.as_second()).collect::<Vec<_>>(), [1_764_000_000; 2]);
}

#[tokio::test]
async fn what_a_host_with_a_wrong_clock_records_bears_the_databases_time() {
    let world = World::new().await;
    let act = Act::of(Actor::Token { id: new_id(), role: Role::Owner });
    for (number, services) in world.wrong.iter().enumerate() {
        services.cluster().measure_clock().await.unwrap();
        let name = format!("organization {number}").parse().unwrap();
        services.people().create_organization(&act, NewOrganization { name }).await.unwrap();
        let problems = services.problems().list();
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        assert_eq!(problem.code, ProblemCode::Clock);
        let side = if number == 0 { "behind" } else { "ahead of" };
        assert!(problem.detail.contains(side) && problem.detail.contains("timedatectl"), "{problem:?}");
        assert!(problem.since.duration_since(SystemClock.now()).abs() < SignedDuration::from_mins(1));
    }
    let page = PageRequest::first(100);
    let trail = world.right.evidence().audit_trail(&act, &AuditFilter::default(), &page).await.unwrap();
    assert!(trail.items.len() > 2);
    for entry in trail.items {
        let off = entry.at.duration_since(SystemClock.now()).abs();
        assert!(off < SignedDuration::from_mins(1), "{entry:?}");
    }
    world.right.cluster().measure_clock().await.unwrap();
    assert!(world.right.problems().list().is_empty(), "the clock of this machine is right");
}

#[tokio::test]
async fn a_trail_is_sound_though_the_clock_was_set_back() {
    let world = World::new().await;
    let act = Act::of(Actor::Token { id: new_id(), role: Role::Owner });
    // Ahead before it has looked at the database's clock, right afterwards.
    let ahead = ManualClock::new(SystemClock.now() + SignedDuration::from_mins(10));
    let services = process(&world.store, ahead);
    for number in 0..4 {
        if number == 2 {
            services.cluster().measure_clock().await.unwrap();
        }
        let name = format!("organization {number}").parse().unwrap();
        services.people().create_organization(&act, NewOrganization { name }).await.unwrap();
    }
    services.evidence().checkpoint().await.unwrap();
    let Report { findings, entries, .. } = services.evidence().verify_audit().await.unwrap();
    assert!(findings.is_empty() && entries >= 4, "{findings:?}");
}
