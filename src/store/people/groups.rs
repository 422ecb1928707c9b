//! Groups. They have no collection: what users and servers carry is the truth.

use crate::areas::{People, PeopleChange};
use std::collections::{BTreeMap, HashSet};

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};

use crate::StoreError;
use crate::entity::Entity;
use domain::Revised;
use domain::ids::UserId;
use domain::role::Role;
use domain::server::Server;
use domain::text::{GroupName, TextError};
use domain::user::User;

fn of(group: &GroupName) -> Document {
    doc! { "groups": group.as_str() }
}

fn corrupt(id: &str) -> StoreError {
    StoreError::corrupt(User::COLLECTION, id.to_owned())
}

impl People<'_> {
    /// The groups that users are in, each with how many.
    pub async fn user_groups(self) -> Result<BTreeMap<GroupName, u64>, StoreError> {
        // Users by all that they are in first: there are far fewer such sets than users.
        let pipeline = [
            doc! { "$group": { "_id": "$groups", "count": { "$sum": 1_i64 } } },
            doc! { "$unwind": "$_id" },
            doc! { "$group": { "_id": "$_id", "count": { "$sum": "$count" } } },
        ];
        let users = self.rows::<Document>(User::COLLECTION);
        let rows: Vec<Document> = users.aggregate(pipeline).await?.try_collect().await?;
        rows.iter()
            .map(|row| {
                let name = row.get_str("_id").unwrap_or_default();
                let count = row.get_i64("count").unwrap_or_default().unsigned_abs();
                Ok((name.parse().map_err(|why: TextError| corrupt(name).because(why))?, count))
            })
            .collect()
    }

    /// How many users are in a group.
    pub async fn count_in_group(self, group: &GroupName) -> Result<u64, StoreError> {
        Ok(self.rows::<Document>(User::COLLECTION).count_documents(of(group)).await?)
    }

    /// The servers that are open to a group, or to any group.
    pub async fn servers_with_groups(self, group: Option<&GroupName>) -> Result<Vec<Server>, StoreError> {
        let filter = group.map_or_else(|| doc! { "groups": { "$gt": "" } }, of);
        Ok(self.all::<Server>(filter).await?.into_iter().map(|found| found.value).collect())
    }
}

impl PeopleChange<'_> {
    /// The users with these ids.
    pub async fn users_by_id(self, ids: &[UserId]) -> Result<Vec<Revised<User>>, StoreError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        self.all_where(doc! { "_id": { "$in": ids } }).await
    }

    /// Whether any user is in a group.
    pub async fn has_group(self, group: &GroupName) -> Result<bool, StoreError> {
        Ok(self.count_where::<User>(of(group), 1).await? > 0)
    }

    /// The servers that are open to a group.
    pub async fn servers_of_group(self, group: &GroupName) -> Result<Vec<Server>, StoreError> {
        let found = self.all_where::<Server>(of(group)).await?;
        Ok(found.into_iter().map(|found| found.value).collect())
    }

    /// The roles of the users in a group.
    pub async fn roles_in_group(self, group: &GroupName) -> Result<HashSet<Role>, StoreError> {
        let roles = self.distinct::<User>("role", of(group)).await?;
        let read = |role: Bson| role.as_str().and_then(|word| word.parse().ok()).ok_or_else(|| corrupt("role"));
        roles.into_iter().map(read).collect()
    }

    /// Takes all users out of a group, and puts them into another one, if there is one. Answers how many there were.
    pub async fn move_group(self, from: &GroupName, to: Option<&GroupName>) -> Result<u64, StoreError> {
        // Names may begin with a dollar sign.
        let list = |name: &GroupName| doc! { "$literal": [name.as_str()] };
        let left = doc! { "$setDifference": ["$groups", list(from)] };
        let groups = to.map_or_else(|| left.clone(), |to| doc! { "$setUnion": [left.clone(), list(to)] });
        self.update_all::<User>(of(from), doc! { "groups": groups }).await
    }
}
