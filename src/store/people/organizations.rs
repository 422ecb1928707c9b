//! Organizations.

use crate::areas::{People, PeopleChange};
use std::collections::{BTreeSet, HashMap};

use mongodb::bson::doc;

use crate::StoreError;
use crate::entity::{Entity, Page, PageRequest};
use domain::ids::OrganizationId;
use domain::organization::{Organization, StoredOrganization};
use domain::server::Server;
use domain::text::Name;
use domain::user::User;
use domain::{Revised, Revision};

impl Entity for Organization {
    const COLLECTION: &'static str = "organizations";
    type Key = OrganizationId;
    type Doc = StoredOrganization;

    fn key(&self) -> OrganizationId {
        self.id
    }

    fn to_doc(&self, rev: Revision) -> StoredOrganization {
        StoredOrganization::of(self, rev)
    }

    fn from_doc(doc: StoredOrganization) -> Option<Revised<Self>> {
        Some(doc.into())
    }
}

impl People<'_> {
    /// A page of organizations.
    pub async fn list_organizations(self, page: &PageRequest) -> Result<Page<Revised<Organization>>, StoreError> {
        self.page(doc! {}, page).await
    }

    /// The organization with this name.
    pub async fn find_organization_by_name(self, name: &Name) -> Result<Option<Organization>, StoreError> {
        Ok(self.all::<Organization>(doc! { "name": name.as_str() }).await?.pop().map(|found| found.value))
    }

    /// How many users some organizations have.
    pub async fn users_by_organization(
        self,
        ids: &[OrganizationId],
    ) -> Result<HashMap<OrganizationId, u64>, StoreError> {
        self.count_by(User::COLLECTION, "organization_id", ids).await
    }

    /// How many servers are open to some organizations.
    pub async fn servers_by_organization(
        self,
        ids: &[OrganizationId],
    ) -> Result<HashMap<OrganizationId, u64>, StoreError> {
        self.count_by(Server::COLLECTION, "organization_ids", ids).await
    }
}

impl PeopleChange<'_> {
    /// The organizations with these names.
    pub async fn organizations_called(self, names: &BTreeSet<&Name>) -> Result<Vec<Organization>, StoreError> {
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        let found = self.all_where(doc! { "name": { "$in": names } }).await?;
        Ok(found.into_iter().map(|found| found.value).collect())
    }

    /// Whether any user belongs to the organization.
    pub async fn has_users(self, organization: OrganizationId) -> Result<bool, StoreError> {
        let filter = doc! { "organization_id": organization.to_string() };
        Ok(self.count_where::<User>(filter, 1).await? > 0)
    }

    /// Whether any server is open to the organization.
    pub async fn opens_servers(self, organization: OrganizationId) -> Result<bool, StoreError> {
        let filter = doc! { "organization_ids": organization.to_string() };
        Ok(self.count_where::<Server>(filter, 1).await? > 0)
    }
}
