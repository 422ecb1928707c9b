//! The one secret that all hosts of a server share: its tls-crypt-v2 key.
//!
//! What the key is good for: with it one gets through the outer wall of the server's daemons, as far as TLS, where a
//! certificate is asked for; and one can answer clients whose profile is wrapped for it, so a machine that also has a
//! daemon's certificate can pose as a host until that ends. It opens no recorded traffic, and admits nobody.
//!
//! Profiles are wrapped for one key, and a daemon knows one. Another key therefore makes all profiles of the server
//! worthless, and is made by itself only where there are none; else by order, which revokes them in the same change.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::network::attachments;
use crate::network::authorities::Authorities;
use crate::{Act, Missing, Network, Refusal, ServiceError};
use domain::audit::Action;
use domain::host::{Host, RemovedHost};
use domain::ids::ServerId;
use domain::profile::{Profile, ProfileState};
use domain::role::Permission;
use domain::server::{Attachment, AttachmentKey, Credentials, KeyHolder, Server, ServerKeyFacts};
use keys::host::{HostPublicKey, seal_to};
use keys::seal::{Context, Sealed};
use keys::tls_crypt::ServerKey;
use store::network::server_keys::StoredServerKey;
use store::policy::PolicyChange;

/// What may be known about the key of a server, as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ServerKey)]
pub struct ServerKeyView {
    /// Which server.
    pub server_id: ServerId,
    /// The state of its key.
    #[serde(flatten)]
    pub facts: ServerKeyFacts,
    /// How many profiles a rotation would revoke.
    pub active_profiles: u64,
}

/// The order to rotate the key of a server.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// Whether profiles may be revoked by it.
    #[serde(default)]
    pub force: bool,
}

/// What becomes of the keys that a removed host had.
#[derive(Debug, Default)]
pub(crate) struct Exposed {
    /// Servers without profiles: they get other keys at once.
    pub rotated: Vec<ServerId>,
    /// Servers whose profiles would be hurt.
    pub due: Vec<ServerId>,
}

/// Which servers have a key that a host was given.
pub(crate) fn known_to(
    servers: impl IntoIterator<Item = ServerId>,
    keys: &[StoredServerKey],
    attachments: &[Attachment],
) -> Vec<ServerId> {
    let own = |server: &ServerId| keys.iter().any(|key| key.server_id == *server && key.sealed.is_some());
    let given: BTreeSet<ServerId> =
        attachments.iter().filter(|a| a.credentials.is_some()).map(|a| a.server_id).collect();
    let has_that_of_the_cluster = given.iter().any(|server| !own(server));
    let known = |server: &ServerId| if own(server) { given.contains(server) } else { has_that_of_the_cluster };
    servers.into_iter().filter(known).collect()
}

impl Network<'_> {
    /// What may be known about the key of a server.
    pub async fn server_key(self, act: &Act, id: ServerId) -> Result<ServerKeyView, ServiceError> {
        act.require(Permission::Read)?;
        let wanted = [id];
        let (server, key, profiles) = tokio::try_join!(
            self.store().find::<Server>(&id),
            self.store().find::<StoredServerKey>(&id),
            self.store().access().good_profiles_by_server(&wanted, self.now()),
        )?;
        server.ok_or(ServiceError::NotFound(Missing::Server))?;
        let facts = key.map(|found| found.value.facts).unwrap_or_default();
        Ok(ServerKeyView { server_id: id, facts, active_profiles: profiles.get(&id).copied().unwrap_or(0) })
    }

    /// Gives a server another key. Its profiles are revoked by the same change, since they are wrapped for the one
    /// before; its daemons start anew.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] if there are such profiles, unless by force.
    pub async fn rotate_server_key(
        self,
        act: &Act,
        id: ServerId,
        order: KeyRotation,
    ) -> Result<ServerKeyView, ServiceError> {
        act.require(Permission::ManageServers)?;
        self.master_key()?;
        self.change(|tx| async move {
            let server = tx.find::<Server>(&id).await?.ok_or(ServiceError::NotFound(Missing::Server))?.value;
            let profiles = tx.access().good_profiles_on(id, self.now()).await?;
            if !profiles.is_empty() && !order.force {
                return Err(ServiceError::Conflict(Refusal::ProfilesDepend {
                    server: server.name,
                    profiles: profiles.len(),
                }));
            }
            let revoked = profiles.len();
            for found in profiles {
                let profile = found.value;
                let (id, was) = (profile.id, profile.state);
                let after = Profile { state: ProfileState::Revoked, revoked_at: Some(self.now()), ..profile };
                tx.replace(&after).await?;
                tx.access().free_address(id).await?;
                let changes =
                    serde_json::json!({ "state": [was, after.state], "revoked_at": [null, after.revoked_at] });
                tx.record(&self.entry(act, Action::ProfileRevoke, &id, changes)).await?;
            }
            self.renew_key(&tx, id).await?;
            let changes = serde_json::json!({ "profiles_revoked": [null, revoked] });
            tx.record(&self.entry(act, Action::ServerRotate, &id, changes)).await?;
            Ok(())
        })
        .await?;
        self.server_key(act, id).await
    }

    /// Gives a server another key and seals it to each of its hosts. Nothing is done about profiles.
    async fn renew_key(self, tx: &PolicyChange, id: ServerId) -> Result<(), ServiceError> {
        let pem = ServerKey::generate().to_pem();
        let sealed = self.master_key()?.seal(&place(&id.to_string()), pem.expose().as_bytes()).into_bytes();
        let facts = ServerKeyFacts { rotated_at: Some(self.now()), left_with: Vec::new() };
        tx.network().put_server_key(&StoredServerKey { server_id: id, sealed: Some(sealed), facts }).await?;
        for attachment in tx.network().attachments_of(id).await? {
            let Attachment { server_id, host_id, credentials } = attachment.value;
            // Who has none yet gets the new key with its certificate.
            let (Some(credentials), Some(host)) = (credentials, tx.find::<Host>(&host_id).await?) else { continue };
            let host_key = HostPublicKey::from_bytes(host.value.public_key)?;
            let key = AttachmentKey { server_id, host_id }.to_string();
            let sealed_tls_crypt = seal_to(&host_key, &attachments::place(&key), pem.expose().as_bytes());
            let credentials = Some(Credentials { sealed_tls_crypt, ..credentials });
            tx.replace(&Attachment { server_id, host_id, credentials }).await?;
        }
        Ok(())
    }

    /// Deals with the keys that a host had which is removed by this change: servers that no profile opens get others,
    /// of the rest it is written down who has their key. `had` are the attachments that the host had.
    pub(crate) async fn renew_keys_of(
        self,
        tx: &PolicyChange,
        host: &RemovedHost,
        had: &[Attachment],
    ) -> Result<Exposed, ServiceError> {
        let keys = tx.network().server_keys().await?;
        let servers = tx.network().all_servers().await?.into_iter().map(|found| found.value.id);
        let mut exposed = Exposed::default();
        for server in known_to(servers, &keys, had) {
            if self.has_master_key() && !tx.access().has_good_profiles(server, self.now()).await? {
                self.renew_key(tx, server).await?;
                exposed.rotated.push(server);
            } else {
                let known = keys.iter().find(|key| key.server_id == server).cloned();
                let mut key = known.unwrap_or_else(|| StoredServerKey::of_cluster(server));
                let holder = KeyHolder { host_name: host.name.clone(), removed_at: host.removed_at };
                key.facts.left_with.push(holder);
                tx.network().put_server_key(&key).await?;
                exposed.due.push(server);
            }
        }
        Ok(exposed)
    }

    /// The key of a server, opened: its own, or that of the cluster.
    pub(crate) fn open_server_key(
        self,
        authorities: &Authorities,
        stored: Option<&StoredServerKey>,
    ) -> Result<ServerKey, ServiceError> {
        let own = stored.and_then(|stored| Some((stored.server_id, stored.sealed.clone()?)));
        let Some((server, sealed)) = own else { return Ok(authorities.tls_crypt.clone()) };
        let bytes = self.master_key()?.open(&place(&server.to_string()), &Sealed::from(sealed))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| ServiceError::Internal(Box::new(error)))?;
        Ok(ServerKey::from_pem(text)?)
    }
}

fn place(server: &str) -> Context<'_> {
    Context { collection: "server_keys", id: server, field: "tls_crypt" }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use domain::ids::{HostId, Id};

    fn server(n: u128) -> ServerId {
        Id::from_parts(Timestamp::UNIX_EPOCH, n)
    }

    fn attached(n: u128, certified: bool) -> Attachment {
        let credentials = certified.then(|| Credentials {
            certificate: String::new(),
            key_hash: Vec::new(),
            not_after: Timestamp::UNIX_EPOCH,
            client_authorities: String::new(),
            sealed_tls_crypt: Vec::new(),
        });
        Attachment { server_id: server(n), host_id: HostId::from_parts(Timestamp::UNIX_EPOCH, 9), credentials }
    }

    #[test]
    fn a_host_knows_the_keys_that_it_was_given_and_whatever_else_they_open() {
        let all = || [1, 2, 3].map(server);
        let own = StoredServerKey { sealed: Some(Vec::new()), ..StoredServerKey::of_cluster(server(3)) };
        let keys = &[own, StoredServerKey::of_cluster(server(2))];
        assert_eq!(known_to(all(), keys, &[attached(3, true)]), [server(3)]);
        assert_eq!(known_to(all(), keys, &[attached(1, true)]), [server(1), server(2)], "they share a key");
        assert_eq!(known_to(all(), keys, &[attached(1, true), attached(3, true)]), all());
        assert_eq!(known_to(all(), keys, &[attached(1, false), attached(3, false)]), [], "it was given none yet");
    }
}
