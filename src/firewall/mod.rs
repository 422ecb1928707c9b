//! What VPN clients may reach through this host: one nftables table, `inet postern`, and forwarding.
//!
//! Pushed routes are a convenience for the client; this is the enforcement. A client's packets, told by the tun device
//! they come from, must carry a source in its server's network, and may then go to that server's routes and nowhere
//! else: not to other clients, not to other networks, and not to the host itself (ping to the host is answered, so that
//! people can test). A route to a network is a way through the host, not into it: only a route to a single address, /32,
//! opens the host's own services at that address, and only a route within such a range opens link-local addresses,
//! however wide the others are. Towards clients only answers pass. Everything else on the machine is none of this
//! table's business: its chains accept what concerns no device of ours, and rules of other tables still apply.
//!
//! # Theory of operation
//! The table is replaced as a whole by one transaction of `nft -f -`; there is no moment without it. Each replacement is
//! another [`Generation`]. A connection that was let through bears the generation in the upper half of its mark and goes
//! on without a look at the routes; one with an older mark is judged again, whichever side its next packet comes from.
//! So a client that loses a route loses the connections that use it, and no other client notices.
//!
//! What was put in place says nothing about what is there: [`Upkeep`] reads the kernel's tables and compares. Tables of
//! others are looked through for rules that drop what this one lets pass ([`Blockage`]).

mod foreign;
mod generation;
mod loss;
mod rules;
mod ruleset;
mod surroundings;
mod upkeep;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::thread::{CapabilitySet, capabilities};
use tokio::io::AsyncWriteExt;

pub use foreign::{Blockage, legacy_command, unseen_blockage};
pub use generation::Generation;
pub use loss::LossWatch;
pub use rules::{AllowedRoute, DEVICE_PREFIX, ServerRules};
pub use ruleset::Ruleset;
pub use surroundings::Surroundings;
pub use upkeep::{Settled, Upkeep};

/// The name of our table, of the family `inet`.
const TABLE: &str = "postern";
/// Where `nft` is looked for.
const PLACES: [&str; 4] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"];
/// And the program for the tables that `nft` does not show.
const LEGACY: [&str; 2] = ["/usr/sbin/iptables-legacy", "/sbin/iptables-legacy"];
/// How long one run of a program may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// The kernel's switch between being a host and being a router.
pub const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
/// What switches forwarding on for good.
pub const FORWARDING_FIX: &str = "echo net.ipv4.ip_forward=1 >/etc/sysctl.d/60-postern.conf && sysctl --system";

/// Why the rules are not in place.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// Install nftables.
    #[error("nft is not installed")]
    NoNft,
    /// `nft` did not run or did not end.
    #[error("nft cannot be run")]
    NotRunnable(#[source] io::Error),
    /// The process lacks `CAP_NET_ADMIN`.
    #[error("not permitted to change the firewall (CAP_NET_ADMIN): {0}")]
    NotPermitted(String),
    /// `nft` refused, in its words.
    #[error("nft refused the rules: {0}")]
    Refused(String),
    /// The kernel's tables cannot be read: `nft` answered something else than a list of them.
    #[error("nft's list of the kernel's tables cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// The table is not what was just put there.
    #[error("the table inet postern is changed from outside as soon as it is in place")]
    Contested,
    /// Forwarding is off and may not be switched on: set `net.ipv4.ip_forward=1` from outside.
    #[error("forwarding is off and cannot be switched on from here: {FORWARDING_FIX}")]
    Forwarding(#[source] io::Error),
    /// Not the name of a network interface.
    #[error("not the name of a network interface: {0:?}")]
    Device(String),
}

/// The firewall of this host.
#[derive(Debug, Clone)]
pub struct Firewall {
    nft: PathBuf,
}

impl Firewall {
    /// Finds `nft`.
    pub fn find() -> Result<Self, FirewallError> {
        let found = PLACES.into_iter().map(Path::new).find(|path| path.is_file());
        Ok(Self { nft: found.ok_or(FirewallError::NoNft)?.to_owned() })
    }

    /// Whether rules could be applied and read back: `nft` works here and this process may use it. Changes nothing.
    pub async fn check(&self) -> Result<(), FirewallError> {
        self.nft(&["--check", "--file", "-"], "add table inet postern\n").await?;
        self.read().await.map(drop)
    }

    /// Puts exactly these rules in place of whatever this table held; with none, removes the table.
    async fn replace(&self, servers: &[ServerRules], generation: Generation) -> Result<(), FirewallError> {
        self.nft(&["--file", "-"], &rules::ruleset(servers, generation)).await.map(drop)
    }

    /// All tables that the kernel has now.
    pub async fn read(&self) -> Result<Ruleset, FirewallError> {
        Ruleset::parse(&self.nft(&["--json", "list", "ruleset"], "").await?.stdout)
    }

    /// Whether the tables of iptables-legacy drop what goes through this machine. Only root can see that; where they
    /// are not in use, nothing is run that would make them.
    pub async fn legacy_drops() -> bool {
        let tables = std::fs::read_to_string("/proc/thread-self/net/ip_tables_names").unwrap_or_default();
        let Some(program) = LEGACY.into_iter().map(Path::new).find(|path| path.is_file()) else { return false };
        if !tables.lines().any(|table| table == "filter") {
            return false;
        }
        let listed = run(program, &["-S", "FORWARD"], "").await;
        listed.is_ok_and(|listed| foreign::is_legacy_drop(&String::from_utf8_lossy(&listed.stdout)))
    }

    async fn nft(&self, arguments: &[&str], input: &str) -> Result<Output, FirewallError> {
        let output = run(&self.nft, arguments, input).await.map_err(FirewallError::NotRunnable)?;
        if output.status.success() {
            return Ok(output);
        }
        let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(1000).collect();
        // `nft` ends with 1 whatever is wrong, so the kernel is asked whether this process may do this at all.
        let permitted = capabilities(None).map_or(true, |ours| ours.effective.contains(CapabilitySet::NET_ADMIN));
        Err(if permitted { FirewallError::Refused(said) } else { FirewallError::NotPermitted(said) })
    }
}

/// Runs a program to its end, with a limit.
async fn run(program: &Path, arguments: &[&str], input: &str) -> io::Result<Output> {
    let run = async {
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take();
        let write = async {
            match stdin {
                Some(mut stdin) => stdin.write_all(input.as_bytes()).await,
                None => Ok(()),
            }
        };
        // It may say much before it has read all, so neither waits for the other.
        let (written, output) = tokio::join!(write, child.wait_with_output());
        let output = output?;
        // If it ended early, what it said matters more than that it stopped reading.
        if output.status.success() { written.map(|()| output) } else { Ok(output) }
    };
    tokio::time::timeout(DEADLINE, run).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Lets this machine pass packets on, those of these devices among them; whether it did not before. Never switches it
/// off again: others may rely on it.
pub fn enable_forwarding(devices: &[String]) -> Result<bool, FirewallError> {
    let mut was_off = false;
    for switch in switches(devices) {
        if !is_on(&switch)? {
            std::fs::write(&switch, "1\n").map_err(FirewallError::Forwarding)?;
            was_off = true;
        }
    }
    Ok(was_off)
}

/// Whether this machine passes packets on.
pub fn forwarding_enabled() -> Result<bool, FirewallError> {
    is_on(Path::new(IP_FORWARD))
}

/// The switch of the machine, and those of the devices that are there: each has its own, and a new device takes over
/// what is set for all new ones.
fn switches(devices: &[String]) -> impl Iterator<Item = PathBuf> {
    let own = devices.iter().map(|device| PathBuf::from(format!("/proc/sys/net/ipv4/conf/{device}/forwarding")));
    std::iter::once(PathBuf::from(IP_FORWARD)).chain(own.filter(|switch| switch.exists()))
}

fn is_on(switch: &Path) -> Result<bool, FirewallError> {
    match std::fs::read_to_string(switch) {
        Ok(switch) => Ok(switch.trim() == "1"),
        // The device went away meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound && switch != Path::new(IP_FORWARD) => Ok(true),
        Err(error) => Err(FirewallError::Forwarding(error)),
    }
}
