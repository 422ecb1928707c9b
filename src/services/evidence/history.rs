//! What happened to one thing, in words for people: the newest entries of the audit log about it, with the names of who
//! acted.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::{Act, Evidence, SOON, ServiceError};
use domain::audit::AuditEntry;
use domain::ids::UserId;
use domain::role::Permission;
use domain::text::Name;
use domain::user::User;
use store::entity::{Page, PageRequest};
use store::evidence::audit::AuditFilter;

/// So many changes are shown of one thing.
const SHOWN: u32 = 20;

/// One change of a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// Who: a name, or what stands in the audit log.
    pub by: String,
    /// What was done, as the audit log names it.
    pub action: String,
    /// Whether it succeeded.
    pub success: bool,
    /// Which fields it was about.
    pub fields: Vec<String>,
}

/// One entry of the audit log, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedEntry {
    /// The entry.
    pub entry: AuditEntry,
    /// Who: a name, or what stands in the audit log.
    pub by: String,
}

impl Evidence<'_> {
    /// A page of the audit log with the names of who acted, the newest first.
    pub async fn named_audit(
        self,
        act: &Act,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<NamedEntry>, ServiceError> {
        let Page { items, next, count } = self.audit_trail(act, filter, page).await?;
        let names = self.names_of(items.iter().map(|entry| entry.actor.as_str())).await?;
        let with_name = |entry: AuditEntry| NamedEntry { by: in_words(&entry.actor, &names), entry };
        Ok(Page { items: items.into_iter().map(with_name).collect(), next, count })
    }

    /// The newest changes of a thing, the newest first.
    pub async fn history(self, act: &Act, object: &str) -> Result<Vec<Change>, ServiceError> {
        act.require(Permission::ReadAudit)?;
        self.changes_of(object, SHOWN).await
    }

    /// The last change of a thing, to show where two changes collide.
    pub async fn last_change(self, act: &Act, object: &str) -> Result<Option<Change>, ServiceError> {
        act.require(Permission::Read)?;
        Ok(self.changes_of(object, 1).await?.pop())
    }

    async fn changes_of(self, object: &str, limit: u32) -> Result<Vec<Change>, ServiceError> {
        let filter = AuditFilter { object: Some(object.to_owned()), ..AuditFilter::default() };
        let page = PageRequest::first(limit);
        let entries = self.store().deadline(SOON, self.store().evidence().list_audit(&filter, &page)).await?.items;
        let names = self.names_of(entries.iter().map(|entry| entry.actor.as_str())).await?;
        Ok(entries.into_iter().map(|entry| change(entry, &names)).collect())
    }

    /// The names of those actors that are users.
    pub(crate) async fn names_of<'a>(
        self,
        actors: impl Iterator<Item = &'a str>,
    ) -> Result<HashMap<UserId, Name>, ServiceError> {
        let mut ids: Vec<UserId> = actors.filter_map(|actor| actor.parse().ok()).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(self.store().deadline(SOON, self.store().names::<User, Name>(&ids)).await?)
    }
}

fn change(entry: AuditEntry, names: &HashMap<UserId, Name>) -> Change {
    let AuditEntry { at, actor, action, outcome, changes, .. } = entry;
    let by = in_words(&actor, names);
    let fields = changes.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default();
    Change { at, by, action, success: outcome == "success", fields }
}

/// An actor as people call it.
pub(crate) fn in_words(actor: &str, names: &HashMap<UserId, Name>) -> String {
    let name = actor.parse().ok().and_then(|id: UserId| names.get(&id)).map(ToString::to_string);
    name.unwrap_or_else(|| match actor.split_once(':') {
        Some(("owner_link", _)) => "An owner link".to_owned(),
        Some(("shell", command)) => format!("postern {command}"),
        Some(("system", "access" | "sign_in")) => "Nobody known".to_owned(),
        Some(("system", _)) => "Postern".to_owned(),
        _ => actor.to_owned(),
    })
}
