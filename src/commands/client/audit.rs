//! `postern audit`.

use clap::Subcommand;

use super::{
    Client, Run,
    error::ClientError,
    output::{Column, Look, View},
    paging::Paging,
};

const VIEW: View = View {
    key: "id",
    columns: &[
        Column("AT", "at", Look::Plain),
        Column("ACTOR", "actor", Look::Plain),
        Column("ACTION", "action", Look::Plain),
        Column("OBJECT", "object", Look::Plain),
        Column("OUTCOME", "outcome", Look::Plain),
        Column("CHANGES", "changes", Look::Changes),
    ],
};

/// What somebody looks at who did not say how much.
const A_SCREENFUL: u32 = 50;

#[derive(Debug, Subcommand)]
pub(in super::super) enum Verb {
    /// List what was done, the newest first.
    List {
        /// By whom: the id of a user, token or host, or what stands in the trail.
        #[arg(long)]
        actor: Option<String>,
        /// To what: an id.
        #[arg(long)]
        object: Option<String>,
        /// What was done, such as user.disable.
        #[arg(long)]
        action: Option<String>,
        /// Not before this moment (RFC 3339, such as 2026-11-25T00:00:00Z).
        #[arg(long, value_name = "TIME")]
        after: Option<String>,
        /// Before this moment.
        #[arg(long, value_name = "TIME")]
        before: Option<String>,
        /// All of it, not only the newest fifty.
        #[arg(long, conflicts_with = "limit")]
        all: bool,
        #[command(flatten)]
        paging: Paging,
    },
}

impl Run for Verb {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        let Self::List { actor, object, action, after, before, all, paging } = self;
        let filters = [("actor", actor), ("object", object), ("action", action), ("after", after), ("before", before)];
        let query: Vec<_> = filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let paging = if all { paging } else { paging.or(A_SCREENFUL) };
        client.list("/audit", &query, &paging, &VIEW)
    }
}
