//! A process serves what its roles say, and nothing else.

use std::net::TcpStream;
use std::path::Path;

use serde_json::json;

use crate::api_rig::Caller;
use crate::commands::Installation;
use crate::support::mongod::{TestDatabase, shared};

/// A process with these roles on a shared database, as one of several of a cluster: all have one master key, but for
/// one that only serves VPN, which has none.
pub(crate) fn process(database: &TestDatabase, name: &str, roles: &str, key: Option<&Path>) -> Installation {
    let table = format!("[database]\nuri = \"{}\"\nname = \"{}\"\n", database.uri, database.name);
    let machine = Installation::with(&table, &format!("roles = {roles}"));
    let mut text = std::fs::read_to_string(machine.config()).unwrap().replace("\"vpn-1\"", &format!("\"{name}\""));
    let own = machine.folder().join("master.key");
    if let Some(key) = key {
        text = text.replace(&own.display().to_string(), &key.display().to_string());
    } else {
        text.truncate(text.find("[keys]").unwrap());
        std::fs::remove_file(own).unwrap();
    }
    std::fs::write(machine.config(), text).unwrap();
    machine
}

/// Which listeners are open: public, admin.
fn open(machine: &Installation) -> (bool, bool) {
    let answers = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
    (answers(machine.public), answers(machine.admin))
}

fn ask(port: u16, path: &str, token: Option<&str>) -> u16 {
    Caller::new(([127, 0, 0, 1], port).into(), token).send("GET", path, &[], None).status
}

#[test]
fn each_role_alone_serves_its_own_and_a_vpn_host_has_no_master_key() {
    let database = shared().database();
    let keyed = Installation::shared(&database);
    keyed.must(&["migrate", "apply"]);
    let token = keyed.must(&["token", "create", "--name", "test", "--role", "owner"]).trim().to_owned();
    let key = keyed.folder().join("master.key");
    let mut portal = process(&database, "portal-1", "[\"portal\"]", Some(&key));
    let mut console = process(&database, "console-1", "[\"console\"]", Some(&key));
    let mut jobs = process(&database, "jobs-1", "[\"jobs\"]", Some(&key));
    let mut vpn = process(&database, "vpn-9", "[\"vpn\"]", None);
    for machine in [&mut portal, &mut console, &mut jobs] {
        let own = machine.folder().join("own.key");
        std::fs::copy(&key, &own).unwrap();
        let text = std::fs::read_to_string(machine.config()).unwrap();
        let text = text.replace(&key.display().to_string(), &own.display().to_string());
        std::fs::write(machine.config(), text).unwrap();
        machine.confine();
        machine.serve();
        assert_eq!(machine.privileges(), (65534, 0), "nothing but the VPN needs a capability, or root");
    }
    vpn.serve();

    assert_eq!(open(&portal), (true, false));
    assert_eq!(open(&console), (false, true));
    assert_eq!(open(&jobs), (false, false));
    assert_eq!(open(&vpn), (false, false));
    for machine in [&portal, &console, &jobs, &vpn] {
        assert_eq!(ask(machine.ops, "/healthz", None), 200);
        assert_eq!(ask(machine.ops, "/api/v1/hosts", Some(&token)), 404, "the ops listener has no API");
    }
    assert_eq!(ask(portal.public, "/sign-in", None), 200);
    assert_eq!(ask(portal.public, "/api/v1/hosts", Some(&token)), 404);
    assert_eq!(ask(console.admin, "/api/v1/hosts", Some(&token)), 200);
    assert_eq!(ask(console.admin, "/help", Some(&token)), 404);

    let owner = Caller::new(([127, 0, 0, 1], console.admin).into(), Some(&token));
    let hosts = owner.get("/hosts");
    let hosts = hosts["items"].as_array().unwrap();
    let roles_of = |name: &str| hosts.iter().find(|host| host["name"] == name).map(|host| host["roles"].clone());
    assert_eq!(roles_of("vpn-9"), Some(json!(["vpn"])));
    assert_eq!(roles_of("jobs-1"), Some(json!(["jobs"])));
    assert!(!vpn.folder().join("master.key").exists() && !vpn.folder().join("data/master.key").exists());

    // A host without the role is given no server to run.
    let server = json!({ "name": "office", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp" });
    let server = owner.post("/servers", &server)["id"].as_str().unwrap().to_owned();
    for host in hosts.iter().filter(|host| host["name"] != "vpn-9") {
        let path = format!("/servers/{server}/hosts/{}", host["id"].as_str().unwrap());
        let refused = owner.ask("PUT", &path, None);
        assert_eq!(refused.checked(), 409, "{refused:?}");
        assert!(refused.json()["detail"].as_str().unwrap().contains("does not have the role vpn"), "{refused:?}");
    }
}
