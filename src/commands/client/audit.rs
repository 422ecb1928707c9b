//! `postern audit`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::api::Ask;
use super::error::ClientError;
use super::file::PrivateFile;
use super::output::{Column, ColumnFormat, View, at};
use super::paging::Paging;
use super::{Client, Run, verify};
use crate::keys::signing::VerifyingKey;

const VIEW: View = View {
    key: "id",
    columns: &[
        Column("AT", "at", ColumnFormat::Plain),
        Column("ACTOR", "actor", ColumnFormat::Plain),
        Column("ACTION", "action", ColumnFormat::Plain),
        Column("OBJECT", "object", ColumnFormat::Plain),
        Column("OUTCOME", "outcome", ColumnFormat::Plain),
        Column("CHANGES", "changes", ColumnFormat::Changes),
    ],
};

/// What somebody looks at who did not say how much.
const A_SCREENFUL: u32 = 50;

/// What of the audit log.
#[derive(Debug, Args)]
pub(in super::super) struct Which {
    /// By whom: the id of a user, token or host, or what stands in the audit log.
    #[arg(long)]
    actor: Option<String>,
    /// To what: an id.
    #[arg(long)]
    object: Option<String>,
    /// What was done, such as user.disable.
    #[arg(long)]
    action: Option<String>,
    /// How it went: success or denied.
    #[arg(long)]
    outcome: Option<String>,
    /// Not before this moment (RFC 3339, such as 2026-11-25T00:00:00Z).
    #[arg(long, value_name = "TIME")]
    after: Option<String>,
    /// Before this moment.
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
}

impl Which {
    fn query(self) -> Vec<(&'static str, String)> {
        let Self { actor, object, action, outcome, after, before } = self;
        let filters = [
            ("actor", actor),
            ("object", object),
            ("action", action),
            ("outcome", outcome),
            ("after", after),
            ("before", before),
        ];
        filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

#[derive(Debug, Subcommand)]
pub(in super::super) enum Verb {
    /// List what was done, the newest first.
    List {
        #[command(flatten)]
        which: Which,
        /// All of it, not only the newest fifty.
        #[arg(long, conflicts_with = "limit")]
        all: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// Export the audit log as JSON Lines; without filters in the form that can be verified.
    Export {
        #[command(flatten)]
        which: Which,
        /// Where the file goes, with mode 0600; without it, or with `-`, to standard output.
        #[arg(short = 'o', long = "out", value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the public key that the audit log is signed with (PEM).
    ///
    /// Keep it where whoever can write to the database cannot: an export is only as good as the key it is held against.
    Key,
    /// Look whether an export is what was recorded. Needs nothing but the export and the key.
    ///
    /// Exit code 0 if it is, 8 if something was changed, deleted, added, moved or cut off; each place is named.
    #[command(after_help = "Example:\n  postern audit key > audit.pem\n  postern audit export -o trail.jsonl\n  \
                            postern audit verify trail.jsonl --key audit.pem")]
    Verify(verify::Arguments),
}

impl Run for Verb {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        match self {
            Self::List { which, all, paging } => {
                let paging = if all { paging } else { paging.or(A_SCREENFUL) };
                client.list("/audit", &which.query(), &paging, &VIEW)
            }
            Self::Export { which, out } => export(client, &which.query(), out.as_deref()),
            Self::Key => {
                let key = client.api.send(&Ask::get("/audit/key"))?.json()?;
                let text = at(&key, "public_key").as_str().unwrap_or_default();
                let key = VerifyingKey::from_text(text);
                let key = key.map_err(|error| ClientError::new(1, format!("the answer of the API is {error}")))?;
                client.out.text(key.to_pem().as_bytes())
            }
            Self::Verify(arguments) => arguments.run(&client.out),
        }
    }
}

fn export(client: &Client, query: &[(&str, String)], out: Option<&Path>) -> Result<(), ClientError> {
    let ask = Ask::get("/audit/export").query(query).accept("application/jsonl");
    let Some(place) = out.filter(|out| out.as_os_str() != "-") else {
        return client.api.copy(&ask, &mut std::io::stdout().lock());
    };
    let mut file = PrivateFile::open(place, client.yes)?;
    client.api.copy(&ask, file.draft())?;
    file.finish(&[])?;
    client.out.remark(&format!("the audit log is in {}", place.display()));
    Ok(())
}
