//! `deploy/haproxy` in a real haproxy, in front of two portals and a console.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postern::keys::host::HostKey;
use serde_json::{Value, json};

use crate::api_rig::Caller;
use crate::commands::Installation;
use crate::roles::process;
use crate::self_service_rig::{Issuer, account};
use crate::support::mongod::shared;

const PUBLIC: &str = "vpn.example.com";
const ADMIN: &str = "vpn-admin.internal.example.com";

/// Two free ports of this machine.
fn free_ports() -> [u16; 2] {
    let sockets = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

/// A process behind the proxy, which believes it.
fn behind(machine: Installation, origin: &str) -> Installation {
    let text = fs::read_to_string(machine.config()).unwrap();
    let url = format!("[public]\nurl = \"{origin}\"");
    let text = text.replace("[public]", &url) + "\n[proxy]\ntrusted = [\"127.0.0.1/32\"]\n";
    fs::write(machine.config(), text).unwrap();
    machine
}

/// The proxy; ends with the test.
struct Proxy {
    child: Child,
    folder: tempfile::TempDir,
    public: u16,
    admin: u16,
}

impl Proxy {
    fn start(public: u16, portals: [u16; 2], console: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed([PUBLIC.to_owned(), ADMIN.to_owned()]).unwrap();
        let certificates = folder.path().join("certificates");
        fs::create_dir(&certificates).unwrap();
        fs::write(certificates.join("all.pem"), made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
        let [admin, _] = free_ports();
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/haproxy/haproxy.cfg");
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(config).env("POSTERN_CERTIFICATES", &certificates);
        for (name, port) in [
            ("PUBLIC_BIND", public),
            ("ADMIN_BIND", admin),
            ("PORTAL_1", portals[0]),
            ("PORTAL_2", portals[1]),
            ("CONSOLE", console),
        ] {
            command.env(format!("POSTERN_{name}"), format!("127.0.0.1:{port}"));
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("haproxy is there");
        Self { child, folder, public, admin }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Asks through the proxy by `curl`, which keeps the cookies. Answers status, headers and body.
    fn ask(&self, name: &str, port: u16, path: &str, more: &[&str]) -> (u16, String, String) {
        let jar = self.folder.path().join("jar");
        let mut command = Command::new("curl");
        command.args(["--silent", "--insecure", "--noproxy", "*", "--max-time", "30", "--dump-header", "-"]);
        command.args(["--resolve", &format!("{name}:{port}:127.0.0.1")]).arg("--cookie").arg(&jar);
        command.arg("--cookie-jar").arg(&jar).args(more).arg(format!("https://{name}:{port}{path}"));
        let output = command.output().expect("curl is there");
        let text = String::from_utf8(output.stdout).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, head.to_owned(), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String, String) {
        self.ask(PUBLIC, self.public, path, &[])
    }

    fn post(&self, path: &str, form: &str) -> (u16, String, String) {
        let origin = format!("origin: https://{PUBLIC}:{}", self.public);
        self.ask(
            PUBLIC,
            self.public,
            path,
            &["--header", "sec-fetch-site: same-origin", "--header", &origin, "--data", form],
        )
    }

    /// Asks until the answer is as wanted: portals come and go a moment before the proxy knows.
    #[track_caller]
    fn wait(&self, path: &str, wanted: u16) {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let (status, ..) = self.get(path);
            if status == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{path} answers {status}, not {wanted}: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn location(head: &str) -> String {
    let line = head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap_or_else(|| panic!("{head}"));
    line.trim().to_owned()
}

/// The value of a hidden field of a page.
fn hidden(page: &str, name: &str) -> String {
    let field = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.split_once(&field).unwrap_or_else(|| panic!("no {name} in {page}"));
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_and_a_download_survive_the_death_of_a_portal_behind_haproxy() {
    let issuer = Issuer::start().await;
    let database = shared().database();
    let keyed = Installation::shared(&database);
    keyed.must(&["migrate", "apply"]);
    let key = keyed.folder().join("master.key");
    let [public, _] = free_ports();
    let origin = format!("https://{PUBLIC}:{public}");
    let role = |name: &str, roles: &str| behind(process(&database, name, roles, Some(&key)), &origin);
    let mut portals = [role("portal-1", "[\"portal\"]"), role("portal-2", "[\"portal\"]")];
    let mut console = role("console-1", "[\"console\"]");
    for machine in portals.iter_mut().chain([&mut console]) {
        machine.serve();
    }
    let token = keyed.must(&["token", "create", "--name", "test", "--role", "owner"]).trim().to_owned();
    let owner = Caller::new(([127, 0, 0, 1], console.admin).into(), Some(&token));
    let id = |object: Value| object["id"].as_str().unwrap().to_owned();
    let organization = id(owner.post("/organizations", &json!({ "name": "Acme" })));
    let server = id(owner.post("/servers", &json!({
        "name": "office", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp", "organization_ids": [organization],
    })));
    // A host that has joined and does not run: profiles list it, and no daemon is started on this machine.
    let invited = owner.post("/join-tokens", &json!({ "host_name": "vpn-9", "server_ids": [server] }));
    let key = HostKey::from_bytes(&[5; 32]).public().to_string();
    let shown = json!({ "token": invited["token"], "public_key": key, "public_addresses": ["203.0.113.10"] });
    owner.expect(200, "POST", "/join", Some(&shown));
    let oidc = json!({
        "issuer": issuer.url, "client_id": "postern", "client_secret": "secret", "allowed_domains": ["example.com"],
        "default_organization_id": organization,
    });
    owner.patch("/settings", &json!({ "oidc": oidc }));

    let proxy = Proxy::start(public, [portals[0].public, portals[1].public], console.admin);
    proxy.wait("/sign-in", 200);
    // What is internal is not to be had by the public name, nor the other way round.
    assert_eq!(proxy.get("/api/v1/hosts").0, 404);
    assert_eq!(proxy.ask(ADMIN, proxy.public, "/sign-in", &[]).0, 404);
    assert_eq!(proxy.ask(PUBLIC, proxy.admin, "/api/v1/hosts", &[]).0, 404);
    let bearer = format!("authorization: Bearer {token}");
    assert_eq!(proxy.ask(ADMIN, proxy.admin, "/api/v1/hosts", &["--header", &bearer]).0, 200, "{}", proxy.log());

    let (status, head, body) = proxy.post("/sign-in/start", "");
    assert_eq!(status, 303, "{head}{body}");
    let code = issuer.code(&location(&head), &account("ana"));

    // The portal that began it dies, whichever it was; then the other is all that is left.
    portals[0].kill();
    let query = format!("/oauth/callback?state={}&code={}", code.state.unwrap(), code.code.unwrap());
    let (status, head, body) = proxy.get(&query);
    assert_eq!(status, 303, "{head}{body}{}", proxy.log());
    let (status, head, page) = proxy.get("/profiles/new");
    assert_eq!(status, 200, "{head}{page}");
    portals[0].serve();
    portals[1].kill();
    let form = format!("form_token={}&server_id={server}&name=laptop", hidden(&page, "form_token"));
    // A form is not repeated by the proxy, so a portal must be known to be there.
    proxy.wait("/sessions", 200);
    let (status, head, profile) = proxy.post("/profiles", &form);
    assert_eq!(status, 200, "{head}{profile}{}", proxy.log());
    assert!(head.contains("application/x-openvpn-profile") && profile.contains("\nremote 203.0.113.10 1194"), "{head}");
}
