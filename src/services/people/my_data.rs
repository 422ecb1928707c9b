//! What is stored about a person, why, and for how long: the rows of [`DataKind`], each with its records.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::identity::logins::Person;
use crate::{People, SOON, ServiceError};
use domain::Revised;
use domain::profile::Profile;
use domain::retention::DataKind;
use store::StoreError;
use store::entity::PageRequest;
use store::evidence::audit::AuditFilter;

/// So many records of a kind are shown, the newest.
const SHOWN: u32 = 1000;

/// Everything that is stored about a person.
#[derive(Debug, Clone, Serialize)]
pub struct MyData {
    /// As of when.
    pub at: Timestamp,
    /// Kind by kind.
    pub kinds: Vec<MyDataKind>,
}

/// One kind of it.
#[derive(Debug, Clone, Serialize)]
pub struct MyDataKind {
    /// Which.
    pub kind: DataKind,
    /// What it is, in words.
    pub title: &'static str,
    /// Why it is kept.
    pub why: &'static str,
    /// For how long, in words.
    pub kept: String,
    /// The records, as objects with plain fields: all, or the newest 1,000.
    pub values: Vec<Value>,
}

impl People<'_> {
    /// Everything that is stored about the one who asks.
    pub async fn my_data(self, person: &Person) -> Result<MyData, ServiceError> {
        let retention = self.cluster().current_settings().await?.retention;
        let mut kinds = Vec::with_capacity(DataKind::ALL.len());
        for kind in DataKind::ALL {
            let values = self.store().deadline(SOON, self.records(person, kind)).await?;
            let kept = kind.kept(&retention).sentence();
            kinds.push(MyDataKind { kind, title: kind.title(), why: kind.why(), kept, values });
        }
        Ok(MyData { at: self.now(), kinds })
    }

    async fn records(self, person: &Person, kind: DataKind) -> Result<Vec<Value>, StoreError> {
        let (store, user) = (self.store(), &person.user);
        let newest = i64::from(SHOWN);
        Ok(match kind {
            DataKind::Account => vec![json!({
                "id": user.id, "name": user.name, "email": user.email, "organization_id": user.organization_id,
                "groups": user.groups, "role": user.role, "disabled": user.disabled,
            })],
            DataKind::Identity => user.identity.iter().map(|identity| json!(identity)).collect(),
            DataKind::Profiles => store.access().newest_profiles(user.id, newest).await?.iter().map(profile).collect(),
            DataKind::VpnSessions => {
                let sessions = store.access().newest_sessions(user.id, newest).await?;
                sessions.iter().map(|session| json!(session)).collect()
            }
            DataKind::Logins => {
                let logins = store.identity().logins_of(user.id).await?.into_iter();
                let shown = logins.map(|login| {
                    json!({
                        "id": login.id, "browser": login.label, "address": login.address, "since": login.since,
                        "seen_at": login.seen_at,
                    })
                });
                shown.collect()
            }
            DataKind::Tickets => {
                let tickets = store.identity().tickets_of(user.id).await?.into_iter();
                let shown = tickets.map(|ticket| {
                    json!({
                        "name": ticket.body.name, "server_id": ticket.body.server_id, "made_by": ticket.body.made_by,
                        "expires_at": ticket.expires_at,
                    })
                });
                shown.collect()
            }
            DataKind::Audit => {
                let filter = AuditFilter { actor: Some(user.id.to_string()), ..AuditFilter::default() };
                let trail = store.evidence().list_audit(&filter, &PageRequest::first(SHOWN)).await?;
                trail.items.iter().map(|entry| json!(entry)).collect()
            }
        })
    }
}

fn profile(profile: &Revised<Profile>) -> Value {
    json!(profile.value)
}
