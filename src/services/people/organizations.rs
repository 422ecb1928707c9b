//! Organizations: create, rename, delete.

use std::collections::HashMap;

use crate::{Act, Missing, People, Refusal, ServiceError, check_revision, difference};
use domain::audit::Action;
use domain::ids::OrganizationId;
use domain::organization::Organization;
pub use domain::organization::{NewOrganization, OrganizationPatch};
use domain::role::Permission;
use domain::{Revised, Revision};
use store::entity::{Page, PageRequest};

/// An organization with what belongs to it, counted.
#[derive(Debug, Clone)]
pub struct OrganizationRow {
    /// Which.
    pub organization: Revised<Organization>,
    /// How many users it has.
    pub users: u64,
    /// How many servers are open to it.
    pub servers: u64,
}

impl People<'_> {
    /// A page of organizations, each with what belongs to it.
    pub async fn organization_rows(self, act: &Act, page: &PageRequest) -> Result<Page<OrganizationRow>, ServiceError> {
        let Page { items, next, count } = self.organizations(act, page).await?;
        Ok(Page { items: self.counted(items).await?, next, count })
    }

    /// One organization with what belongs to it.
    pub async fn organization_row(self, act: &Act, id: OrganizationId) -> Result<OrganizationRow, ServiceError> {
        let found = self.organization(act, id).await?;
        self.counted(vec![found]).await?.pop().ok_or(ServiceError::NotFound(Missing::Organization))
    }

    async fn counted(self, found: Vec<Revised<Organization>>) -> Result<Vec<OrganizationRow>, ServiceError> {
        let ids: Vec<OrganizationId> = found.iter().map(|organization| organization.value.id).collect();
        let (users, servers) = tokio::try_join!(
            self.store().people().users_by_organization(&ids),
            self.store().people().servers_by_organization(&ids)
        )?;
        let row = |organization: Revised<Organization>| {
            let count = |counts: &HashMap<_, u64>| counts.get(&organization.value.id).copied().unwrap_or_default();
            OrganizationRow { users: count(&users), servers: count(&servers), organization }
        };
        Ok(found.into_iter().map(row).collect())
    }

    /// A page of organizations.
    pub async fn organizations(
        self,
        act: &Act,
        page: &PageRequest,
    ) -> Result<Page<Revised<Organization>>, ServiceError> {
        act.require(Permission::Read)?;
        Ok(self.store().people().list_organizations(page).await?)
    }

    /// One organization.
    pub async fn organization(self, act: &Act, id: OrganizationId) -> Result<Revised<Organization>, ServiceError> {
        act.require(Permission::Read)?;
        self.store().find::<Organization>(&id).await?.ok_or(ServiceError::NotFound(Missing::Organization))
    }

    /// Makes an organization.
    pub async fn create_organization(
        self,
        act: &Act,
        new: NewOrganization,
    ) -> Result<Revised<Organization>, ServiceError> {
        act.require(Permission::ManageOrganizations)?;
        let value = &Organization::new(self.new_id(), new);
        self.change_by(act, |tx| async move {
            tx.insert(value).await.map_err(ServiceError::taken(Refusal::NameTaken { what: "organization" }))?;
            let changes = difference(None, Some(value));
            tx.record(&self.entry(act, Action::OrganizationCreate, &value.id, changes)).await?;
            Ok(Revised { rev: tx.rev(), value: value.clone() })
        })
        .await
    }

    /// Changes an organization.
    pub async fn update_organization(
        self,
        act: &Act,
        id: OrganizationId,
        patch: OrganizationPatch,
        expected: Option<Revision>,
    ) -> Result<Revised<Organization>, ServiceError> {
        act.require(Permission::ManageOrganizations)?;
        let patch = &patch;
        self.change_by(act, |tx| async move {
            let found = tx.find::<Organization>(&id).await?.ok_or(ServiceError::NotFound(Missing::Organization))?;
            check_revision(&found, expected)?;
            let after = found.value.with(patch);
            if after == found.value {
                return Ok(found);
            }
            tx.replace(&after).await.map_err(ServiceError::taken(Refusal::NameTaken { what: "organization" }))?;
            let changes = difference(Some(&found.value), Some(&after));
            tx.record(&self.entry(act, Action::OrganizationUpdate, &id, changes)).await?;
            Ok(Revised { rev: tx.rev(), value: after })
        })
        .await
    }

    /// Deletes an organization that nobody belongs to and no server is open to.
    pub async fn delete_organization(
        self,
        act: &Act,
        id: OrganizationId,
        expected: Option<Revision>,
    ) -> Result<(), ServiceError> {
        act.require(Permission::ManageOrganizations)?;
        self.change_by(act, |tx| async move {
            let found = tx.find::<Organization>(&id).await?.ok_or(ServiceError::NotFound(Missing::Organization))?;
            check_revision(&found, expected)?;
            if tx.people().has_users(id).await? {
                return Err(ServiceError::Conflict(Refusal::OrganizationHasUsers));
            }
            if tx.people().opens_servers(id).await? {
                return Err(ServiceError::Conflict(Refusal::OrganizationOpensServers));
            }
            tx.delete::<Organization>(&id, self.now()).await?;
            let changes = difference(Some(&found.value), None);
            tx.record(&self.entry(act, Action::OrganizationDelete, &id, changes)).await?;
            Ok(())
        })
        .await
    }
}
