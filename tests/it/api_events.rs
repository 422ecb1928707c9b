//! `/events`: what a program hears of the cluster, where it goes on after an interruption, and when it hears no more.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use postern::domain::clock::SystemClock;
use postern::domain::role::Role;
use postern::services::Services;
use postern::store::{Bus, BusSettings};
use serde_json::{Value, json};

use crate::api_rig::{Caller, Rig, listening, settings};
use crate::store::{connect, reconciler};

/// An event as it came.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

/// A stream, read line by line; what does not come fails the test in the end.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(address: SocketAddr, token: &str, after: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let after = after.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let head =
            format!("GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{after}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut stream = Self(BufReader::new(stream));
        while stream.line() != ": hello" {}
        stream
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
        line.trim().to_owned()
    }

    /// The next event of a name.
    #[track_caller]
    fn until(&mut self, name: &str) -> Event {
        loop {
            let event = self.next();
            if event.name == name {
                return event;
            }
        }
    }

    #[track_caller]
    fn next(&mut self) -> Event {
        let mut id = String::new();
        loop {
            let line = self.line();
            if let Some(text) = line.strip_prefix("id: ") {
                text.clone_into(&mut id);
            } else if let Some(name) = line.strip_prefix("event: ") {
                let data = self.line();
                let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                return Event { id, name: name.to_owned(), data };
            }
        }
    }

    fn ends(mut self) -> bool {
        let mut rest = String::new();
        while self.0.read_line(&mut rest).unwrap() > 0 {}
        true
    }
}

/// Another process over the same database, one with ears.
async fn elsewhere(rig: &Rig) -> SocketAddr {
    let store = connect(&rig.database).await;
    let bus = Bus::start(&store, &BusSettings::default(), &reconciler(&store, &rig.tasks, &rig.stop));
    let services = Services::builder(store, bus.emitter(), Arc::new(SystemClock)).bus(bus).build();
    let addresses = listening(settings(), &services, &rig.tasks, &rig.stop).await;
    addresses.admin.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_heard_elsewhere_and_nothing_is_lost_in_between() {
    let rig = Rig::new().await;
    let (owner, address) = (rig.owner(), elsewhere(&rig).await);
    let token = &rig.tokens["auditor"];
    let mut stream = Stream::open(address, token, None);
    let make = |name: &str| owner.post("/organizations", &json!({ "name": name }));
    make("first");
    let first = stream.until("policy");
    assert!(first.data["revision"].as_i64().unwrap() > 0 && first.id.len() == 24, "{first:?}");
    let host = rig.host().await;
    assert_eq!(stream.until("host.change").data, json!({ "host_id": host }));
    make("second");
    let second = stream.until("policy");
    drop(stream);

    make("third");
    let third = second.data["revision"].as_i64().unwrap() + 1;
    let mut again = Stream::open(address, token, Some(&second.id));
    loop {
        let event = again.until("policy");
        if event.data["revision"] == third {
            break;
        }
    }
    make("fourth");
    while again.until("policy").data["revision"] != third + 1 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_not_known_any_more_leads_to_one_resync() {
    let rig = Rig::new().await;
    let (owner, address) = (rig.owner(), elsewhere(&rig).await);
    let mut stream = Stream::open(address, &rig.tokens["owner"], Some("0123456789abcdef01234567"));
    let resync = stream.next();
    assert_eq!((resync.name.as_str(), &resync.data), ("resync", &json!({})));
    assert_eq!(resync.id.len(), 24, "and where to go on");
    owner.post("/organizations", &json!({ "name": "Acme" }));
    stream.until("policy");
    let mut again = Stream::open(address, &rig.tokens["owner"], Some(&resync.id));
    assert_ne!(again.next().name, "resync");

    for bad in ["1", "0123456789abcdef0123456g", "0123456789ABCDEF0123456701"] {
        let caller = Caller::new(address, Some(&rig.tokens["owner"]));
        assert_eq!(caller.send("GET", "/api/v1/events", &[("last-event-id", bad)], None).checked(), 400, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_token_and_a_token_has_few_of_them() {
    let rig = Rig::new().await;
    let (owner, address) = (rig.owner(), elsewhere(&rig).await);
    let made = owner.post("/tokens", &json!({ "name": "follower", "role": "auditor" }));
    let token = made["token"].as_str().unwrap().to_owned();
    let mut streams: Vec<_> = (0..4).map(|_| Stream::open(address, &token, None)).collect();
    let caller = Caller::new(address, Some(&token));
    let refused = caller.ask("GET", "/events", None);
    assert_eq!(refused.checked(), 429, "{refused:?}");
    assert!(!refused.header("retry-after").is_empty());
    let mut other = Stream::open(address, &rig.tokens["auditor"], None);

    owner.expect(204, "DELETE", &format!("/tokens/{}", made["id"].as_str().unwrap()), None);
    for stream in &mut streams {
        stream.until("over");
    }
    assert!(streams.into_iter().all(Stream::ends));
    assert_eq!(other.until("token.change").data, json!({ "token_id": made["id"] }), "others go on");
    rig.as_role(Role::User).expect(403, "GET", "/events", None);
    owner.expect(409, "GET", "/events", None);
}
