//! The audit log: read, signed for, exported, verified.

mod export;
mod key;
mod statements;

pub use self::export::AuditExport;
pub use self::key::AuditKey;
pub(crate) use self::statements::tell;
use crate::{Act, Evidence, ServiceError};
use domain::audit::AuditEntry;
use domain::role::Permission;
use store::entity::{Page, PageRequest};
use store::evidence::audit::AuditFilter;

impl Evidence<'_> {
    /// A page of the audit log, the newest first.
    pub async fn audit_trail(
        self,
        act: &Act,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditEntry>, ServiceError> {
        act.require(Permission::ReadAudit)?;
        Ok(self.store().evidence().list_audit(filter, page).await?)
    }
}
