//! Certificate authorities and shared VPN secrets, their private halves sealed under the master key.

use crate::areas::{Network, NetworkChange};
use mongodb::bson::{Binary, DateTime, doc};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::entity::{Entity, binary, date, timestamp};
use domain::authority::{AuthorityKind, AuthorityState};
use domain::ids::AuthorityId;
use domain::{Revised, Revision};

/// An authority as it rests: its key is sealed.
#[derive(Debug, Clone)]
pub struct StoredAuthority {
    /// Its id, which the seal is bound to.
    pub id: AuthorityId,
    /// Which side it vouches for.
    pub kind: AuthorityKind,
    /// What it is still used for.
    pub state: AuthorityState,
    /// Its certificate, PEM.
    pub certificate: String,
    /// Its private key, sealed.
    pub sealed_key: Vec<u8>,
    /// When its certificate ends.
    pub not_after: jiff::Timestamp,
    /// The tls-crypt-v2 server key of the cluster, sealed; the server authority carries it.
    pub sealed_tls_crypt: Option<Vec<u8>>,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
pub struct AuthorityDoc {
    #[serde(rename = "_id")]
    id: AuthorityId,
    rev: i64,
    kind: AuthorityKind,
    state: AuthorityState,
    certificate: String,
    sealed_key: Binary,
    not_after: DateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed_tls_crypt: Option<Binary>,
}

impl Entity for StoredAuthority {
    const COLLECTION: &'static str = "authorities";
    type Key = AuthorityId;
    type Doc = AuthorityDoc;

    fn key(&self) -> AuthorityId {
        self.id
    }

    fn to_doc(&self, rev: Revision) -> AuthorityDoc {
        AuthorityDoc {
            id: self.id,
            rev: rev.0,
            kind: self.kind,
            state: self.state,
            certificate: self.certificate.clone(),
            sealed_key: binary(&self.sealed_key),
            not_after: date(self.not_after),
            sealed_tls_crypt: self.sealed_tls_crypt.as_deref().map(binary),
        }
    }

    fn from_doc(doc: AuthorityDoc) -> Option<Revised<Self>> {
        let value = Self {
            id: doc.id,
            kind: doc.kind,
            state: doc.state,
            certificate: doc.certificate,
            sealed_key: doc.sealed_key.bytes,
            not_after: timestamp(doc.not_after)?,
            sealed_tls_crypt: doc.sealed_tls_crypt.map(|sealed| sealed.bytes),
        };
        Some(Revised { rev: Revision(doc.rev), value })
    }
}

impl Network<'_> {
    /// All authorities.
    pub async fn authorities(self) -> Result<Vec<StoredAuthority>, StoreError> {
        Ok(self.all(doc! {}).await?.into_iter().map(|found| found.value).collect())
    }
}

impl NetworkChange<'_> {
    /// All authorities.
    pub async fn authorities(self) -> Result<Vec<StoredAuthority>, StoreError> {
        Ok(self.all_where(doc! {}).await?.into_iter().map(|found| found.value).collect())
    }
}
