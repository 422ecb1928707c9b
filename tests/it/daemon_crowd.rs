//! Thousands of sessions that end at once, on a daemon that is played: like openvpn it does one thing after another, and
//! takes no command while nobody reads what it says.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern::domain::ids::Id;
use postern::domain::server::DaemonState;
use postern::domain::session::Session;
use serde_json::json;
use tokio::net::UnixListener;

use crate::daemon::{World, on_a_host, status, until};
use crate::daemon_words::idle_program;

/// How many sessions the daemon carries, as ids and as a number of them.
const CROWD: u64 = 5_000;
const ALL: usize = 5_000;
/// The number of the client that connects while they end.
const NEWCOMER: u64 = 9_999;
/// After how many ends it does.
const MIDST: usize = 1_000;

/// What happened.
#[derive(Default)]
struct Course {
    ended: AtomicUsize,
    /// When the first ended.
    began: OnceLock<Instant>,
    /// How many had ended when the newcomer was let in.
    admitted: OnceLock<usize>,
}

/// A daemon with a crowd.
struct Crowd {
    socket: UnixStream,
    clients: BTreeSet<u64>,
    fingerprint: String,
    course: Arc<Course>,
}

impl Crowd {
    /// Blocks while nobody reads, as openvpn does.
    fn say(&mut self, text: &str) {
        // Whoever has hung up needs no answer.
        let _ = self.socket.write_all(text.as_bytes());
    }

    fn live(mut self) {
        self.say(">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n");
        let lines = BufReader::new(self.socket.try_clone().unwrap()).lines();
        let mut block = None;
        for line in lines.map_while(Result::ok) {
            if let Some(cid) = block {
                if line == "END" {
                    block = None;
                    self.say("SUCCESS: client-auth command succeeded\r\n");
                    if cid == NEWCOMER {
                        self.course.admitted.set(self.course.ended.load(Ordering::SeqCst)).unwrap();
                    }
                }
                continue;
            }
            let words: Vec<&str> = line.split(' ').collect();
            let number = || words.get(1).and_then(|word| word.parse::<u64>().ok());
            match words[0] {
                "client-auth" => block = number(),
                "load-stats" => self.say("SUCCESS: nclients=5000,bytesin=1,bytesout=1\r\n"),
                "status" => self.status(),
                "client-kill" => self.end(number().unwrap()),
                verb => self.say(&format!("SUCCESS: {verb} command succeeded\r\n")),
            }
        }
    }

    fn status(&mut self) {
        let text = "TITLE\tOpenVPN\r\nHEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\t\
            Virtual IPv6 Address\tBytes Received\tBytes Sent\tConnected Since\tConnected Since (time_t)\tUsername\t\
            Client ID\tPeer ID\tData Channel Cipher\r\n";
        let row = |cid: &u64| {
            format!(
                "CLIENT_LIST\tc{cid}\t192.0.2.1:{port}\t10.200.{high}.{low}\t\t10\t20\tx\t1795448706\tUNDEF\t{cid}\t0\tx\r\n",
                port = 10_000 + cid,
                high = cid / 250,
                low = 2 + cid % 250,
            )
        };
        let rows: Vec<String> = self.clients.iter().map(row).collect();
        self.say(&(text.to_owned() + &rows.concat() + "END\r\n"));
    }

    fn end(&mut self, cid: u64) {
        if !self.clients.remove(&cid) {
            return self.say("ERROR: client-kill command failed\r\n");
        }
        let variables = ">CLIENT:ENV,some_variable=some value of it\r\n".repeat(30);
        self.say(&format!(
            "SUCCESS: client-kill command succeeded\r\n>CLIENT:DISCONNECT,{cid}\r\n{variables}>CLIENT:ENV,END\r\n"
        ));
        self.course.began.get_or_init(Instant::now);
        let ended = self.course.ended.fetch_add(1, Ordering::SeqCst) + 1;
        if ended == MIDST {
            let fingerprint = &self.fingerprint;
            self.say(&format!(
                ">CLIENT:CONNECT,{NEWCOMER},1\r\n>CLIENT:ENV,tls_digest_sha256_0={fingerprint}\r\n\
                 >CLIENT:ENV,IV_VER=2.6.14\r\n>CLIENT:ENV,IV_PROTO=990\r\n>CLIENT:ENV,END\r\n"
            ));
        }
    }
}

/// Starts Postern with an idle program in the place of `openvpn`, and a crowd on its socket.
async fn crowd(world: &mut World) -> Arc<Course> {
    world.openvpn = idle_program(&world.data_dir);
    let (profile, _) = world.profile().await;
    let known = async || world.admission.snapshot().profile(profile).map(|known| known.fingerprint.0);
    let fingerprint = until("the profile in the snapshot", known).await;
    let fingerprint: Vec<String> = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
    let course = Arc::new(Course::default());
    let (socket, clients) = (world.folder().join("management.sock"), (0..CROWD).collect());
    let noted = Arc::clone(&course);
    let started = world.folder().join("process.json");
    tokio::task::spawn_local(async move {
        until("the daemon to be started", async || started.exists().then_some(())).await;
        let stream = UnixListener::bind(socket).unwrap().accept().await.unwrap().0.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        let crowd = Crowd { socket: stream, clients, fingerprint: fingerprint.join(":"), course: noted };
        thread::spawn(move || crowd.live());
    });
    course
}

/// Waits until all have ended; how long that took from the first.
async fn all_end(course: &Course) -> Duration {
    until("all sessions to end", async || (course.ended.load(Ordering::SeqCst) == ALL).then_some(())).await;
    let took = course.began.get().unwrap().elapsed();
    let at = until("the newcomer to be let in", async || course.admitted.get().copied()).await;
    assert!(at < ALL, "the newcomer was answered after all ends");
    took
}

fn in_a_local_set(label: &str, test: impl AsyncFnOnce(World) + Send) {
    on_a_host(label, async |world| tokio::task::LocalSet::new().run_until(test(world)).await);
}

#[test]
fn a_crowd_that_nothing_is_known_of_ends_while_newcomers_are_answered() {
    in_a_local_set("crowd", async |mut world| {
        let course = crowd(&mut world).await;
        let postern = world.start(true);
        eprintln!("{CROWD} clients ended within {:?}", all_end(&course).await);
        postern.stop().await;
    });
}

#[test]
fn a_crowd_that_the_policy_drops_ends_while_newcomers_are_answered() {
    in_a_local_set("dropped", async |mut world| {
        // The daemon is started first, so that what an earlier Postern knew of its clients can be left for the next.
        world.openvpn = idle_program(&world.data_dir);
        let postern = world.start(false);
        until("the daemon to be started", async || world.folder().join("process.json").exists().then_some(())).await;
        postern.stop().await;
        let process: serde_json::Value =
            serde_json::from_slice(&std::fs::read(world.folder().join("process.json")).unwrap()).unwrap();
        let clients: Vec<_> = (0..CROWD).map(|cid| json!([cid, client(&world, cid)])).collect();
        let saved = json!({ "pid": process["pid"], "started": process["started"], "clients": clients });
        std::fs::write(world.folder().join("roster.json"), saved.to_string()).unwrap();

        let course = crowd(&mut world).await;
        let postern = world.start(true);
        eprintln!("{CROWD} clients ended within {:?}", all_end(&course).await);
        status(&postern.handle, DaemonState::Running).await;
        until("their records to be kept", async || (postern.handle.session_count() == 0).then_some(())).await;
        postern.stop().await;
    });
}

/// A session of a profile that is none.
fn client(world: &World, cid: u64) -> serde_json::Value {
    let number = u128::from(cid) + 1;
    let session = Session {
        id: Id::from_parts(Timestamp::UNIX_EPOCH, number),
        user_id: Id::from_parts(Timestamp::UNIX_EPOCH, number),
        profile_id: Id::from_parts(Timestamp::UNIX_EPOCH, number),
        server_id: world.server,
        host_id: world.host,
        address: format!("10.200.{}.{}", cid / 250, 2 + cid % 250).parse().unwrap(),
        remote_address: SocketAddr::from(([192, 0, 2, 1], 4000)),
        connected_at: Timestamp::UNIX_EPOCH,
        bytes_received: 0,
        bytes_sent: 0,
        client_version: None,
        client_protocol: None,
    };
    json!({ "session": session, "common_name": format!("c{cid}"), "pushed": "", "up": true, "leaving": null })
}
