//! `postern join`: makes this machine a host of a cluster, with a join token.
//!
//! The order is what makes repeating it harmless: the key is made first and stays; the token is shown with that key, so
//! the cluster gives the same machine the same answer; the configuration is written as a whole or not at all, after the
//! database has answered; the service comes last. Whatever ends this in between, the same command goes on from there.
//!
//! What the machine finds out about itself is told to the cluster as well, for whoever waits at the console.

mod files;
mod unit;
mod wire;

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

use self::wire::{Refused, Wire};
use super::database::make_data_dir;
use super::doctor::finding::{Finding, Verdict, worst};
use super::doctor::machine;
use super::print;
use crate::config::{Config, DEFAULT_PATH, DatabaseConfig, HostConfig, OpsConfig, VpnConfig};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::host::ProcessRole;
use crate::domain::join::{DatabaseUser, MachineCheck};
use crate::domain::server::{Port, Protocol};
use crate::domain::text::{Comment, HostName, PublicAddress};
use crate::firewall;
use crate::keys::host::HostKey;
use crate::keys::join::JoinToken;
use crate::services::hosts::joining::database_place;
use crate::store::check::check_as_host;
use crate::store::{Settings, Store, StoreError};

/// No token is longer than this, in bytes.
const LONGEST_TOKEN: u64 = 4096;

/// Where to join, and what this machine alone knows.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The address of the cluster's admin listener; the token knows one, too.
    url: Option<Url>,
    /// The file that holds the join token; - is standard input.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// The configuration to write.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Where this host keeps its key and its runtime files.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/postern")]
    data_dir: PathBuf,
    /// Where clients reach this machine: an address or a DNS name, several times for several. By default the address
    /// that leads to the internet.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    public_address: Vec<PublicAddress>,
    /// Where health and metrics are served.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9600")]
    ops_listen: SocketAddr,
    /// The openvpn program.
    #[arg(long, value_name = "FILE", default_value = "/usr/sbin/openvpn")]
    openvpn: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What the cluster wants this machine to become.
#[derive(Debug, Deserialize)]
struct Plan {
    host_name: HostName,
    servers: Vec<Planned>,
}

#[derive(Debug, Deserialize)]
struct Planned {
    name: String,
    port: Port,
    protocol: Protocol,
}

/// What the cluster gives to its new host.
#[derive(Debug, Deserialize)]
struct Joined {
    host_id: String,
    host_name: HostName,
    database: String,
    sealed_database_uri: String,
    /// Not said by a cluster of the previous release.
    #[serde(default)]
    database_user: Option<DatabaseUser>,
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    match join(&options).await {
        Ok(code) => Ok(code),
        Err(error) if error.is::<Refused>() => {
            say(&format!("postern: {error:#}"));
            Ok(ExitCode::from(4))
        }
        Err(error) => Err(error),
    }
}

async fn join(options: &Options) -> anyhow::Result<ExitCode> {
    let text = read_token(&options.token_file)?;
    let token: JoinToken = text.parse().context("that is no join token, or not all of it: copy it again")?;
    let url = address(options.url.as_ref(), &token)?;
    make_data_dir(&options.data_dir)?;
    let key = HostKey::load_or_create(&options.data_dir.join("host.key"))?;
    let cluster = Cluster { wire: Wire::to(url, token.pin)?, token: &text, key: &key };

    let plan = cluster.wire.post::<Plan>("/join/checks", &cluster.shown(&[])).await?;
    let there = plan.date;
    let plan = plan.body;
    files::check_place(&options.config, &plan.host_name)?;
    let config = options.to_config(&plan.host_name);
    // Off is not a fault where it can be switched on; whether it can, the look at the machine tells.
    drop(firewall::enable_forwarding(&[]));
    let mut findings = machine::look(&config).await;
    findings.push(machine::clock_of("cluster", there, SystemClock.now()));
    findings.extend(plan.servers.iter().map(|server| machine::vpn_port(&server.name, server.protocol, server.port)));
    if !cluster.tell(&findings).await? {
        return Ok(ExitCode::from(4));
    }

    let addresses = config.public_addresses();
    let joined =
        cluster.wire.post::<Joined>("/join", &cluster.shown(&[("public_addresses", json!(addresses))])).await?;
    let joined = joined.body;
    let uri = open_uri(&key, &joined)?;
    let (finding, has_login) = database(&uri, &joined.database).await;
    findings.push(finding);
    if !cluster.tell(&findings).await? {
        return Ok(ExitCode::from(4));
    }
    let facts = files::JoinedHostConfig {
        host_name: &joined.host_name,
        data_dir: &options.data_dir,
        public_addresses: &addresses,
        database_uri: &uri,
        has_login,
        database_name: &joined.database,
        ops: options.ops_listen,
        openvpn: &options.openvpn,
    };
    files::write(&options.config, &facts.to_toml()?, 0o600)?;
    let start = unit::enable(&options.config)?;
    options.conclude(&joined, &plan, start.as_deref());
    Ok(ExitCode::SUCCESS)
}

impl Options {
    /// The configuration as it will be, without the way to the database.
    fn to_config(&self, name: &HostName) -> Config {
        Config {
            host: HostConfig {
                name: Some(name.clone()),
                data_dir: self.data_dir.clone(),
                public_address: self.public_address.clone(),
                roles: vec![ProcessRole::Vpn],
            },
            database: DatabaseConfig { uri: Some(String::new()), ..DatabaseConfig::default() },
            ops: OpsConfig { listen: Some(self.ops_listen) },
            vpn: VpnConfig { openvpn: self.openvpn.clone(), ..VpnConfig::default() },
            ..Config::default()
        }
    }

    /// Says what came of it, and what is left to do.
    fn conclude(&self, joined: &Joined, plan: &Plan, start: Option<&str>) {
        let Joined { host_id, host_name, database_user, .. } = joined;
        if self.json {
            print(json!({
                "host_id": host_id, "host_name": host_name, "config": self.config, "start": start,
                "database_user": database_user,
            }));
            return;
        }
        let servers: Vec<&str> = plan.servers.iter().map(|server| server.name.as_str()).collect();
        let servers = if servers.is_empty() { "no server yet".to_owned() } else { servers.join(", ") };
        print(format_args!("this machine is host {host_name} ({host_id}); it is to serve: {servers}"));
        if *database_user == Some(DatabaseUser::SharedWithWeb) {
            print(
                "it shares the database user of the web process, as its join token allows: whoever takes this machine over \
                 can read and change everything in the database",
            );
        }
        match start {
            None => print("its service postern-vpn is running, and starts with the machine"),
            Some(command) => print(format_args!("start it: {command}")),
        }
    }
}

/// The cluster, as a machine with a token sees it.
struct Cluster<'a> {
    wire: Wire,
    token: &'a str,
    key: &'a HostKey,
}

impl Cluster<'_> {
    /// A body with the token and the key, and what else is to be said.
    fn shown(&self, more: &[(&str, Value)]) -> Value {
        let who = [("token", self.token.into()), ("public_key", self.key.public().to_string().into())];
        who.iter().chain(more).map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    /// Tells the operator here and whoever waits at the console what was found; answers whether it is good enough.
    async fn tell(&self, findings: &[Finding]) -> anyhow::Result<bool> {
        let good = worst(findings) != Verdict::Fail;
        let notable = |finding: &&Finding| !good || finding.result != Verdict::Ok;
        findings.iter().filter(notable).for_each(|finding| say(&finding.to_string()));
        let checks: Vec<MachineCheck> = findings.iter().map(check).collect();
        self.wire.post::<Value>("/join/checks", &self.shown(&[("checks", json!(checks))])).await?;
        if !good {
            say("postern: this machine cannot be a host yet; mend what is marked FAIL and run the same command again");
        }
        Ok(good)
    }
}

/// A finding as the cluster keeps it.
fn check(finding: &Finding) -> MachineCheck {
    MachineCheck {
        name: line(finding.check),
        passed: finding.result != Verdict::Fail,
        cause: finding.cause.as_deref().map(line),
        remedy: finding.fix.as_deref().filter(|fix| !fix.is_empty()).map(line),
    }
}

/// One line that fits into a report.
fn line(text: &str) -> Comment {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = words.chars().take(400).collect();
    short.trim().parse().unwrap_or_else(|_odd| "(not readable)".parse().expect("plain words are a comment"))
}

fn read_token(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let read = if file == Path::new("-") {
        std::io::stdin().take(LONGEST_TOKEN).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(LONGEST_TOKEN).read_to_string(&mut text))
    };
    read.with_context(|| format!("the join token cannot be read from {}", file.display()))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// Where to go: as the command line says, else as the token does. Never by plain HTTP unless the cluster itself has no
/// better.
fn address(given: Option<&Url>, token: &JoinToken) -> anyhow::Result<Url> {
    let named: Url = token.url.parse().context("the join token names no address")?;
    let Some(given) = given else { return Ok(named) };
    ensure!(given.host_str().is_some(), "{given} is no address of an admin listener, such as {named}");
    match given.scheme() {
        "https" => {}
        "http" if named.scheme() == "http" => {}
        _ => bail!("{given} would send the token unencrypted; the cluster is at {named}"),
    }
    Ok(given.clone())
}

fn open_uri(key: &HostKey, joined: &Joined) -> anyhow::Result<Zeroizing<String>> {
    let sealed = STANDARD.decode(&joined.sealed_database_uri).context("the cluster's answer is damaged")?;
    let opened = key.open(&database_place(&joined.host_id), &sealed)?;
    Ok(Zeroizing::new(String::from_utf8(opened.to_vec()).context("the cluster's answer is damaged")?))
}

/// Whether the database answers from here, and whether this machine shows it who it is.
async fn database(uri: &str, name: &str) -> (Finding, bool) {
    const CHECK: &str = "database";
    let settings = Settings { uri: uri.to_owned(), database: name.to_owned() };
    let asked = async {
        let store = Store::connect(&settings).await?;
        check_as_host(&store, &SystemClock).await?;
        Ok::<_, StoreError>(store.protection().has_login)
    };
    match asked.await {
        Ok(has_login) => (Finding::ok(CHECK, "it answers"), has_login),
        Err(error) => {
            let cause = format!("{:#}", anyhow::Error::from(error));
            (
                Finding::fail(
                    CHECK,
                    cause,
                    "let this machine reach the database's hosts and ports (DNS, firewall, peering)",
                ),
                true,
            )
        }
    }
}

#[expect(clippy::print_stderr, reason = "results go to standard output, everything else here")]
fn say(line: &str) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::token::OneTimeSecret;

    fn token(url: &str) -> JoinToken {
        JoinToken { secret: OneTimeSecret::generate(), pin: None, url: url.to_owned() }
    }

    #[test]
    fn the_token_is_not_shown_over_plain_http_where_the_cluster_has_tls() {
        let (secure, plain) = (token("https://admin.example.com"), token("http://10.0.0.1:9443"));
        let url = |text: &str| Some(text.parse::<Url>().unwrap());
        assert_eq!(address(None, &secure).unwrap().as_str(), "https://admin.example.com/");
        assert_eq!(address(url("https://10.0.0.1:9443").as_ref(), &secure).unwrap().port(), Some(9443));
        assert_eq!(address(url("http://10.0.0.2:9443").as_ref(), &plain).unwrap().scheme(), "http");
        assert!(address(url("http://admin.example.com").as_ref(), &secure).is_err());
        assert!(address(url("ftp://admin.example.com").as_ref(), &plain).is_err());
    }

    #[test]
    fn findings_fit_on_a_line() {
        let found = check(&Finding::fail("clock", "x\n".repeat(1000), "do\tthis"));
        assert!(found.cause.unwrap().as_str().len() <= 400);
        assert_eq!(found.remedy.unwrap().as_str(), "do this");
    }
}
