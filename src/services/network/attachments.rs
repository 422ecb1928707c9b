//! Attachments: which hosts run which server, and what a host needs for it.
//!
//! Attaching is one document. The host sees it, makes a key of its own and asks for a certificate; any process that
//! holds the master key answers by [`certify`](crate::Network::certify): it signs, seals the shared secrets to the host's
//! key, and writes both into the attachment, where the host finds them by the same road as every other change of policy.
//!
//! A request stands where every host can write, so the host seals it for the attachment that it is about, in a way that
//! proves whose it is. Anything else is refused, and a host gets so many certificates a minute and no more.

use jiff::SignedDuration;
use serde::Serialize;
use utoipa::ToSchema;

use crate::network::probes::{Reached, answers};
use crate::network::servers::check_port;
use crate::{Act, Missing, Network, Nudge, Refusal, ServiceError};
use domain::access::Snapshot;
use domain::audit::{Action, Actor};
use domain::host::{Host, ProcessRole};
use domain::ids::{HostId, ServerId};
use domain::role::Permission;
use domain::server::{Attachment, AttachmentKey, Credentials, DaemonState, Server};
use keys::host::{HostKey, HostPublicKey, seal_to};
use keys::seal::Context;
use keys::secret::Secret;
use keys::tls_crypt::ServerKey;
use pki::request::{LeafKey, PublicKey};
use store::hosts::records::{CertificateRequest, DaemonStatus};
use store::network::server_keys::StoredServerKey;

/// How long a daemon's certificate is valid.
const LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);

/// From when on it is renewed: a third of its life remains.
const RENEWAL: SignedDuration = SignedDuration::from_hours(365 * 24 / 3);

/// A host of a server, as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AttachedHost {
    /// Which host.
    pub host_id: HostId,
    /// How its daemon is.
    pub state: DaemonState,
    /// Why, in words.
    pub detail: Option<String>,
    /// Whether clients can reach it, as another host saw it last; nothing while none has looked lately.
    pub reached: Option<Reached>,
}

impl Network<'_> {
    /// The hosts of a server and how they fare.
    pub async fn server_hosts(self, act: &Act, server: ServerId) -> Result<Vec<AttachedHost>, ServiceError> {
        act.require(Permission::Read)?;
        let (found, attachments, reports, hosts, mut reachability) = tokio::try_join!(
            self.store().find::<Server>(&server),
            self.store().network().attachments_of(server),
            self.store().hosts().daemons_of(server),
            self.store().hosts().host_statuses(None),
            self.reachability(None),
        )?;
        found.ok_or(ServiceError::NotFound(Missing::Server))?;
        Ok(attachments
            .into_iter()
            .map(|attachment| {
                let host_id = attachment.value.host_id;
                let report = reports.iter().find(|report| report.key.host_id == host_id);
                let silent = hosts.get(&host_id).is_none_or(|status| !status.online);
                let (state, detail) = match report {
                    None => (DaemonState::Pending, Some("the host has not taken it up yet".to_owned())),
                    Some(report) if silent => {
                        (report.state, Some("the host is silent; this is what it said last".to_owned()))
                    }
                    Some(report) => (report.state, report.detail.clone()),
                };
                let key = AttachmentKey { server_id: server, host_id };
                let reached = reachability.remove(&key).filter(|_| answers(state));
                AttachedHost { host_id, state, detail, reached }
            })
            .collect())
    }

    /// Attaches a host to a server. Repeating it changes nothing.
    pub async fn attach(self, act: &Act, server: ServerId, host: HostId) -> Result<(), ServiceError> {
        act.require(Permission::ManageServers)?;
        let attached = self
            .change_by(act, |tx| async move {
                let found = tx.find::<Server>(&server).await?.ok_or(ServiceError::NotFound(Missing::Server))?;
                let carrier = tx.find::<Host>(&host).await?.ok_or(ServiceError::NotFound(Missing::Host))?.value;
                let key = AttachmentKey { server_id: server, host_id: host };
                if tx.find::<Attachment>(&key).await?.is_some() {
                    return Ok(found.value);
                }
                if !carrier.roles.contains(&ProcessRole::Vpn) {
                    return Err(ServiceError::Conflict(Refusal::RoleMissing { host: carrier.name }));
                }
                check_port(&tx, &found.value, host).await?;
                tx.insert(&Attachment { server_id: server, host_id: host, credentials: None }).await?;
                let changes = serde_json::json!({ "host_id": [null, host] });
                tx.record(&self.entry(act, Action::HostAttach, &server, changes)).await?;
                Ok(found.value)
            })
            .await?;
        self.hosts().warn_of_collisions(act, &attached, Some(host)).await;
        Ok(())
    }

    /// Detaches a host from a server: its sessions of it end, and profiles issued from now on do not list it.
    /// Repeating it changes nothing.
    pub async fn detach(self, act: &Act, server: ServerId, host: HostId) -> Result<(), ServiceError> {
        act.require(Permission::ManageServers)?;
        self.change_by(act, |tx| async move {
            tx.find::<Server>(&server).await?.ok_or(ServiceError::NotFound(Missing::Server))?;
            let key = AttachmentKey { server_id: server, host_id: host };
            if tx.find::<Attachment>(&key).await?.is_none() {
                return Ok(());
            }
            tx.delete::<Attachment>(&key, self.now()).await?;
            let changes = serde_json::json!({ "host_id": [host, null] });
            tx.record(&self.entry(act, Action::HostDetach, &server, changes)).await?;
            Ok(())
        })
        .await
    }

    /// Says how a daemon of this host is.
    pub async fn report_daemon(self, status: &DaemonStatus) -> Result<(), ServiceError> {
        self.hosts().refuse_displaced()?;
        self.store().hosts().report_daemon(status, None).await?;
        self.nudge(&Nudge::DaemonChange(status.key));
        Ok(())
    }

    /// Says how a daemon of this host is, and asks for a certificate by `request`, PEM.
    ///
    /// # Errors
    /// [`ServiceError::Internal`] while no process with the master key has said to which key requests are sealed.
    pub async fn request_certificate(
        self,
        host_key: &HostKey,
        status: &DaemonStatus,
        request: &str,
    ) -> Result<(), ServiceError> {
        let Some(cluster) = self.store().cluster().request_key().await? else {
            self.report_daemon(status).await?;
            let unknown =
                "no process with the master key has said yet where requests go; is one of this release running?";
            return Err(ServiceError::Internal(unknown.into()));
        };
        self.hosts().refuse_displaced()?;
        let (cluster, place) = (HostPublicKey::from_bytes(cluster)?, status.key.to_string());
        let sealed = host_key.request(&cluster, &request_place(&place), request.as_bytes());
        self.store().hosts().report_daemon(status, Some(&sealed)).await?;
        self.nudge(&Nudge::DaemonChange(status.key));
        self.nudge(&Nudge::CertificateRequest(status.key));
        Ok(())
    }

    /// What is held of these daemons.
    pub async fn reported(self, daemons: &[AttachmentKey]) -> Result<Vec<DaemonStatus>, ServiceError> {
        Ok(self.store().hosts().daemons_named(daemons).await?)
    }

    /// Forgets what a daemon of this host reported: it is gone for good.
    pub async fn forget_daemon(self, key: AttachmentKey) -> Result<(), ServiceError> {
        self.hosts().refuse_displaced()?;
        self.store().hosts().forget_daemon(key).await?;
        self.nudge(&Nudge::DaemonChange(key));
        Ok(())
    }

    /// Answers the requests for certificates that are open. Does nothing without a master key. Returns how many were
    /// answered.
    pub async fn certify(self) -> Result<usize, ServiceError> {
        if !self.has_master_key() {
            return Ok(0);
        }
        let mut answered = 0;
        for request in self.store().hosts().certificate_requests().await? {
            match self.certify_one(&request).await {
                Ok(true) => answered += 1,
                Ok(false) => {}
                Err(error @ (ServiceError::Unavailable(_) | ServiceError::Paused)) => return Err(error),
                // One bad request must not keep the others waiting.
                Err(error) => tracing::warn!(event = "daemon.certificate_refused", attachment = %request.key, %error,
                    "a certificate request was refused"),
            }
        }
        Ok(answered)
    }

    async fn certify_one(self, asked: &CertificateRequest) -> Result<bool, ServiceError> {
        let Some(host) = self.store().find::<Host>(&asked.key.host_id).await? else { return Ok(false) };
        let (host_key, key) = (&HostPublicKey::from_bytes(host.value.public_key)?, &asked.key.to_string());
        let request = self.master_key()?.request_key().open_request(host_key, &request_place(key), &asked.sealed)?;
        let request = std::str::from_utf8(&request).map_err(|error| ServiceError::Internal(Box::new(error)))?;
        let authorities = &self.authorities().await?;
        let key_hash = &PublicKey::from_csr_pem(request)?.sha256().to_vec();
        let act = &Act::of(Actor::System("certify"));
        self.change(|tx| async move {
            let Some(found) = tx.find::<Attachment>(&asked.key).await? else { return Ok(false) };
            let now = self.now();
            let fresh = |given: &Credentials| given.key_hash == *key_hash && given.not_after - RENEWAL > now;
            if found.value.credentials.as_ref().is_some_and(fresh) {
                return Ok(false);
            }
            self.cluster().limit_certificates(asked.key.host_id)?;
            let not_after = (now + LIFETIME).min(authorities.server.not_after());
            let certificate =
                authorities.server.sign_host_csr(request, authorities.server_name.as_str(), now, not_after)?;
            let stored = tx.find::<StoredServerKey>(&asked.key.server_id).await?.map(|found| found.value);
            let tls_crypt = self.open_server_key(authorities, stored.as_ref())?.to_pem();
            let credentials = Credentials {
                certificate: certificate.pem,
                key_hash: key_hash.clone(),
                not_after,
                client_authorities: authorities.client_roots.clone(),
                sealed_tls_crypt: seal_to(host_key, &place(key), tls_crypt.expose().as_bytes()),
            };
            tx.replace(&Attachment { credentials: Some(credentials), ..found.value }).await?;
            let changes = serde_json::json!({ "serial": [null, certificate.serial], "not_after": [null, not_after] });
            tx.record(&self.entry(act, Action::AttachmentCertify, key, changes)).await?;
            Ok(true)
        })
        .await
    }
}

/// What a host needs to run a daemon, opened.
#[derive(Debug)]
pub struct DaemonSecrets {
    /// The daemon's certificate, PEM.
    pub certificate: String,
    /// The roots that clients' certificates must lead to, PEM.
    pub client_authorities: String,
    /// The tls-crypt-v2 server key, PEM.
    pub tls_crypt: Secret<String>,
}

/// What a host is to do about the credentials of an attachment.
#[derive(Debug)]
pub enum CredentialState {
    /// Ask for a certificate by this request, PEM.
    Wanted(String),
    /// Run with these.
    Ready(Box<DaemonSecrets>),
    /// Run with these, and ask for the next certificate by this request, PEM.
    Renewing(Box<DaemonSecrets>, String),
}

/// A fresh key for a daemon of this host, PEM; it never leaves the host.
pub fn new_daemon_key() -> Result<Secret<String>, ServiceError> {
    Ok(LeafKey::generate()?.pem())
}

/// Whether a text is a daemon's private key, PEM.
pub fn is_daemon_key(text: &str) -> bool {
    LeafKey::from_pem(text).is_ok()
}

/// Judges the credentials of an attachment against the daemon's own key.
pub fn credentials_for(
    host_key: &HostKey,
    daemon_key_pem: &str,
    attachment: &Attachment,
    now: jiff::Timestamp,
) -> Result<CredentialState, ServiceError> {
    let key = LeafKey::from_pem(daemon_key_pem)?;
    let mine = key.public_key().sha256();
    let Some(given) = attachment.credentials.as_ref().filter(|given| given.key_hash == mine && given.not_after > now)
    else {
        return Ok(CredentialState::Wanted(key.csr_pem()?));
    };
    let secrets = Box::new(DaemonSecrets {
        certificate: given.certificate.clone(),
        client_authorities: given.client_authorities.clone(),
        tls_crypt: open_tls_crypt(host_key, attachment, given)?,
    });
    if given.not_after - RENEWAL <= now {
        return Ok(CredentialState::Renewing(secrets, key.csr_pem()?));
    }
    Ok(CredentialState::Ready(secrets))
}

/// A fresh client key of a server that this host runs, and its wrapped form: what a client shows a daemon before
/// anything else, and nothing that would let it in. None before the host was given the server's key.
///
/// # Errors
/// What the host was given cannot be opened or read.
pub fn visiting_key(host_key: &HostKey, attachment: &Attachment) -> Result<Option<Secret<Vec<u8>>>, ServiceError> {
    let Some(given) = &attachment.credentials else { return Ok(None) };
    let key = ServerKey::from_pem(open_tls_crypt(host_key, attachment, given)?.expose())?;
    Ok(Some(key.client_bundle(b"")?))
}

/// The tls-crypt-v2 server key that an attachment was given, PEM.
fn open_tls_crypt(
    host_key: &HostKey,
    attachment: &Attachment,
    given: &Credentials,
) -> Result<Secret<String>, ServiceError> {
    let id = AttachmentKey { server_id: attachment.server_id, host_id: attachment.host_id }.to_string();
    let text = host_key.open(&place(&id), &given.sealed_tls_crypt)?;
    let text = String::from_utf8(text.to_vec()).map_err(|error| ServiceError::Internal(Box::new(error)))?;
    Ok(Secret::new(text))
}

fn request_place(attachment: &str) -> Context<'_> {
    Context { collection: "daemon_status", id: attachment, field: "request" }
}

pub(crate) fn place(attachment: &str) -> Context<'_> {
    Context { collection: "attachments", id: attachment, field: "tls_crypt" }
}

/// The servers that a host is to run, as a snapshot has them.
pub fn wanted(snapshot: &Snapshot, host: HostId) -> impl Iterator<Item = (&Server, &Attachment)> {
    snapshot
        .attached_to(host)
        .filter(|(server, _)| server.enabled)
        .map(|(server, attachment)| (server.as_ref(), attachment.as_ref()))
}
