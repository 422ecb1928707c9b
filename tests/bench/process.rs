//! The `postern serve` of a host, looked at from outside and to the millisecond.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::host::Host;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a host and returns how long it took until `/readyz` said 200. The start includes that of `ip netns exec`,
/// about 3 ms.
pub(crate) fn start(host: &mut Host) -> Duration {
    let from = Instant::now();
    host.start();
    let machine = host.machine().clone();
    machine.namespace.enter(|| {
        while !is_ready() {
            assert!(from.elapsed() < PATIENCE, "{} does not become ready", machine.name);
            std::thread::sleep(PAUSE);
        }
    });
    from.elapsed()
}

/// One request of the fewest bytes: what asks must not take the time that it measures.
fn is_ready() -> bool {
    let Ok(mut ops) = TcpStream::connect((Ipv4Addr::LOCALHOST, 9600)) else { return false };
    let _ = ops.set_read_timeout(Some(Duration::from_secs(1)));
    let mut answer = String::new();
    let asked = ops.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    asked.is_ok() && ops.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200 ")
}

/// Ends a host's Postern by SIGTERM and returns how long it took.
pub(crate) fn stop(host: &mut Host) -> Duration {
    let pid = pid(host);
    let from = Instant::now();
    kill_process(pid, Signal::TERM).unwrap();
    while is_alive(pid) {
        assert!(from.elapsed() < PATIENCE, "{} does not end", host.name());
        std::thread::sleep(PAUSE);
    }
    let took = from.elapsed();
    host.terminate(); // takes it off the process table
    took
}

/// The process of a host's Postern.
pub(crate) fn pid(host: &Host) -> Pid {
    let is_serve = |pid: &Pid| {
        let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        let mut words = command.split(|byte| *byte == 0);
        words.next().is_some_and(|program| program.ends_with(b"postern")) && words.next() == Some(b"serve")
    };
    host.machine().namespace.processes().into_iter().find(is_serve).expect("serve runs")
}

fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // The state stands after the name in brackets; Z has ended and waits for its parent.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Resident memory of a host's Postern in MiB: all of it, and with shared pages divided among those who share them.
pub(crate) fn memory(host: &Host) -> (f64, f64) {
    let pid = pid(host).as_raw_nonzero();
    let field = |file: &str, key: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let value =
            text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        value.unwrap_or_else(|| panic!("no {key} in {text}")) / 1024.0
    };
    (field("status", "VmRSS:"), field("smaps_rollup", "Pss:"))
}
