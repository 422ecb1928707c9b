//! The audit trail: read, signed for, exported, verified.

mod export;
mod key;
mod statements;

pub(super) use self::statements::tell;
pub use self::{export::AuditExport, key::AuditKey};
use super::{Act, ServiceError, Services};
use domain::{audit::AuditEntry, role::Permission};
use store::{
    audit::AuditFilter,
    entity::{Page, PageRequest},
};

impl Services {
    /// A page of the trail, the newest first.
    pub async fn audit_trail(
        &self,
        act: &Act,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditEntry>, ServiceError> {
        act.require(Permission::ReadAudit)?;
        Ok(self.store().list_audit(filter, page).await?)
    }
}
