//! `postern authority`.

use clap::Subcommand;

use super::error::ClientError;
use super::output::{Column, ColumnFormat, View};
use super::{Client, Run};

const VIEW: View = View {
    key: "id",
    columns: &[
        Column("ID", "id", ColumnFormat::Plain),
        Column("KIND", "kind", ColumnFormat::Plain),
        Column("STATE", "state", ColumnFormat::Plain),
        Column("SUBJECT", "subject", ColumnFormat::Plain),
        Column("EXPIRES", "not_after", ColumnFormat::Plain),
        Column("FINGERPRINT (SHA-256)", "fingerprint", ColumnFormat::Plain),
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
