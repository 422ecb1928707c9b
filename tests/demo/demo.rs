//! A tour of Postern on this machine: three hosts, a database of three members, a private network and people's laptops,
//! each in a network namespace of its own, with real `openvpn` and `mongod`.
//!
//! `make demo` builds and runs it, as root. It tells what happens while it happens, with times that were measured at the
//! private page: a laptop fetches it ten times in a second, and how long it was out of reach is what a person would have
//! noticed. It takes less than two minutes, and leaves nothing behind, also when it is interrupted.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a tour ends at the first surprise, and is told on standard output"
)]

#[path = "../support/mod.rs"]
mod support;

use support::{faketime, mongod, netns, openvpn};

/// The laboratory of the end-to-end tests, of which the tour uses a part.
macro_rules! laboratory {
    ($($name:ident = $path:literal),*) => {$(
        #[path = $path]
        #[allow(dead_code, clippy::print_stderr, reason = "the end-to-end tests use the rest")]
        mod $name;
    )*};
}

laboratory!(
    api = "../e2e/api.rs",
    client = "../e2e/client.rs",
    cluster = "../e2e/cluster.rs",
    host = "../e2e/host.rs",
    joining = "../e2e/joining.rs",
    lab = "../e2e/lab.rs",
    page = "../e2e/page.rs",
    wait = "../e2e/wait.rs"
);

mod stage;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use client::Client;
use cluster::{Cluster, LISTED};
use host::Host;
use joining::{Joining, invite};
use lab::Lab;
use page::Probe;
use stage::{Narrator, seconds};
use wait::{wait_for, wait_until};

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(1);
/// The members of the database.
const MEMBERS: usize = 3;
/// Within which time people are moved to other hosts.
const BUDGET: u64 = 3;

fn main() -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        println!("The demo makes network namespaces and tunnels, which is root's work: sudo make demo");
        return ExitCode::FAILURE;
    }
    let stage = stage::Stage::set();
    let told = catch_unwind(AssertUnwindSafe(|| tour(&Narrator::new())));
    stage.clear();
    if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One laptop, connected by whatever host, and what its owner sees.
struct Laptop {
    client: Client,
    probe: Probe,
}

impl Laptop {
    /// The host that it goes by now.
    fn host(&self, cluster: &Cluster) -> usize {
        cluster.number_of(self.client.remote())
    }
}

fn tour(tell: &Narrator) {
    let mut cluster = beginning(tell);
    let (anna, laptop) = connecting(tell, &cluster);
    joining(tell, &mut cluster, &laptop);
    let laptop = updating(tell, &cluster, &anna.user, laptop);
    draining(tell, &cluster, &laptop);
    crashing(tell, &mut cluster, &laptop);
    losing_the_database(tell, &cluster, &laptop);
    removing(tell, &mut cluster, &laptop);
    tell.end("That was all. Everything is being taken down again.");
}

fn beginning(tell: &Narrator) -> Cluster {
    tell.chapter("A cluster");
    tell.line("a MongoDB replica set of three members and two hosts start; an administrator makes a server");
    let cluster = Cluster::start_in(Lab::new(None), 2, MEMBERS);
    tell.line("h1 and h2 are online, and each runs the server \"office\" as an openvpn process");
    cluster
}

fn connecting(tell: &Narrator, cluster: &Cluster) -> (cluster::Profile, Laptop) {
    tell.chapter("Anna connects");
    let anna = cluster.user_with_profile("anna");
    let hosts = client::remotes(&anna.text).len();
    tell.line(format_args!(
        "her profile is issued: one file, which lists {hosts} hosts and holds the only copy of her key"
    ));
    let from = Instant::now();
    let (client, probe, at) = cluster.connect(&anna);
    let laptop = Laptop { client, probe };
    let address = anna.address;
    let by = cluster.hosts[at].name();
    tell.line(format_args!(
        "connected by {by} with the address {address}, which is hers on every host ({})",
        seconds(from.elapsed())
    ));
    tell.line("the private page answers her, and is out of reach without the tunnel");
    (anna, laptop)
}

fn joining(tell: &Narrator, cluster: &mut Cluster, laptop: &Laptop) {
    tell.chapter("A third machine joins, by one command");
    let issued = invite(cluster);
    let command = issued["command"].as_str().unwrap();
    let (shown, rest) = command.split_at(command.len().min(24));
    let rest = rest.split_once(" | ").map_or("", |(_, rest)| rest);
    tell.line(format_args!("h3$ {shown}… | {rest}"));
    let from = Instant::now();
    let third = {
        let joining = Joining::new(cluster, &issued);
        joining.finish();
        tell.line(format_args!(
            "the machine was looked at, has a key of its own, and knows the database ({})",
            seconds(from.elapsed())
        ));
        Host::joined(&cluster.lab, &cluster.lab.machines()[2], joining.config())
    };
    cluster.hosts.push(third);
    cluster.hosts[2].start();
    cluster.hosts[2].wait_ready();
    cluster.wait_running(&cluster.hosts[2]);
    tell.line(format_args!("h3 serves clients, {} after the command; it has no master key", seconds(from.elapsed())));
    tell.line(format_args!("Anna noticed nothing: {}", gap(laptop, from)));
}

fn updating(tell: &Narrator, cluster: &Cluster, user: &str, laptop: Laptop) -> Laptop {
    let profile = cluster.profile(user, "laptop, with three hosts");
    drop(laptop.client);
    drop(laptop.probe);
    let client = Client::connect(&cluster.lab, 0, &profile.text);
    let probe = cluster.probe(0);
    probe.wait_up(Instant::now(), PATIENCE);
    let laptop = Laptop { client, probe };
    let (hosts, at) = (client::remotes(&profile.text).len(), laptop.host(cluster));
    tell.line(format_args!(
        "with a new profile, which lists {hosts} hosts, she connects by {}",
        cluster.hosts[at].name()
    ));
    laptop
}

fn draining(tell: &Narrator, cluster: &Cluster, laptop: &Laptop) {
    let at = laptop.host(cluster);
    let name = cluster.hosts[at].name();
    tell.chapter("Maintenance: a host leaves service");
    let path = format!("/hosts/{}", cluster.host_id(&cluster.hosts[at]));
    tell.line(format_args!("$ postern host drain {name} --budget {BUDGET}s"));
    let from = Instant::now();
    cluster.any_api().post(&format!("{path}/drain"), &json!({ "budget_seconds": BUDGET }));
    let drain = wait_for("the host to be drained", PATIENCE, || {
        Some(cluster.any_api().get(&path)["drain"].take()).filter(|drain| drain["state"] == "drained")
    });
    let moved = &drain["moved"];
    wait_until("the laptop to be on another host", PATIENCE, || laptop.host(cluster) != at);
    laptop.probe.wait_via(cluster.hosts[laptop.host(cluster)].lan(), from, PATIENCE);
    let to = cluster.hosts[laptop.host(cluster)].name();
    tell.line(format_args!(
        "{name} is drained after {}: {moved} session moved, Anna goes by {to} now",
        seconds(from.elapsed())
    ));
    tell.line(format_args!("she saw a blink: {}", gap(laptop, from)));
    cluster.any_api().act(&format!("{path}/resume"));
    cluster.wait_running(&cluster.hosts[at]);
    tell.line(format_args!("$ postern host resume {name}    # it accepts new sessions again"));
}

fn crashing(tell: &Narrator, cluster: &mut Cluster, laptop: &Laptop) {
    let at = laptop.host(cluster);
    let name = cluster.hosts[at].name().to_owned();
    tell.chapter("A crash");
    tell.line(format_args!("{name}, which Anna goes by, dies without a word"));
    let from = Instant::now();
    cluster.hosts[at].crash();
    wait_until("the laptop to be on another host", PATIENCE, || laptop.host(cluster) != at);
    let to = &cluster.hosts[laptop.host(cluster)];
    laptop.probe.wait_via(to.lan(), from, PATIENCE);
    tell.line(format_args!("her client noticed the silence and took the next host of its profile, {}", to.name()));
    tell.line(format_args!("same client, same address: {}", gap(laptop, from)));
}

fn losing_the_database(tell: &Narrator, cluster: &Cluster, laptop: &Laptop) {
    tell.chapter("The database dies, all three members");
    let bert = cluster.user_with_profile("bert");
    // Both hosts that are left know of him before it happens.
    let early = Client::connect_soon(&cluster.lab, 1, &bert.text);
    early.stop();
    let from = Instant::now();
    (0..MEMBERS).for_each(|member| cluster.lab.mongod().kill(member));
    tell.line("gone. The hosts go on by what they knew last");
    let began = Instant::now();
    let newcomer = Client::connect_soon(&cluster.lab, 1, &bert.text);
    let by = cluster.hosts[cluster.number_of(newcomer.remote())].name();
    tell.line(format_args!("Bert comes to work, and is let in by {by} all the same ({})", seconds(began.elapsed())));
    tell.line(format_args!("Anna noticed nothing: {}", gap(laptop, from)));
    (0..MEMBERS).for_each(|member| cluster.lab.mongod().restart(member));
    let api = cluster.any_api();
    let listed = |answer: Value| answer["items"].as_array().is_some_and(|items| items.len() == 2);
    wait_until("what happened meanwhile to be written down", PATIENCE, || {
        let answer = api.send("GET", "/sessions", None, "application/json");
        answer.is_ok_and(|answer| answer.status == 200 && listed(answer.json()))
    });
    tell.line(format_args!("it is back, and knows of both of them (away for {})", seconds(from.elapsed())));
    newcomer.stop();
}

fn removing(tell: &Narrator, cluster: &mut Cluster, laptop: &Laptop) {
    let dead = cluster.hosts.iter().position(|host| !host.runs()).expect("one host has crashed");
    let name = cluster.hosts[dead].name().to_owned();
    tell.chapter("The dead machine is given up");
    let id = cluster.host_id(&cluster.hosts[dead]);
    tell.line(format_args!("$ postern host remove {name}"));
    let from = Instant::now();
    cluster.any_api().delete(&format!("/hosts/{id}?force=true"));
    let third = cluster.any_api().list("/hosts").len();
    tell.line(format_args!("{third} hosts are left; somebody switches {name} on again"));
    cluster.hosts[dead].start();
    let code = cluster.hosts[dead].wait_end().unwrap_or_default();
    tell.line(format_args!(
        "it hears that it was removed, and ends with exit code {code}: its key makes no host again"
    ));
    laptop.probe.wait_up(Instant::now(), LISTED);
    tell.line(format_args!("Anna noticed nothing: {}", gap(laptop, from)));
}

/// How long the page was out of reach since a moment, as a person would say it.
fn gap(laptop: &Laptop, from: Instant) -> String {
    let gap = laptop.probe.longest_gap(from);
    let ordinary = Duration::from_millis(500);
    if gap < ordinary {
        format!("no fetch of the page was late by more than {}", seconds(gap))
    } else {
        format!("the page was away for {}", seconds(gap))
    }
}
