//! The pages of hosts: what they show, what their forms do, and a machine that joins while somebody watches.

use jiff::Timestamp;
use mongodb::bson::{Document, doc};
use postern::domain::drain::DrainProgress;
use postern::domain::ids::{HostId, ServerId};
use postern::domain::probe::{ProbeResult, ProbeTarget};
use postern::domain::role::Role;
use postern::domain::server::{DaemonState, Protocol};
use postern::keys::host::HostKey;
use postern::services::hosts::joining::HostDatabase;
use postern::services::{AttachmentKey, DaemonStatus};
use serde_json::{Value, json};

use crate::api_rig::{Answer, Caller};
use crate::console_rig::{Console, Visitor, value_of};

/// The page is whole, and shows this.
#[track_caller]
fn shows(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.contains(text), "{text:?} is missing: {}", answer.body);
}

/// A cluster with a server and two hosts that run it.
struct World {
    console: Console,
    owner: Visitor,
    server: ServerId,
    hosts: [HostId; 2],
}

impl World {
    async fn new() -> Self {
        let uri = postern::domain::secret::Secret::new("mongodb://db.internal/?replicaSet=t".to_owned());
        let console = Console::for_hosts(HostDatabase { uri, name: "postern".to_owned(), for_hosts: true }).await;
        let body = json!({
            "name": "office", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp",
            "organization_ids": [console.organization],
        });
        let api = console.rig.owner();
        let server: ServerId = api.post("/servers", &body)["id"].as_str().unwrap().parse().unwrap();
        let hosts = [console.rig.host().await, console.rig.host().await];
        let owner = console.signed_in(Role::Owner);
        let world = Self { console, owner, server, hosts };
        for host in hosts {
            api.expect(204, "PUT", &format!("/servers/{server}/hosts/{host}"), None);
            world.says(host, DaemonState::Running).await;
        }
        world
    }

    async fn says(&self, host: HostId, state: DaemonState) {
        let key = AttachmentKey { server_id: self.server, host_id: host };
        let status = DaemonStatus { key, state, detail: None };
        self.console.rig.services.network().report_daemon(&status).await.unwrap();
    }

    /// What `by` sees of the server on `host`: an answer, or this instead of one.
    async fn sees(&self, by: HostId, host: HostId, detail: Option<&str>) {
        let target = ProbeTarget {
            server_id: self.server,
            host_id: host,
            address: "203.0.113.10".parse().unwrap(),
            port: 1194.try_into().unwrap(),
            protocol: Protocol::Udp,
        };
        let result = ProbeResult { target, ok: detail.is_none(), detail: detail.map(str::to_owned) };
        assert!(self.console.rig.services.network().report_probes(by, &[result], &[host].into()).await.unwrap());
    }

    /// What the API says of a host of the server.
    fn attached(&self, host: HostId) -> Value {
        let hosts = self.console.rig.owner().get(&format!("/servers/{}/hosts", self.server));
        hosts["items"].as_array().unwrap().iter().find(|found| found["host_id"] == host.to_string()).unwrap().clone()
    }

    fn name(&self, host: HostId) -> String {
        self.console.rig.owner().get(&format!("/hosts/{host}"))["name"].as_str().unwrap().to_owned()
    }

    /// Sends the form of a host's page.
    fn act(&mut self, host: HostId, what: &str, fields: &[(&str, &str)]) -> Answer {
        let path = format!("/hosts/{host}");
        let revision = value_of(&self.owner.get(&path).body, "revision").unwrap();
        let mut all = vec![("revision", revision.as_str())];
        all.extend(fields);
        self.owner.post(&path, &format!("{path}{what}"), &all)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_drained_watched_taken_back_and_removed() {
    let mut world = World::new().await;
    let [leaves, stays] = world.hosts;
    world.console.rig.services.hosts().beat(leaves, 3).await.unwrap();
    let path = format!("/hosts/{leaves}");
    let list = world.owner.get("/hosts");
    shows(&list, 200, &format!("<a href=\"{path}\">"));
    shows(&list, 200, "<td class=\"number\" data-label=\"Sessions\">3</td>");
    assert!(!list.body.contains("Different releases"), "{}", list.body);

    let refused = world.act(leaves, "/delete", &[]);
    shows(&refused, 409, "it carries 3 live sessions");
    shows(&refused, 409, "drain it first, or tick the box to cut off");
    world.says(stays, DaemonState::Failed).await;
    let refused = world.act(leaves, "/drain", &[("budget", "60")]);
    shows(&refused, 409, "attach and start another host first, or tick the box to end its sessions");
    shows(&world.act(leaves, "/drain", &[("budget", "soon")]), 422, "href=\"#budget\">");

    world.says(stays, DaemonState::Running).await;
    assert_eq!(world.act(leaves, "/drain", &[("budget", "60")]).header("location"), path);
    let page = world.owner.get(&path);
    shows(&page, 200, "The host leaves service.");
    shows(&page, 200, "The host has not taken the order up yet.");
    let order = world.console.rig.owner().get(&path)["drain"]["started_at"].as_str().unwrap().to_owned();
    let order: Timestamp = order.parse().unwrap();
    let progress = DrainProgress { order, taken_up_at: order, remaining: 2, refused: 5, held: false, drained_at: None };
    let services = &world.console.rig.services;
    assert!(services.hosts().report_drain(leaves, &progress).await.unwrap());
    let page = world.owner.get(&path);
    shows(&page, 200, "0 moved, 2 still here, 0 gone and not seen on another host.");
    shows(&page, 200, "Cancel drain</button>");
    assert_eq!(world.act(leaves, "/resume", &[]).status, 303);
    shows(&world.owner.get(&path), 200, "The host accepts new sessions again.");

    assert_eq!(world.act(leaves, "/drain", &[("budget", "30"), ("force", "yes")]).status, 303);
    assert_eq!(world.act(leaves, "/delete", &[("force", "yes")]).header("location"), "/hosts");
    shows(&world.owner.get("/hosts"), 200, "The host is removed.");
    shows(&world.owner.get(&path), 404, "There is nothing here");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_host_sees_is_shown_and_a_shut_door_makes_a_host_ill() {
    const ILL: &str = "Not reached from outside";
    let mut world = World::new().await;
    let [host, other] = world.hosts;
    let (path, name) = (format!("/hosts/{host}"), world.name(other));
    shows(&world.owner.get(&path), 200, "not probed lately");
    assert_eq!(world.attached(host)["reached"], Value::Null);

    world.sees(other, host, Some("no answer within 3 s")).await;
    let page = world.owner.get(&path);
    shows(&page, 200, &format!("No answer to {name} (udp 1194)"));
    shows(&page, 200, "no answer within 3 s, ");
    shows(&world.owner.get("/"), 200, ILL);
    shows(&world.owner.get("/"), 200, &format!("{name} sees no answer within 3 s at 203.0.113.10, udp port 1194"));
    let reached = world.attached(host)["reached"].clone();
    let told = [&reached["by"], &reached["ok"], &reached["detail"], &reached["port"], &reached["protocol"]];
    let expected = json!([other, false, "no answer within 3 s", 1194, "udp"]);
    assert_eq!(json!(told), expected, "{reached}");
    reached["at"].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert_eq!(world.attached(other)["reached"], Value::Null, "it looked, and nobody looked at it");

    // Of a daemon that does not serve, everybody knows why it does not answer.
    world.says(host, DaemonState::Starting).await;
    shows(&world.owner.get(&path), 200, "accepts no new sessions");
    assert!(!world.owner.get("/").body.contains(ILL));
    world.says(host, DaemonState::Running).await;
    shows(&world.owner.get("/"), 200, ILL);

    world.sees(other, host, None).await;
    shows(&world.owner.get(&path), 200, &format!("Reached from {name}"));
    assert_eq!(world.attached(host)["reached"]["ok"], true);
    assert!(!world.owner.get("/").body.contains(ILL));

    // What was seen long ago says nothing about now.
    let status = world.console.rig.database.open().await.collection::<Document>("host_status");
    let long_ago = doc! { "$set": { "looks.at": mongodb::bson::DateTime::from_millis(1_000) } };
    status.update_one(doc! { "_id": other.to_string() }, long_ago).await.unwrap();
    shows(&world.owner.get(&path), 200, "not probed lately");
    assert_eq!(world.attached(host)["reached"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_probes_the_next_two_that_are_there_and_serve() {
    let world = World::new().await;
    let services = &world.console.rig.services;
    let mut hosts = world.hosts.to_vec();
    for _ in 0..4 {
        let host = world.console.rig.host().await;
        world.console.rig.owner().expect(204, "PUT", &format!("/servers/{}/hosts/{host}", world.server), None);
        world.says(host, DaemonState::Running).await;
        hosts.push(host);
    }
    let target = |host: &HostId| ProbeTarget {
        server_id: world.server,
        host_id: *host,
        address: "203.0.113.10".parse().unwrap(),
        port: 1194.try_into().unwrap(),
        protocol: Protocol::Udp,
    };
    let targets: Vec<ProbeTarget> = hosts.iter().map(target).collect();
    let tried = async || -> Vec<HostId> {
        services
            .network()
            .targets_to_probe(targets.clone())
            .await
            .unwrap()
            .into_iter()
            .map(|target| target.host_id)
            .collect()
    };
    assert_eq!(tried().await, [hosts[0], hosts[1]]);
    services.hosts().beat_last(hosts[0]).await.unwrap();
    world.says(hosts[1], DaemonState::Failed).await;
    world.says(hosts[2], DaemonState::Draining).await;
    assert_eq!(tried().await, [hosts[2], hosts[3]]);
    assert!(services.network().targets_to_probe(Vec::new()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_attached_and_detached_and_a_host_is_renamed() {
    let mut world = World::new().await;
    let [host, _] = world.hosts;
    let (path, server) = (format!("/hosts/{host}"), world.server.to_string());
    shows(&world.owner.get(&path), 200, &format!("<a href=\"/servers/{server}\">office</a>"));
    assert_eq!(world.act(host, "/detach", &[("server_id", &server)]).status, 303);
    let page = world.owner.get(&path);
    shows(&page, 200, "No server is attached to it");
    shows(&page, 200, &format!("<option value=\"{server}\">office</option>"));
    assert_eq!(world.act(host, "/attach", &[("server_id", &server)]).status, 303);
    shows(&world.act(host, "/attach", &[("server_id", "none")]), 422, "Choose a server.");

    shows(&world.act(host, "", &[("name", "Not A Host")]), 422, "value=\"Not A Host\"");
    assert_eq!(world.act(host, "", &[("name", "vpn-renamed")]).status, 303);
    shows(&world.owner.get(&path), 200, "<h1>vpn-renamed</h1>");
    let old = [("name", "vpn-late"), ("revision", "1")];
    shows(&world.owner.post(&path, &path, &old), 409, "changed this");

    // What a role does not allow is not offered.
    let mut auditor = world.console.signed_in(Role::Auditor);
    let page = auditor.get(&path);
    for missing in ["Drain host", "Remove host", "Detach", "Attach server", "Rename host"] {
        assert!(!page.body.contains(missing), "{missing}: {}", page.body);
    }
    assert!(!auditor.get("/hosts").body.contains("Join a host"));
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_differ_are_seen() {
    let mut world = World::new().await;
    let status = world.console.rig.database.open().await.collection::<mongodb::bson::Document>("host_status");
    let older = mongodb::bson::doc! { "$set": { "version": "0.0.9" } };
    status.update_one(mongodb::bson::doc! { "_id": world.hosts[0].to_string() }, older).await.unwrap();
    let list = world.owner.get("/hosts");
    shows(&list, 200, "Different releases run side by side");
    shows(&list, 200, &format!("0.0.9 on 1 host, {} on 1 host", env!("CARGO_PKG_VERSION")));
    assert_eq!(list.body.matches("</svg>older</span>").count(), 1, "{}", list.body);
    shows(&world.owner.get(&format!("/hosts/{}", world.hosts[0])), 200, "Others run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_joins_while_somebody_watches() {
    let mut world = World::new().await;
    let server = world.server.to_string();
    shows(&world.owner.get("/hosts/join"), 200, &format!("value=\"{server}\" checked"));
    shows(&world.owner.post("/hosts/join", "/hosts/join", &[("host_name", "Not A Host")]), 422, "href=\"#host_name\">");
    let made = world.owner.post("/hosts/join", "/hosts/join", &[("host_name", "vpn-9"), ("server_ids", &server)]);
    shows(&made, 201, "postern join http://");
    shows(&made, 201, "Waiting for the machine");
    let (_, rest) = made.body.split_once("printf %s ").unwrap();
    let token = rest.split_once(' ').unwrap().0.to_owned();
    let (_, rest) = made.body.split_once("data-look=\"").unwrap();
    let path = rest.split_once('"').unwrap().0.to_owned();
    assert!(path.starts_with("/hosts/join/"), "the page asks for another, which shows no secret: {path}");
    let page = world.owner.get(&path);
    shows(&page, 200, "The command was shown once");
    assert!(!page.body.contains(&token), "{}", page.body);
    shows(&world.owner.get("/hosts"), 200, &format!("<a href=\"{path}\">vpn-9</a>"));

    let key = HostKey::from_bytes(&[9; 32]);
    let machine = Caller::new(world.console.rig.addresses.admin.unwrap(), None);
    let checks = json!([
        { "name": "tun", "passed": true },
        { "name": "clock", "passed": false, "cause": "40 s behind", "remedy": "timedatectl set-ntp true" },
    ]);
    let mut body = json!({ "token": token, "public_key": key.public().to_string(), "checks": checks });
    machine.expect(200, "POST", "/join/checks", Some(&body));
    let page = world.owner.get(&path);
    shows(&page, 200, "<code>timedatectl set-ntp true</code>");
    shows(&page, 200, "Not in order");

    body = json!({ "token": token, "public_key": key.public().to_string(), "public_addresses": ["203.0.113.9"] });
    let host: HostId = machine.expect(200, "POST", "/join", Some(&body))["host_id"].as_str().unwrap().parse().unwrap();
    shows(&world.owner.get(&path), 200, "It runs server office");
    world.console.rig.services.hosts().beat(host, 0).await.unwrap();
    world.says(host, DaemonState::Running).await;
    shows(&world.owner.get(&path), 200, "Not looked at yet");
    for other in world.hosts {
        world.says(other, DaemonState::Failed).await;
    }
    shows(&world.owner.get(&path), 200, "No other host can look yet");
    world.sees(world.hosts[0], host, Some("no answer within 3 s")).await;
    let page = world.owner.get(&path);
    shows(&page, 200, "UDP port 1194 is reachable from another host");
    shows(&page, 200, "Not reachable");
    shows(&page, 200, &format!("{} dialled 203.0.113.10 and saw no answer within 3 s.", world.name(world.hosts[0])));
    shows(&page, 200, "<code>tcpdump -ni any udp port 1194</code>");
    assert!(!page.body.contains("vpn-9 is in service"), "{}", page.body);
    world.sees(world.hosts[0], host, None).await;
    let page = world.owner.get(&path);
    shows(&page, 200, "</svg>Reachable</span>");
    shows(&page, 200, "vpn-9 is in service");
    shows(&page, 200, &format!("<a href=\"/hosts/{host}\">Go to the host</a>"));
    assert!(!world.owner.get("/hosts").body.contains("Open invitations"));

    let made = world.owner.post("/hosts/join", "/hosts/join", &[("host_name", "vpn-10")]);
    let (_, rest) = made.body.split_once("data-look=\"").unwrap();
    let path = rest.split_once('"').unwrap().0.to_owned();
    let gone = world.owner.post(&path, &format!("{path}/withdraw"), &[]);
    assert_eq!(gone.header("location"), "/hosts");
    shows(&world.owner.get("/hosts"), 200, "The join token is withdrawn.");
    shows(&world.owner.get(&path), 404, "There is nothing here");
}
