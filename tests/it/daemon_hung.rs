//! Daemons that are there and do not answer, relays that die or freeze, clients while there is no Postern: with real
//! processes, each test in a namespace of its own.

use postern::domain::problem::ProblemCode;
use postern::domain::server::DaemonState;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixListener;

use crate::daemon::{World, on_a_host, status, until};
use crate::daemon_words::idle_program;

/// The relay of the world's daemon, once there is one.
async fn relay(world: &World) -> Pid {
    let lock = world.folder().join("relay.lock");
    let read = async || {
        let holder: serde_json::Value = serde_json::from_slice(&std::fs::read(&lock).ok()?).ok()?;
        let pid = Pid::from_raw(i32::try_from(holder["pid"].as_i64()?).ok()?)?;
        is_relay(pid).then_some(pid)
    };
    until("a relay", read).await
}

fn is_relay(pid: Pid) -> bool {
    let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    line.starts_with(b"postern\0relay\0")
}

fn hung(world: &World) -> Option<String> {
    let problems = world.services.problems().list();
    problems.into_iter().find(|problem| problem.code == ProblemCode::DaemonHung).map(|problem| problem.detail)
}

#[test]
fn a_stopped_daemon_is_noticed_ended_and_started_anew() {
    on_a_host("stopped", async |world| {
        let postern = world.start(true);
        status(&postern.handle, DaemonState::Running).await;
        let (_, file) = world.profile().await;
        let mut client = world.client(&file, "one");
        client.is_connected().await;
        let pid = world.pid();

        kill_process(pid, Signal::STOP).unwrap();
        let detail = until("the daemon to be called hung", async || hung(&world)).await;
        assert!(detail.contains("does not answer on its management socket"), "{detail}");
        let starting = status(&postern.handle, DaemonState::Starting).await;
        assert!(starting.detail.is_some_and(|detail| detail.contains("management socket")), "its state says why");
        until("another process", async || (world.pid() != pid).then_some(())).await;
        status(&postern.handle, DaemonState::Running).await;
        until("nothing to be wrong", async || world.services.problems().list().is_empty().then_some(())).await;
        client.says("Initialization Sequence Completed", 2).await;
        assert!(client.runs());
        postern.stop().await;
    });
}

#[test]
fn a_daemon_that_takes_connections_and_says_nothing_is_started_anew() {
    on_a_host("mute", async |mut world| {
        world.openvpn = idle_program(&world.data_dir);
        let postern = world.start(true);
        until("the daemon to be started", async || world.folder().join("process.json").exists().then_some(())).await;
        let (pid, socket) = (world.pid(), UnixListener::bind(world.folder().join("management.sock")).unwrap());
        let (_mute, _) = socket.accept().await.unwrap();
        until("the daemon to be called hung", async || hung(&world)).await;
        until("another process", async || (world.pid() != pid).then_some(())).await;
        postern.stop().await;
    });
}

#[test]
fn a_relay_that_dies_or_freezes_is_replaced_and_no_session_notices() {
    on_a_host("relay", async |world| {
        let postern = world.start(false);
        status(&postern.handle, DaemonState::Running).await;
        let (_, file) = world.profile().await;
        let mut client = world.client(&file, "one");
        client.is_connected().await;
        let (session, pid) = (world.session(None).await, world.pid());

        for signal in [Signal::KILL, Signal::STOP] {
            let before = relay(&world).await;
            kill_process(before, signal).unwrap();
            until("another relay", async || {
                let now = relay(&world).await;
                (now != before).then_some(())
            })
            .await;
            status(&postern.handle, DaemonState::Running).await;
            until("nothing to be wrong", async || world.services.problems().list().is_empty().then_some(())).await;
        }
        // Whoever comes now is answered by way of the new one.
        let newcomer = world.client(&world.profile().await.1, "two");
        newcomer.is_connected().await;
        assert_eq!(world.pid(), pid, "the daemon was not touched");
        assert!(client.runs());
        assert!(world.sessions().await.iter().any(|live| live.id == session.id));

        postern.stop().await;
        assert!(is_relay(relay(&world).await), "it goes on with its daemon");
        let last = relay(&world).await;
        kill_process(world.pid(), Signal::KILL).unwrap();
        until("the relay to end with its daemon", async || (!is_relay(last)).then_some(())).await;
    });
}

#[test]
fn a_newcomer_while_there_is_no_postern_is_sent_on_and_does_not_end() {
    on_a_host("alone", async |world| {
        let postern = world.start(false);
        status(&postern.handle, DaemonState::Running).await;
        let file = world.profile().await.1;
        let mut first = world.client(&file, "first");
        first.is_connected().await;
        postern.stop().await;

        let (_, file) = world.profile().await;
        let mut newcomer = world.client(&file, "newcomer");
        newcomer.says("TEMP[backoff 0,advance remote]:this host does not answer at the moment", 1).await;
        assert!(newcomer.runs() && first.runs());

        let postern = world.start(true);
        newcomer.is_connected().await;
        until("both sessions", async || (postern.handle.session_count() == 2).then_some(())).await;
        assert!(newcomer.runs() && first.runs());
        assert_eq!(first.log().matches("Initialization Sequence Completed").count(), 1, "{}", first.log());
        postern.stop().await;
    });
}

#[test]
fn files_that_are_empty_or_garbled_are_made_anew() {
    on_a_host("garbled", async |world| {
        let postern = world.start(false);
        status(&postern.handle, DaemonState::Running).await;
        let (_, file) = world.profile().await;
        let mut client = world.client(&file, "one");
        client.is_connected().await;
        let pid = world.pid();
        let session = world.session(None).await;
        postern.stop().await;

        // Which process it is, and who is connected to it.
        for (content, name) in [("", "process.json"), ("{\"pid\": 4", "roster.json"), ("", "relay.lock")] {
            std::fs::write(world.folder().join(name), content).unwrap();
        }
        let postern = world.start(false);
        status(&postern.handle, DaemonState::Running).await;
        world.session(Some(&session)).await;
        assert_eq!(world.pid(), pid, "the daemon was found by its command line");
        assert!(client.runs());
        postern.stop().await;

        // Everything that a daemon is started from, while none runs.
        kill_process(pid, Signal::KILL).unwrap();
        // A child of this process, which nobody takes the exit status of before the next Postern.
        let line = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
        until("the daemon's end", async || std::fs::read(&line).is_ok_and(|line| line.is_empty()).then_some(())).await;
        let entries = std::fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().path());
        for (number, path) in entries.filter(|path| path.is_file()).enumerate() {
            std::fs::write(path, if number % 2 == 0 { &b""[..] } else { &[0; 64] }).unwrap();
        }
        let postern = world.start(true);
        status(&postern.handle, DaemonState::Running).await;
        client.says("Initialization Sequence Completed", 2).await;
        assert!(client.runs());
        postern.stop().await;
    });
}
