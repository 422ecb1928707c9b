//! The command line as a client of the API: one file per noun, each a list of verbs.
//!
//! A verb turns arguments into one request (names into ids first, where people gave names) and shows the answer. It
//! knows no rule: what is allowed and what is sound the API says. `--json` prints the body of the answer as it is, so
//! scripts can go from one to the other; everything that is not the result goes to standard error.

mod api;
mod ask;
mod audit;
mod authorities;
mod body;
mod error;
mod explain;
mod file;
mod groups;
mod hosts;
mod import;
mod join_tokens;
mod options;
mod organizations;
mod output;
mod paging;
mod process;
mod profiles;
mod refs;
mod servers;
mod sessions;
mod settings;
mod table;
mod tokens;
mod users;
mod verify;
mod wait;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use self::api::{Answer, Api, Ask};
pub(super) use self::error::ClientError;
pub(super) use self::options::Options;
use self::output::{Column, ColumnFormat, Output, View};
pub(super) use self::paging::Paging;
pub(super) use self::process::tasks;

/// The nouns of the API.
#[derive(Debug, Subcommand)]
pub(super) enum Noun {
    /// Organizations: sets of users that servers are opened to.
    #[command(name = "org", visible_alias = "organization")]
    Organization(ClientCommand<organizations::Verb>),
    /// Users: people, and machines that connect on their own.
    User(ClientCommand<users::Verb>),
    /// Groups: names that users carry and that servers can be open to.
    Group(ClientCommand<groups::Verb>),
    /// Profiles: one for each device of a user.
    Profile(ClientCommand<profiles::Verb>),
    /// Servers: networks that people connect to.
    Server(ClientCommand<servers::Verb>),
    /// Hosts: machines that run Postern.
    Host(ClientCommand<hosts::Verb>),
    /// Join tokens: invitations for machines to become hosts.
    JoinToken(ClientCommand<join_tokens::Verb>),
    /// Live VPN sessions.
    Session(ClientCommand<sessions::Verb>),
    /// The certificate authorities.
    Authority(ClientCommand<authorities::Verb>),
    /// Whether and how somebody reaches an address, and what would have to change.
    Explain(ExplainCommand),
    /// The audit log.
    Audit(ClientCommand<audit::Verb>),
    /// The settings of the cluster.
    Settings(ClientCommand<settings::Verb>),
}

/// A verb, and where and how it is asked.
#[derive(Debug, Args)]
pub(super) struct ClientCommand<V: Subcommand> {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: V,
}

/// A question that has no verbs, and where and how it is asked.
#[derive(Debug, Args)]
pub(super) struct ExplainCommand {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    question: explain::Question,
}

/// A verb of a noun.
pub(super) trait Run: Subcommand {
    /// Asks, and shows the answer.
    fn run(self, client: &Client) -> Result<(), ClientError>;
}

impl<V: Run> ClientCommand<V> {
    fn run(self) -> Result<(), ClientError> {
        self.verb.run(&Client::new(&self.options)?)
    }
}

/// Runs a client command.
pub(super) fn run(noun: Noun) -> anyhow::Result<ExitCode> {
    let done = match noun {
        Noun::Organization(asked) => asked.run(),
        Noun::User(asked) => asked.run(),
        Noun::Group(asked) => asked.run(),
        Noun::Profile(asked) => asked.run(),
        Noun::Server(asked) => asked.run(),
        Noun::Host(asked) => asked.run(),
        Noun::JoinToken(asked) => asked.run(),
        Noun::Session(asked) => asked.run(),
        Noun::Authority(asked) => asked.run(),
        // The one verb that asks nobody.
        Noun::Audit(ClientCommand { options, verb: audit::Verb::Verify(verify) }) => verify.run(&Output::new(&options)),
        Noun::Explain(asked) => asked.question.run(&Client::new(&asked.options)?),
        Noun::Audit(asked) => asked.run(),
        Noun::Settings(asked) => asked.run(),
    };
    ended(done)
}

/// Runs a client command of a noun that also has others.
pub(super) fn ask(options: &Options, run: impl FnOnce(&Client) -> Result<(), ClientError>) -> anyhow::Result<ExitCode> {
    ended(Client::new(options).and_then(|client| run(&client)))
}

fn ended(done: Result<(), ClientError>) -> anyhow::Result<ExitCode> {
    match done {
        // Whoever read the result has seen enough, as `head` does.
        Err(error) if error.reader_left() => Ok(ExitCode::SUCCESS),
        done => Ok(done.map(|()| ExitCode::SUCCESS)?),
    }
}

/// What a change would do.
const EFFECT: View = View {
    key: "users_losing_access",
    columns: &[
        Column("GAIN ACCESS", "users_gaining_access", ColumnFormat::Plain),
        Column("LOSE ACCESS", "users_losing_access", ColumnFormat::Plain),
        Column("SESSIONS END", "sessions_ending", ColumnFormat::Plain),
        Column("SESSIONS CUT OFF", "sessions_cut_off", ColumnFormat::Plain),
        Column("CUT OFF", "cut_off", ColumnFormat::People),
        Column("SESSIONS MOVE", "sessions_moving", ColumnFormat::Plain),
        Column("PROFILES OUTDATED", "profiles_outdated", ColumnFormat::Plain),
        Column("PROFILES CUT OFF", "profiles_cut_off", ColumnFormat::Plain),
        Column("PROFILES END", "profiles_ending", ColumnFormat::Plain),
        Column("DAEMONS START", "daemons_starting", ColumnFormat::Plain),
        Column("DAEMONS RESTART", "daemons_restarting", ColumnFormat::Plain),
        Column("DAEMONS STOP", "daemons_stopping", ColumnFormat::Plain),
        Column("WARNINGS", "warnings", ColumnFormat::Plain),
    ],
};

/// What a verb works with.
pub(super) struct Client {
    api: Api,
    out: Output,
    yes: bool,
    names: RefCell<BTreeMap<String, String>>,
}

impl Client {
    fn new(options: &Options) -> Result<Self, ClientError> {
        Ok(Self {
            api: Api::new(options)?,
            out: Output::new(options),
            yes: options.yes || options.dry_run,
            names: RefCell::default(),
        })
    }

    /// Asks, and shows the one object that is the answer.
    fn show(&self, ask: &Ask<'_>, view: &View) -> Result<(), ClientError> {
        let view = if self.api.tries(ask) { &EFFECT } else { view };
        self.object(&self.api.send(ask)?.json()?, view)
    }

    /// Shows one object.
    fn object(&self, object: &Value, view: &View) -> Result<(), ClientError> {
        self.out.object(object, view, |kind, id| self.name_of(kind, id))
    }

    /// Asks for something whose answer has nothing to show, and says that it is done.
    fn done(&self, ask: &Ask<'_>, sentence: &str) -> Result<Answer, ClientError> {
        let answer = self.api.send(ask)?;
        if self.api.tries(ask) {
            self.object(&answer.json()?, &EFFECT)?;
        } else {
            self.out.remark(sentence);
        }
        Ok(answer)
    }
}
