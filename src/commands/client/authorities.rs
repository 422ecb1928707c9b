//! `postern authority`.

use clap::Subcommand;

use super::error::ClientError;
use super::output::{Column, Look, View};
use super::{Client, Run};

const VIEW: View = View {
    key: "id",
    columns: &[
        Column("ID", "id", Look::Plain),
        Column("KIND", "kind", Look::Plain),
        Column("STATE", "state", Look::Plain),
        Column("SUBJECT", "subject", Look::Plain),
        Column("EXPIRES", "not_after", Look::Plain),
        Column("FINGERPRINT (SHA-256)", "fingerprint", Look::Plain),
    ],
};

#[derive(Debug, Subcommand)]
pub(in super::super) enum Verb {
    /// List the certificate authorities, without their keys.
    List,
}

impl Run for Verb {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        match self {
            Self::List => client.list_whole("/authorities", &VIEW),
        }
    }
}
