//! Why a daemon does not run, as a sentence that names what is missing.

use std::path::Path;

use openvpn::RuntimeDir;

/// How much of the log's end is looked at, in bytes.
const TAIL: usize = 4096;
/// How many of its lines are shown.
const LINES: usize = 3;

/// Words of OpenVPN's log, and what they mean to the machine's administrator.
const KNOWN: [(&str, &str); 6] = [
    ("Address already in use", "another program listens on this port"),
    ("Cannot ioctl TUNSETIFF", "openvpn may not make a network device: it needs root or CAP_NET_ADMIN"),
    (
        "Cannot open TUN/TAP dev",
        "there is no usable /dev/net/tun: load the kernel module tun, or give it to the container",
    ),
    (
        "Cannot allocate TUN/TAP dev",
        "there is no usable /dev/net/tun: load the kernel module tun, or give it to the container",
    ),
    ("net_addr_v4_add", "the network device cannot be given its address: it needs root or CAP_NET_ADMIN"),
    ("Permission denied", "openvpn is denied something it needs"),
];

/// What this machine lacks for any daemon.
pub(super) fn missing() -> Option<String> {
    (!Path::new("/dev/net/tun").exists())
        .then(|| "there is no /dev/net/tun: load the kernel module tun, or give the device to the container".to_owned())
}

/// What the daemon said last.
pub(super) fn last_words(dir: &RuntimeDir) -> String {
    let log = std::fs::read(dir.file(RuntimeDir::LOG)).unwrap_or_default();
    let tail = log.get(log.len().saturating_sub(TAIL)..).unwrap_or_default();
    explain(&String::from_utf8_lossy(tail))
}

fn explain(log: &str) -> String {
    let lines: Vec<&str> = log.lines().map(without_date).filter(|line| is_telling(line)).collect();
    let meaning = KNOWN.iter().find(|(words, _)| lines.iter().any(|line| line.contains(words)));
    let said = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("; ");
    match (meaning, said.is_empty()) {
        (Some((_, meaning)), _) => format!("{meaning} (openvpn: {said})"),
        (None, false) => format!("openvpn ended: {said}"),
        (None, true) => "openvpn ended without a word".to_owned(),
    }
}

/// What we said to it ourselves tells nothing.
fn is_telling(line: &str) -> bool {
    !line.is_empty() && !line.starts_with("MANAGEMENT:")
}

/// `2026-11-23 22:00:00 text` or `2026-11-23 22:00:00 us=5 text` without the time.
fn without_date(line: &str) -> &str {
    let digit = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':');
    let rest = line.trim_start_matches(digit).trim_start();
    if rest.len() == line.len() { line } else { rest.trim_start_matches(digit).trim() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_failure_is_explained_with_the_words_of_openvpn() {
        let log = "2026-11-23 22:00:00 OpenVPN 2.6.14\n\
                   2026-11-23 22:00:00 TCP/UDP: Socket bind failed on local address [AF_INET6][undef]:1194: Address already in use (errno=98)\n\
                   2026-11-23 22:00:00 Exiting due to fatal error\n";
        assert_eq!(
            explain(log),
            "another program listens on this port (openvpn: OpenVPN 2.6.14; TCP/UDP: Socket bind failed on local address \
             [AF_INET6][undef]:1194: Address already in use (errno=98); Exiting due to fatal error)"
        );
    }

    #[test]
    fn unknown_failures_are_told_as_they_are() {
        assert_eq!(
            explain("Options error: x\n2026-11-23 22:00:00 MANAGEMENT: CMD 'status 3'\n\n"),
            "openvpn ended: Options error: x"
        );
        assert_eq!(explain(""), "openvpn ended without a word");
    }
}
