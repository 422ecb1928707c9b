//! What a daemon is to run with: its key, its certificate, its configuration.
//!
//! The text of the configuration begins with a mark of the key material beside it, so that one comparison tells whether
//! a running process has everything as it should be. Routes and DNS are not part of it: clients get them when they are
//! let in.

use std::io;

use sha2::{Digest, Sha256};

use super::Here;
use domain::access::Snapshot;
use domain::ids::ServerId;
use domain::secret::Secret;
use domain::spec::DaemonSpec;
use firewall::DEVICE_PREFIX;
use openvpn::config::{ConfigError, DeviceName, Listen, ServerConfig};
use openvpn::{RuntimeDir, RuntimeDirError};
use services::ServiceError;
use services::network::attachments::{
    CredentialState, DaemonSecrets, credentials_for, is_daemon_key, new_daemon_key, wanted,
};

/// The most clients of one daemon: more than its one core serves well.
const MAX_CLIENTS: u32 = 4096;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    /// The files of the daemon cannot be used.
    #[error(transparent)]
    Files(#[from] RuntimeDirError),
    /// The daemon's key cannot be read.
    #[error("the daemon's key cannot be read")]
    Key(#[source] io::Error),
    /// Key or credentials are not usable.
    #[error("the daemon's credentials cannot be used")]
    Credentials(#[source] ServiceError),
    /// No configuration could be made.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The daemon's own key once it was read, for looks that must not wait for a disk.
pub(super) type OwnKey = Option<Secret<String>>;

/// What is to become of a daemon.
pub(super) enum Plan {
    /// It is not to run here.
    Unwanted,
    /// It cannot run before this request for a certificate, PEM, is answered.
    Certificate(String),
    /// It is to run.
    Run(Run),
}

/// How a daemon is to run.
pub(super) struct Run {
    /// Its configuration.
    pub config: String,
    /// What goes beside it.
    pub secrets: Box<DaemonSecrets>,
    /// A request for the next certificate, PEM, once the present one grows old.
    pub request: Option<String>,
}

/// The name of a server's tun device on any host: our prefix and ten digits of its id.
pub fn device(server: ServerId) -> String {
    let bytes = server.to_bytes();
    let tail = bytes.get(11..).unwrap_or_default();
    format!("{DEVICE_PREFIX}{}", data_encoding::HEXLOWER.encode(tail))
}

/// What the policy wants of a server's daemon now. Without a `key` it is read, or made.
pub(super) fn plan(
    here: &Here,
    dir: &RuntimeDir,
    server: ServerId,
    snapshot: &Snapshot,
    key: &mut OwnKey,
) -> Result<Plan, PlanError> {
    let Some((server, attachment)) = wanted(snapshot, here.host).find(|(wanted, _)| wanted.id == server) else {
        return Ok(Plan::Unwanted);
    };
    let key = match key {
        Some(key) => key,
        None => key.insert(own_key(dir)?),
    };
    let credentials = credentials_for(&here.key, key.expose(), attachment, here.services.now());
    let (secrets, request) = match credentials.map_err(PlanError::Credentials)? {
        CredentialState::Wanted(request) => return Ok(Plan::Certificate(request)),
        CredentialState::Ready(secrets) => (secrets, None),
        CredentialState::Renewing(secrets, request) => (secrets, Some(request)),
    };
    let config = format!("# {}\n{}", mark(&secrets), config(server.id, DaemonSpec::of(server))?);
    Ok(Plan::Run(Run { config, secrets, request }))
}

/// Puts the key material where the daemon reads it.
pub(super) fn write_secrets(dir: &RuntimeDir, secrets: &DaemonSecrets) -> Result<(), RuntimeDirError> {
    dir.write(RuntimeDir::AUTHORITIES, secrets.client_authorities.as_bytes())?;
    dir.write(RuntimeDir::CERTIFICATE, secrets.certificate.as_bytes())?;
    dir.write(RuntimeDir::TLS_CRYPT, secrets.tls_crypt.expose().as_bytes())
}

/// The daemon's own key, made at the first look. It never leaves the directory. A file that holds no key (the machine
/// lost its power while it was written) is as good as none: the certificate for the new key comes by itself.
fn own_key(dir: &RuntimeDir) -> Result<Secret<String>, PlanError> {
    match std::fs::read(dir.file(RuntimeDir::KEY)) {
        Ok(bytes) => {
            if let Ok(text) = String::from_utf8(bytes)
                && is_daemon_key(&text)
            {
                return Ok(Secret::new(text));
            }
            tracing::warn!(event = "daemon.key_garbled", "a daemon's key cannot be read; a new one is made");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(PlanError::Key(error)),
    }
    let key = new_daemon_key().map_err(PlanError::Credentials)?;
    dir.write(RuntimeDir::KEY, key.expose().as_bytes())?;
    Ok(key)
}

/// Nothing but the specification is rendered, so what a preview says of restarts holds.
fn config(server: ServerId, spec: DaemonSpec) -> Result<String, ConfigError> {
    let config = ServerConfig {
        device: DeviceName::new(device(server))?,
        max_clients: spec.network.capacity().min(MAX_CLIENTS),
        spec,
        listen: Listen::everywhere_here(),
    };
    config.to_text()
}

fn mark(secrets: &DaemonSecrets) -> String {
    let mut digest = Sha256::new();
    for part in [&secrets.client_authorities, &secrets.certificate, secrets.tls_crypt.expose()] {
        digest.update(part);
        digest.update(b"\0");
    }
    data_encoding::HEXLOWER.encode(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use domain::server::{Endpoint, Protocol};

    #[test]
    fn a_device_is_named_by_its_server_and_fits_the_kernel() {
        let name = device(samples::id(0x0001_0203_0405_0607_0809));
        assert_eq!(name, "pst-0506070809");
        assert!(DeviceName::new(name).is_ok());
    }

    #[test]
    fn a_key_file_that_holds_no_key_is_replaced_and_a_good_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::prepare(folder.path().join("d")).unwrap();
        let key = own_key(&dir).unwrap();
        assert_eq!(own_key(&dir).unwrap().expose(), key.expose());
        for garbled in [&b""[..], b"-----BEGIN PRIVATE KEY-----\n", &[0; 200], &[0xff, 0xfe]] {
            dir.write(RuntimeDir::KEY, garbled).unwrap();
            let made = own_key(&dir).unwrap();
            assert!(is_daemon_key(made.expose()));
            assert_eq!(own_key(&dir).unwrap().expose(), made.expose());
        }
    }

    #[test]
    fn every_part_of_a_specification_is_part_of_the_command_line() {
        let (id, before) = (samples::server().id, DaemonSpec::of(&samples::server()));
        let text = |spec: DaemonSpec| config(id, spec).unwrap();
        let endpoint = before.endpoint;
        let others = [
            DaemonSpec { network: "10.8.0.0/24".parse().unwrap(), ..before.clone() },
            DaemonSpec { endpoint: Endpoint { port: 1195.try_into().unwrap(), ..endpoint }, ..before.clone() },
            DaemonSpec { endpoint: Endpoint { protocol: Protocol::Tcp, ..endpoint }, ..before.clone() },
            DaemonSpec { keepalive: serde_json::from_str(r#"{"interval":5,"timeout":10}"#).unwrap(), ..before.clone() },
        ];
        for other in others {
            assert_ne!(text(other.clone()), text(before.clone()), "{other:?}");
        }
    }
}
