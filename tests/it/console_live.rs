//! What an open page of the console hears, on a host where nothing was done.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use postern::domain::clock::SystemClock;
use postern::domain::role::Role;
use postern::services::Services;
use postern::store::{Bus, BusSettings};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api_rig::listening;
use crate::console_rig::{Console, Visitor, sites};
use crate::store::{connect, reconciler};

/// The stream of a page. What it says is read line by line; a line that does not come fails the test in the end.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(visitor: &Visitor, address: std::net::SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let cookie = &visitor.cookies["postern-console-login"];
        write!(
            stream,
            "GET /live HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nsec-fetch-site: same-origin\r\n\
             cookie: postern-console-login={cookie}\r\n\r\n"
        )
        .unwrap();
        let mut stream = Self(BufReader::new(stream));
        stream.until("data: hello");
        stream
    }

    /// Reads on to a line; answers what came before it.
    #[track_caller]
    fn until(&mut self, wanted: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended without {wanted:?}: {before:?}");
            if line.trim() == wanted {
                return before;
            }
            before.push(line.trim().to_owned());
        }
    }

    fn ends(&mut self) -> bool {
        let mut rest = String::new();
        while self.0.read_line(&mut rest).unwrap() > 0 {}
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_on_one_host_is_heard_on_another_until_the_login_ends() {
    let console = Console::new().await;
    let store = connect(&console.rig.database).await;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let _ended = stop.clone().drop_guard();
    let bus = Bus::start(&store, &BusSettings::default(), &reconciler(&store, &tasks, &stop));
    let services = Services::builder(store, bus.emitter(), Arc::new(SystemClock)).bus(bus).build();
    let elsewhere = listening(sites(), &services, &tasks, &stop).await;

    let admin = console.signed_in(Role::Admin);
    let mut stream = Stream::open(&admin, elsewhere.admin.unwrap());
    let owner = console.rig.owner();
    owner.post("/organizations", &json!({ "name": "Contractors" }));
    stream.until("data: policy");
    console.rig.host().await;
    stream.until("data: hosts");

    let id = &console.people["admin"];
    owner.patch(&format!("/users/{id}"), &json!({ "role": "user" }));
    let before = stream.until("event: over");
    assert!(!before.iter().any(|line| line == "data: policy"), "nothing more is told: {before:?}");
    assert!(stream.ends());
}
