//! The key that signs for the audit log: one for the cluster, made once.

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Act, ServiceError};
use crate::{Evidence, Missing};
use domain::audit::{Action, Actor};
use domain::role::Permission;
use keys::seal::{Context, Sealed};
use keys::signing::{SigningKey, VerifyingKey};
use store::StoreError;
use store::evidence::statements::{AUDIT_KEY, StoredAuditKey};

/// The public half of the audit key.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AuditKey {
    /// What statements call it.
    pub name: String,
    /// Always `ed25519` (RFC 8032).
    pub algorithm: &'static str,
    /// Its 32 bytes, in base64.
    pub public_key: String,
}

/// Where the private half rests.
const PLACE: Context<'_> = Context { collection: "audit_keys", id: AUDIT_KEY, field: "private" };

impl Evidence<'_> {
    /// The public half of the key that signs for the audit log.
    pub async fn audit_key(self, act: &Act) -> Result<AuditKey, ServiceError> {
        act.require(Permission::ReadAudit)?;
        let public = self.verifying_key().await?.ok_or(ServiceError::NotFound(Missing::AuditKey))?;
        Ok(AuditKey { name: public.name(), algorithm: "ed25519", public_key: public.to_text() })
    }

    /// Makes the audit key if the cluster has none. Does nothing without a master key.
    pub(crate) async fn ensure_audit_key(self) -> Result<(), ServiceError> {
        if !self.has_master_key() || self.store().evidence().audit_key().await?.is_some() {
            return Ok(());
        }
        let private = SigningKey::generate();
        let public = SigningKey::from_bytes(&*private)?.public();
        let sealed = self.master_key()?.seal(&PLACE, &*private).into_bytes();
        let stored = &StoredAuditKey { public: public.as_bytes().to_vec(), sealed };
        let act = Act::of(Actor::System("first start"));
        let entry =
            &self.entry(&act, Action::AuditKeyCreate, &public.name(), json!({ "algorithm": [null, "ed25519"] }));
        let made = self.store().note(|tx| async move {
            tx.evidence().insert_audit_key(stored).await?;
            tx.record(entry).await
        });
        match made.await {
            // Another process made it at the same time.
            Ok(()) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The public half, if there is a key yet.
    pub(super) async fn verifying_key(self) -> Result<Option<VerifyingKey>, ServiceError> {
        let stored = self.store().evidence().audit_key().await?;
        Ok(stored.map(|stored| VerifyingKey::from_bytes(&stored.public)).transpose()?)
    }

    /// The key, opened.
    pub(crate) async fn signing_key(self) -> Result<SigningKey, ServiceError> {
        self.ensure_audit_key().await?;
        let stored = self.store().evidence().audit_key().await?.ok_or(ServiceError::NoMasterKey)?;
        let private = self.master_key()?.open(&PLACE, &Sealed::from(stored.sealed))?;
        Ok(SigningKey::from_bytes(&private)?)
    }
}
