//! Users.

use std::collections::BTreeSet;

use jiff::Timestamp;
use mongodb::bson::{Bson, Document, doc};
use serde::{Deserialize, Serialize};

use super::{
    Store, StoreError,
    entity::{Entity, Page, PageRequest, date},
    policy::PolicyChange,
};
use crate::domain::{
    Revised, Revision,
    ids::{OrganizationId, UserId},
    profile::Profile,
    role::Role,
    text::{Email, GroupName, Name},
    user::{Identity, User},
};

/// The stored form.
#[derive(Serialize, Deserialize)]
pub struct UserDoc {
    #[serde(rename = "_id")]
    id: UserId,
    rev: i64,
    organization_id: OrganizationId,
    name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<Email>,
    groups: BTreeSet<GroupName>,
    role: Role,
    disabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
}

impl Entity for User {
    const COLLECTION: &'static str = "users";
    type Key = UserId;
    type Doc = UserDoc;

    fn key(&self) -> UserId {
        self.id
    }

    fn to_doc(&self, rev: Revision) -> UserDoc {
        let Self { id, organization_id, name, email, groups, role, disabled, identity } = self.clone();
        UserDoc { id, rev: rev.0, organization_id, name, email, groups, role, disabled, identity }
    }

    fn from_doc(doc: UserDoc) -> Option<Revised<Self>> {
        let UserDoc { id, rev, organization_id, name, email, groups, role, disabled, identity } = doc;
        let value = Self { id, organization_id, name, email, groups, role, disabled, identity };
        Some(Revised { rev: Revision(rev), value })
    }
}

/// Which users.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// Those of one organization.
    pub organization_id: Option<OrganizationId>,
    /// Those whose name or e-mail address contains this, in any case.
    pub text: Option<String>,
    /// The one with this address.
    pub email: Option<Email>,
}

impl Store {
    /// A page of users.
    pub async fn list_users(&self, filter: &UserFilter, page: &PageRequest) -> Result<Page<Revised<User>>, StoreError> {
        let mut query = doc! {};
        if let Some(organization) = filter.organization_id {
            query.insert("organization_id", organization.to_string());
        }
        if let Some(email) = &filter.email {
            query.insert("email", email.as_str());
        }
        if let Some(text) = &filter.text {
            let pattern = Bson::RegularExpression(mongodb::bson::Regex {
                pattern: escaped(text).try_into().map_err(mongodb::error::Error::custom)?,
                options: mongodb::bson::cstr!("i").to_owned(),
            });
            query.insert("$or", vec![doc! { "name": pattern.clone() }, doc! { "email": pattern }]);
        }
        self.page(query, page).await
    }

    /// The user who signs in with this account.
    pub async fn find_user_by_identity(&self, identity: &Identity) -> Result<Option<User>, StoreError> {
        let found = self.all::<User>(by_identity(identity)).await?;
        Ok(found.into_iter().next().map(|found| found.value))
    }
}

fn by_identity(identity: &Identity) -> Document {
    doc! { "identity.iss": &identity.iss, "identity.sub": &identity.sub }
}

/// A text as a pattern that matches just this text.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

impl PolicyChange {
    /// All profiles of a user.
    pub async fn profiles_of(&self, user: UserId) -> Result<Vec<Revised<Profile>>, StoreError> {
        self.all_where(doc! { "user_id": user.to_string() }).await
    }

    /// How many profiles of a user still open something, counting no further than `limit`; those that another one
    /// replaced are on their way out and do not count.
    pub async fn active_profiles_of(&self, user: UserId, now: Timestamp, limit: u64) -> Result<u64, StoreError> {
        let filter = doc! {
            "user_id": user.to_string(), "state": "active", "replaced_by": null, "expires_at": { "$gt": date(now) },
        };
        self.count_where::<Profile>(filter, limit).await
    }

    /// The user who signs in with this account.
    pub async fn user_by_identity(&self, identity: &Identity) -> Result<Option<Revised<User>>, StoreError> {
        self.find_where::<User>(by_identity(identity)).await
    }

    /// Whether an enabled owner is there besides this user.
    pub async fn has_another_owner(&self, user: UserId) -> Result<bool, StoreError> {
        let filter = doc! { "role": Role::Owner.as_str(), "disabled": false, "_id": { "$ne": user.to_string() } };
        Ok(self.count_where::<User>(filter, 1).await? > 0)
    }

    /// The user with this address.
    pub async fn user_by_email(&self, email: &Email) -> Result<Option<Revised<User>>, StoreError> {
        self.find_where::<User>(doc! { "email": email.as_str() }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_text_is_no_pattern() {
        assert_eq!(escaped("a.b(c)*"), r"a\.b\(c\)\*");
        assert_eq!(escaped("Zoë 李"), "Zoë 李");
    }
}
