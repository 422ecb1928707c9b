//! The configuration of this machine: one TOML file, each key also as an environment variable.
//!
//! `POSTERN_DATABASE__URI` is the key `uri` of the table `database`: `POSTERN_`, then the path in capitals joined by
//! two underscores. The environment wins over the file. Unknown keys are refused, in the file and in the environment. The
//! proxies (`HTTPS_PROXY` and so on) come from the environment alone.
//! Only what this machine alone knows stands here; what all hosts must agree on is in the database. Everything is
//! parsed and checked before any port is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use ipnet::IpNet;
use serde::de::value::StringDeserializer;
use serde::de::{DeserializeOwned, Error as _, IntoDeserializer as _};
use serde::{Deserialize, Deserializer};

use crate::domain::host::ProcessRole;
use crate::domain::secret::Secret;
use crate::domain::text::{HostName, PublicAddress};
use crate::oidc::Proxies;
use crate::services::hosts::joining::HostDatabase;

/// Where the file is looked for when the command line names none.
pub const DEFAULT_PATH: &str = "/etc/postern/postern.toml";

const PREFIX: &str = "POSTERN_";

/// The whole configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// This machine.
    pub host: HostConfig,
    /// The shared database.
    pub database: DatabaseConfig,
    /// Where keys are.
    pub keys: KeysConfig,
    /// The listener for employees.
    pub public: ListenerConfig,
    /// The listener for the console and the API.
    pub admin: ListenerConfig,
    /// The listener for health and metrics.
    pub ops: OpsConfig,
    /// Certificates of the public and the admin listener.
    pub tls: Option<TlsConfig>,
    /// Proxies in front.
    pub proxy: ProxyConfig,
    /// The `openvpn` daemons.
    pub vpn: VpnConfig,
    /// Through whom the identity provider is asked: from the variables that all programs share.
    #[serde(skip)]
    pub provider_proxies: Proxies,
}

/// Table `host`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostConfig {
    /// The name of the host in the cluster; by default the machine's.
    pub name: Option<HostName>,
    /// Identity key, spool and runtime files of this host.
    pub data_dir: PathBuf,
    /// What profiles name: one address, or several for a host with IPv4 and IPv6. By default the address that this
    /// machine would use to reach the internet.
    #[serde(deserialize_with = "several")]
    pub public_address: Vec<PublicAddress>,
    /// What this process does.
    #[serde(deserialize_with = "several")]
    pub roles: Vec<ProcessRole>,
}

impl Default for HostConfig {
    fn default() -> Self {
        use ProcessRole::{Console, Jobs, Portal, Vpn};
        Self {
            name: None,
            data_dir: "/var/lib/postern".into(),
            public_address: Vec::new(),
            roles: vec![Portal, Console, Vpn, Jobs],
        }
    }
}

/// Table `database`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// A MongoDB connection string; absent: a private `mongod` under the data directory.
    pub uri: Option<String>,
    /// The database's name.
    pub name: String,
    /// The connection string that machines get which join; absent: ours, for a database user of the host's own where
    /// we may make one.
    pub uri_for_hosts: Option<String>,
    /// Whether a database on another machine may ask nobody who they are. Only for a network that nobody else reaches.
    pub insecure: bool,
    /// The program for the private one.
    pub mongod: Option<PathBuf>,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { uri: None, name: "postern".into(), uri_for_hosts: None, insecure: false, mongod: None }
    }
}

impl std::fmt::Debug for DatabaseConfig {
    /// The connection string may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Table `keys`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeysConfig {
    /// 64 hexadecimal digits; needed by the roles portal, console and jobs.
    pub master_key_file: Option<PathBuf>,
}

/// Tables `public` and `admin`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerConfig {
    /// Where to listen.
    pub listen: Option<SocketAddr>,
    /// How people reach it from outside.
    pub url: Option<String>,
}

/// Table `ops`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OpsConfig {
    /// Where to listen.
    pub listen: Option<SocketAddr>,
}

/// Table `tls`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate with its chain, PEM.
    pub certificate_file: PathBuf,
    /// Its key, PEM.
    pub key_file: PathBuf,
}

/// Table `proxy`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// `X-Forwarded-For` is believed only from these networks.
    #[serde(deserialize_with = "several")]
    pub trusted: Vec<IpNet>,
}

/// Table `vpn`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VpnConfig {
    /// The program.
    pub openvpn: PathBuf,
    /// Whether daemons end with `serve`: for containers.
    #[serde(deserialize_with = "switch")]
    pub stop_with_postern: bool,
}

impl Default for VpnConfig {
    fn default() -> Self {
        Self { openvpn: "/usr/sbin/openvpn".into(), stop_with_postern: false }
    }
}

impl Config {
    /// Reads the file (the default one may be absent) and the environment, and checks what they say together.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn load(path: Option<&Path>, environment: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("the configuration file {} cannot be read", path.display()))?,
            None => std::fs::read_to_string(DEFAULT_PATH).unwrap_or_default(),
        };
        let name = path.map_or_else(|| DEFAULT_PATH.to_owned(), |path| path.display().to_string());
        let mut table: toml::Table = text.parse().with_context(|| format!("{name} is not valid TOML"))?;
        let environment: BTreeMap<String, String> = environment.into_iter().collect();
        overlay(&mut table, &environment)?;
        let mut config: Self = serde_path_to_error::deserialize(toml::Value::Table(table))
            .map_err(|error| anyhow::anyhow!("{name}: {}: {}", error.path(), error.inner().message()))?;
        config.provider_proxies = Proxies::from_environment(|name| environment.get(name).map(String::as_str))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.host.roles.is_empty(), "host.roles must name at least one role");
        for (key, listener) in [("public", self.public_listen()), ("admin", self.admin_listen())] {
            let covered = self.tls.is_some() || listener.ip().is_loopback() || !self.proxy.trusted.is_empty();
            ensure!(
                covered,
                "{key}.listen = {listener} would serve plain HTTP to the network: set tls, or proxy.trusted if a proxy \
                 in front does it, or listen on loopback"
            );
        }
        for (key, url) in [("public.url", &self.public.url), ("admin.url", &self.admin.url)] {
            let sound = url.as_ref().is_none_or(|url| url.starts_with("https://") || url.starts_with("http://"));
            ensure!(sound, "{key} must begin with https:// (or http:// for evaluation)");
        }
        if self.database.uri.is_some() && self.needs_master_key() && self.keys.master_key_file.is_none() {
            bail!(
                "the roles portal, console and jobs need keys.master_key_file (make one: openssl rand -hex 32), the \
                 same on all hosts; a host that only serves VPN sets host.roles = [\"vpn\"]"
            );
        }
        Ok(())
    }

    /// How machines that join come to the database: not at all to the private one.
    pub fn host_database(&self) -> Option<HostDatabase> {
        let own = self.database.uri.as_ref()?;
        let given = self.database.uri_for_hosts.as_ref();
        Some(HostDatabase {
            uri: Secret::new(given.unwrap_or(own).clone()),
            name: self.database.name.clone(),
            for_hosts: given.is_some(),
        })
    }

    /// Whether it issues or changes secrets.
    pub fn needs_master_key(&self) -> bool {
        self.host.roles.iter().any(|role| *role != ProcessRole::Vpn)
    }

    /// What this process does.
    pub fn roles(&self) -> BTreeSet<ProcessRole> {
        self.host.roles.iter().copied().collect()
    }

    /// Where the public listener binds.
    pub fn public_listen(&self) -> SocketAddr {
        self.public.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8443)))
    }

    /// Where the admin listener binds.
    pub fn admin_listen(&self) -> SocketAddr {
        self.admin.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9443)))
    }

    /// Where the ops listener binds.
    pub fn ops_listen(&self) -> SocketAddr {
        self.ops.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9600)))
    }

    /// How daemons are run here.
    pub fn vpn_settings(&self) -> crate::daemon::Settings {
        crate::daemon::Settings {
            openvpn: self.vpn.openvpn.clone(),
            relay: std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into()),
            data_dir: self.host.data_dir.clone(),
            stop_with_postern: self.vpn.stop_with_postern,
        }
    }

    /// The name of this host.
    ///
    /// # Errors
    /// If the machine's own name cannot serve as one.
    pub fn host_name(&self) -> anyhow::Result<HostName> {
        if let Some(name) = &self.host.name {
            return Ok(name.clone());
        }
        let uname = rustix::system::uname();
        let name = uname.nodename().to_string_lossy().to_lowercase();
        name.parse().with_context(|| format!("the machine's name {name:?} cannot be a host's name; set host.name"))
    }

    /// Where clients reach this host.
    pub fn public_addresses(&self) -> Vec<PublicAddress> {
        if self.host.public_address.is_empty() {
            vec![PublicAddress::Ip(address_towards_the_internet())]
        } else {
            self.host.public_address.clone()
        }
    }
}

/// The source address of the default route, found without sending anything; loopback if there is none.
fn address_towards_the_internet() -> IpAddr {
    let probe = || {
        let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
        // RFC 5737: an address that nobody has.
        socket.connect("192.0.2.1:9").ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    probe().unwrap_or(IpAddr::from([127, 0, 0, 1]))
}

/// Puts `POSTERN_A__B=value` at `a.b`. Variables without two underscores belong to others (`POSTERN_URL`).
fn overlay(table: &mut toml::Table, environment: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for (name, value) in environment {
        let Some((section, key)) = name.strip_prefix(PREFIX).and_then(|path| path.split_once("__")) else {
            continue;
        };
        let (section, key) = (section.to_lowercase(), key.to_lowercase());
        let entry = table.entry(&section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let Some(entry) = entry.as_table_mut() else {
            bail!("{section} must be a table, as {name} says");
        };
        entry.insert(key, toml::Value::String(value.clone()));
    }
    Ok(())
}

/// A list, or one text with commas, as an environment variable has it.
fn several<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        One(String),
        Many(Vec<String>),
    }
    let texts = match Form::deserialize(deserializer)? {
        Form::One(text) => text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect(),
        Form::Many(texts) => texts,
    };
    let parse = |text: String| {
        let shown = text.clone();
        let plain: StringDeserializer<serde::de::value::Error> = text.into_deserializer();
        T::deserialize(plain).map_err(|error| D::Error::custom(format!("{shown:?}: {error}")))
    };
    texts.into_iter().map(parse).collect()
}

/// A boolean, or its word, as an environment variable has it.
fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Bool(bool),
        Word(String),
    }
    match Form::deserialize(deserializer)? {
        Form::Bool(value) => Ok(value),
        Form::Word(word) => word.parse().map_err(|_other| D::Error::custom("must be true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(Some(file.path()), environment).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn nothing_at_all_is_the_embedded_default() {
        let config = load("", &[]).unwrap();
        assert!(config.database.uri.is_none());
        assert_eq!(config.roles().len(), 4);
        assert!(config.admin_listen().ip().is_loopback());
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let environment = [
            ("POSTERN_HOST__NAME", "vpn-2"),
            ("POSTERN_HOST__ROLES", "vpn, jobs"),
            ("POSTERN_VPN__STOP_WITH_POSTERN", "true"),
            ("POSTERN_DATABASE__URI", "mongodb://db"),
            ("POSTERN_KEYS__MASTER_KEY_FILE", "/k"),
            ("POSTERN_URL", "https://ignored.example.com"),
        ];
        let config = load("[host]\nname = \"vpn-1\"\npublic_address = \"203.0.113.10\"\n", &environment).unwrap();
        assert_eq!(config.host_name().unwrap().as_str(), "vpn-2");
        assert_eq!(config.host.roles, [ProcessRole::Vpn, ProcessRole::Jobs]);
        assert!(config.vpn.stop_with_postern);
        assert_eq!(config.public_addresses(), ["203.0.113.10".parse().unwrap()]);
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        assert!(load("[host]\nnmae = \"x\"\n", &[]).unwrap_err().contains("nmae"));
        assert!(load("", &[("POSTERN_HOST__NMAE", "x")]).unwrap_err().contains("nmae"));
        assert!(load("[hosts]\n", &[]).unwrap_err().contains("hosts"));
    }

    #[test]
    fn bad_values_are_refused_with_their_key() {
        for (text, key) in [
            ("[host]\nname = \"a b\"", "host.name"),
            ("[host]\npublic_address = [\"1.2.3.4\", \"x y\"]", "host.public_address"),
            ("[host]\nroles = [\"king\"]", "host.roles"),
            ("[public]\nlisten = \"8443\"", "public.listen"),
            ("[proxy]\ntrusted = [\"10.0.0.0/99\"]", "proxy.trusted"),
        ] {
            let error = load(text, &[]).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn plain_http_stays_on_loopback_or_behind_a_proxy() {
        let open = "[admin]\nlisten = \"0.0.0.0:9443\"\n";
        assert!(load(open, &[]).unwrap_err().contains("plain HTTP"));
        assert!(load(&format!("{open}[proxy]\ntrusted = [\"10.0.0.0/8\"]\n"), &[]).is_ok());
    }

    #[test]
    fn a_shared_database_needs_the_master_key_for_more_than_vpn() {
        let shared = "[database]\nuri = \"mongodb://db\"\n";
        assert!(load(shared, &[]).unwrap_err().contains("master_key_file"));
        assert!(load(&format!("{shared}[host]\nroles = [\"vpn\"]\n"), &[]).is_ok());
    }

    #[test]
    fn proxies_come_from_the_environment_alone() {
        let config = load("", &[("https_proxy", "http://proxy.example.com:3128")]).unwrap();
        assert!(format!("{:?}", config.provider_proxies).contains("proxy.example.com:3128"));
        let error = load("", &[("ALL_PROXY", "ftp://u:hunter2@proxy")]).unwrap_err();
        assert!(error.starts_with("ALL_PROXY ") && !error.contains("hunter2"), "{error}");
        assert!(load("provider_proxies = 1", &[]).unwrap_err().contains("provider_proxies"));
    }

    #[test]
    fn the_connection_string_is_not_shown() {
        let config = load("[database]\nuri = \"mongodb://u:hunter2@db\"\n[host]\nroles=[\"vpn\"]", &[]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
