//! A drain as it is said to a daemon, word by word. The daemon is played, on its own management socket, because there are
//! clients that no machine of ours can run: what they say of themselves is what OpenVPN Connect 3, OpenVPN 2.6 and one
//! that is too old for temporary refusals say.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use postern::domain::host::ProcessRole;
use postern::domain::ids::ProfileId;
use postern::domain::server::DaemonState;
use postern::services::hosts::registry::HostFacts;
use postern::services::{AttachmentKey, DaemonStatus};
use serde_json::json;
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use crate::daemon::{World, from_json, numbers, on_a_host, owner, status, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// What clients say of themselves, and the words in which each is sent elsewhere.
const CONNECT_3: &[&str] =
    &["IV_VER=3.11.7", "IV_PLAT=ios", "IV_PROTO=8094", "IV_GUI_VER=net.openvpn.connect.ios_3.7.1-6399"];
const OPENVPN_3: &[&str] = &["IV_VER=3.11.7", "IV_PLAT=linux", "IV_PROTO=8094"];
const OPENVPN_2: &[&str] = &["IV_VER=2.6.14", "IV_PLAT=linux", "IV_PROTO=990"];
const TOO_OLD: &[&str] = &["IV_VER=2.4.12", "IV_PLAT=win", "IV_PROTO=2"];
const ELSEWHERE_3: &str = "TEMP[backoff 1,advance remote]:this host is leaving service";
const ELSEWHERE_2: &str = "TEMP[backoff 0,advance remote]:this host is leaving service";

/// A program that looks like `openvpn`, by its command line too, and does nothing.
pub(crate) fn idle_program(folder: &Path) -> std::path::PathBuf {
    let (program, source) = (folder.join("openvpn"), folder.join("openvpn.c"));
    let text = "#include <stdio.h>\n#include <string.h>\n#include <unistd.h>\nint main(int count, char **words) {\n\
        if (count > 1 && !strcmp(words[1], \"--version\")) return puts(\"OpenVPN 2.6.14 played\") < 0;\n\
        for (;;) pause();\n}\n";
    std::fs::write(&source, text).unwrap();
    // The linker of the compiler that made this test.
    assert!(Command::new("cc").arg("-o").arg(&program).arg(&source).status().unwrap().success());
    program
}

/// A daemon that answers every command as openvpn does, and tells what it was told.
struct Played {
    socket: UnixStream,
    told: mpsc::Receiver<String>,
}

impl Played {
    /// Waits until the daemon has been started, opens its socket, and is spoken to.
    async fn new(world: &World) -> Self {
        let dir = world.data_dir.join("daemons").join(world.server.to_string());
        let started = async || dir.join("process.json").exists().then_some(());
        until("the daemon to be started", started).await;
        let listener = UnixListener::bind(dir.join("management.sock")).unwrap();
        let socket = listener.accept().await.unwrap().0.into_std().unwrap();
        socket.set_nonblocking(false).unwrap();
        let (teller, told) = mpsc::channel(256);
        let mut played = Self { socket: socket.try_clone().unwrap(), told };
        played.say(&[
            ">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info",
            ">HOLD:Waiting for hold release:0",
        ]);
        thread::spawn(move || answer(socket, &teller));
        played
    }

    fn say(&mut self, lines: &[&str]) {
        say(&mut self.socket, lines);
    }

    /// A client connects: nothing of it is real but its certificate's fingerprint.
    async fn connect(&mut self, world: &World, cid: u64, says: &[&str], profile: ProfileId) {
        let known = async || world.admission.snapshot().profile(profile).map(|known| known.fingerprint.0);
        let fingerprint = until("the profile in the snapshot", known).await;
        let digest: Vec<String> = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut lines = vec![
            format!(">CLIENT:CONNECT,{cid},1"),
            format!(">CLIENT:ENV,common_name={profile}"),
            ">CLIENT:ENV,untrusted_ip=192.0.2.7".to_owned(),
            format!(">CLIENT:ENV,untrusted_port={}", 40_000 + cid),
            format!(">CLIENT:ENV,tls_digest_sha256_0={}", digest.join(":")),
        ];
        lines.extend(says.iter().map(|line| format!(">CLIENT:ENV,{line}")));
        lines.push(">CLIENT:ENV,END".to_owned());
        self.say(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// The next command that begins so, with what was said before it left out.
    async fn hears(&mut self, begin: &str) -> String {
        let hearing = async {
            loop {
                let line = self.told.recv().await.expect("somebody speaks");
                if line.starts_with(begin) {
                    return line;
                }
            }
        };
        tokio::time::timeout(PATIENCE, hearing).await.unwrap_or_else(|_| panic!("nobody said {begin:?}"))
    }

    /// Lets a client in whose admission was said.
    async fn establish(&mut self, cid: u64) {
        assert_eq!(self.hears("client-auth ").await, format!("client-auth {cid} 1"));
        self.say(&[&format!(">CLIENT:ESTABLISHED,{cid}"), ">CLIENT:ENV,END"]);
    }

    /// A client is gone, as it was asked to be.
    fn leave(&mut self, cid: u64) {
        self.say(&[&format!(">CLIENT:DISCONNECT,{cid}"), ">CLIENT:ENV,END"]);
    }
}

fn say(socket: &mut UnixStream, lines: &[&str]) {
    let text = lines.join("\r\n") + "\r\n";
    // Whoever has hung up needs no answer.
    let _ = socket.write_all(text.as_bytes());
}

/// Answers until nobody speaks any more.
fn answer(mut socket: UnixStream, teller: &mpsc::Sender<String>) {
    let lines = BufReader::new(socket.try_clone().unwrap()).lines();
    let mut in_block = false;
    for line in lines.map_while(Result::ok) {
        let verb = line.split(' ').next().unwrap_or_default().to_owned();
        in_block = verb == "client-auth" || (in_block && line != "END");
        match verb.as_str() {
            _ if in_block => {}
            "END" => say(&mut socket, &["SUCCESS: client-auth command succeeded"]),
            "status" => say(&mut socket, &["ERROR: the 'status' command is not supported by the current daemon mode"]),
            "hold" => say(
                &mut socket,
                &["SUCCESS: hold release succeeded", ">STATE:1795471086,CONNECTED,SUCCESS,10.200.0.1,,,,"],
            ),
            "load-stats" => say(&mut socket, &["SUCCESS: nclients=0,bytesin=0,bytesout=0"]),
            _ => say(&mut socket, &[&format!("SUCCESS: {verb} command succeeded")]),
        }
        if teller.blocking_send(line).is_err() {
            return;
        }
    }
}

/// Another host that runs the server, so that somebody can take clients over.
async fn another_host(world: &World) {
    let facts = HostFacts {
        name: "vpn-2".parse().unwrap(),
        public_addresses: vec!["127.0.0.2".parse().unwrap()],
        roles: [ProcessRole::Vpn].into(),
        public_key: [9; 32],
    };
    let host = world.services.hosts().register_host(&facts).await.unwrap();
    world.services.hosts().beat(host, 0).await.unwrap();
    world.services.network().attach(&owner(), world.server, host).await.unwrap();
    let key = AttachmentKey { server_id: world.server, host_id: host };
    let running = DaemonStatus { key, state: DaemonState::Running, detail: None };
    world.services.network().report_daemon(&running).await.unwrap();
}

#[test]
fn a_drain_says_to_each_engine_what_brings_it_to_another_host_soonest() {
    on_a_host("words", async |mut world| {
        world.openvpn = idle_program(&world.data_dir);
        another_host(&world).await;
        let postern = world.start(true);
        let mut daemon = Played::new(&world).await;
        status(&postern.handle, DaemonState::Running).await;

        let clients = [CONNECT_3, OPENVPN_2, TOO_OLD, OPENVPN_3];
        for (cid, says) in (0..).zip(clients) {
            let (profile, _) = world.profile().await;
            daemon.connect(&world, cid, says, profile).await;
            daemon.establish(cid).await;
        }
        until("all sessions", async || (postern.handle.session_count() == clients.len()).then_some(())).await;
        for kind in ["ios\",gui_major=\"connect3", "win\",gui_major=\"openvpn2", "linux\",gui_major=\"openvpn3"] {
            let told = format!("postern_vpn_clients{{platform=\"{kind}\"}} 1.0");
            assert!(numbers(&postern.handle).contains(&told), "{told}: {}", numbers(&postern.handle));
        }

        world
            .services
            .hosts()
            .drain_host(&owner(), world.host, from_json(json!({ "budget_seconds": 0 })))
            .await
            .unwrap();
        let mut said = Vec::new();
        for _ in clients {
            said.push(daemon.hears("client-kill ").await);
        }
        said.sort();
        assert_eq!(
            said,
            [
                format!("client-kill 0 \"AUTH_FAILED,{ELSEWHERE_3}\""),
                format!("client-kill 1 \"AUTH_FAILED,{ELSEWHERE_2}\""),
                "client-kill 2 \"RESTART,[NP]\"".to_owned(),
                format!("client-kill 3 \"AUTH_FAILED,{ELSEWHERE_3}\""),
            ]
        );
        (0..4).for_each(|cid| daemon.leave(cid));

        // Whoever comes now, as OpenVPN 3 does once more before it goes to its next remote, is turned away likewise.
        let (profile, _) = world.profile().await;
        for (cid, says, words) in
            [(4, CONNECT_3, ELSEWHERE_3), (5, OPENVPN_2, ELSEWHERE_2), (6, OPENVPN_3, ELSEWHERE_3)]
        {
            daemon.connect(&world, cid, says, profile).await;
            assert_eq!(daemon.hears("client-").await, format!("client-deny {cid} 1 \"refused\" \"{words}\""));
            assert_eq!(daemon.hears("client-").await, format!("client-kill {cid} \"AUTH_FAILED,{words}\""));
        }
        daemon.connect(&world, 7, TOO_OLD, profile).await;
        assert_eq!(daemon.hears("client-").await, "client-kill 7 \"RESTART,[NP]\"");
        until("no session", async || (postern.handle.session_count() == 0).then_some(())).await;
        postern.stop().await;
    });
}
