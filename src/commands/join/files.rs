//! The configuration of a machine that has joined: made anew as a whole, never half there.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::domain::host::ProcessRole;
use crate::domain::text::{HostName, PublicAddress};
use crate::runtime::random;

/// How a file begins that may be overwritten by another join under the same name.
const MARK: &str = "# Written by `postern join`";

/// What a joined machine alone knows.
pub(super) struct JoinedHostConfig<'a> {
    pub(super) host_name: &'a HostName,
    pub(super) data_dir: &'a Path,
    pub(super) public_addresses: &'a [PublicAddress],
    pub(super) database_uri: &'a str,
    /// Whether it names a user.
    pub(super) has_login: bool,
    pub(super) database_name: &'a str,
    pub(super) ops: std::net::SocketAddr,
    pub(super) openvpn: &'a Path,
}

impl JoinedHostConfig<'_> {
    /// The text of the file.
    pub(super) fn to_toml(&self) -> anyhow::Result<String> {
        use toml::{Table, Value};
        let text = |text: &dyn ToString| Value::String(text.to_string());
        let path = |path: &Path| path.to_str().map(|text| Value::String(text.to_owned())).context("a path is no text");
        let table = |fields: Vec<(&str, Value)>| {
            Value::Table(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        };
        let addresses = self.public_addresses.iter().map(|address| text(address)).collect();
        let role = Value::try_from(ProcessRole::Vpn)?;
        let mut whole = Table::new();
        whole.insert(
            "host".to_owned(),
            table(vec![
                ("name", text(self.host_name)),
                ("data_dir", path(self.data_dir)?),
                ("public_address", Value::Array(addresses)),
                ("roles", Value::Array(vec![role])),
            ]),
        );
        whole.insert(
            "database".to_owned(),
            table(vec![
                ("uri", text(&self.database_uri)),
                ("name", text(&self.database_name)),
                // The cluster's own configuration says so, or this machine could not have joined.
                ("insecure", Value::Boolean(!self.has_login)),
            ]),
        );
        whole.insert("ops".to_owned(), table(vec![("listen", text(&self.ops))]));
        whole.insert("vpn".to_owned(), table(vec![("openvpn", path(self.openvpn)?)]));
        Ok(format!(
            "{MARK} for host {}. Another join under this name writes it anew.\n\
             # This host serves VPN only: it has no master key and needs none.\n\n{whole}",
            self.host_name
        ))
    }
}

/// Refuses to put the configuration of host `name` over one that is not its own.
pub(super) fn check_place(path: &Path, name: &HostName) -> anyhow::Result<()> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.starts_with(&format!("{MARK} for host {name}.")) => Ok(()),
        Ok(_) => bail!(
            "{} exists and was not written by a join as host {name}: move it away if this machine is to become that host",
            path.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Puts `text` at `path`, for its owner only: written beside it, synced, renamed.
pub(super) fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = folder.join(format!(".postern-{:032x}", random::u128()));
    let put = || {
        std::fs::create_dir_all(folder)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        File::open(folder)?.sync_all()
    };
    put()
        .inspect_err(|_failed| drop(std::fs::remove_file(&draft)))
        .with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::config::Config;

    fn facts<'a>(name: &'a HostName, addresses: &'a [PublicAddress]) -> JoinedHostConfig<'a> {
        JoinedHostConfig {
            host_name: name,
            data_dir: Path::new("/var/lib/postern"),
            public_addresses: addresses,
            has_login: true,
            database_uri: "mongodb://u:p\"\\\n@db/?replicaSet=t",
            database_name: "postern",
            ops: "127.0.0.1:9600".parse().unwrap(),
            openvpn: Path::new("/usr/sbin/openvpn"),
        }
    }

    #[test]
    fn what_is_written_is_what_serve_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etc/postern.toml");
        let (name, addresses) =
            ("vpn-3".parse().unwrap(), ["203.0.113.7".parse().unwrap(), "2001:db8::7".parse().unwrap()]);
        let facts = facts(&name, &addresses);
        write(&path, &facts.to_toml().unwrap(), 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let config = Config::load(Some(&path), []).unwrap();
        assert_eq!(config.host_name().unwrap(), name);
        assert_eq!(config.public_addresses(), addresses);
        assert_eq!(config.database.uri.as_deref(), Some(facts.database_uri));
        assert_eq!(config.roles(), [ProcessRole::Vpn].into());
        assert!(config.keys.master_key_file.is_none());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn another_configuration_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postern.toml");
        let [name, other]: [HostName; 2] = ["vpn-3", "vpn-4"].map(|name| name.parse().unwrap());
        check_place(&path, &name).unwrap();
        let addresses = ["203.0.113.7".parse().unwrap()];
        write(&path, &facts(&name, &addresses).to_toml().unwrap(), 0o600).unwrap();
        check_place(&path, &name).unwrap();
        assert!(check_place(&path, &other).is_err());
        std::fs::write(&path, "[host]\nname = \"vpn-3\"\n").unwrap();
        assert!(check_place(&path, &name).unwrap_err().to_string().contains("move it away"));
    }
}
