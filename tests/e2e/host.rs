//! A host: one `postern serve` on one machine of the laboratory, and the daemons it started.

use std::fs;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::api::{Api, status_of};
use crate::faketime::shifted;
use crate::lab::{Lab, Machine};
use crate::wait::{wait_for, wait_until};

const POSTERN: &str = env!("CARGO_BIN_EXE_postern");
/// A user who owns nothing.
const NOBODY: u32 = 65534;
/// How long a host may take to be ready, on a busy machine.
const START: Duration = Duration::from_secs(30);
/// How long `serve` may take to end (contract, section 2), and a little for the busy machine.
const STOP: Duration = Duration::from_secs(12);

/// A machine with a configuration, and `postern serve` on it while it runs.
pub(crate) struct Host {
    machine: Machine,
    config: PathBuf,
    log: PathBuf,
    /// Where the program is, for a host that has one of its own.
    program: Option<PathBuf>,
    /// Whether it runs without root.
    confined: bool,
    /// By how many seconds its clock is ahead.
    ahead: i64,
    /// Whether it may not write the kernel's switches either.
    tunables_protected: bool,
    child: Option<Child>,
}

impl Host {
    /// Writes the configuration of a machine: what it alone knows, the database's address and the master key.
    pub(crate) fn configure(lab: &Lab, machine: &Machine, key: &Path) -> Self {
        let folder = lab.folder().join(&machine.name);
        fs::create_dir(&folder).unwrap();
        let data = folder.join("data");
        let config = folder.join("postern.toml");
        let Machine { name, public, core, .. } = machine;
        let text = format!(
            r#"[host]
name = "{name}"
data_dir = "{data}"
public_address = "{public}"

[database]
uri = "{uri}"
name = "postern"
insecure = {insecure}

[keys]
master_key_file = "{key}"

[public]
listen = "0.0.0.0:8443"
url = "{portal}"

[admin]
listen = "0.0.0.0:9443"
url = "http://{core}:9443"

[ops]
listen = "127.0.0.1:9600"

[vpn]
openvpn = "{openvpn}"

# Plain HTTP off loopback needs a proxy that is believed: here, everybody on the laboratory's networks.
[proxy]
trusted = ["203.0.113.0/24", "10.92.0.0/24"]
"#,
            data = data.display(),
            portal = lab.portal_of(machine),
            uri = lab.uri(),
            insecure = !lab.has_login(),
            key = key.display(),
            openvpn = lab.openvpn().program().display(),
        );
        fs::write(&config, text).unwrap();
        let log = lab.log(&machine.name);
        Self {
            machine: machine.clone(),
            config,
            log,
            program: None,
            confined: false,
            ahead: 0,
            tunables_protected: false,
            child: None,
        }
    }

    /// A machine whose configuration is there already.
    pub(crate) fn joined(lab: &Lab, machine: &Machine, config: PathBuf) -> Self {
        Self {
            machine: machine.clone(),
            config,
            log: lab.log(&machine.name),
            program: None,
            confined: false,
            ahead: 0,
            tunables_protected: false,
            child: None,
        }
    }

    /// From its next start on it runs as its service unit has it: as a user of its own, with `CAP_NET_ADMIN` and no way
    /// to more. Its configuration and data lie in one folder of the laboratory.
    pub(crate) fn confine(&mut self, lab: &Lab) {
        self.install();
        let folder = self.config.parent().expect("the configuration is in a folder");
        fs::set_permissions(lab.folder(), fs::Permissions::from_mode(0o711)).unwrap();
        let owner = format!("{NOBODY}:{NOBODY}");
        let status = Command::new("chown").args(["--recursive", &owner]).arg(folder).status().unwrap();
        assert!(status.success());
        self.confined = true;
    }

    /// From its next start on the clock of the machine is wrong, for Postern and for its daemons.
    pub(crate) fn set_clock(&mut self, ahead: i64) {
        // Daemons get no environment of Postern's, so a script gives it to them.
        let script = self.config.with_file_name("openvpn-of-another-time");
        let text = fs::read_to_string(&self.config).unwrap();
        let line = text.lines().find(|line| line.starts_with("openvpn = ")).expect("the configuration names openvpn");
        let program = line.trim_start_matches("openvpn = ").trim_matches('"');
        let environment = shifted(ahead).map(|(name, value)| format!("{name}={value} ")).concat();
        fs::write(&script, format!("#!/bin/sh\n{environment}exec {program} \"$@\"\n")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let changed = text.replace(line, &format!("openvpn = \"{}\"", script.display()));
        fs::write(&self.config, changed).unwrap();
        self.ahead = ahead;
    }

    /// Stops Postern where it is, and its daemons too if the whole machine is to stand still.
    pub(crate) fn freeze(&self, daemons: bool) {
        self.signal_postern(Signal::STOP);
        if daemons {
            self.signal_daemons(Signal::STOP);
        }
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) {
        self.signal_daemons(Signal::CONT);
        self.signal_postern(Signal::CONT);
    }

    fn signal_postern(&self, signal: Signal) {
        let child = self.child.as_ref().expect("postern runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// From its next start on the kernel's switches are read-only to it, as `ProtectKernelTunables=` of its service unit
    /// makes them.
    pub(crate) fn protect_tunables(&mut self) {
        self.tunables_protected = true;
    }

    /// From its next start on it runs a program of its own, which can be replaced.
    pub(crate) fn install(&mut self) {
        let program = self.config.with_file_name("postern");
        fs::copy(POSTERN, &program).unwrap();
        self.program = Some(program);
    }

    /// Puts another program in the place of the one that runs, as a package manager does: under the same name.
    pub(crate) fn upgrade(&self) {
        let program = self.program.as_ref().expect("it has a program of its own");
        let new = program.with_extension("new");
        fs::copy(POSTERN, &new).unwrap();
        fs::rename(new, program).unwrap();
    }

    /// The processes of the host and, for each, the user that it runs as and what it may do (capabilities(7), a mask).
    pub(crate) fn privileges(&self) -> Vec<(u32, u64)> {
        let postern = self.child.as_ref().map(Pid::from_child);
        let read = |pid: Pid| {
            let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.split_whitespace().next().unwrap().to_owned()
            };
            (field("Uid:").parse().unwrap(), u64::from_str_radix(&field("CapEff:"), 16).unwrap())
        };
        self.daemons().into_iter().chain(postern).map(read).collect()
    }

    /// The file of its configuration.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Writes another database into the configuration; a Postern that runs goes on with the one before.
    pub(crate) fn point_at(&self, uri: &str) {
        let text = fs::read_to_string(&self.config).unwrap();
        let change = |line: &str| if line.starts_with("uri = ") { format!("uri = \"{uri}\"") } else { line.to_owned() };
        fs::write(&self.config, text.lines().map(|line| change(line) + "\n").collect::<String>()).unwrap();
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    pub(crate) fn name(&self) -> &str {
        &self.machine.name
    }

    /// The address that profiles name.
    pub(crate) fn inet(&self) -> Ipv4Addr {
        self.machine.inet
    }

    /// The address on the private network.
    pub(crate) fn lan(&self) -> Ipv4Addr {
        self.machine.lan
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// This host's API.
    pub(crate) fn api(&self, token: &str) -> Api {
        Api::new(&self.machine.namespace, &format!("{}:9443", self.machine.core), token)
    }

    /// Runs a `postern` command of this machine to its end and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub(crate) fn run(&self, command: &[&str]) -> String {
        let output = self.output(command);
        assert!(
            output.status.success(),
            "`postern {}` on {}: {}\n{}{}",
            command.join(" "),
            self.name(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a `postern` command of this machine to its end; answers its exit code and what it printed.
    pub(crate) fn try_run(&self, command: &[&str]) -> (Option<i32>, String) {
        let output = self.output(command);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    fn output(&self, command: &[&str]) -> Output {
        let mut postern = self.command(command);
        postern.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = postern.spawn().expect("ip runs");
        let ended = || child.try_wait().unwrap().is_some();
        wait_until(&format!("`postern {}` on {} to end", command.join(" "), self.name()), START, ended);
        child.wait_with_output().unwrap()
    }

    fn command(&self, command: &[&str]) -> Command {
        let program = self.program.as_deref().unwrap_or(Path::new(POSTERN));
        let mut postern = if self.confined {
            let mut postern = if self.tunables_protected {
                let protect = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec \"$@\"";
                let mut outer = self.machine.namespace.command("unshare");
                outer.args(["--mount", "sh", "-c", protect, "sh", "setpriv"]);
                outer
            } else {
                self.machine.namespace.command("setpriv")
            };
            postern.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}"));
            postern.args(["--clear-groups", "--no-new-privs"]);
            let sets = ["--inh-caps", "--ambient-caps", "--bounding-set"];
            postern.args(sets.map(|set| format!("{set}=-all,+net_admin"))).arg("--").arg(program);
            postern
        } else {
            self.machine.namespace.command(program)
        };
        postern.args(command).arg("--config").arg(&self.config);
        if self.ahead != 0 {
            postern.envs(shifted(self.ahead));
        }
        // The machine that runs the tests must not configure the host.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POSTERN_")) {
            postern.env_remove(name);
        }
        postern
    }

    /// Starts `postern serve`; see [`Host::wait_ready`].
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name());
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let child = self
            .command(&["serve"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("ip runs");
        self.child = Some(child);
    }

    /// Whether Postern was started and has not been ended since.
    pub(crate) fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Waits until the host says that it has started; one that is draining does not call itself ready.
    #[track_caller]
    pub(crate) fn wait_ready(&mut self) {
        let name = self.machine.name.clone();
        wait_until(&format!("{name} to answer /startupz with 200"), START, || {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().unwrap()) {
                panic!("`postern serve` on {name} ended: {status} (log below)");
            }
            status_of(&self.machine.namespace, "http://127.0.0.1:9600/startupz") == Some(200)
        });
    }

    /// Waits until Postern ends by itself; answers its exit code.
    #[track_caller]
    pub(crate) fn wait_end(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("postern runs");
        let name = self.name().to_owned();
        let status =
            wait_for(&format!("`postern serve` on {name} to end by itself"), START, || child.try_wait().unwrap());
        status.code()
    }

    /// What Postern has said so far.
    pub(crate) fn read_log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends a signal to Postern itself.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().expect("postern runs")), signal).unwrap();
    }

    /// The relays of the daemons on this machine.
    pub(crate) fn relays(&self) -> Vec<Pid> {
        let relay = |pid: &Pid| {
            let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
            command.starts_with(b"postern\0relay\0")
        };
        self.machine.namespace.processes().into_iter().filter(relay).collect()
    }

    /// Ends them.
    pub(crate) fn kill_relays(&self) {
        for relay in self.relays() {
            kill_process(relay, Signal::KILL).unwrap();
        }
    }

    /// Where the files of this host are.
    pub(crate) fn data(&self) -> PathBuf {
        self.config.with_file_name("data")
    }

    /// Ends Postern, not its daemons, as a crash would.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("postern runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends Postern by SIGTERM and returns how long it took.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> Duration {
        let mut child = self.child.take().expect("postern runs");
        let from = Instant::now();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        wait_until(&format!("`postern serve` on {} to end", self.name()), STOP, || child.try_wait().unwrap().is_some());
        from.elapsed()
    }

    /// The `openvpn` processes on this machine.
    pub(crate) fn daemons(&self) -> Vec<Pid> {
        let openvpn = |pid: &Pid| {
            let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
            // A program of another Debian release is an argument of its loader.
            command.split(|byte| *byte == 0).any(|word| word.ends_with(b"openvpn"))
        };
        self.machine.namespace.processes().into_iter().filter(openvpn).collect()
    }

    /// Sends a signal to all daemons; there is at least one.
    #[track_caller]
    pub(crate) fn signal_daemons(&self, signal: Signal) {
        let daemons = self.daemons();
        assert!(!daemons.is_empty(), "{} has no openvpn process", self.name());
        for daemon in daemons {
            kill_process(daemon, signal).unwrap();
        }
    }

    /// Both at once: what pulling the plug does to the processes of a machine.
    #[track_caller]
    pub(crate) fn crash(&mut self) {
        // Postern first, or it would start the daemon again.
        self.kill();
        self.signal_daemons(Signal::KILL);
        wait_for("the daemons to be gone", Duration::from_secs(5), || self.daemons().is_empty().then_some(()));
    }

    /// What nftables on this machine holds.
    pub(crate) fn firewall(&self) -> String {
        self.machine.namespace.run("nft", &["list", "ruleset"])
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Makes the master key that the hosts of a cluster share: 64 hex digits, mode 0600.
pub(crate) fn write_master_key(path: &Path) {
    let mut file: File = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).unwrap();
    for _ in 0..4 {
        write!(file, "{}", crate::mongod::random_hex()).unwrap();
    }
    writeln!(file).unwrap();
}
