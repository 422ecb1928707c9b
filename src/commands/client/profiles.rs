//! `postern profile`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::api::Ask;
use super::error::ClientError;
use super::file::PrivateFile;
use super::output::{Column, ColumnFormat, View, at};
use super::paging::Paging;
use super::refs::NounKind;
use super::{Client, Run};

const VIEW: View = View {
    key: "id",
    columns: &[
        Column("ID", "id", ColumnFormat::Plain),
        Column("NAME", "name", ColumnFormat::Plain),
        Column("USER", "user_id", ColumnFormat::NameOf(NounKind::User)),
        Column("SERVER", "server_id", ColumnFormat::NameOf(NounKind::Server)),
        Column("ADDRESS", "address", ColumnFormat::Plain),
        Column("STATE", "state", ColumnFormat::Plain),
        Column("EXPIRES", "expires_at", ColumnFormat::Plain),
        Column("LAST CONNECTED", "last_connected_at", ColumnFormat::Plain),
    ],
};

/// A one-time link has no id; its address is what there is.
const LINK: View = View {
    key: "url",
    columns: &[Column("URL", "url", ColumnFormat::Plain), Column("EXPIRES", "expires_at", ColumnFormat::Plain)],
};

#[derive(Debug, Subcommand)]
pub(in super::super) enum Verb {
    /// List profiles.
    List {
        /// Those of this user.
        #[arg(long)]
        user: Option<String>,
        /// Those for this server.
        #[arg(long)]
        server: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a profile.
    Show(Which),
    /// Issue a profile and write its file, which is the only copy of its private key.
    #[command(after_help = "Example:\n  postern profile issue ana@example.com --server main --name laptop -o ana.ovpn")]
    Issue {
        #[command(flatten)]
        new: New,
        /// Where the file goes, readable by its owner only; `-` for standard output.
        #[arg(short = 'o', long = "out", value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Create a one-time link, by which somebody who cannot sign in gets a profile.
    Link(New),
    /// Revoke a profile for good: its session ends at once.
    Revoke(Which),
}

/// A profile to be.
#[derive(Debug, clap::Args)]
pub(in super::super) struct New {
    /// For whom: id, name or e-mail address.
    user: String,
    /// For which server.
    #[arg(long)]
    server: String,
    /// The device, as its owner calls it.
    #[arg(long)]
    name: String,
}

/// One profile.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Which {
    /// Its id; or its name, together with --user.
    profile: String,
    /// Whose it is.
    #[arg(long)]
    user: Option<String>,
}

impl Which {
    fn path(&self, client: &Client) -> Result<String, ClientError> {
        let user = client.find_given(NounKind::User, self.user.as_deref())?;
        let query: Vec<_> = user.map(|id| ("user_id", id)).into_iter().collect();
        Ok(format!("/profiles/{}", client.find_among(NounKind::Profile, &self.profile, &query)?))
    }
}

impl Run for Verb {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        match self {
            Self::List { user, server, paging } => {
                let user = client.find_given(NounKind::User, user.as_deref())?;
                let server = client.find_given(NounKind::Server, server.as_deref())?;
                let filters = [("user_id", user), ("server_id", server)];
                let query: Vec<_> = filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
                client.list("/profiles", &query, &paging, &VIEW)
            }
            Self::Show(which) => client.show(&Ask::get(&which.path(client)?), &VIEW),
            Self::Issue { new, out } => new.issue(client, out.as_deref()),
            Self::Link(new) => {
                let (user, body) = new.request(client)?;
                client.show(&Ask::post(&format!("/users/{user}/profile-links")).body(&body), &LINK)
            }
            Self::Revoke(which) => {
                let path = which.path(client)?;
                client.confirm(&format!("revoke profile {}", which.profile))?;
                client.show(&Ask::post(&format!("{path}/revoke")), &VIEW)
            }
        }
    }
}

impl New {
    fn request(&self, client: &Client) -> Result<(String, serde_json::Value), ClientError> {
        let user = client.find(NounKind::User, &self.user)?;
        Ok((user, json!({ "server_id": client.find(NounKind::Server, &self.server)?, "name": self.name })))
    }

    /// The file goes where it was asked to; with JSON and no file it is in the answer, as the API gives it.
    fn issue(&self, client: &Client, out: Option<&Path>) -> Result<(), ClientError> {
        let whole_answer = out.is_none() && !client.out.is_for_people();
        if out.is_none() && !whole_answer && std::io::stdout().is_terminal() {
            return Err(ClientError::usage("the profile needs a file: give -o FILE, or -o - to see it here"));
        }
        let file = out.filter(|out| out.as_os_str() != "-");
        let file = file.map(|file| PrivateFile::open(file, client.yes)).transpose()?;
        let (user, body) = self.request(client)?;
        let path = format!("/users/{user}/profiles");
        let ask = Ask::post(&path).body(&body);
        if whole_answer {
            return client.out.json(&client.api.send(&ask)?.json()?);
        }
        let Some(file) = file else {
            let answer = client.api.send(&ask.accept("application/x-openvpn-profile"))?;
            return client.out.text(&answer.body);
        };
        let issued = client.api.send(&ask)?.json()?;
        file.finish(at(&issued, "config").as_str().unwrap_or_default().as_bytes())?;
        client.object(at(&issued, "profile"), &VIEW)
    }
}
