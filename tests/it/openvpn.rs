//! A real daemon and real clients: what is rendered is accepted, what is understood is what happened.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use postern::domain::server::Protocol;
use postern::domain::spec::ClientSpec;
use postern::openvpn::RuntimeDir;
use postern::openvpn::management::link::{AskError, Link, LinkHandle};
use postern::openvpn::management::{
    Cid, ClientConfig, Command, DaemonState, Dialect, Event, Farewell, Kid, Peer, Refusal, Reply, Status, Text,
};
use postern::openvpn::process::{OpenVpn, Running};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::openvpn_rig::{Namespace, PATIENCE, Pki, Tap, server};
use crate::support::openvpn::OpenVpn as Generation;

/// The daemons that hosts have.
const DAEMONS: [Generation; 2] = [Generation::Installed, Generation::V27];

/// A running daemon with its manager; killed when dropped.
struct Daemon {
    running: Running,
    dir: RuntimeDir,
    link: LinkHandle,
    events: Receiver<Event>,
    tap: Tap,
    stop: CancellationToken,
}

impl Daemon {
    /// Starts one in the namespace of the calling thread and waits until it serves.
    async fn start(pki: &Pki, protocol: Protocol, generation: Generation) -> Self {
        let dir = pki.runtime_dir();
        let openvpn = OpenVpn::at(&generation.program()).await.unwrap();
        let running = openvpn.start(&dir, &server(protocol).to_text().unwrap()).unwrap();
        let (tap, stop) = (Tap::new(&dir), CancellationToken::new());
        let (link, events) = Link::connect(tap.socket(), PATIENCE, &TaskTracker::new(), stop.clone()).await.unwrap();
        let mut daemon = Self { running, dir, link, events, tap, stop };
        daemon.next(|event| matches!(event, Event::Hold).then_some(())).await;
        daemon.succeed(Command::StateOn).await;
        daemon.succeed(Command::HoldRelease).await;
        daemon.next(|event| matches!(event, Event::State { state: DaemonState::Connected, .. }).then_some(())).await;
        daemon
    }

    async fn succeed(&self, command: Command) -> String {
        match self.link.ask(command, PATIENCE).await.unwrap() {
            Reply::Success(text) => text,
            other => panic!("{other:?}"),
        }
    }

    async fn rows(&self) -> Vec<postern::openvpn::management::ClientRow> {
        let reply = self.link.ask(Command::Status, PATIENCE).await.unwrap();
        let status = Status::of(reply.clone()).unwrap().expect("it is not on hold");
        assert!(status.unreadable.is_empty(), "{:?} in {reply:#?}", status.unreadable);
        status.clients
    }

    /// The next event that is meant; others are passed over.
    async fn next<T>(&mut self, meant: impl Fn(&Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the daemon ended");
                if let Some(found) = meant(&event) {
                    return found;
                }
            }
        };
        let log = self.dir.file(RuntimeDir::LOG);
        tokio::time::timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|late| panic!("{late}\n{}", std::fs::read_to_string(log).unwrap()))
    }

    async fn newcomer(&mut self) -> (Cid, Kid, Peer) {
        self.next(|event| match event {
            Event::Connect { cid, kid, client } => Some((*cid, *kid, client.clone())),
            _ => None,
        })
        .await
    }

    async fn admit(&mut self) -> (Cid, Peer) {
        let (cid, kid, peer) = self.newcomer().await;
        let network = server(Protocol::Udp).spec.network;
        let config = ClientConfig::new("10.88.0.77".parse().unwrap(), network).told(&told(), &peer);
        self.succeed(Command::Admit { cid, kid, config }).await;
        (cid, peer)
    }

    /// Leaves the transcript, under the name of its generation.
    fn save(&self, name: &str, generation: Generation) {
        let mark = if generation == Generation::V27 { "-2.7" } else { "" };
        self.tap.save(&format!("{name}{mark}.txt"));
    }

    async fn gone(&mut self, client: Cid) {
        self.next(|event| matches!(event, Event::Disconnect { cid, .. } if *cid == client).then_some(())).await;
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.running.kill();
        self.stop.cancel();
    }
}

/// What clients are told.
fn told() -> ClientSpec {
    ClientSpec {
        routes: vec!["10.77.0.0/16".parse().unwrap()],
        dns_servers: vec!["10.77.0.1".parse().unwrap(), "10.77.0.2".parse().unwrap()],
        search_domains: vec!["corp.example".parse().unwrap(), "lab.example".parse().unwrap()],
        outside: BTreeSet::new(),
    }
}

fn text(words: &str) -> Text {
    Text::new(words).unwrap()
}

#[test]
fn a_client_is_admitted_with_its_address_and_settings_and_killed_with_words() {
    for generation in DAEMONS {
        let (namespace, pki) = (Namespace::new(), Pki::new());
        namespace.block_on(|| async {
            let mut daemon = Daemon::start(&pki, Protocol::Udp, generation).await;
            let mut client = pki.client(&namespace, &pki.profile("127.0.0.1", Protocol::Udp));
            let (cid, peer) = daemon.admit().await;
            assert_eq!(peer.fingerprint, Some(pki.client_fingerprint()));
            assert_eq!(peer.common_name, "client.test");
            assert_eq!(peer.iv_plat, "linux");
            assert_eq!(peer.dialect(), Dialect::Two);
            assert!(peer.takes_dns_option());
            let address = daemon
                .next(|event| match event {
                    Event::Address { cid: who, address, primary: true } if *who == cid => Some(*address),
                    _ => None,
                })
                .await;
            assert_eq!(address.to_string(), "10.88.0.77");
            daemon
                .next(|event| matches!(event, Event::Established { cid: who, .. } if *who == cid).then_some(()))
                .await;
            client.says("Initialization Sequence Completed");
            let log = client.log();
            for pushed in [
                "route 10.77.0.0 255.255.0.0",
                "route-gateway 10.88.0.1",
                "topology subnet",
                "ping 2,ping-restart 6",
                "dns server 0 address 10.77.0.2",
                "dns search-domains lab.example",
                "dhcp-option DNS 10.77.0.1",
                "ifconfig 10.88.0.77 255.255.255.0",
            ] {
                assert!(log.contains(pushed), "{pushed}\n{log}");
            }

            let rows = daemon.rows().await;
            assert_eq!((rows.len(), rows[0].cid, rows[0].address), (1, cid, Some(address)));
            let real = peer.address.unwrap();
            assert_eq!((rows[0].real_ip, rows[0].real_port), (real.ip(), Some(real.port())));
            daemon.succeed(Command::ByteCount(1)).await;
            daemon.next(|event| matches!(event, Event::ByteCount { cid: who, .. } if *who == cid).then_some(())).await;
            daemon.succeed(Command::Kill { cid, farewell: Farewell::Final(text("Access has ended.")) }).await;
            client.says("AUTH_FAILED,Access has ended.");
            client.ends();
            daemon.gone(cid).await;
            let dead = daemon.link.ask(Command::Kill { cid: Cid(99), farewell: Farewell::Restart }, PATIENCE).await;
            assert!(matches!(dead, Ok(Reply::Error(_))), "{dead:?}");
            daemon.save("admitted", generation);
        });
    }
}

#[test]
fn a_refused_client_sees_the_reason_at_once_and_ends() {
    for generation in DAEMONS {
        let (namespace, pki) = (Namespace::new(), Pki::new());
        namespace.block_on(|| async {
            let mut daemon = Daemon::start(&pki, Protocol::Udp, generation).await;
            let mut client = pki.client(&namespace, &pki.profile("127.0.0.1", Protocol::Udp));
            let (cid, kid, peer) = daemon.newcomer().await;
            assert_eq!(daemon.rows().await[0].address, None);
            let refusal = Refusal::elsewhere(peer.dialect(), text("draining"));
            daemon.succeed(Command::Refuse { cid, kid, refusal }).await;
            client.says("TEMP[backoff 0,advance remote]:draining");
            let (cid, kid, _) = daemon.newcomer().await;
            daemon.succeed(Command::Refuse { cid, kid, refusal: Refusal::Final(text("Not for you.")) }).await;
            client.says("Not for you.");
            client.ends();
            daemon.save("refused", generation);
        });
    }
}

#[test]
fn replies_leave_from_the_address_that_was_asked() {
    for generation in DAEMONS {
        let (here, there, pki) = (Namespace::new(), Namespace::new(), Pki::new());
        let (ours, theirs) =
            (["10.99.0.1/24", "10.99.0.2/24", "fd99::1/64", "fd99::2/64"], ["10.99.0.9/24", "fd99::9/64"]);
        here.cable("cable", &ours, &there, &theirs);
        here.block_on(|| async {
            let mut daemon = Daemon::start(&pki, Protocol::Udp, generation).await;
            for remote in ["10.99.0.2", "fd99::2"] {
                let client = pki.client(&there, &pki.profile(remote, Protocol::Udp));
                let (cid, peer) = daemon.admit().await;
                client.says("Initialization Sequence Completed");
                let (rows, address) = (daemon.rows().await, peer.address.unwrap());
                assert_eq!(rows[0].real_ip, address.ip());
                daemon.succeed(Command::Evict(text("client.test"))).await;
                daemon.gone(cid).await;
            }
            daemon.save("two-families", generation);
        });
    }
}

#[test]
fn tcp_serves_both_families() {
    for generation in DAEMONS {
        let (namespace, pki) = (Namespace::new(), Pki::new());
        namespace.block_on(|| async {
            let mut daemon = Daemon::start(&pki, Protocol::Tcp, generation).await;
            for remote in ["127.0.0.1", "::1"] {
                let client = pki.client(&namespace, &pki.profile(remote, Protocol::Tcp));
                let (cid, peer) = daemon.admit().await;
                client.says("Initialization Sequence Completed");
                assert_eq!(daemon.rows().await[0].real_ip, peer.address.unwrap().ip());
                daemon.succeed(Command::Kill { cid, farewell: Farewell::Final(text("bye")) }).await;
                daemon.gone(cid).await;
            }
        });
    }
}

/// What Debian's script for resolvconf, which comes with the package, hands on.
fn by_update_resolv_conf(pki: &Pki, environment: &str) -> String {
    let script = std::fs::read_to_string("/etc/openvpn/update-resolv-conf").unwrap();
    let (ours, taken) = (pki.path("resolvconf"), pki.path("resolv.conf"));
    std::fs::write(&ours, format!("#!/bin/sh\ncat >{taken}\n")).unwrap();
    std::fs::set_permissions(&ours, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(pki.path("script"), script.replace("/sbin/resolvconf", &ours)).unwrap();
    let variables = environment.lines().filter_map(|line| line.split_once('='));
    let status = std::process::Command::new("bash").arg(pki.path("script")).env_clear().envs(variables).status();
    assert!(status.unwrap().success());
    std::fs::read_to_string(taken).unwrap()
}

#[test]
fn search_domains_reach_the_scripts_of_every_generation() {
    let (namespace, pki) = (Namespace::new(), Pki::new());
    let (up, found) = (pki.path("up"), pki.path("environment"));
    std::fs::write(&up, format!("#!/bin/sh\nenv >{found}.new\nmv {found}.new {found}\n")).unwrap();
    std::fs::set_permissions(&up, std::fs::Permissions::from_mode(0o755)).unwrap();
    namespace.block_on(|| async {
        let mut daemon = Daemon::start(&pki, Protocol::Udp, Generation::Installed).await;
        for generation in [Generation::V25, Generation::Installed, Generation::V27] {
            let _ = std::fs::remove_file(&found);
            let options = ["--script-security", "2", "--up", &up];
            let client = pki.client_of(generation, &namespace, &pki.profile("127.0.0.1", Protocol::Udp), &options);
            let (cid, _) = daemon.admit().await;
            client.says("Initialization Sequence Completed");
            let environment = std::fs::read_to_string(&found).unwrap();
            let options: Vec<_> = environment.lines().filter(|line| line.starts_with("foreign_option_")).collect();
            let has = |what: &str| options.iter().any(|option| option.ends_with(&format!("=dhcp-option {what}")));
            for domain in ["corp.example", "lab.example"] {
                assert!(has(&format!("DOMAIN {domain}")), "{generation}: {options:#?}");
            }
            assert!(has("DNS 10.77.0.1"), "{generation}: {options:#?}");
            let resolv_conf = by_update_resolv_conf(&pki, &environment);
            assert!(resolv_conf.starts_with("search corp.example lab.example"), "{generation}: {resolv_conf}");
            assert!(resolv_conf.contains("\nnameserver 10.77.0.1\n"), "{generation}: {resolv_conf}");
            daemon.succeed(Command::Evict(text("client.test"))).await;
            daemon.gone(cid).await;
        }
    });
}

#[test]
fn a_daemon_outlives_its_manager_and_is_adopted_with_its_clients() {
    for generation in DAEMONS {
        let (namespace, pki) = (Namespace::new(), Pki::new());
        namespace.block_on(|| async {
            let mut daemon = Daemon::start(&pki, Protocol::Udp, generation).await;
            let client = pki.client(&namespace, &pki.profile("127.0.0.1", Protocol::Udp));
            let (cid, _) = daemon.admit().await;
            client.says("Initialization Sequence Completed");

            daemon.stop.cancel();
            while daemon.events.recv().await.is_some() {}
            assert!(matches!(daemon.link.ask(Command::Pid, PATIENCE).await, Err(AskError::Closed)));

            let adopted = Running::adopt(&daemon.dir).unwrap().unwrap();
            assert_eq!((adopted.pid(), adopted.started()), (daemon.running.pid(), daemon.running.started()));
            assert!(adopted.is_alive() && adopted.runs(&server(Protocol::Udp).to_text().unwrap()));
            assert!(!adopted.runs("port 1"));

            let (socket, stop) = (daemon.dir.file(RuntimeDir::MANAGEMENT), CancellationToken::new());
            (daemon.link, daemon.events) =
                Link::connect(&socket, PATIENCE, &TaskTracker::new(), stop.clone()).await.unwrap();
            assert_eq!(daemon.succeed(Command::Pid).await, format!("pid={}", adopted.pid()));
            assert_eq!(daemon.rows().await[0].cid, cid);
            daemon.succeed(Command::Kill { cid, farewell: Farewell::Restart }).await;
            assert_ne!(daemon.newcomer().await.0, cid);

            adopted.terminate().unwrap();
            assert!(adopted.wait_gone(PATIENCE).await.unwrap());
            assert!(!adopted.is_alive() && !daemon.running.is_alive());
            while daemon.events.recv().await.is_some() {}
            assert!(daemon.running.wait_gone(PATIENCE).await.unwrap());
            assert!(Running::adopt(&daemon.dir).unwrap().is_none());
        });
    }
}

#[test]
fn a_killed_daemon_is_noticed_at_once_and_leaves_no_zombie() {
    let (namespace, pki) = (Namespace::new(), Pki::new());
    namespace.block_on(|| async {
        let daemon = Daemon::start(&pki, Protocol::Udp, Generation::Installed).await;
        assert!(!daemon.running.wait_gone(Duration::from_millis(1)).await.unwrap());
        daemon.running.kill().unwrap();
        assert!(daemon.running.wait_gone(PATIENCE).await.unwrap());
        assert!(!std::path::Path::new("/proc").join(daemon.running.pid().to_string()).exists());
    });
}

#[test]
fn another_process_with_the_number_of_a_daemon_is_not_adopted() {
    let (namespace, pki) = (Namespace::new(), Pki::new());
    namespace.block_on(|| async {
        let dir = pki.runtime_dir();
        assert!(Running::adopt(&dir).unwrap().is_none());
        let ours = std::fs::read_to_string("/proc/self/stat").unwrap();
        let started = ours.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().to_owned();
        for started in [started.as_str(), "1"] {
            let config = vec!["0"; 32].join(",");
            let state = format!(r#"{{"pid": {}, "started": {started}, "config": [{config}]}}"#, std::process::id());
            dir.write(RuntimeDir::STATE, state.as_bytes()).unwrap();
            assert!(Running::adopt(&dir).unwrap().is_none());
        }
        dir.write(RuntimeDir::STATE, b"{").unwrap();
        assert!(Running::adopt(&dir).unwrap().is_none());
    });
}
