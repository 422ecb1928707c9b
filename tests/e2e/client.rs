//! A real OpenVPN client with a real tunnel.

use std::fs;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::faketime::shifted;
use crate::lab::Lab;
use crate::netns::Namespace;
use crate::openvpn::OpenVpn;
use crate::wait::{wait_for, wait_until};

const CONNECT: Duration = Duration::from_secs(30);

/// An `openvpn` process with a profile. Ends with a farewell to the server when dropped.
pub(crate) struct Client {
    child: Child,
    log: PathBuf,
    namespace: Arc<Namespace>,
}

impl Client {
    /// Starts it on a client machine, 0 to 2, with the profile as it was downloaded.
    pub(crate) fn start(lab: &Lab, machine: usize, profile: &str) -> Self {
        Self::launch(lab, machine, profile, &[])
    }

    /// The same of this generation of OpenVPN.
    pub(crate) fn start_of(lab: &Lab, openvpn: OpenVpn, machine: usize, profile: &str) -> Self {
        Self::run(&openvpn.program(), lab, machine, profile, &[])
    }

    /// One of many: it connects like any other, but has no device and sets no routes.
    pub(crate) fn start_without_device(lab: &Lab, machine: usize, profile: &str) -> Self {
        // Without the filter it would end at the pushed MTU.
        let nothing = ["--dev", "null", "--ifconfig-noexec", "--route-noexec", "--pull-filter", "ignore", "tun-mtu"];
        Self::launch(lab, machine, profile, &nothing)
    }

    /// One that calls itself OpenVPN 3. Nothing else of it is: what a host makes of a client goes by its word.
    pub(crate) fn start_as_three(lab: &Lab, machine: usize, profile: &str) -> Self {
        let mut program = fs::read("/usr/sbin/openvpn").unwrap();
        // The version by itself, between zeros, is what goes into IV_VER.
        let place = |window: &[u8]| window.starts_with(b"\x002.6.") && window.ends_with(b"\0");
        let at = (6..9).find_map(|length| program.windows(length).position(place)).expect("it has a version");
        program[at + 1] = b'3';
        let path = lab.folder().join("openvpn3");
        fs::write(&path, program).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self::run(&path, lab, machine, profile, &[])
    }

    /// One on a machine whose clock is ahead by so many seconds, or behind.
    pub(crate) fn start_at_another_time(lab: &Lab, machine: usize, profile: &str, ahead: i64) -> Self {
        let path = lab.folder().join("openvpn-of-another-time");
        let environment = shifted(ahead).map(|(name, value)| format!("{name}={value} ")).concat();
        fs::write(&path, format!("#!/bin/sh\n{environment}exec openvpn \"$@\"\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self::run(&path, lab, machine, profile, &[])
    }

    fn launch(lab: &Lab, machine: usize, profile: &str, options: &[&str]) -> Self {
        Self::run(Path::new("openvpn"), lab, machine, profile, options)
    }

    fn run(program: &Path, lab: &Lab, machine: usize, profile: &str, options: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("client{}-c{}", NUMBER.fetch_add(1, Ordering::Relaxed), machine + 1);
        let path = lab.folder().join(format!("{name}.ovpn"));
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).unwrap();
        file.write_all(profile.as_bytes()).unwrap();
        let log = lab.log(&name);
        let namespace = Arc::clone(lab.client(machine));
        let child = namespace
            .command(program)
            .arg("--config")
            .arg(&path)
            .args(["--verb", "3", "--log"])
            .arg(&log)
            // Without the farewell, the port may be dealt out again while the server still knows the old client.
            .args(["--explicit-exit-notify", "1"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ip runs");
        Self { child, log, namespace }
    }

    /// Starts it and waits until its tunnel is up.
    #[track_caller]
    pub(crate) fn connect(lab: &Lab, machine: usize, profile: &str) -> Self {
        Self::connect_of(lab, OpenVpn::Installed, machine, profile)
    }

    /// The same of this generation of OpenVPN.
    #[track_caller]
    pub(crate) fn connect_of(lab: &Lab, openvpn: OpenVpn, machine: usize, profile: &str) -> Self {
        let mut client = Self::start_of(lab, openvpn, machine, profile);
        wait_until("the client to connect (its log is below)", CONNECT, || {
            assert!(client.runs(), "the client ended instead of connecting (its log is below)");
            client.connects() > 0
        });
        client
    }

    /// Starts it again and again until it gets in: for a permission that hosts hear of a moment later.
    #[track_caller]
    pub(crate) fn connect_soon(lab: &Lab, machine: usize, profile: &str) -> Self {
        let mut client = Self::start(lab, machine, profile);
        wait_until("the client to be let in (its logs are below)", CONNECT, || {
            if !client.runs() {
                client = Self::start(lab, machine, profile);
            }
            client.connects() > 0
        });
        client
    }

    /// What it has said so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// How often it was told this by a server, going by its log.
    pub(crate) fn heard(&self, words: &str) -> usize {
        self.text().matches(words).count()
    }

    /// How often it has come to a working tunnel.
    pub(crate) fn connects(&self) -> usize {
        self.text().matches("Initialization Sequence Completed").count()
    }

    /// Whether a server has refused it for good.
    pub(crate) fn was_refused(&self) -> bool {
        self.text().contains("AUTH_FAILED")
    }

    /// Whether the process lives.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The address of the host that it last spoke to successfully.
    pub(crate) fn remote(&self) -> Ipv4Addr {
        let text = self.text();
        let at = text.rsplit("Peer Connection Initiated with [AF_INET]").next().unwrap_or_default();
        let address = at.split(':').next().unwrap_or_default();
        address.parse().unwrap_or_else(|_| panic!("no connection in the client's log: {address:?}"))
    }

    /// The name and the IPv4 address of its tunnel device, as the kernel has them.
    #[track_caller]
    pub(crate) fn tunnel(&self) -> (String, Ipv4Addr) {
        wait_for("the client's tunnel device", Duration::from_secs(5), || {
            let text = self.namespace.run("ip", &["-j", "-4", "address", "show"]);
            let devices: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
            let device = devices.iter().find(|d| d["ifname"].as_str().is_some_and(|name| name.starts_with("tun")))?;
            let address = device["addr_info"][0]["local"].as_str()?.parse().ok()?;
            Some((device["ifname"].as_str()?.to_owned(), address))
        })
    }

    /// The process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Ends it without a goodbye, as a battery that is empty does.
    pub(crate) fn vanish(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in good order and waits for that.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.runs() {
            let _ = kill_process(self.pid(), Signal::TERM);
            let deadline = std::time::Instant::now() + Duration::from_secs(5);
            while self.runs() && std::time::Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end();
    }
}

/// The hosts that a profile names, in its order.
pub(crate) fn remotes(profile: &str) -> Vec<Ipv4Addr> {
    let remote = |line: &str| line.strip_prefix("remote ")?.split(' ').next()?.parse().ok();
    profile.lines().filter_map(remote).collect()
}

/// The profile with its hosts in this order, which clients keep.
pub(crate) fn in_order(profile: &str, hosts: &[Ipv4Addr]) -> String {
    let line = |host: &Ipv4Addr| {
        let of = |line: &&str| line.starts_with(&format!("remote {host} "));
        profile.lines().find(of).unwrap_or_else(|| panic!("the profile names {host}"))
    };
    let remotes: String = hosts.iter().fold(String::new(), |text, host| text + line(host) + "\n");
    let rest = profile.lines().filter(|line| !line.starts_with("remote ") && *line != "remote-random");
    rest.fold(remotes, |text, line| text + line + "\n")
}

/// The profile with one host only.
pub(crate) fn only(profile: &str, host: Ipv4Addr) -> String {
    let keep = |line: &&str| !line.starts_with("remote ") || line.starts_with(&format!("remote {host} "));
    let mut text: String = profile.lines().filter(keep).fold(String::new(), |text, line| text + line + "\n");
    assert_eq!(remotes(&text), [host], "the profile names {host}");
    text.push('\n');
    text
}

/// The profile with a host in the first place, which is tried first.
pub(crate) fn first(profile: &str, host: Ipv4Addr) -> String {
    let mut lines: Vec<&str> = profile.lines().filter(|line| *line != "remote-random").collect();
    let begin = lines.iter().position(|line| line.starts_with("remote ")).expect("the profile names hosts");
    let wanted = format!("remote {host} ");
    let at = lines.iter().position(|line| line.starts_with(&wanted)).expect("the profile names this host");
    lines.swap(begin, at);
    lines.join("\n") + "\n"
}
