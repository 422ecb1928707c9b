//! What this machine must be and have, whatever the database says.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::fs::{Access, access, statvfs};
use rustix::thread::{CapabilitySet, capabilities};

use super::finding::Finding;
use super::ports;
use super::ports::{Port, Transport};
use crate::config::Config;
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::host::ProcessRole;
use crate::domain::server::Protocol;
use crate::domain::text::PublicAddress;
use crate::domain::{clock, server};
use crate::firewall;
use crate::firewall::{Firewall, FirewallError};
use crate::keys::KeyError;
use crate::keys::master::MasterKey;
use crate::openvpn::process::{OpenVpn, ProcessError};
use crate::pki::read::read_certificate;
use crate::web::TlsFiles;

/// Less room than this for roster, spool and snapshot is trouble to come, in bytes.
const ROOM: u64 = 256 * 1024 * 1024;
/// A certificate that ends within this time is reported.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// Clocks further apart than this make logs and expiries lie to everybody who reads them.
const CLOCK_FAIL: SignedDuration = SignedDuration::from_mins(5);
/// How long a name may take to be resolved.
const RESOLVE: Duration = Duration::from_secs(5);

/// Looks at the machine as this configuration would use it. Changes nothing.
pub(in crate::commands) async fn look(config: &Config) -> Vec<Finding> {
    let roles = config.roles();
    let mut findings = vec![data_dir(&config.host.data_dir), master_key(config)];
    findings.extend(listeners(config));
    findings.extend(config.tls.as_ref().map(|tls| certificate(&tls.certificate_file, &tls.key_file)));
    if roles.contains(&ProcessRole::Vpn) {
        findings.push(openvpn(&config.vpn.openvpn).await);
        findings.push(tun(Path::new("/dev/net/tun")));
        findings.push(privileges());
        findings.push(nftables().await);
        findings.push(forwarding());
        findings.push(public_address(config).await);
    }
    findings
}

fn data_dir(path: &Path) -> Finding {
    const CHECK: &str = "data_dir";
    let shown = path.display();
    let Ok(found) = fs::metadata(path) else {
        let parent = path.ancestors().skip(1).find(|parent| parent.exists()).unwrap_or(Path::new("/"));
        return if access(parent, Access::WRITE_OK).is_ok() {
            Finding::ok(CHECK, format!("{shown} will be made at the first start"))
        } else {
            let fix = format!("install -d -m 0700 -o USER_OF_POSTERN {shown}");
            Finding::fail(CHECK, format!("{shown} does not exist, and {} may not be written", parent.display()), fix)
        };
    };
    if !found.is_dir() {
        return Finding::fail(CHECK, format!("{shown} is not a folder"), "name another by host.data_dir");
    }
    if access(path, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Finding::fail(CHECK, format!("{shown} may not be written"), format!("chown USER_OF_POSTERN {shown}"));
    }
    if found.mode() & 0o077 != 0 {
        let cause = format!("{shown} has mode {:04o}: others on this machine can look into it", found.mode() & 0o7777);
        return Finding::warn(CHECK, cause, format!("chmod 700 {shown}"));
    }
    match statvfs(path).map(|room| room.f_bavail.saturating_mul(room.f_frsize)) {
        Ok(room) if room < ROOM => {
            let cause = format!("only {} MiB are free at {shown}", room / 1024 / 1024);
            Finding::warn(CHECK, cause, format!("make room, or put host.data_dir elsewhere (df -h {shown})"))
        }
        _ => Finding::ok(CHECK, format!("{shown}, for nobody else to read")),
    }
}

/// The key file alone; whether it is this cluster's is asked of the database.
fn master_key(config: &Config) -> Finding {
    const CHECK: &str = "master_key";
    let made_here = config.host.data_dir.join("master.key");
    let path: &PathBuf = match (&config.keys.master_key_file, &config.database.uri) {
        (Some(path), _) => path,
        (None, None) if made_here.exists() => &made_here,
        (None, None) => return Finding::ok(CHECK, "will be made at the first start, with the private database"),
        (None, Some(_)) => return Finding::ok(CHECK, "none, as a host that only serves VPN should be"),
    };
    match MasterKey::load(path) {
        Ok(_) if config.needs_master_key() => Finding::ok(CHECK, format!("{}", path.display())),
        Ok(_) => Finding::warn(
            CHECK,
            "this host only serves VPN and yet can open the cluster's secrets",
            "take keys.master_key_file out of the configuration and delete the file on this machine",
        ),
        Err(KeyError::Exposed { path, mode }) => {
            let path = path.display();
            let cause = format!("the key file {path} has mode {mode:04o}, so others can get at it");
            Finding::fail(CHECK, cause, format!("chmod 600 {path}"))
        }
        Err(error) => Finding::error(CHECK, &error),
    }
}

fn listeners(config: &Config) -> Vec<Finding> {
    let roles = config.roles();
    let wanted = [
        ("listen_public", "public.listen", config.public_listen(), roles.contains(&ProcessRole::Portal)),
        ("listen_admin", "admin.listen", config.admin_listen(), roles.contains(&ProcessRole::Console)),
        ("listen_ops", "ops.listen", config.ops_listen(), true),
    ];
    let wanted = wanted.into_iter().filter(|(.., wanted)| *wanted);
    wanted.map(|(check, key, address, _)| port(check, key, Transport::Tcp, address, "postern")).collect()
}

/// The port of a server that runs here, or is to.
pub(in crate::commands) fn vpn_port(server: &str, protocol: Protocol, port_number: server::Port) -> Finding {
    let transport = match protocol {
        Protocol::Udp => Transport::Udp,
        Protocol::Tcp => Transport::Tcp,
    };
    let address = ([0, 0, 0, 0], port_number.get()).into();
    port("vpn_port", &format!("port for server {server}"), transport, address, "openvpn")
}

/// A port that `program` of ours needs, or has already.
fn port(check: &'static str, key: &str, transport: Transport, address: std::net::SocketAddr, program: &str) -> Finding {
    match ports::look(transport, address) {
        Port::Free => Finding::ok(check, format!("{address} is free")),
        Port::Held(Some(holder)) if holder.program == program => {
            Finding::ok(check, format!("{address} is held by {program} itself (process {})", holder.pid))
        }
        Port::Held(Some(holder)) => Finding::fail(
            check,
            format!("{address} is held by {} (process {})", holder.program, holder.pid),
            format!("stop that program, or choose another {key}"),
        ),
        Port::Held(None) => Finding::warn(
            check,
            format!("{address} is held by a process that this user may not see"),
            format!("run `postern doctor` as root, or: ss -lntup 'sport = :{}'", address.port()),
        ),
        Port::NoSuchAddress => Finding::fail(
            check,
            format!("this machine does not have the address {}", address.ip()),
            format!("set {key} to one that it has (ip address), or to 0.0.0.0:{}", address.port()),
        ),
        Port::Forbidden => Finding::fail(
            check,
            format!("this user may not use port {}", address.port()),
            format!("choose a port above 1023 for {key}, or give the program CAP_NET_BIND_SERVICE"),
        ),
        Port::Failed(said) => Finding::fail(check, format!("{address}: {said}"), format!("choose another {key}")),
    }
}

fn certificate(certificate_file: &Path, key_file: &Path) -> Finding {
    const CHECK: &str = "tls";
    const FIX: &str = "put a certificate chain and its key, both PEM, at tls.certificate_file and tls.key_file";
    let files = TlsFiles { certificate_file: certificate_file.to_owned(), key_file: key_file.to_owned() };
    if let Err(error) = files.check() {
        return Finding::fail(CHECK, format!("{:#}", anyhow::Error::from(error)), FIX);
    }
    let text = fs::read_to_string(certificate_file).unwrap_or_default();
    let facts = match read_certificate(&text) {
        Ok(facts) => facts,
        Err(error) => return Finding::fail(CHECK, format!("{}: {error}", certificate_file.display()), FIX),
    };
    let left = facts.not_after.duration_since(SystemClock.now());
    let (shown, until) = (certificate_file.display(), facts.not_after);
    let fix = format!("renew {shown} and restart postern");
    if left <= SignedDuration::ZERO {
        Finding::fail(CHECK, format!("{shown} has been over since {until}"), fix)
    } else if left < SOON {
        Finding::warn(CHECK, format!("{shown} ends at {until}"), fix)
    } else {
        Finding::ok(CHECK, format!("{shown}, until {until}"))
    }
}

async fn openvpn(program: &Path) -> Finding {
    const CHECK: &str = "openvpn";
    match OpenVpn::at(program).await {
        Ok(found) => Finding::ok(CHECK, format!("OpenVPN {} at {}", found.version(), program.display())),
        Err(error @ ProcessError::TooOld(_)) => Finding::fail(
            CHECK,
            error.to_string(),
            "install a newer one (Debian 12 or later: apt-get install openvpn), or name it by vpn.openvpn",
        ),
        Err(error) => Finding::fail(
            CHECK,
            format!("{:#}", anyhow::Error::from(error)),
            "apt-get install openvpn, or name the program by vpn.openvpn",
        ),
    }
}

fn tun(device: &Path) -> Finding {
    const CHECK: &str = "tun";
    match fs::OpenOptions::new().read(true).write(true).open(device) {
        Ok(_) => Finding::ok(CHECK, format!("{} can be used", device.display())),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Finding::fail(
            CHECK,
            format!("{} may not be opened", device.display()),
            format!("chmod 666 {0}; in a container: --device {0}", device.display()),
        ),
        Err(error) => Finding::fail(
            CHECK,
            format!("{}: {error}", device.display()),
            format!("modprobe tun; in a container: --device {}", device.display()),
        ),
    }
}

fn privileges() -> Finding {
    const CHECK: &str = "privileges";
    match capabilities(None) {
        Ok(ours) if ours.effective.contains(CapabilitySet::NET_ADMIN) => {
            Finding::ok(CHECK, "this user may make network devices and firewall rules")
        }
        _ => Finding::warn(
            CHECK,
            "this user may not make network devices (CAP_NET_ADMIN), so what needs it was not tried",
            "run `postern doctor` as root; postern.service gives the right to `serve` by AmbientCapabilities",
        ),
    }
}

async fn nftables() -> Finding {
    const CHECK: &str = "nftables";
    let checked = match Firewall::find() {
        Ok(firewall) => firewall.check().await,
        Err(error) => Err(error),
    };
    match checked {
        Ok(()) => Finding::ok(CHECK, "nft takes our rules"),
        Err(FirewallError::NoNft) => Finding::fail(CHECK, "nft is not installed", "apt-get install nftables"),
        Err(error @ FirewallError::NotPermitted(_)) => {
            Finding::warn(CHECK, error.to_string(), "run `postern doctor` as root")
        }
        Err(error) => Finding::fail(
            CHECK,
            format!("{:#}", anyhow::Error::from(error)),
            "modprobe nf_tables; in a container the host's kernel must have it",
        ),
    }
}

/// This machine's clock against another one.
pub(in crate::commands) fn clock_of(whose: &str, theirs: Option<Timestamp>, ours: Timestamp) -> Finding {
    let Some(theirs) = theirs else {
        return Finding::warn("clock", format!("the {whose} did not tell its time"), "compare the clocks: date --utc");
    };
    clock(whose, theirs.duration_since(ours))
}

/// By how much another clock is ahead of this machine's.
pub(super) fn clock(whose: &str, offset: SignedDuration) -> Finding {
    const CHECK: &str = "clock";
    let cause = clock::apart(whose, offset);
    if offset.abs() > CLOCK_FAIL {
        Finding::fail(CHECK, cause, clock::SET_CLOCKS)
    } else if offset.abs() > clock::TOLERANCE {
        Finding::warn(CHECK, cause, clock::SET_CLOCKS)
    } else {
        Finding::ok(CHECK, format!("{} ms from the {whose}'s", offset.abs().as_millis()))
    }
}

fn forwarding() -> Finding {
    const CHECK: &str = "forwarding";
    const FIX: &str = firewall::FORWARDING_FIX;
    match firewall::forwarding_enabled() {
        Ok(true) => Finding::ok(CHECK, "on"),
        Ok(false) if access(firewall::IP_FORWARD, Access::WRITE_OK).is_ok() => {
            Finding::ok(CHECK, "off, and can be switched on: the first daemon does")
        }
        Ok(false) => Finding::fail(CHECK, "off, and this user may not switch it on", FIX),
        Err(error) => Finding::fail(CHECK, format!("{:#}", anyhow::Error::from(error)), FIX),
    }
}

async fn public_address(config: &Config) -> Finding {
    const CHECK: &str = "public_address";
    let mut private = None;
    for address in config.public_addresses() {
        match &address {
            PublicAddress::Name(name) => {
                if !resolves(name.as_str()).await {
                    return Finding::fail(
                        CHECK,
                        format!("the name {name} does not resolve here"),
                        format!("make a DNS record for {name}, or set host.public_address to an address"),
                    );
                }
            }
            PublicAddress::Ip(ip) if ip.is_loopback() => {
                return Finding::warn(
                    CHECK,
                    format!("profiles would name {ip}, which leads every client to itself"),
                    "set host.public_address to the address at which clients reach this machine",
                );
            }
            PublicAddress::Ip(ip) => private = private.or_else(|| is_private(*ip).then_some(*ip)),
        }
    }
    let named: Vec<String> = config.public_addresses().iter().map(ToString::to_string).collect();
    let named = named.join(", ");
    match private {
        Some(ip) if config.host.public_address.is_empty() => Finding::warn(
            CHECK,
            format!("host.public_address is not set, and {ip}, which this machine uses, is private"),
            "set host.public_address to the address at which clients reach this machine",
        ),
        // Whoever writes a private address down means it.
        Some(_) => Finding::ok(CHECK, format!("{named}, reached from private networks only")),
        None => Finding::ok(CHECK, named),
    }
}

async fn resolves(name: &str) -> bool {
    let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((name, 0))).await;
    found.is_ok_and(|found| found.is_ok_and(|mut addresses| addresses.next().is_some()))
}

/// Not reachable from the internet: RFC 1918, 3927, 4193, 4291 and 6598.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn an_open_data_directory_is_told_of_with_the_command_that_closes_it() {
        let folder = tempfile::tempdir().unwrap();
        let set_mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        set_mode(0o700);
        assert_eq!(data_dir(folder.path()).result, Verdict::Ok);
        set_mode(0o755);
        let finding = data_dir(folder.path());
        assert_eq!(finding.result, Verdict::Warn);
        assert_eq!(finding.fix, Some(format!("chmod 700 {}", folder.path().display())));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(data_dir(&file).result, Verdict::Fail);
        assert_eq!(data_dir(&folder.path().join("new/er")).result, Verdict::Ok);
    }

    #[test]
    fn a_missing_tun_device_is_told_of_with_the_way_to_it() {
        let finding = tun(Path::new("/nonexistent/tun"));
        assert_eq!(finding.result, Verdict::Fail);
        assert!(finding.fix.unwrap().contains("modprobe tun"));
    }

    #[tokio::test]
    async fn what_is_no_openvpn_is_refused() {
        let finding = openvpn(Path::new("/bin/true")).await;
        assert_eq!(finding.result, Verdict::Fail);
        assert!(finding.cause.unwrap().contains("/bin/true"));
    }

    #[test]
    fn shared_address_space_is_private_and_its_neighbours_are_not() {
        for (ip, private) in [
            ("10.0.0.1", true),
            ("100.63.255.255", false),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("203.0.113.10", false),
            ("fd00::1", true),
            ("fe80::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(ip.parse().unwrap()), private, "{ip}");
        }
    }
}
