//! What tests need around a real `openvpn`: network namespaces, certificates, clients.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postern::domain::samples;
use postern::domain::server::{Port, Protocol, Server};
use postern::domain::spec::DaemonSpec;
use postern::openvpn::RuntimeDir;
use postern::openvpn::config::{ClientProfile, DeviceName, Listen, ProfileKeys, Remote, ServerConfig};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::openvpn::OpenVpn as Generation;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A network namespace that goes with the value.
pub(crate) struct Namespace(String);

impl Namespace {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pt{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        run("ip", &["netns", "add", &name]);
        let namespace = Self(name);
        namespace.run(&["ip", "link", "set", "lo", "up"]);
        namespace
    }

    /// Runs a command inside that must succeed; gives its output.
    pub(crate) fn run(&self, command: &[&str]) -> String {
        run("ip", &[&["netns", "exec", &self.0], command].concat())
    }

    /// Runs code on a thread of its own inside; what it spawns is inside too.
    pub(crate) fn inside<T: Send>(&self, code: impl FnOnce() -> T + Send) -> T {
        let path = Path::new("/run/netns").join(&self.0);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace = File::open(path).unwrap();
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                code()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The same for asynchronous code.
    pub(crate) fn block_on<F: Future<Output: Send>>(&self, code: impl FnOnce() -> F + Send) -> F::Output {
        self.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(code())
        })
    }

    /// Joins two namespaces by a cable; gives each end its addresses.
    pub(crate) fn cable(&self, device: &str, addresses: &[&str], other: &Self, addresses_there: &[&str]) {
        let peer = ["link", "add", device, "netns", &self.0, "type", "veth", "peer", "name", device, "netns", &other.0];
        run("ip", &peer);
        for (end, addresses) in [(self, addresses), (other, addresses_there)] {
            for address in addresses {
                let mut add = vec!["ip", "address", "add", address, "dev", device];
                if address.contains(':') {
                    add.push("nodad");
                }
                end.run(&add);
            }
            end.run(&["ip", "link", "set", device, "up"]);
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A certificate authority of its own, with a server's and a client's certificate.
pub(crate) struct Pki(tempfile::TempDir);

impl Pki {
    pub(crate) fn new() -> Self {
        let pki = Self(tempfile::tempdir().unwrap());
        pki.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=root -keyout ca.key -out ca.pem");
        pki.issue("server", "serverAuth");
        pki.issue("client", "clientAuth");
        let generate = |arguments: &[&str]| run("openvpn", arguments);
        let (server, client) = (pki.path("tc-server.pem"), pki.path("tc-client.pem"));
        generate(&["--genkey", "tls-crypt-v2-server", &server]);
        generate(&["--tls-crypt-v2", &server, "--genkey", "tls-crypt-v2-client", &client]);
        pki
    }

    fn issue(&self, name: &str, usage: &str) {
        let extensions = format!("keyUsage=digitalSignature\nextendedKeyUsage={usage}\n");
        std::fs::write(self.path("extensions"), extensions).unwrap();
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name}.test -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -days 2 -extfile extensions -out {name}.pem"
        ));
    }

    fn openssl(&self, arguments: &str) {
        let mut openssl = Command::new("openssl");
        let output = openssl.args(arguments.split(' ')).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The path of a file beside the keys.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The SHA-256 of the client's certificate.
    pub(crate) fn client_fingerprint(&self) -> [u8; 32] {
        let text = run("openssl", &["x509", "-in", &self.path("client.pem"), "-noout", "-fingerprint", "-sha256"]);
        let (_, digits) = text.trim().split_once('=').unwrap();
        let bytes: Vec<u8> = digits.split(':').map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        bytes.try_into().unwrap()
    }

    /// A daemon's directory with its keys.
    pub(crate) fn runtime_dir(&self) -> RuntimeDir {
        let dir = RuntimeDir::prepare(self.0.path().join("daemon")).unwrap();
        let files = [
            (RuntimeDir::AUTHORITIES, "ca.pem"),
            (RuntimeDir::CERTIFICATE, "server.pem"),
            (RuntimeDir::KEY, "server.key"),
            (RuntimeDir::TLS_CRYPT, "tc-server.pem"),
        ];
        for (name, source) in files {
            dir.write(name, self.read(source).as_bytes()).unwrap();
        }
        dir
    }

    /// The client's profile for one address.
    pub(crate) fn profile(&self, address: &str, protocol: Protocol) -> String {
        let remotes = [Remote { address: address.parse().unwrap(), port: port(), protocol }];
        let [authorities, certificate, key, tls_crypt] =
            ["ca.pem", "client.pem", "client.key", "tc-client.pem"].map(|name| self.read(name));
        // What openssl prints before a certificate is no PEM.
        let certificate = &certificate[certificate.find("-----BEGIN").unwrap()..];
        let keys = ProfileKeys { authorities: &authorities, certificate, key: &key, tls_crypt: &tls_crypt };
        let server_name = "server.test".parse().unwrap();
        ClientProfile::new(&remotes, &server_name, keys).unwrap().to_text().unwrap()
    }

    /// Starts a client that makes no device, with its log in a file.
    pub(crate) fn client(&self, namespace: &Namespace, profile: &str) -> Client {
        self.client_of(Generation::Installed, namespace, profile, &[])
    }

    /// The same of this generation, with further options.
    pub(crate) fn client_of(
        &self,
        openvpn: Generation,
        namespace: &Namespace,
        profile: &str,
        options: &[&str],
    ) -> Client {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let (config, log) = (self.path(&format!("{number}.ovpn")), self.0.path().join(format!("{number}.log")));
        std::fs::write(&config, profile).unwrap();
        let mut command = Command::new(openvpn.program());
        command.args(["--config", &config, "--dev", "null", "--ifconfig-noexec", "--route-noexec", "--verb", "4"]);
        command.args(["--pull-filter", "ignore", "tun-mtu"]).args(options);
        if !profile.contains(" tcp\n") {
            command.args(["--explicit-exit-notify", "1"]);
        }
        command.stdin(Stdio::null()).stdout(File::create(&log).unwrap());
        Client { child: namespace.inside(|| command.spawn().unwrap()), log }
    }
}

pub(crate) fn port() -> Port {
    Port::try_from(1194).unwrap()
}

/// A server on all addresses.
pub(crate) fn server(protocol: Protocol) -> ServerConfig {
    ServerConfig {
        device: DeviceName::new("pst0").unwrap(),
        spec: DaemonSpec::of(&Server { network: samples::text("10.88.0.0/24"), protocol, ..samples::server(1) }),
        listen: Listen::everywhere_here(),
        max_clients: 100,
    }
}

/// A running client; killed when dropped.
pub(crate) struct Client {
    child: Child,
    log: PathBuf,
}

impl Client {
    /// Waits until its log holds this.
    pub(crate) fn says(&self, what: &str) {
        until(&format!("{what:?} in the client's log"), || self.log().contains(what), || self.log());
    }

    /// Waits for its end.
    pub(crate) fn ends(&mut self) {
        let log = self.log.clone();
        let child = &mut self.child;
        until("the client's end", || child.try_wait().unwrap().is_some(), || std::fs::read_to_string(&log).unwrap());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool, context: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}\n{}", context());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Stands between a manager and a daemon and writes down what they say: `> ` the manager, `< ` the daemon.
pub(crate) struct Tap {
    lines: Arc<Mutex<String>>,
    socket: PathBuf,
}

impl Tap {
    /// A tap before the daemon of this directory, which must be running.
    pub(crate) fn new(dir: &RuntimeDir) -> Self {
        let socket = dir.file("tap.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let lines = Arc::new(Mutex::new(String::new()));
        let (daemon_path, written) = (dir.file(RuntimeDir::MANAGEMENT), Arc::clone(&lines));
        std::thread::spawn(move || {
            let (manager, _) = listener.accept().unwrap();
            until("the management socket", || UnixStream::connect(&daemon_path).is_ok(), String::new);
            let daemon = UnixStream::connect(&daemon_path).unwrap();
            let (from, to, lines) = (manager.try_clone().unwrap(), daemon.try_clone().unwrap(), Arc::clone(&written));
            std::thread::spawn(move || pump("> ", from, to, &lines));
            pump("< ", daemon, manager, &written);
        });
        Self { lines, socket }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Leaves the transcript in the build directory; the ones beside the tests are copies of such.
    pub(crate) fn save(&self, name: &str) {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("transcripts");
        std::fs::create_dir_all(&dir).unwrap();
        let here = self.socket.parent().unwrap().to_str().unwrap();
        std::fs::write(dir.join(name), self.lines.lock().unwrap().replace(here, "/run/daemon")).unwrap();
    }
}

fn pump(mark: &str, mut from: UnixStream, mut to: UnixStream, lines: &Mutex<String>) {
    let (mut buffer, mut partial) = ([0; 4096], Vec::new());
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            break;
        }
        // Written down before it is passed on, so that no answer stands before its question.
        partial.extend_from_slice(&buffer[..count]);
        while let Some(end) = partial.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = partial.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line);
            let mut lines = lines.lock().unwrap();
            *lines += mark;
            *lines += text.trim_end();
            *lines += "\n";
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
