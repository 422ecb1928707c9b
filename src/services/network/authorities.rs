//! The cluster's certificate authorities: made once, kept open in memory by processes with the master key.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::RwLock;
use utoipa::ToSchema;

use crate::{Act, Network, ServiceError};
use domain::audit::{Action, Actor};
use domain::authority::{AuthorityKind, AuthorityState};
use domain::ids::AuthorityId;
use domain::role::Permission;
use domain::text::{DnsName, TextError};
use keys::master::MasterKey;
use keys::seal::{Context, Sealed};
use keys::tls_crypt::ServerKey;
use pki::authority::{Authority, ROOT_LIFETIME};
use pki::read::read_certificate;
use store::network::authorities::StoredAuthority;

/// What signs and what wraps, ready for use.
pub(crate) struct Authorities {
    /// Signs profiles.
    pub client: Authority,
    /// Signs daemons' certificates.
    pub server: Authority,
    /// Wraps the tls-crypt-v2 keys of profiles; hosts get it sealed.
    pub tls_crypt: ServerKey,
    /// The one name in the certificates of all daemons, which profiles check.
    pub server_name: DnsName,
    /// The client roots that daemons believe, PEM.
    pub client_roots: String,
    /// The server roots that profiles believe, PEM.
    pub server_roots: String,
}

/// The authorities, once they have been needed.
#[derive(Default)]
pub(crate) struct Loaded(RwLock<Option<Arc<Authorities>>>);

/// An authority as everybody may see it: the certificate is public, the key is nowhere in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Authority)]
pub struct AuthorityView {
    /// Its id.
    pub id: AuthorityId,
    /// Which side it vouches for.
    pub kind: AuthorityKind,
    /// What it is still used for.
    pub state: AuthorityState,
    /// The common name of its certificate.
    #[schema(example = "Postern client root aut_01KAS00000000000000000000A")]
    pub subject: Option<String>,
    /// SHA-256 over the DER form of its certificate, hexadecimal.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    pub fingerprint: String,
    /// From when its certificate is valid.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

impl AuthorityView {
    fn new(stored: &StoredAuthority) -> Result<Self, ServiceError> {
        let facts = read_certificate(&stored.certificate)?;
        Ok(Self {
            id: stored.id,
            kind: stored.kind,
            state: stored.state,
            subject: facts.common_name,
            fingerprint: HEXLOWER.encode(&facts.fingerprint),
            not_before: facts.not_before,
            not_after: facts.not_after,
        })
    }
}

impl Network<'_> {
    /// All authorities, the oldest first.
    pub async fn authority_views(self, act: &Act) -> Result<Vec<AuthorityView>, ServiceError> {
        act.require(Permission::Read)?;
        let mut views: Vec<_> =
            self.store().network().authorities().await?.iter().map(AuthorityView::new).collect::<Result<_, _>>()?;
        views.sort_by_key(|view| view.id);
        Ok(views)
    }

    /// Makes the cluster's authorities and its audit key if it has none, and proves that the master key is the one that
    /// the authorities are sealed under. Does nothing without a master key.
    ///
    /// # Errors
    /// [`ServiceError::Internal`] around a [`keys::KeyError`] that names both keys if this is another cluster's.
    pub async fn ensure_authorities(self) -> Result<(), ServiceError> {
        if !self.has_master_key() {
            return Ok(());
        }
        let act = &Act::of(Actor::System("first start"));
        // Made outside of the transaction, which may run several times.
        let new = &[self.new_authority(AuthorityKind::Client)?, self.new_authority(AuthorityKind::Server)?];
        if self.store().network().authorities().await?.is_empty() {
            self.change(|tx| async move {
                if !tx.network().authorities().await?.is_empty() {
                    return Ok(());
                }
                for authority in new {
                    tx.insert(authority).await?;
                    let facts = serde_json::json!({ "kind": [null, authority.kind] });
                    tx.record(&self.entry(act, Action::AuthorityCreate, &authority.id, facts)).await?;
                }
                Ok(())
            })
            .await?;
        }
        self.authorities().await?;
        let request_key = self.master_key()?.request_key().public();
        self.store().cluster().publish_request_key(request_key.as_bytes()).await?;
        self.evidence().ensure_audit_key().await
    }

    /// Whether the cluster has secrets, and the master key here opens them.
    ///
    /// # Errors
    /// As of [`Self::ensure_authorities`].
    pub async fn prove_master_key(self) -> Result<bool, ServiceError> {
        if self.store().network().authorities().await?.is_empty() {
            return Ok(false);
        }
        self.authorities().await.map(|_opened| true)
    }

    fn new_authority(self, kind: AuthorityKind) -> Result<StoredAuthority, ServiceError> {
        let key = self.master_key()?;
        let (id, now): (AuthorityId, _) = (self.new_id(), self.now());
        let made = Authority::create(kind, &id.to_string(), now)?;
        let seal = |field, secret: &[u8]| key.seal(&place(&id.to_string(), field), secret).into_bytes();
        let tls_crypt = (kind == AuthorityKind::Server)
            .then(|| seal("tls_crypt", ServerKey::generate().to_pem().expose().as_bytes()));
        Ok(StoredAuthority {
            id,
            kind,
            state: AuthorityState::Issuing,
            sealed_key: seal("key", made.key_pem.expose().as_bytes()),
            certificate: made.certificate_pem,
            not_after: now + ROOT_LIFETIME,
            sealed_tls_crypt: tls_crypt,
        })
    }

    /// When the authority that ends first will end; `None` before they were first used here.
    pub fn authorities_end(self) -> Option<Timestamp> {
        let loaded = self.authorities.0.try_read().ok()?;
        loaded.as_ref().map(|authorities| authorities.client.not_after().min(authorities.server.not_after()))
    }

    /// The authorities, opened at the first use.
    pub(crate) async fn authorities(self) -> Result<Arc<Authorities>, ServiceError> {
        if let Some(loaded) = self.authorities.0.read().await.as_ref() {
            return Ok(Arc::clone(loaded));
        }
        let stored = self.store().network().authorities().await?;
        let cluster = self.store().access().cluster_id().await?;
        let loaded = Arc::new(open(self.master_key()?, &stored, &cluster)?);
        *self.authorities.0.write().await = Some(Arc::clone(&loaded));
        Ok(loaded)
    }
}

fn open(key: &MasterKey, stored: &[StoredAuthority], cluster: &str) -> Result<Authorities, ServiceError> {
    let missing = || ServiceError::Internal("the cluster has no issuing authority".into());
    let issuing =
        |kind| stored.iter().find(|a| a.kind == kind && a.state == AuthorityState::Issuing).ok_or_else(missing);
    let load = |found: &StoredAuthority| -> Result<Authority, ServiceError> {
        let pem = open_text(key, found, "key", &found.sealed_key)?;
        Ok(Authority::load(found.kind, &found.certificate, &pem)?)
    };
    let roots = |kind| {
        let believed = stored.iter().filter(|a| a.kind == kind && a.state != AuthorityState::Retired);
        believed.map(|a| a.certificate.as_str()).collect::<String>()
    };
    let server_name = format!("postern-{}", cluster.to_lowercase());
    let server_name = server_name.parse().map_err(|error| ServiceError::Internal(Box::<TextError>::new(error)))?;
    let server = issuing(AuthorityKind::Server)?;
    let sealed_tls_crypt = server.sealed_tls_crypt.as_deref().ok_or_else(missing)?;
    Ok(Authorities {
        client: load(issuing(AuthorityKind::Client)?)?,
        server: load(server)?,
        tls_crypt: ServerKey::from_pem(&open_text(key, server, "tls_crypt", sealed_tls_crypt)?)?,
        server_name,
        client_roots: roots(AuthorityKind::Client),
        server_roots: roots(AuthorityKind::Server),
    })
}

fn open_text(
    key: &MasterKey,
    authority: &StoredAuthority,
    field: &str,
    sealed: &[u8],
) -> Result<zeroize::Zeroizing<String>, ServiceError> {
    let bytes = key.open(&place(&authority.id.to_string(), field), &Sealed::from(sealed.to_vec()))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| ServiceError::Internal(Box::new(error)))?;
    Ok(zeroize::Zeroizing::new(text.to_owned()))
}

fn place<'a>(id: &'a str, field: &'a str) -> Context<'a> {
    Context { collection: "authorities", id, field }
}
