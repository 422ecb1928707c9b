//! Many users at once, from a list. What a list would do is told by the very code that does it.
//!
//! All users of a list are made by one change, with one revision, each with its entry in the audit log. A line that
//! asks for somebody who is there already makes nobody, so the same list may be sent again. A line with a mistake makes
//! nobody and keeps the others out of nothing.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::people::users::check_role;
use crate::{Act, InvalidReason, People, ServiceError, difference};
use domain::audit::Action;
use domain::ids::{OrganizationId, UserId};
use domain::organization::Organization;
use domain::role::{Permission, Role};
use domain::text::{Email, Name};
use domain::user::User;
use domain::user_list;
use domain::user_list::{CellFault, Line, RequestedUser, Written};
use store::policy::PolicyChange;

/// A list of users to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUsers {
    /// The list as CSV, of 1,000 lines at most below the headings: `name` is needed, `email`, `groups` (several are
    /// parted by `;`), `role` and `organization` (its name) are known.
    #[schema(example = "name,email,groups\nAna,ana@example.com,dev;ops\n")]
    pub csv: String,
    /// The organization of lines that name none.
    #[serde(default)]
    pub organization_id: Option<OrganizationId>,
    /// Tell what would be done, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What became of a list, or would become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Imported {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// How many users are new.
    pub new: usize,
    /// How many were there already.
    pub existing: usize,
    /// How many lines were refused.
    pub refused: usize,
    /// Line by line.
    pub lines: Vec<ImportedLine>,
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportedLine {
    /// The line as it was written.
    #[serde(flatten)]
    pub written: Written,
    /// What became of it.
    pub outcome: Outcome,
    /// The user that was made or was there already.
    pub user_id: Option<UserId>,
    /// Why it was refused.
    pub errors: Vec<CellError>,
}

/// What is wrong with one cell of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CellError {
    /// The column; empty for the line as a whole.
    pub column: &'static str,
    /// Why it is refused, as a word that never changes its meaning: one of `docs/refusals.md`.
    pub reason: &'static str,
    /// The same in words.
    pub detail: String,
}

impl CellError {
    /// What is wrong with a cell, from the catalogue.
    pub fn new(column: &'static str, reason: &InvalidReason) -> Self {
        Self { column, reason: reason.code(), detail: reason.to_string() }
    }
}

impl From<user_list::CellError> for CellError {
    fn from(user_list::CellError { column, fault }: user_list::CellError) -> Self {
        let reason = match fault {
            CellFault::Repeated { line } => InvalidReason::LineRepeated { line },
            CellFault::Count { found, expected } => InvalidReason::CellCount { found, expected },
            CellFault::Text(_) | CellFault::Role(_) => InvalidReason::Malformed { expected: fault.to_string() },
        };
        Self::new(column, &reason)
    }
}

/// What a line leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A new user.
    New,
    /// Nothing: this user is there already.
    Existing,
    /// Nothing: there is a mistake in it.
    Refused,
}

/// The users and organizations that exist already.
struct ExistingUsers {
    organizations: HashMap<Name, OrganizationId>,
    by_email: HashMap<Email, UserId>,
    machines: HashMap<(OrganizationId, Name), UserId>,
    organization: Option<OrganizationId>,
}

impl People<'_> {
    /// Makes the users of a list, or tells what would be made.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] for a list that cannot be read at all; mistakes of lines are in the answer.
    pub async fn import_users(self, act: &Act, new: &NewUsers) -> Result<Imported, ServiceError> {
        act.require(Permission::ManageUsers)?;
        let lines = user_list::read(&new.csv)
            .map_err(|error| ServiceError::invalid("csv", InvalidReason::UserList { error }))?;
        let lines = &lines;
        self.change(|tx| async move {
            let known = ExistingUsers::read(&tx, lines, new.organization_id).await?;
            let mut users = Vec::new();
            let lines = lines.iter().map(|line| self.imported(act, &known, line, &mut users)).collect();
            if !new.dry_run {
                tx.insert_all(&users).await?;
                for user in &users {
                    tx.record(&self.entry(act, Action::UserCreate, &user.id, difference(None, Some(user)))).await?;
                }
            }
            Ok(Imported::of(new.dry_run, lines))
        })
        .await
    }

    /// What becomes of a line; a user that it makes is added to `users`.
    fn imported(self, act: &Act, known: &ExistingUsers, line: &Line, users: &mut Vec<User>) -> ImportedLine {
        let read = line.requested.clone().map_err(|errors| errors.into_iter().map(CellError::from).collect::<Vec<_>>());
        let found = read.and_then(|requested| {
            let wrong = |column, reason| vec![CellError::new(column, &reason)];
            let organization = known.organization_of(&requested).map_err(|reason| wrong("organization", reason))?;
            if let Some(there) = known.there(&requested, organization) {
                return Ok((Outcome::Existing, there));
            }
            let role_allowed = check_role(act, Role::User, requested.role);
            role_allowed.map_err(|_forbidden| wrong("role", InvalidReason::RoleNotYours))?;
            let RequestedUser { name, email, groups, role, organization: _ } = requested;
            let id = self.new_id();
            users.push(User {
                id,
                organization_id: organization,
                name,
                email,
                groups,
                role,
                disabled: false,
                identity: None,
            });
            Ok((Outcome::New, id))
        });
        let (outcome, user_id, errors) = match found {
            Ok((outcome, user)) => (outcome, Some(user), Vec::new()),
            Err(errors) => (Outcome::Refused, None, errors),
        };
        ImportedLine { written: line.written.clone(), outcome, user_id, errors }
    }
}

impl Imported {
    fn of(dry_run: bool, mut lines: Vec<ImportedLine>) -> Self {
        let count = |outcome| lines.iter().filter(|line| line.outcome == outcome).count();
        let (new, existing, refused) = (count(Outcome::New), count(Outcome::Existing), count(Outcome::Refused));
        if dry_run {
            // Nobody will be found under the id of somebody who was not made.
            lines.iter_mut().filter(|line| line.outcome == Outcome::New).for_each(|line| line.user_id = None);
        }
        Self { dry_run, new, existing, refused, lines }
    }
}

impl ExistingUsers {
    async fn read(
        tx: &PolicyChange,
        lines: &[Line],
        organization: Option<OrganizationId>,
    ) -> Result<Self, ServiceError> {
        let requested = || lines.iter().filter_map(|line| line.requested.as_ref().ok());
        if let Some(id) = organization {
            crate::people::users::check_organization(tx, id).await?;
        }
        let named: BTreeSet<&Name> = requested().filter_map(|requested| requested.organization.as_ref()).collect();
        let emails: BTreeSet<&Email> = requested().filter_map(|requested| requested.email.as_ref()).collect();
        let machines: BTreeSet<&Name> =
            requested().filter(|requested| requested.email.is_none()).map(|requested| &requested.name).collect();
        let organizations: Vec<Organization> = tx.people().organizations_called(&named).await?;
        let people = tx.people().users_with_emails(&emails).await?;
        let machines = tx.people().machines_called(&machines).await?;
        Ok(Self {
            organizations: organizations.into_iter().map(|found| (found.name, found.id)).collect(),
            by_email: people.into_iter().filter_map(|user| Some((user.email?, user.id))).collect(),
            machines: machines.into_iter().map(|user| ((user.organization_id, user.name), user.id)).collect(),
            organization,
        })
    }

    fn organization_of(&self, requested: &RequestedUser) -> Result<OrganizationId, InvalidReason> {
        match &requested.organization {
            Some(name) => {
                let known = self.organizations.get(name).copied();
                known.ok_or(InvalidReason::NoOrganizationCalled)
            }
            None => self.organization.ok_or(InvalidReason::NoOrganizationNamed),
        }
    }

    /// Who is there already: whoever has the address; of machines, which have none, the one of this name.
    fn there(&self, requested: &RequestedUser, organization: OrganizationId) -> Option<UserId> {
        match &requested.email {
            Some(email) => self.by_email.get(email).copied(),
            None => self.machines.get(&(organization, requested.name.clone())).copied(),
        }
    }
}
