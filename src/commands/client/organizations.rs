//! `postern org`.

use clap::Subcommand;
use serde_json::json;

use super::api::Ask;
use super::error::ClientError;
use super::output::{Column, ColumnFormat, View};
use super::paging::Paging;
use super::refs::NounKind;
use super::{Client, Run};

const VIEW: View = View {
    key: "id",
    columns: &[Column("ID", "id", ColumnFormat::Plain), Column("NAME", "name", ColumnFormat::Plain)],
};

#[derive(Debug, Subcommand)]
pub(in super::super) enum Verb {
    /// List organizations.
    List {
        #[command(flatten)]
        paging: Paging,
    },
    /// Show an organization.
    Show {
        /// Its id or name.
        organization: String,
    },
    /// Create an organization.
    Create {
        /// Its name.
        name: String,
    },
    /// Rename an organization.
    Rename {
        /// Its id or name.
        organization: String,
        /// Its new name.
        name: String,
    },
    /// Delete an organization that has no users and no servers.
    Delete {
        /// Its id or name.
        organization: String,
    },
}

impl Run for Verb {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        let path = |organization: &str| -> Result<String, ClientError> {
            Ok(format!("/organizations/{}", client.find(NounKind::Organization, organization)?))
        };
        match self {
            Self::List { paging } => client.list("/organizations", &[], &paging, &VIEW),
            Self::Show { organization } => client.show(&Ask::get(&path(&organization)?), &VIEW),
            Self::Create { name } => client.show(&Ask::post("/organizations").body(&json!({ "name": name })), &VIEW),
            Self::Rename { organization, name } => {
                client.show(&Ask::patch(&path(&organization)?, &json!({ "name": name })), &VIEW)
            }
            Self::Delete { organization } => {
                let path = path(&organization)?;
                client.confirm(&format!("delete organization {organization}"))?;
                client.done(&Ask::delete(&path), &format!("deleted organization {organization}")).map(drop)
            }
        }
    }
}
