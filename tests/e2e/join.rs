//! A machine becomes a host by one command.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::remotes;
use crate::cluster::{Cluster, LISTED, id};
use crate::host::Host;
use crate::joining::{Joining, invite};
use crate::lab::Lab;
use crate::wait::{wait_for, wait_until};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_third_machine_joins_while_a_client_is_connected() {
    let mut cluster = Cluster::start_in(Lab::new(None).asking(), 2, 1);
    let (client, probe, at) = {
        let early = cluster.user_with_profile("anna");
        cluster.connect(&early)
    };
    let before = client.tunnel();
    let moment = Instant::now();
    let issued = invite(&cluster);

    // A machine that lacks something says what, here and to whoever waits at the console.
    let joining = Joining::new(&cluster, &issued);
    let refused = joining.run(&["--openvpn", "/nonexistent/openvpn"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(
        said.contains("FAIL  openvpn") && said.contains("fix: ") && said.contains("run the same command again"),
        "{said}"
    );
    assert!(!joining.config().exists(), "nothing is written by half");
    let shown = cluster.api(1).get(&format!("/join-tokens/{}", id(&issued)));
    let failed: Vec<&Value> =
        shown["checks"].as_array().unwrap().iter().filter(|check| check["passed"] == false).collect();
    assert!(matches!(&failed[..], [check] if check["name"] == "openvpn" && check["remedy"].is_string()), "{shown}");
    assert_eq!(shown["state"], "open");

    let joined = joining.finish();
    let (config, url) = (joining.config(), joining.url.clone());
    let start = joined["start"].as_str().unwrap();
    assert!(start.ends_with(&format!("serve --config {}", config.display())), "{start}");
    let again = joining.finish();
    assert_eq!(again["host_id"], joined["host_id"], "the same machine may ask again");

    // A copy of the token on another machine is worth nothing.
    let thief = cluster.lab.folder().join("thief");
    let mut command = cluster.lab.machines()[2].namespace.command(env!("CARGO_BIN_EXE_postern"));
    fs::create_dir(&thief).unwrap();
    fs::write(thief.join("token"), issued["token"].as_str().unwrap()).unwrap();
    command.args(["join", &url, "--token-file"]).arg(thief.join("token")).arg("--data-dir").arg(thief.join("data"));
    let stolen = command.arg("--config").arg(thief.join("postern.toml")).output().unwrap();
    assert_eq!(stolen.status.code(), Some(4));
    assert!(text(&stolen.stderr).contains("used by another machine"), "{}", text(&stolen.stderr));
    let trail = cluster.api(0).list("/audit?action=host.join");
    assert!(trail.iter().any(|entry| entry["outcome"] == "denied" && entry["object"] == issued["id"]), "{trail:?}");

    let mut third = Host::joined(&cluster.lab, &cluster.lab.machines()[2], config);
    third.confine(&cluster.lab);
    third.start();
    third.wait_ready();
    cluster.hosts.push(third);
    let third = &cluster.hosts[2];
    cluster.wait_running(third);
    let privileges = third.privileges();
    assert_eq!(privileges.len(), 2, "Postern and its daemon");
    assert!(privileges.iter().all(|one| *one == (65534, 1 << 12)), "CAP_NET_ADMIN and nothing else: {privileges:?}");
    eprintln!("join: from the invitation to a running server in {:?}, refusals included", moment.elapsed());
    let state = |id: &str| cluster.api(0).get(&format!("/hosts/{id}"))["state"].clone();
    wait_until("the new host to be online", LISTED, || state(joined["host_id"].as_str().unwrap()) == "online");

    let (_, findings) = third.try_run(&["doctor"]);
    let enough = "0 failed, 1 with a warning";
    assert!(findings.contains(enough) && findings.contains("not encrypted"), "its rights are enough: {findings}");

    let late = cluster.user_with_profile("bert");
    assert_eq!(remotes(&late.text).len(), 3, "new profiles list the new host");
    let only = crate::client::only(&late.text, third.inet());
    let other = crate::client::Client::connect(&cluster.lab, 1, &only);
    cluster.probe(1).wait_via(third.lan(), Instant::now(), LISTED);
    // Its database user may write nothing else, and that is enough.
    let session = cluster.wait_session_on(&late, third);
    assert!(fs::read_to_string(third.config()).unwrap().contains("mongodb://hst_"), "it has a user of its own");
    let used = cluster.api(0).get(&format!("/profiles/{}", late.id));
    assert_eq!(used["last_connected_at"], session["connected_at"], "{used}");
    other.stop();
    wait_until("the end of the session to be recorded", LISTED, || cluster.sessions(&late).is_empty());
    assert_eq!((client.tunnel(), client.connects()), (before, 1), "nobody who was connected noticed");
    probe.wait_via(cluster.hosts[at].lan(), Instant::now(), Duration::from_secs(10));
}

/// A way to the cluster that swallows the answer to one request: the cluster has acted, the machine does not know.
struct Swallower {
    address: SocketAddr,
    swallowed: Receiver<()>,
}

impl Swallower {
    fn new(cluster: &Cluster, nth: usize) -> Self {
        let machine = &cluster.lab.machines()[2];
        let target = SocketAddr::from((cluster.lab.machines()[0].core, 9443));
        let listener = machine.namespace.enter(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let (tell, swallowed) = sync_channel(16);
        let (namespace, count) = (Arc::clone(&machine.namespace), Arc::new(AtomicUsize::new(0)));
        std::thread::spawn(move || {
            while let Ok((mut machine, _)) = listener.accept() {
                let mut cluster = namespace.enter(|| TcpStream::connect(target).unwrap());
                let mut towards = (machine.try_clone().unwrap(), cluster.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut towards.0, &mut towards.1));
                let mut answer = Vec::new();
                // The machine asks for the end of the connection after each answer.
                if cluster.read_to_end(&mut answer).is_err() {
                    continue;
                }
                if count.fetch_add(1, Ordering::SeqCst) + 1 == nth {
                    let _ = tell.try_send(());
                    // Held open, silent, until the machine dies.
                    let _ = machine.read(&mut [0]);
                } else {
                    let _ = machine.write_all(&answer);
                }
            }
        });
        Self { address, swallowed }
    }
}

#[test]
fn a_join_that_is_killed_anywhere_is_finished_by_the_same_command() {
    let cluster = Cluster::of_two_hosts();
    let issued = invite(&cluster);
    let mut joining = Joining::new(&cluster, &issued);
    let direct = joining.url.clone();
    // The plan; the report on the machine; the redemption; the report on the database.
    for nth in 1..=4 {
        let way = Swallower::new(&cluster, nth);
        joining.url = format!("http://{}", way.address);
        let mut child = joining.start(&[]);
        way.swallowed.recv_timeout(Duration::from_mins(1)).unwrap_or_else(|_| panic!("request {nth} was never made"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!joining.config().exists(), "after request {nth} there is no configuration yet");
    }
    joining.url = direct;
    let joined = joining.finish();
    let hosts = cluster.api(0).list("/hosts");
    let named: Vec<&Value> = hosts.iter().filter(|host| host["name"] == "h3").collect();
    assert!(matches!(&named[..], [host] if host["id"] == joined["host_id"]), "one host came of it: {named:?}");
    let attached = cluster.api(0).list(&format!("/servers/{}/hosts", cluster.server));
    assert_eq!(attached.iter().filter(|item| item["host_id"] == joined["host_id"]).count(), 1);
    let joins = cluster.api(0).list("/audit?action=host.join");
    assert_eq!(joins.len(), 1, "it was recorded once: {joins:?}");
    let left: Vec<_> = fs::read_dir(joining.folder()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the configuration and the data, and no drafts: {left:?}");

    let mut third = Host::joined(&cluster.lab, &cluster.lab.machines()[2], joining.config());
    third.start();
    third.wait_ready();
    wait_for("the server to run on the new host", Duration::from_secs(40), || {
        let attached = cluster.api(0).list(&format!("/servers/{}/hosts", cluster.server));
        attached.into_iter().find(|item| item["host_id"] == joined["host_id"] && item["state"] == "running")
    });
}
