//! `postern group`.

use clap::Subcommand;
use serde_json::json;

use super::api::Ask;
use super::error::ClientError;
use super::output::{Column, ColumnFormat, View};
use super::refs::NounKind;
use super::{Client, Run};
use crate::domain::group::GroupId;
use crate::domain::text::GroupName;

const VIEW: View = View {
    key: "name",
    columns: &[
        Column("NAME", "name", ColumnFormat::Plain),
        Column("USERS", "users", ColumnFormat::Plain),
        Column("SERVERS", "servers", ColumnFormat::NameOf(NounKind::Server)),
        Column("ID", "id", ColumnFormat::Plain),
    ],
};

#[derive(Debug, Subcommand)]
pub(in super::super) enum Verb {
    /// List the groups that users are in or servers are open to.
    List,
    /// Show a group.
    Show {
        /// Its name.
        group: GroupName,
    },
    /// Add users to a group; it comes into being by that.
    Add {
        /// Its name.
        group: GroupName,
        /// Ids, names or e-mail addresses.
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Remove users from a group.
    Remove {
        /// Its name.
        group: GroupName,
        /// Ids, names or e-mail addresses.
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Rename a group, wherever it is named.
    Rename {
        /// Its name.
        group: GroupName,
        /// The new name.
        name: GroupName,
    },
    /// Remove everybody from a group, which ends it. No server may be open to it.
    Delete {
        /// Its name.
        group: GroupName,
    },
}

fn path(group: &GroupName) -> String {
    format!("/groups/{}", GroupId::from(group.clone()))
}

impl Run for Verb {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        match self {
            Self::List => client.list_whole("/groups", &VIEW),
            Self::Show { group } => client.show(&Ask::get(&path(&group)), &VIEW),
            Self::Add { group, users } => {
                let body = json!({ "add": client.find_all(NounKind::User, &users)? });
                let ask = format!("{}/users", path(&group));
                client.done(&Ask::post(&ask).body(&body), &format!("put into {group}: {}", users.join(", "))).map(drop)
            }
            Self::Remove { group, users } => {
                let body = json!({ "remove": client.find_all(NounKind::User, &users)? });
                let ask = format!("{}/users", path(&group));
                client
                    .done(&Ask::post(&ask).body(&body), &format!("taken out of {group}: {}", users.join(", ")))
                    .map(drop)
            }
            Self::Rename { group, name } => client.show(&Ask::patch(&path(&group), &json!({ "name": name })), &VIEW),
            Self::Delete { group } => {
                client.confirm(&format!("take everybody out of group {group}"))?;
                client.done(&Ask::delete(&path(&group)), &format!("deleted group {group}")).map(drop)
            }
        }
    }
}
