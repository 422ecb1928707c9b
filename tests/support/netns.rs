//! Network namespaces: the machines of a test, without machines.
//!
//! A [`Namespace`] is one machine with a network stack of its own. It is removed, with every process in it, when it is
//! dropped, also by a panic. A run that was killed cannot do that, so names carry the process that made them, and
//! [`sweep`] removes what dead processes left.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What the names of all namespaces of the tests begin with.
const PREFIX: &str = "postern";

/// Where `ip netns exec` finds files that take the place of those in `/etc`.
const FILES: &str = "/etc/netns";

/// One network namespace, with its loopback up.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace whose name is unique; `label` says which machine it plays.
    pub(crate) fn new(label: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}-{label}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        ip(&format!("netns add {name}\n"));
        let namespace = Self { name };
        ip(&format!("-n {} link set lo up\n", namespace.name));
        namespace
    }

    /// The name that `ip netns` knows it by.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run `program` inside. The pid of its child is that of the program.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a program inside to its end and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.command(program).args(args).stdin(Stdio::null()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "in {}: {program} {args:?}: {}: {error}", self.name, output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Changes links, addresses and routes inside, one `ip` command a line.
    pub(crate) fn ip(&self, lines: &str) {
        batch(&["-n", &self.name], lines);
    }

    /// What the programs inside that are started from now on find in `/etc/hosts`.
    pub(crate) fn know(&self, hosts: &str) {
        let folder = Path::new(FILES).join(&self.name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("hosts"), hosts).unwrap();
    }

    /// Calls `work` on a thread of its own that has entered the namespace, and returns what it returned.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.move_this_thread();
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread inside, for good, with the threads it will start.
    pub(crate) fn move_this_thread(&self) {
        let file = File::open(Path::new("/run/netns").join(&self.name)).expect("the namespace exists");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("entering the namespace");
    }

    /// The live processes inside.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        processes(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// A cable between two namespaces. Both ends are up; addresses are the caller's.
pub(crate) fn wire(left: &Namespace, left_end: &str, right: &Namespace, right_end: &str) {
    ip(&format!(
        "link add {left_end} netns {left} type veth peer name {right_end} netns {right}\n",
        left = left.name,
        right = right.name
    ));
    left.ip(&format!("link set {left_end} up\n"));
    right.ip(&format!("link set {right_end} up\n"));
}

/// Removes the namespaces, and the processes inside, of test processes that are no more.
pub(crate) fn sweep() {
    for name in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = name.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse().ok());
        if maker.and_then(Pid::from_raw).is_some_and(|pid| test_kill_process(pid).is_err()) {
            remove(&name);
        }
    }
}

/// Removes the namespaces of this process, and the processes inside, whoever still holds them.
pub(crate) fn remove_own() {
    let own = format!("{PREFIX}{}-", std::process::id());
    for name in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = name.file_name().to_string_lossy().into_owned();
        if name.starts_with(&own) {
            remove(&name);
        }
    }
}

fn remove(name: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let processes = processes(name);
        for process in &processes {
            let _ = kill_process(*process, Signal::KILL);
        }
        if processes.is_empty() || Instant::now() > deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
    let _ = std::fs::remove_dir_all(Path::new(FILES).join(name));
}

fn processes(name: &str) -> Vec<Pid> {
    let output = Command::new("ip").args(["netns", "pids", name]).output().expect("ip runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| line.trim().parse().ok().and_then(Pid::from_raw)).collect()
}

fn ip(lines: &str) {
    for line in lines.lines() {
        let args: Vec<_> = line.split_whitespace().collect();
        let output = Command::new("ip").args(&args).output().expect("ip runs (package iproute2)");
        assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn batch(options: &[&str], lines: &str) {
    let mut child = Command::new("ip")
        .args(options)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ip runs (package iproute2)");
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "ip {options:?}: {lines}{}", String::from_utf8_lossy(&output.stderr));
}
