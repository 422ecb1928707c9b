//! How long a client waits for its tunnel, with Postern and without.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::cluster::{Cluster, Profile};
use crate::netns::Namespace;
use crate::report::{Figure, Row, Unit};
use crate::tunnel::Tunnel;

pub(crate) const METHOD: &str = "A real client, from its start until it says \"Initialization Sequence Completed\". In \
    turns through Postern's daemon and through a bare `openvpn` server on the same machine, with the same options and \
    keys, but without management: it gives addresses and routes by itself. Every profile connects once each way.";

const SAMPLES: usize = 25;
const BARE_PORT: u16 = 1294;

pub(crate) fn measure() -> Vec<Row> {
    let cluster = Cluster::start(1, 1);
    let profiles: Vec<_> = (0..SAMPLES).map(|number| cluster.user_with_profile(&format!("user{number}"))).collect();
    let _bare = bare_server(&cluster);
    let machine = cluster.lab.client(0);
    // Programs and libraries are in memory before it counts.
    let warm = cluster.user_with_profile("warm");
    connect(&cluster, machine, &warm.text);
    connect(&cluster, machine, &bare_profile(&cluster, &warm));

    let (mut postern, mut bare) = (Vec::new(), Vec::new());
    for profile in &profiles {
        postern.push(connect(&cluster, machine, &profile.text));
        bare.push(connect(&cluster, machine, &bare_profile(&cluster, profile)));
    }
    let postern = Row::times("connect: through Postern", postern);
    let bare = Row::times("connect: through a bare server", bare);
    let ratio = postern.median() / bare.median();
    let ratio = Row::single("connect: Postern to bare, medians", Unit::Ratio, ratio).target(Figure::Median, 1.5);
    vec![postern, bare, ratio]
}

fn connect(cluster: &Cluster, machine: &Namespace, profile: &str) -> std::time::Duration {
    let mut client = Tunnel::client(&cluster.lab, machine, profile);
    client.wait_up() - client.began()
}

fn bare_profile(cluster: &Cluster, profile: &Profile) -> String {
    let line = |port: u16| format!("remote {} {port} udp", cluster.hosts[0].inet());
    let text = profile.text.replace(&line(1194), &line(BARE_PORT));
    assert_ne!(text, profile.text);
    text
}

/// A server from the files of Postern's daemon, without Postern.
fn bare_server(cluster: &Cluster) -> Tunnel {
    let daemon = folder_of_daemon(&cluster.lab.folder().join("h1/data")).expect("the daemon has a configuration");
    let folder = cluster.lab.folder().join("bare");
    fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
    for file in fs::read_dir(&daemon).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), folder.join(file.file_name())).unwrap();
        }
    }
    let text = fs::read_to_string(daemon.join("daemon.conf")).unwrap();
    let mut options: Vec<_> = text.lines().filter_map(bare_option).collect();
    options.push("push \"route 10.93.0.0 255.255.255.0\"".to_owned());
    fs::write(folder.join("bare.conf"), options.join("\n") + "\n").unwrap();
    let mut command = cluster.hosts[0].machine().namespace.command("openvpn");
    command.arg("--cd").arg(&folder).args(["--config", "bare.conf"]);
    let mut server = Tunnel::start(command);
    server.wait_up();
    server
}

/// An option of the daemon as the bare server has it, if it does.
fn bare_option(line: &str) -> Option<String> {
    let word = line.split(' ').next().unwrap_or_default();
    match word {
        "management" | "management-hold" | "management-client-auth" | "auth-user-pass-optional" | "writepid" => None,
        "server" => Some("server 10.201.0.0 255.255.0.0".to_owned()),
        "port" => Some(format!("port {BARE_PORT}")),
        "dev" => Some("dev bare".to_owned()),
        _ => Some(line.to_owned()),
    }
}

fn folder_of_daemon(folder: &Path) -> Option<PathBuf> {
    if folder.join("daemon.conf").is_file() {
        return Some(folder.to_owned());
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().is_dir()).find_map(|entry| folder_of_daemon(&entry.path()))
}
