//! `postern join-token`.

use std::time::Duration;

use clap::Subcommand;

use super::api::Ask;
use super::body::{Body, given};
use super::error::ClientError;
use super::options::time;
use super::output::{Column, ColumnFormat, View};
use super::paging::Paging;
use super::refs::NounKind;
use super::{Client, Run};

const VIEW: View = View {
    key: "id",
    columns: &[
        Column("ID", "id", ColumnFormat::Plain),
        Column("HOST", "host_name", ColumnFormat::Plain),
        Column("STATE", "state", ColumnFormat::Plain),
        Column("EXPIRES", "expires_at", ColumnFormat::Plain),
        Column("SERVERS", "server_ids", ColumnFormat::NameOf(NounKind::Server)),
        Column("DATABASE USER", "database_user", ColumnFormat::Plain),
    ],
};

/// What is shown of a new one: the command is in this answer only.
const NEW: View = View {
    key: "token",
    columns: &[
        Column("HOST", "host_name", ColumnFormat::Plain),
        Column("EXPIRES", "expires_at", ColumnFormat::Plain),
        Column("COMMAND", "command", ColumnFormat::Plain),
    ],
};

#[derive(Debug, Subcommand)]
pub(in super::super) enum Verb {
    /// Invite a machine to become a host, and print what to run on it. With --quiet the token alone.
    #[command(after_help = "Example:\n  postern join-token create vpn-3 --server office")]
    Create {
        /// The name that the machine takes.
        host: String,
        /// A server that it is to run; may be given again.
        #[arg(long = "server", value_name = "SERVER")]
        servers: Vec<String>,
        /// How long the token is good, a day at most.
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
        expires_in: Duration,
        /// Let the machine have the database user of the web process where it can have none of its own.
        ///
        /// Whoever takes that machine over can then read and change everything in the database, and removing the host
        /// does not end it: the password of that user must be changed.
        #[arg(long)]
        share_database_user: bool,
    },
    /// List the join tokens that wait for their machines.
    List {
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a join token, and what its machine found out about itself.
    Show {
        /// Its id, or the host's name while the machine is waited for.
        token: String,
    },
    /// Withdraw a join token that nobody has used.
    Revoke {
        /// Its id, or the host's name.
        token: String,
    },
}

impl Run for Verb {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        let path = |token: &str| -> Result<String, ClientError> {
            Ok(format!("/join-tokens/{}", client.find(NounKind::JoinToken, token)?))
        };
        match self {
            Self::Create { host, servers, expires_in, share_database_user } => {
                let body = Body::default()
                    .set("host_name", Some(host))
                    .set("server_ids", given(client.find_all(NounKind::Server, &servers)?))
                    .set("expires_in_seconds", Some(expires_in.as_secs()))
                    .set("share_database_user", share_database_user.then_some(true));
                client.show(&Ask::post("/join-tokens").body(&body.new_object()), &NEW)
            }
            Self::List { paging } => client.list("/join-tokens", &[], &paging, &VIEW),
            Self::Show { token } => client.show(&Ask::get(&path(&token)?), &VIEW),
            Self::Revoke { token } => {
                let path = path(&token)?;
                client.confirm(&format!("withdraw join token {token}"))?;
                client.done(&Ask::delete(&path), &format!("withdrew join token {token}")).map(drop)
            }
        }
    }
}
