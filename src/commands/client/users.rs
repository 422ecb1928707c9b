//! `postern user`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Ask;
use super::body::{Body, edited, given};
use super::error::ClientError;
use super::output::{Column, ColumnFormat, View, at};
use super::paging::Paging;
use super::refs::NounKind;
use super::{Client, Run, import};
use crate::domain::role::Role;

pub(super) const VIEW: View = View {
    key: "id",
    columns: &[
        Column("ID", "id", ColumnFormat::Plain),
        Column("NAME", "name", ColumnFormat::Plain),
        Column("E-MAIL", "email", ColumnFormat::Plain),
        Column("ORGANIZATION", "organization_id", ColumnFormat::NameOf(NounKind::Organization)),
        Column("GROUPS", "groups", ColumnFormat::Plain),
        Column("ROLE", "role", ColumnFormat::Plain),
        Column("DISABLED", "disabled", ColumnFormat::Plain),
    ],
};

#[derive(Debug, Subcommand)]
pub(in super::super) enum Verb {
    /// List users.
    List {
        /// Those of this organization.
        #[arg(long)]
        org: Option<String>,
        /// Those that match: words that begin a word of the name or the e-mail address, and group:NAME, role:ROLE,
        /// state:enabled|disabled, org:NAME.
        #[arg(long, short = 's')]
        search: Option<String>,
        /// The one with this e-mail address.
        #[arg(long)]
        email: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a user.
    Show {
        /// Id, name or e-mail address.
        user: String,
    },
    /// Create a user.
    Create {
        /// Their name.
        name: String,
        /// Their organization.
        #[arg(long)]
        org: String,
        /// The e-mail address that they sign in with.
        #[arg(long)]
        email: Option<String>,
        /// A group that they are in; may be given again.
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// What they may administer: owner, admin, operator, helpdesk, auditor or user.
        #[arg(long)]
        role: Option<Role>,
        /// They may not connect yet.
        #[arg(long)]
        disabled: bool,
    },
    /// Update a user; what is not named stays.
    Update(Update),
    /// Disable a user: sessions end at once, on every host.
    Disable {
        /// Id, name or e-mail address.
        user: String,
    },
    /// Enable a user.
    Enable {
        /// Id, name or e-mail address.
        user: String,
    },
    /// Sign a user out of portal and console, in every browser.
    SignOut {
        /// Id, name or e-mail address.
        user: String,
    },
    /// Delete a user, profiles included.
    Delete {
        /// Id, name or e-mail address.
        user: String,
    },
    /// Create many users from a CSV file, after a look at what it holds.
    ///
    /// The first line names the columns: `name` is needed, `email`, `groups` (several are separated by `;`), `role` and
    /// `organization` are known. Each line with a mistake is told with its number, and nothing is done then. Whoever is
    /// there already is left as is, so the same file can be given again. At most 1,000 lines.
    Import {
        /// The file, `-` for standard input.
        file: PathBuf,
        /// The organization of lines that name none.
        #[arg(long)]
        org: Option<String>,
    },
}

/// What to change about a user.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Update {
    /// Id, name or e-mail address.
    user: String,
    /// The new name.
    #[arg(long)]
    name: Option<String>,
    /// The new e-mail address.
    #[arg(long)]
    email: Option<String>,
    /// Take the e-mail address away.
    #[arg(long, conflicts_with = "email")]
    no_email: bool,
    /// The new organization.
    #[arg(long)]
    org: Option<String>,
    /// The new role: owner, admin, operator, helpdesk, auditor or user.
    #[arg(long)]
    role: Option<Role>,
    /// Put into a group; may be given again.
    #[arg(long, value_name = "GROUP")]
    add_group: Vec<String>,
    /// Take out of a group; may be given again.
    #[arg(long, value_name = "GROUP")]
    remove_group: Vec<String>,
    /// Forget which account they sign in with; the next sign-in with their e-mail address is remembered instead.
    #[arg(long)]
    unlink: bool,
}

impl Run for Verb {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        let path = |user: &str| -> Result<String, ClientError> {
            Ok(format!("/users/{}", client.find(NounKind::User, user)?))
        };
        match self {
            Self::List { org, search, email, paging } => {
                let organization = client.find_given(NounKind::Organization, org.as_deref())?;
                let filters = [("organization_id", organization), ("q", search), ("email", email)];
                let query: Vec<_> = filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
                client.list("/users", &query, &paging, &VIEW)
            }
            Self::Show { user } => client.show(&Ask::get(&path(&user)?), &VIEW),
            Self::Create { name, org, email, groups, role, disabled } => {
                let body = Body::default()
                    .set("organization_id", Some(client.find(NounKind::Organization, &org)?))
                    .set("name", Some(name))
                    .set("email", email)
                    .set("groups", given(groups))
                    .set("role", role.map(Role::as_str))
                    .set("disabled", disabled.then_some(true));
                client.show(&Ask::post("/users").body(&body.new_object()), &VIEW)
            }
            Self::Update(update) => update.run(client),
            Self::Disable { user } => client.show(&Ask::patch(&path(&user)?, &json!({ "disabled": true })), &VIEW),
            Self::Enable { user } => client.show(&Ask::patch(&path(&user)?, &json!({ "disabled": false })), &VIEW),
            Self::SignOut { user } => {
                let path = format!("{}/logins/end", path(&user)?);
                client.done(&Ask::post(&path), &format!("{user} is signed out")).map(drop)
            }
            Self::Delete { user } => {
                let path = path(&user)?;
                client.confirm(&format!("delete user {user} with all profiles"))?;
                client.done(&Ask::delete(&path), &format!("deleted user {user}")).map(drop)
            }
            Self::Import { file, org } => import::run(client, &file, org.as_deref()),
        }
    }
}

impl Update {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        let path = format!("/users/{}", client.find(NounKind::User, &self.user)?);
        let body = Body::default()
            .set("organization_id", client.find_given(NounKind::Organization, self.org.as_deref())?)
            .set("name", self.name)
            .set("email", self.email)
            .clear("email", self.no_email)
            .set("role", self.role.map(Role::as_str))
            .clear("identity", self.unlink);
        if self.add_group.is_empty() && self.remove_group.is_empty() {
            return client.show(&Ask::patch(&path, &body.change()?), &VIEW);
        }
        // Groups are one list to the API: what is sent is what was read, edited, and refused if it changed meanwhile.
        let before = client.api.send(&Ask::get(&path))?;
        let texts = |list: Vec<String>| list.into_iter().map(Value::from).collect::<Vec<_>>();
        let groups = edited(at(&before.json()?, "groups"), texts(self.add_group), &texts(self.remove_group));
        let body = body.set("groups", groups).change()?;
        client.show(&Ask::patch(&path, &body).if_match(before.etag.as_deref()), &VIEW)
    }
}
