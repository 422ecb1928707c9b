//! This host's daemons with everything real: MongoDB, `openvpn` on both ends, nftables; each test in a namespace.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern::daemon;
use postern::daemon::{DaemonsHandle, HostIdentity, Settings};
use postern::domain::audit::Actor;
use postern::domain::clock::SystemClock;
use postern::domain::host::ProcessRole;
use postern::domain::ids::{HostId, Id, ProfileId, ServerId, UserId};
use postern::domain::role::Role;
use postern::domain::server::DaemonState;
use postern::domain::session::Session;
use postern::keys::host::HostKey;
use postern::keys::master::MasterKey;
use postern::metrics::Metrics;
use postern::services::access::admission::Admission;
use postern::services::hosts::registry::HostFacts;
use postern::services::tasks::upkeep;
use postern::services::{Act, DaemonStatus, PageRequest, Services, SessionFilter, tasks};
use postern::store::{Bus, BusSettings, Settings as StoreSettings, Store, migrate};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::store::reconciler;
use crate::support::mongod::{Mongod, Options};
use crate::support::netns::Namespace;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test on a thread inside a namespace of its own, with a database in it.
pub(crate) fn on_a_host<F: Future<Output = ()>>(label: &str, test: impl FnOnce(World) -> F + Send) {
    let namespace = Namespace::new(label);
    let mongod = Arc::new(Mongod::start(Options { netns: Some(namespace.name().to_owned()), ..Options::default() }));
    let dir = tempfile::tempdir().unwrap();
    namespace.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { test(World::new(mongod, dir.path()).await).await });
    });
}

fn daemon_pids(daemons: &Path) -> Vec<Pid> {
    let entries = std::fs::read_dir(daemons).into_iter().flatten().flatten();
    let read = |dir: PathBuf| {
        let state: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join("process.json")).ok()?).ok()?;
        Pid::from_raw(i32::try_from(state["pid"].as_i64()?).ok()?)
    };
    entries.filter_map(|entry| read(entry.path())).collect()
}

pub(crate) async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look).await
}

/// The same for what comes with a period.
pub(crate) async fn until_within<T>(patience: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A cluster with one host, one user and one server, and the process that serves it.
pub(crate) struct World {
    mongod: Arc<Mongod>,
    pub(crate) services: Services,
    pub(crate) admission: Admission,
    bus: Bus,
    key: Arc<HostKey>,
    pub(crate) host: HostId,
    user: UserId,
    pub(crate) server: ServerId,
    pub(crate) data_dir: PathBuf,
    pub(crate) openvpn: PathBuf,
    _background: TaskTracker,
}

/// A running Postern.
pub(crate) struct Running {
    pub(crate) handle: DaemonsHandle,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(PATIENCE, self.tracker.wait()).await.expect("all tasks end");
    }
}

pub(crate) fn owner() -> Act {
    Act::of(Actor::Token { id: Id::from_parts(Timestamp::UNIX_EPOCH, 1), role: Role::Owner })
}

pub(crate) fn from_json<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

impl World {
    async fn new(mongod: Arc<Mongod>, data_dir: &Path) -> Self {
        let (tracker, never) = (TaskTracker::new(), CancellationToken::new());
        let store = Store::connect(&StoreSettings { uri: mongod.uri().to_owned(), database: "postern".to_owned() })
            .await
            .unwrap();
        migrate::apply(&store).await.unwrap();
        let tasks = reconciler(&store, &tracker, &never);
        let bus = Bus::start(&store, &BusSettings::default(), &tasks);
        let master = Some(MasterKey::from_bytes(&[7; 32]));
        let services = Services::builder(store, bus.emitter(), Arc::new(SystemClock)).master_key(master).build();
        services.network().ensure_authorities().await.unwrap();
        let key = Arc::new(HostKey::from_bytes(&[3; 32]));
        let facts = HostFacts {
            name: "vpn-1".parse().unwrap(),
            public_addresses: vec!["127.0.0.1".parse().unwrap()],
            roles: [ProcessRole::Vpn].into(),
            public_key: *key.public().as_bytes(),
        };
        let host = services.hosts().register_host(&facts).await.unwrap();
        services.hosts().beat(host, 0).await.unwrap();
        let act = &owner();
        let organization = from_json(json!({ "name": "one" }));
        let organization = services.people().create_organization(act, organization).await.unwrap().value.id;
        let user = from_json(json!({ "organization_id": organization, "name": "Ana" }));
        let user = services.people().create_user(act, user).await.unwrap().value.id;
        let server = from_json(json!({
            "name": "main", "network": "10.200.0.0/16", "port": 1194, "protocol": "udp",
            "organization_ids": [organization], "routes": [{ "network": "10.77.0.0/16" }],
        }));
        let server = services.network().create_server(act, server).await.unwrap().value.id;
        services.network().attach(act, server, host).await.unwrap();

        let admission = Admission::new(services.clone());
        admission.start(&tasks, bus.subscribe());
        upkeep::start_certificates(&tasks, services.clone(), &bus);
        Self {
            mongod,
            services,
            admission,
            bus,
            key,
            host,
            user,
            server,
            data_dir: data_dir.to_owned(),
            openvpn: "/usr/sbin/openvpn".into(),
            _background: tracker,
        }
    }

    pub(crate) fn start(&self, stop_with_postern: bool) -> Running {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let settings = Settings {
            openvpn: self.openvpn.clone(),
            relay: env!("CARGO_BIN_EXE_postern").into(),
            data_dir: self.data_dir.clone(),
            stop_with_postern,
        };
        let identity = HostIdentity { id: self.host, key: Arc::clone(&self.key) };
        let (services, admission) = (self.services.clone(), self.admission.clone());
        let tasks = tasks::reconciler(&tracker, &stop, services.metrics(), Arc::new(SystemClock));
        let handle = daemon::start(settings, identity, services, admission, &self.bus, &tasks);
        Running { handle, tracker, stop }
    }

    pub(crate) async fn profile(&self) -> (ProfileId, String) {
        let new = from_json(json!({ "server_id": self.server, "name": "laptop" }));
        let issued = self.services.access().issue_profile(&owner(), self.user, new).await.unwrap();
        (issued.profile.value.id, issued.config.expose().clone())
    }

    async fn update_server(&self, patch: serde_json::Value) {
        self.services.network().update_server(&owner(), self.server, from_json(patch), None).await.unwrap();
    }

    pub(crate) async fn sessions(&self) -> Vec<Session> {
        let page = PageRequest::first(100);
        self.services.access().sessions(&owner(), &SessionFilter::default(), &page).await.unwrap().items
    }

    /// The folder of the server's daemon.
    pub(crate) fn folder(&self) -> PathBuf {
        self.data_dir.join("daemons").join(self.server.to_string())
    }

    /// The one session that is live, other than `before`.
    pub(crate) async fn session(&self, before: Option<&Session>) -> Session {
        let other = |session: &Session| before.is_none_or(|before| before.id != session.id);
        until("a session", async || self.sessions().await.into_iter().find(other)).await
    }

    async fn no_session(&self) {
        until("the end of all sessions", async || self.sessions().await.is_empty().then_some(())).await;
    }

    pub(crate) fn pid(&self) -> Pid {
        *daemon_pids(&self.data_dir.join("daemons")).first().expect("a daemon runs")
    }

    pub(crate) fn client(&self, profile: &str, name: &str) -> Client {
        let config = self.data_dir.join(format!("{name}.ovpn"));
        let log = self.data_dir.join(format!("{name}.log"));
        std::fs::write(&config, profile).unwrap();
        let mut command = Command::new("/usr/sbin/openvpn");
        command.arg("--config").arg(&config);
        // No device of its own; without the filter it dies on the pushed MTU.
        command.args(["--dev", "null", "--ifconfig-noexec", "--route-noexec", "--pull-filter", "ignore", "tun-mtu"]);
        command.args(["--explicit-exit-notify", "1"]).stdin(Stdio::null()).stdout(File::create(&log).unwrap());
        Client { child: command.spawn().unwrap(), log }
    }
}

/// A client without a device; killed when dropped.
pub(crate) struct Client {
    child: Child,
    log: PathBuf,
}

impl Client {
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) async fn says(&self, what: &str, times: usize) {
        let said = async || (self.log().matches(what).count() >= times).then_some(());
        until(&format!("{what:?} in {}", self.log.display()), said).await;
    }

    pub(crate) async fn is_connected(&self) {
        self.says("Initialization Sequence Completed", 1).await;
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) async fn ends(&mut self) {
        until("the client's end", async || self.child.try_wait().unwrap()).await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn status(handle: &DaemonsHandle, state: DaemonState) -> DaemonStatus {
    let found = async || handle.statuses().into_iter().find(|status| status.state == state);
    until(&format!("a daemon that is {state:?}"), found).await
}

pub(crate) fn numbers(handle: &DaemonsHandle) -> String {
    let now = Metrics::default();
    handle.measure(&now);
    Metrics::default().exposition(&now)
}

fn nft() -> String {
    let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_revoked_client_reads_why_and_loses_its_session() {
    on_a_host("revoke", async |world| {
        let postern = world.start(true);
        status(&postern.handle, DaemonState::Running).await;
        // The host has not heard of this profile: it was issued a moment ago.
        let (profile, file) = world.profile().await;
        let mut client = world.client(&file, "one");
        client.is_connected().await;
        let session = world.session(None).await;
        assert_eq!(session.profile_id, profile);
        assert_eq!(session.client_version.as_deref(), Some("2.6.14"));
        assert_eq!(postern.handle.session_count(), 1);

        world.services.access().revoke_profile(&owner(), profile, None).await.unwrap();
        client.ends().await;
        assert!(client.log().contains("this profile was revoked"), "{}", client.log());
        world.no_session().await;

        let mut again = world.client(&file, "again");
        again.ends().await;
        assert!(again.log().contains("this profile was revoked"), "{}", again.log());
        postern.stop().await;
        assert!(!nft().contains("postern"), "{}", nft());
    });
}

#[test]
fn daemons_and_sessions_outlive_a_restart_of_postern() {
    on_a_host("adopt", async |world| {
        let postern = world.start(false);
        status(&postern.handle, DaemonState::Running).await;
        let (profile, file) = world.profile().await;
        let mut client = world.client(&file, "one");
        client.is_connected().await;
        let (session, pid) = (world.session(None).await, world.pid());
        postern.stop().await;
        assert!(nft().contains("postern"), "the daemon goes on behind its rules");

        let postern = world.start(false);
        status(&postern.handle, DaemonState::Running).await;
        until("the adopted session", async || (postern.handle.session_count() == 1).then_some(())).await;
        assert_eq!(world.pid(), pid);
        assert_eq!(world.session(None).await.id, session.id);
        let kind = "postern_vpn_clients{platform=\"linux\",gui_major=\"openvpn2\"} 1.0";
        assert!(numbers(&postern.handle).contains(kind), "{}", numbers(&postern.handle));

        // Without its memory a Postern knows the client by its certificate's name, and an end can still be asked for.
        postern.stop().await;
        let roster = world.data_dir.join("daemons").join(world.server.to_string()).join("roster.json");
        std::fs::remove_file(roster).unwrap();
        let postern = world.start(true);
        let adopted = world.session(Some(&session)).await;
        assert_eq!((adopted.profile_id, adopted.user_id), (profile, world.user));
        world.services.access().end_session(&owner(), adopted.id).await.unwrap();
        client.ends().await;
        assert!(client.log().contains("an administrator ended this session"), "{}", client.log());
        world.no_session().await;
        postern.stop().await;
    });
}

#[test]
fn a_killed_daemon_is_back_in_a_moment() {
    on_a_host("crash", async |world| {
        let postern = world.start(true);
        status(&postern.handle, DaemonState::Running).await;
        let (_, file) = world.profile().await;
        let client = world.client(&file, "one");
        client.is_connected().await;
        let (session, pid) = (world.session(None).await, world.pid());
        kill_process(pid, Signal::KILL).unwrap();
        let killed = Instant::now();
        until("another process", async || (world.pid() != pid).then_some(())).await;
        assert!(killed.elapsed() < Duration::from_secs(3), "{:?}", killed.elapsed());
        status(&postern.handle, DaemonState::Running).await;
        world.session(Some(&session)).await;
        postern.stop().await;
    });
}

#[test]
fn new_routes_move_clients_and_a_new_port_restarts_the_daemon() {
    on_a_host("change", async |world| {
        let postern = world.start(true);
        status(&postern.handle, DaemonState::Running).await;
        let (_, file) = world.profile().await;
        let client = world.client(&file, "one");
        client.is_connected().await;
        let (session, pid) = (world.session(None).await, world.pid());

        world.update_server(json!({ "routes": [{ "network": "10.78.0.0/16" }] })).await;
        client.says("route 10.78.0.0 255.255.0.0", 1).await;
        let moved = world.session(Some(&session)).await;
        assert_eq!(moved.address, session.address);
        assert_eq!(world.pid(), pid, "routes are no reason to restart");
        assert!(nft().contains("10.78.0.0/16") && !nft().contains("10.77.0.0/16"), "{}", nft());

        world.update_server(json!({ "port": 1195 })).await;
        until("another process", async || (world.pid() != pid).then_some(())).await;
        status(&postern.handle, DaemonState::Running).await;
        let (_, file) = world.profile().await;
        world.client(&file, "two").is_connected().await;

        world.services.network().detach(&owner(), world.server, world.host).await.unwrap();
        until("nothing to be left", async || postern.handle.statuses().is_empty().then_some(())).await;
        let directory = world.data_dir.join("daemons").join(world.server.to_string());
        until("no files and no rules", async || (!directory.exists() && !nft().contains("postern")).then_some(()))
            .await;
        world.no_session().await;
        postern.stop().await;
    });
}

#[test]
fn a_daemon_that_cannot_run_says_what_is_missing() {
    on_a_host("missing", async |mut world| {
        let _occupied = std::net::UdpSocket::bind("[::]:1194").unwrap();
        let postern = world.start(true);
        let failed = status(&postern.handle, DaemonState::Failed).await;
        let detail = failed.detail.unwrap();
        assert!(detail.contains("another program listens on this port"), "{detail}");
        postern.stop().await;

        world.openvpn = "/nowhere/openvpn".into();
        let postern = world.start(true);
        let failed = status(&postern.handle, DaemonState::Failed).await;
        let detail = failed.detail.unwrap();
        assert!(detail.contains("/nowhere/openvpn"), "{detail}");
        postern.stop().await;
    });
}

#[test]
fn what_happens_while_the_database_is_away_is_written_down_when_it_returns() {
    on_a_host("outage", async |world| {
        let postern = world.start(false);
        status(&postern.handle, DaemonState::Running).await;
        let (profile, file) = world.profile().await;
        let known = async || world.admission.snapshot().profile(profile).map(|_| ());
        until("the profile in the snapshot", known).await;
        world.mongod.kill(0);
        let client = world.client(&file, "one");
        client.is_connected().await;
        until("the session on this host", async || (postern.handle.session_count() == 1).then_some(())).await;
        until("its record to wait", async || (postern.handle.unwritten() == 1).then_some(())).await;
        postern.stop().await;
        let spool = world.data_dir.join("session-log.sealed");
        assert!(spool.exists(), "what could not be written is kept for the next run");

        world.mongod.restart(0);
        let postern = world.start(true);
        world.session(None).await;
        until("the spool to be empty", async || (!spool.exists()).then_some(())).await;
        assert_eq!((postern.handle.unwritten(), postern.handle.lost()), (0, 0));
        postern.stop().await;
    });
}
