//! Our keys and certificates in the hands of a real `openvpn`: a server with `force-cookie` and a client, on the
//! loopback of a network namespace of their own.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use postern::domain::authority::AuthorityKind;
use postern::domain::clock::{Clock, SystemClock};
use postern::domain::ids::{Id, ProfileId};
use postern::keys::tls_crypt::{MAX_METADATA, ServerKey};
use postern::pki::authority::Authority;
use postern::pki::request::LeafKey;
use tempfile::TempDir;

const HOST_NAME: &str = "postern-c1";
/// Generous: a handshake takes some 20 ms, the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(30);

/// A certificate and its private key, in PEM form.
struct Leaf {
    certificate: String,
    key: String,
}

/// Both roots, a leaf of each kind, and the tls-crypt-v2 key of the server.
struct Cluster {
    client_root: Authority,
    server_root: Authority,
    profile: Leaf,
    host: Leaf,
    tls_crypt: ServerKey,
}

impl Cluster {
    fn new() -> Self {
        let now = SystemClock.now();
        let end = now + SignedDuration::from_hours(24);
        let client_root = root(AuthorityKind::Client, now);
        let server_root = root(AuthorityKind::Server, now);
        let key = LeafKey::generate().unwrap();
        let id = ProfileId::from_parts(now, 7);
        let certificate = client_root.issue_client(&key.public_key(), id, now, end).unwrap().pem;
        let profile = Leaf { certificate, key: key.pem().expose().clone() };
        let key = LeafKey::generate().unwrap();
        let certificate = server_root.sign_host_csr(&key.csr_pem().unwrap(), HOST_NAME, now, end).unwrap().pem;
        let host = Leaf { certificate, key: key.pem().expose().clone() };
        Self { client_root, server_root, profile, host, tls_crypt: ServerKey::generate() }
    }

    /// A server's configuration in which `leaf` is shown and `trusted` is asked of clients. Its tls-crypt-v2 key has to
    /// be a file: beside an inline one `force-cookie` cannot be said.
    fn server(leaf: &Leaf, trusted: &Authority) -> String {
        let mut text = String::from(
            "dev tun\ntopology subnet\nserver 10.91.0.0 255.255.255.0\nlocal 127.0.0.1\nproto udp\nport 1194\n\
             dh none\ntls-version-min 1.2\nremote-cert-tls client\nverify-client-cert require\nkeepalive 2 6\nverb 4\n",
        );
        text.push_str("tls-crypt-v2 server.key force-cookie\n");
        identity(&mut text, leaf, trusted);
        text
    }

    /// A client's configuration; `tls_crypt` is its key.
    fn client(leaf: &Leaf, trusted: &Authority, tls_crypt: &str) -> String {
        let mut text = format!(
            "client\ndev null\nifconfig-noexec\nroute-noexec\npull-filter ignore tun-mtu\nremote 127.0.0.1 1194 udp\n\
             nobind\nserver-poll-timeout 4\nremote-cert-tls server\nverify-x509-name {HOST_NAME} name\n\
             explicit-exit-notify 1\nverb 4\n"
        );
        inline(&mut text, "tls-crypt-v2", tls_crypt);
        identity(&mut text, leaf, trusted);
        text
    }
}

fn root(kind: AuthorityKind, now: Timestamp) -> Authority {
    let new = Authority::create(kind, "aut_1", now).unwrap();
    Authority::load(kind, &new.certificate_pem, new.key_pem.expose()).unwrap()
}

fn identity(text: &mut String, leaf: &Leaf, trusted: &Authority) {
    inline(text, "ca", trusted.certificate_pem());
    inline(text, "cert", &leaf.certificate);
    inline(text, "key", &leaf.key);
}

fn inline(text: &mut String, name: &str, body: &str) {
    write!(text, "<{name}>\n{body}</{name}>\n").unwrap();
}

/// A child process, killed by its pid on drop.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A network namespace with a loopback. It lives as long as a process that waits for the end of our pipe.
struct Namespace {
    holder: Process,
    folder: TempDir,
}

impl Namespace {
    fn new() -> Self {
        let script = "ip link set lo up && echo ready && exec cat";
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = Process(command.spawn().expect("unshare is installed"));
        let mut line = String::new();
        BufReader::new(holder.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { holder, folder: tempfile::tempdir().unwrap() }
    }

    /// Starts a server and waits until it listens.
    fn server(&self, cluster: &Cluster, leaf: &Leaf, trusted: &Authority) -> Daemon {
        std::fs::write(self.folder.path().join("server.key"), cluster.tls_crypt.to_pem().expose()).unwrap();
        let mut server = self.openvpn("server", &Cluster::server(leaf, trusted));
        server.says(UP);
        server
    }

    /// Starts `openvpn` in here, with its log in a file.
    fn openvpn(&self, name: &str, config: &str) -> Daemon {
        let path = self.folder.path().join(format!("{name}.conf"));
        std::fs::write(&path, config).unwrap();
        let log = self.folder.path().join(format!("{name}.log"));
        let process = Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", self.holder.0.id()))
            .args(["openvpn", "--config"])
            .arg(path)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .expect("nsenter is installed");
        Daemon { process: Process(process), log }
    }
}

/// A running `openvpn`.
struct Daemon {
    process: Process,
    log: PathBuf,
}

impl Daemon {
    /// Waits until the log says `text`.
    fn says(&mut self, text: &str) {
        let started = Instant::now();
        while !self.said(text) {
            let over = self.process.0.try_wait().unwrap().is_some() || started.elapsed() > DEADLINE;
            // Looks once more, for what it said with its last breath.
            assert!(!over || self.said(text), "no {text:?} in\n{}", read(&self.log));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn said(&self, text: &str) -> bool {
        read(&self.log).contains(text)
    }
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap()
}

const UP: &str = "Initialization Sequence Completed";

/// What OpenSSL says of a certificate whose extended key usage is for the other part.
const WRONG_PART: &str = "VERIFY ERROR: depth=0, error=unsuitable certificate purpose";
/// What it says of one from a root that is not trusted but was sent along.
const WRONG_ROOT: &str = "VERIFY ERROR: depth=1, error=self-signed certificate in certificate chain";

#[test]
fn openvpn_connects_with_our_keys_and_certificates() {
    let cluster = Cluster::new();
    let namespace = Namespace::new();
    let _server = namespace.server(&cluster, &cluster.host, &cluster.client_root);
    for (name, metadata) in [("short", &b"prf_1"[..]), ("longest", &[b'x'; MAX_METADATA])] {
        let key = cluster.tls_crypt.client_key(metadata).unwrap();
        let mut client = namespace.openvpn(name, &Cluster::client(&cluster.profile, &cluster.server_root, key.pem()));
        client.says(UP);
        assert!(client.said("TLSv1.3"), "{}", read(&client.log));
    }
}

#[test]
fn a_client_key_wrapped_by_another_server_key_is_refused() {
    let cluster = Cluster::new();
    let namespace = Namespace::new();
    let mut server = namespace.server(&cluster, &cluster.host, &cluster.client_root);
    let key = ServerKey::generate().client_key(b"prf_1").unwrap();
    let client = namespace.openvpn("client", &Cluster::client(&cluster.profile, &cluster.server_root, key.pem()));
    server.says("client key authentication error");
    assert!(!client.said("TLS: Initial packet"), "the server answered:\n{}", read(&client.log));
}

/// The client may trust the right root or, by mistake, the one of the profiles.
#[test]
fn a_profile_that_acts_as_server_is_refused() {
    let cluster = Cluster::new();
    let namespace = Namespace::new();
    let _server = namespace.server(&cluster, &cluster.profile, &cluster.client_root);
    let key = cluster.tls_crypt.client_key(b"prf_1").unwrap();
    for (name, trusted, refusal) in
        [("right", &cluster.server_root, WRONG_ROOT), ("mistaken", &cluster.client_root, WRONG_PART)]
    {
        let mut client = namespace.openvpn(name, &Cluster::client(&cluster.profile, trusted, key.pem()));
        client.says(refusal);
        assert!(!client.said(UP), "{}", read(&client.log));
    }
}

/// The server may trust the right root or, by mistake, the one of the hosts.
#[test]
fn a_host_that_acts_as_client_is_refused() {
    let cluster = Cluster::new();
    let key = cluster.tls_crypt.client_key(b"prf_1").unwrap();
    for (trusted, refusal) in [(&cluster.client_root, WRONG_ROOT), (&cluster.server_root, WRONG_PART)] {
        let namespace = Namespace::new();
        let mut server = namespace.server(&cluster, &cluster.host, trusted);
        let client = namespace.openvpn("client", &Cluster::client(&cluster.host, &cluster.server_root, key.pem()));
        server.says(refusal);
        assert!(!client.said(UP), "{}", read(&client.log));
    }
}

#[test]
fn a_host_of_another_name_is_refused() {
    let cluster = Cluster::new();
    let namespace = Namespace::new();
    let _server = namespace.server(&cluster, &cluster.host, &cluster.client_root);
    let key = cluster.tls_crypt.client_key(b"prf_1").unwrap();
    let config = Cluster::client(&cluster.profile, &cluster.server_root, key.pem()).replace(HOST_NAME, "postern-c2");
    let mut client = namespace.openvpn("client", &config);
    client.says("VERIFY X509NAME ERROR");
    assert!(!client.said(UP), "{}", read(&client.log));
}
