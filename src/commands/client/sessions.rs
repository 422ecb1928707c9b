//! `postern session`.

use clap::Subcommand;

use super::api::Ask;
use super::error::{ClientError, exit};
use super::output::{Column, ColumnFormat, View, at};
use super::paging::Paging;
use super::refs::NounKind;
use super::{Client, Run};

const VIEW: View = View {
    key: "id",
    columns: &[
        Column("ID", "id", ColumnFormat::Plain),
        Column("USER", "user_id", ColumnFormat::NameOf(NounKind::User)),
        Column("PROFILE", "profile_id", ColumnFormat::NameOf(NounKind::Profile)),
        Column("SERVER", "server_id", ColumnFormat::NameOf(NounKind::Server)),
        Column("HOST", "host_id", ColumnFormat::NameOf(NounKind::Host)),
        Column("ADDRESS", "address", ColumnFormat::Plain),
        Column("FROM", "remote_address", ColumnFormat::Plain),
        Column("SINCE", "connected_at", ColumnFormat::Plain),
        Column("RECEIVED", "bytes_received", ColumnFormat::Bytes),
        Column("SENT", "bytes_sent", ColumnFormat::Bytes),
    ],
};

/// Of sessions that are over.
const ENDED: View = View {
    key: "id",
    columns: &[
        Column("ID", "id", ColumnFormat::Plain),
        Column("USER", "user_id", ColumnFormat::NameOf(NounKind::User)),
        Column("PROFILE", "profile_id", ColumnFormat::NameOf(NounKind::Profile)),
        Column("SERVER", "server_id", ColumnFormat::NameOf(NounKind::Server)),
        Column("HOST", "host_id", ColumnFormat::NameOf(NounKind::Host)),
        Column("FROM", "remote_address", ColumnFormat::Plain),
        Column("BEGAN", "connected_at", ColumnFormat::Plain),
        Column("ENDED", "ended_at", ColumnFormat::Plain),
        Column("WHY", "end_reason", ColumnFormat::Plain),
        Column("RECEIVED", "bytes_received", ColumnFormat::Bytes),
        Column("SENT", "bytes_sent", ColumnFormat::Bytes),
    ],
};

#[derive(Debug, Subcommand)]
pub(in super::super) enum Verb {
    /// List live sessions, or those that ended.
    List {
        #[command(flatten)]
        filter: Filter,
        /// Those that are over, what ended last first. That you looked is recorded in the audit log.
        #[arg(long)]
        ended: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// End a session; or, with a filter, all that it lets through. Whoever may still connect can come back.
    End {
        /// Its id.
        #[arg(required_unless_present_any = FILTERS, conflicts_with_all = FILTERS)]
        session: Option<String>,
        #[command(flatten)]
        filter: Filter,
    },
}

/// What narrows a list of sessions down.
const FILTERS: [&str; 4] = ["user", "server", "host", "search"];

/// Which sessions.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Filter {
    /// Those of this user.
    #[arg(long)]
    user: Option<String>,
    /// Those on this server.
    #[arg(long)]
    server: Option<String>,
    /// Those through this host.
    #[arg(long)]
    host: Option<String>,
    /// Those that match: words that begin a word of the user's name or e-mail address, and user:NAME, server:NAME,
    /// host:NAME.
    #[arg(long, short)]
    search: Option<String>,
}

impl Filter {
    fn query(&self, client: &Client) -> Result<Vec<(&'static str, String)>, ClientError> {
        let filters = [
            ("user_id", client.find_given(NounKind::User, self.user.as_deref())?),
            ("server_id", client.find_given(NounKind::Server, self.server.as_deref())?),
            ("host_id", client.find_given(NounKind::Host, self.host.as_deref())?),
            ("q", self.search.clone()),
        ];
        Ok(filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

impl Run for Verb {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        match self {
            Self::List { filter, ended: false, paging } => {
                client.list("/sessions", &filter.query(client)?, &paging, &VIEW)
            }
            Self::List { filter, ended: true, paging } => {
                let mut query = filter.query(client)?;
                query.push(("state", "ended".to_owned()));
                client.list("/sessions", &query, &paging, &ENDED)
            }
            Self::End { session: Some(session), .. } => {
                let id = client.find(NounKind::Session, &session)?;
                client.done(&Ask::post(&format!("/sessions/{id}/end")), &format!("session {id} is ending")).map(drop)
            }
            Self::End {
                session: None,
                filter: Filter { user: Some(user), server: None, host: None, search: None },
            } => {
                let id = client.find(NounKind::User, &user)?;
                client.confirm(&format!("end all sessions of {user}"))?;
                let path = format!("/users/{id}/sessions/end");
                client.done(&Ask::post(&path), &format!("the sessions of {user} are ending")).map(drop)
            }
            Self::End { session: None, filter } => end_all(client, &filter),
        }
    }
}

fn end_all(client: &Client, filter: &Filter) -> Result<(), ClientError> {
    let mut ids = Vec::new();
    client.each_page("/sessions", &filter.query(client)?, None, None, |items, _next| {
        ids.extend(items.iter().filter_map(|item| at(item, "id").as_str().map(str::to_owned)));
        Ok(())
    })?;
    if ids.is_empty() {
        client.out.remark("there is no such session");
        return Ok(());
    }
    client.confirm(&format!("end {} sessions", ids.len()))?;
    let mut failed = Vec::new();
    for id in &ids {
        match client.api.send(&Ask::post(&format!("/sessions/{id}/end"))) {
            // One that ended by itself meanwhile is one that ended.
            Err(error) if error.code() != exit::NOT_FOUND => failed.push(format!("{id}: {}", error.sentence())),
            _ => {}
        }
    }
    client.out.remark(&format!("{} sessions are ending", ids.len() - failed.len()));
    if failed.is_empty() {
        return Ok(());
    }
    let code = if failed.len() == ids.len() { exit::FAILED } else { exit::PARTLY };
    Err(ClientError::new(code, format!("{} sessions could not be ended", failed.len())).with(failed))
}
