//! `postern host`.

use clap::Subcommand;
use serde_json::json;

use super::{
    Client, Run,
    api::Ask,
    error::ClientError,
    output::{Column, Look, View},
    paging::Paging,
    refs::Kind,
};

const VIEW: View = View {
    key: "id",
    columns: &[
        Column("ID", "id", Look::Plain),
        Column("NAME", "name", Look::Plain),
        Column("STATE", "state", Look::Plain),
        Column("SESSIONS", "sessions", Look::Plain),
        Column("VERSION", "version", Look::Plain),
        Column("ADDRESSES", "public_addresses", Look::Plain),
        Column("ROLES", "roles", Look::Plain),
        Column("LAST SEEN", "last_seen_at", Look::Plain),
    ],
};

#[derive(Debug, Subcommand)]
pub(in super::super) enum Verb {
    /// List hosts.
    List {
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one.
    Show {
        /// Its id or name.
        host: String,
    },
    /// Give one another name. Its own configuration must follow before its next start.
    Rename {
        /// Its id or name.
        host: String,
        /// Its new name.
        name: String,
    },
    /// Remove one from the cluster; what it runs ends.
    Delete {
        /// Its id or name.
        host: String,
    },
}

impl Run for Verb {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        let path =
            |host: &str| -> Result<String, ClientError> { Ok(format!("/hosts/{}", client.find(Kind::Host, host)?)) };
        match self {
            Self::List { paging } => client.list("/hosts", &[], &paging, &VIEW),
            Self::Show { host } => client.show(&Ask::get(&path(&host)?), &VIEW),
            Self::Rename { host, name } => client.show(&Ask::patch(&path(&host)?, &json!({ "name": name })), &VIEW),
            Self::Delete { host } => {
                let path = path(&host)?;
                client.confirm(&format!("remove host {host} from the cluster"))?;
                client.done(&Ask::delete(&path), &format!("removed host {host}")).map(drop)
            }
        }
    }
}
