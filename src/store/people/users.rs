//! Users.
//!
//! Beside what a user is stand the words that a search finds it by, and the name as lists are ordered by it. They follow
//! from the name and the address, so the previous release, which writes users without them, costs nothing but a look
//! ([`index_users`](crate::areas::People::index_users)).

use crate::areas::{People, PeopleChange};
use std::collections::BTreeSet;

use jiff::Timestamp;
use mongodb::bson::{Document, doc};

use crate::StoreError;
use crate::entity::{Entity, Page, PageRequest, date};
use domain::ids::{OrganizationId, UserId};
use domain::profile::Profile;
use domain::role::Role;
use domain::search::{UserSearch, fold, words_of};
use domain::text::{Email, Name};
use domain::user::{Identity, StoredUser, User};
use domain::{Revised, Revision};

impl Entity for User {
    const COLLECTION: &'static str = "users";
    type Key = UserId;
    type Doc = StoredUser;
    // What is folded here is ordered by an index beside which others narrow the list down: those of a collation can not.
    const ORDERED_NAME: (&'static str, bool) = ("folded_name", false);

    fn key(&self) -> UserId {
        self.id
    }

    fn to_doc(&self, rev: Revision) -> StoredUser {
        StoredUser::of(self, rev)
    }

    fn from_doc(doc: StoredUser) -> Option<Revised<Self>> {
        Some(doc.into())
    }
}

/// Which users.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// Those of one organization.
    pub organization_id: Option<OrganizationId>,
    /// The one with this address.
    pub email: Option<Email>,
    /// Those that a search finds; which organization it names is for the caller to look up.
    pub search: UserSearch,
}

impl UserFilter {
    fn query(&self) -> Document {
        let UserSearch { words, groups, role, disabled, organization: _ } = &self.search;
        let mut all: Vec<Document> = words.iter().map(|word| begins("words", word)).collect();
        all.extend(groups.iter().map(|group| doc! { "groups": group.as_str() }));
        all.extend(self.organization_id.map(|id| doc! { "organization_id": id.to_string() }));
        all.extend(self.email.as_ref().map(|email| doc! { "email": exactly(email.as_str()) }));
        all.extend(role.map(|role| doc! { "role": role.as_str() }));
        all.extend(disabled.map(|disabled| doc! { "disabled": disabled }));
        if all.is_empty() {
            doc! {}
        } else {
            doc! { "$and": all }
        }
    }
}

/// That a list holds a text which begins with `word`, as a range that an index answers.
fn begins(list: &str, word: &str) -> Document {
    doc! { list: { "$elemMatch": { "$gte": word, "$lt": format!("{word}{}", char::MAX) } } }
}

impl People<'_> {
    /// A page of users.
    pub async fn list_users(self, filter: &UserFilter, page: &PageRequest) -> Result<Page<Revised<User>>, StoreError> {
        self.page(filter.query(), page).await
    }

    /// The users with these addresses.
    pub async fn users_by_email(self, emails: &BTreeSet<Email>) -> Result<Vec<User>, StoreError> {
        let emails: Vec<&str> = emails.iter().map(Email::as_str).collect();
        Ok(values(self.all(doc! { "email": { "$in": emails, "$type": "string" } }).await?))
    }

    /// Gives the users whom the previous release wrote what they are found and ordered by; answers how many there were.
    pub async fn index_users(self) -> Result<u64, StoreError> {
        let users = self.rows::<Document>(User::COLLECTION);
        let mut indexed = 0;
        let lacking = doc! { "folded_name": null };
        for Revised { rev, value } in self.all::<User>(lacking.clone()).await? {
            let words: Vec<String> = words_of(&value.name, value.email.as_ref()).into_iter().collect();
            // Whoever was changed meanwhile has them, or is found the next time.
            let mut same = doc! { "_id": value.id.to_string(), "rev": rev.0 };
            same.extend(lacking.clone());
            let found_by = doc! { "$set": { "words": words, "folded_name": fold(value.name.as_str()) } };
            indexed += users.update_one(same, found_by).await?.modified_count;
        }
        Ok(indexed)
    }

    /// The user who signs in with this account.
    pub async fn find_user_by_identity(self, identity: &Identity) -> Result<Option<User>, StoreError> {
        let found = self.all::<User>(by_identity(identity)).await?;
        Ok(found.into_iter().next().map(|found| found.value))
    }
}

fn by_identity(identity: &Identity) -> Document {
    doc! { "identity.iss": &identity.iss, "identity.sub": exactly(&identity.sub) }
}

/// A text that a partial index holds: the server uses such an index only if the type is said, too, and looks through all
/// users otherwise.
fn exactly(text: &str) -> Document {
    doc! { "$eq": text, "$type": "string" }
}

impl PeopleChange<'_> {
    /// All profiles of a user.
    pub async fn profiles_of(self, user: UserId) -> Result<Vec<Revised<Profile>>, StoreError> {
        self.all_where(doc! { "user_id": user.to_string() }).await
    }

    /// How many profiles of a user still open something, counting no further than `limit`; those that another one
    /// replaced are on their way out and do not count.
    pub async fn active_profiles_of(self, user: UserId, now: Timestamp, limit: u64) -> Result<u64, StoreError> {
        let filter = doc! {
            "user_id": user.to_string(), "state": "active", "replaced_by": null, "expires_at": { "$gt": date(now) },
        };
        self.count_where::<Profile>(filter, limit).await
    }

    /// The user who signs in with this account.
    pub async fn user_by_identity(self, identity: &Identity) -> Result<Option<Revised<User>>, StoreError> {
        self.find_where::<User>(by_identity(identity)).await
    }

    /// Whether an enabled owner is there besides this user.
    pub async fn has_another_owner(self, user: UserId) -> Result<bool, StoreError> {
        let filter = doc! { "role": Role::Owner.as_str(), "disabled": false, "_id": { "$ne": user.to_string() } };
        Ok(self.count_where::<User>(filter, 1).await? > 0)
    }

    /// The users with these addresses.
    pub async fn users_with_emails(self, emails: &BTreeSet<&Email>) -> Result<Vec<User>, StoreError> {
        let emails: Vec<&str> = emails.iter().map(|email| email.as_str()).collect();
        Ok(values(self.all_where(doc! { "email": { "$in": emails, "$type": "string" } }).await?))
    }

    /// The users without an address that have these names.
    pub async fn machines_called(self, names: &BTreeSet<&Name>) -> Result<Vec<User>, StoreError> {
        // Names have no index of their own; each of their words leads to them.
        let words: BTreeSet<String> = names.iter().filter_map(|name| words_of(name, None).pop_first()).collect();
        let words: Vec<String> = words.into_iter().collect();
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        let filter = doc! { "words": { "$in": words }, "name": { "$in": names }, "email": null };
        Ok(values(self.all_where(filter).await?))
    }

    /// The user with this address.
    pub async fn user_by_email(self, email: &Email) -> Result<Option<Revised<User>>, StoreError> {
        self.find_where::<User>(doc! { "email": exactly(email.as_str()) }).await
    }
}

fn values(found: Vec<Revised<User>>) -> Vec<User> {
    found.into_iter().map(|found| found.value).collect()
}
