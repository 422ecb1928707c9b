//! An OpenVPN client whose every line is dated as it is written.
//!
//! The client of the end-to-end tests writes a log that is read now and then; here, milliseconds count, so the lines
//! come through a pipe.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::Lab;
use crate::netns::Namespace;

const CONNECTED: &str = "Initialization Sequence Completed";
/// More lines than a client writes in its life here.
const LINES: usize = 10_000;

/// A running `openvpn`, ended when dropped.
pub(crate) struct Tunnel {
    child: Child,
    lines: Receiver<(Instant, String)>,
    log: Vec<String>,
    began: Instant,
}

impl Tunnel {
    /// Starts a client with a profile.
    pub(crate) fn client(lab: &Lab, namespace: &Namespace, profile: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let path = lab.folder().join(format!("bench{}.ovpn", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).unwrap();
        file.write_all(profile.as_bytes()).unwrap();
        let mut command = namespace.command("openvpn");
        command.arg("--config").arg(&path).args(["--verb", "3"]);
        Self::start(command)
    }

    /// Starts an `openvpn` that writes to its standard output.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let began = Instant::now();
        let mut child = command.spawn().expect("ip runs");
        let output = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = sync_channel(LINES);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if tell.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, log: Vec::new(), began }
    }

    /// When it was started.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Waits until it is up; returns when that was.
    pub(crate) fn wait_up(&mut self) -> Instant {
        self.wait_line(&[CONNECTED])
    }

    /// Waits for a line with one of these texts; returns when it was written.
    pub(crate) fn wait_line(&mut self, texts: &[&str]) -> Instant {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let Ok((at, line)) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
                panic!("openvpn never said any of {texts:?}, but:\n{}", self.log.join("\n"));
            };
            let found = texts.iter().any(|text| line.contains(text));
            self.log.push(line);
            if found {
                return at;
            }
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
