//! A set of users under one name; servers are opened to organizations.

use super::entity::entity;
use super::ids::OrganizationId;
use super::text::Name;

entity! {
    /// An organization.
    noun Organization(OrganizationId);
    /// A new organization.
    new NewOrganization;
    /// A change of an organization; what is absent stays.
    patch OrganizationPatch;
    /// An organization as the database keeps it.
    stored StoredOrganization;
    required {
        /// Its name, unique in the cluster.
        name: Name, patch "Its new name.";
    }
    defaulted {}
    optional {}
}
