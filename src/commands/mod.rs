//! The command line: one file per subcommand.
//!
//! Some work on the database of the configuration; the nouns of `client` ask the API. Results go to standard output,
//! everything else to standard error. Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict or precondition, 5
//! not signed in or forbidden, 6 unreachable or timed out, 7 partly done, 8 differences found, 9 this machine was
//! removed from its cluster.

mod backup;
mod client;
mod database;
mod doctor;
mod jobs;
mod join;
mod migrate;
mod owner_link;
mod pause;
mod progress;
mod reference;
mod relay;
mod serve;
mod token;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::DEFAULT_PATH;
use crate::domain::command_line::CommandLine;
use crate::services::cluster::backup::BackupError;
use crate::services::{Refusal, ServiceError};
use crate::store::StoreError;
use crate::telemetry::{Logs, Output};

/// A self-hosted company VPN with replicated hosts.
#[derive(Debug, Parser)]
#[command(name = "postern", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run this host: web listeners, VPN daemons and periodic work, by its roles.
    Serve {
        #[command(flatten)]
        machine: Machine,
    },
    /// Look at this machine and its database; say what is wrong, why, and the command that helps.
    ///
    /// Exit code 0 if all is well, 8 if there are warnings, 1 if something does not work. Safe at any time.
    Doctor {
        #[command(flatten)]
        machine: Machine,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make this machine a host of a cluster, with a join token from its console or API.
    ///
    /// Looks at the machine first, makes its key, shows the token, writes the configuration and starts the service. Run
    /// it as root. Repeating it does no harm. Exit code 4 if something stands against it.
    Join(join::Options),
    /// Make, check and restore sealed copies of the cluster.
    Backup {
        #[command(subcommand)]
        verb: backup::Verb,
    },
    /// Make the cluster read-only, for a move of its database. The VPN goes on.
    ///
    /// Returns when every host has confirmed that it writes nothing more about sessions; exit code 7 if some have not.
    Pause {
        #[command(flatten)]
        machine: Machine,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End the pause: the cluster can be changed again.
    Resume {
        #[command(flatten)]
        machine: Machine,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show and run periodic work, for an outside scheduler. A process with the role jobs does it by itself.
    Jobs {
        #[command(subcommand)]
        verb: jobs::Verb,
    },
    /// Show or apply pending database migrations.
    Migrate {
        #[command(subcommand)]
        verb: migrate::Verb,
    },
    /// Print the API's document (OpenAPI 3.1).
    Openapi,
    /// Print a link that opens the console as owner: it works once, for ten minutes.
    OwnerLink {
        #[command(flatten)]
        machine: Machine,
    },
    /// Make API tokens.
    Token {
        #[command(subcommand)]
        verb: token::Verb,
    },
    #[command(flatten)]
    Client(Box<client::Noun>),
    /// Print the completions of a shell.
    #[command(after_help = "Example:\n  postern completions bash > /etc/bash_completion.d/postern")]
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages, one for each command.
    Man {
        /// The folder that they go to.
        folder: PathBuf,
    },
    /// Hold the management connection of a daemon; started by `serve`.
    #[command(hide = true)]
    Relay {
        /// The folder of the daemon.
        folder: PathBuf,
    },
    /// Print the reference of all commands, in Markdown.
    #[command(hide = true)]
    Reference,
    /// Print the reasons for which the API refuses, in Markdown.
    #[command(hide = true)]
    Refusals,
}

/// Which machine's configuration to use.
#[derive(Debug, clap::Args)]
struct Machine {
    /// The configuration file; without it /etc/postern/postern.toml, if there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Where our units' `LoadCredential=` take configurations from.
const UNIT_CONFIGS: &str = "/etc/postern";

impl Machine {
    /// How commands are called on this machine by somebody who looks for the same configuration. A service may read a
    /// copy that only it sees; then it is the file that its unit names.
    fn command_line(&self) -> CommandLine {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let copy = |path: &Path| Some(path.strip_prefix(credentials.as_ref()?).ok()?.to_owned());
        let copied = self.config.as_deref().and_then(copy);
        let needs_root = copied.is_some() || rustix::process::geteuid().is_root();
        let config = match (copied, &self.config) {
            (Some(name), _) => Some(Path::new(UNIT_CONFIGS).join(name)),
            (None, Some(path)) => Some(std::path::absolute(path).unwrap_or_else(|_unknown| path.clone())),
            (None, None) => None,
        };
        let config = config.filter(|path| path != Path::new(DEFAULT_PATH));
        let program = std::env::current_exe().unwrap_or_else(|_unknown| PathBuf::from("/usr/bin/postern"));
        CommandLine::new(&program, config.as_deref(), needs_root)
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = if matches!(arguments.command, Command::Serve { .. }) { Output::Stdout } else { Output::Stderr };
    let logs = Logs::start(output);
    if let Command::Relay { folder } = arguments.command {
        return relay::run(folder).unwrap_or_else(|error| failed(&error));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::from(error).context("the runtime did not start")),
    };
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::Serve { machine } => serve::run(machine, &logs).await,
            Command::Doctor { machine, json } => doctor::run(machine, json).await,
            Command::Join(options) => join::run(options).await,
            Command::Backup { verb } => backup::run(verb).await,
            Command::Pause { machine, json } => pause::pause(machine, json).await,
            Command::Resume { machine, json } => pause::resume(machine, json).await,
            Command::Jobs { verb } => jobs::run(verb).await,
            Command::Migrate { verb } => migrate::run(verb).await,
            Command::OwnerLink { machine } => owner_link::run(machine).await,
            Command::Token { verb } => token::run(verb).await,
            Command::Openapi => {
                print(format_args!("{:#}", crate::web::openapi()));
                Ok(ExitCode::SUCCESS)
            }
            Command::Client(noun) => client::run(*noun),
            Command::Relay { folder } => relay::run(folder),
            Command::Completions { shell } => Ok(reference::completions(shell)),
            Command::Man { folder } => reference::man(&folder),
            Command::Refusals => {
                print(reference::refusals().trim_end());
                Ok(ExitCode::SUCCESS)
            }
            Command::Reference => {
                print(reference::reference().trim_end());
                Ok(ExitCode::SUCCESS)
            }
        }
    });
    // Whatever still runs has had its time; a blocked thread must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    outcome.unwrap_or_else(|error| failed(&error))
}

/// Says what went wrong in one line, and finds the exit code.
fn failed(error: &anyhow::Error) -> ExitCode {
    tell(format_args!("postern: {error:#}"));
    exit_code(error)
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<client::ClientError>() {
            return ExitCode::from(error.code());
        }
        let cause = match cause.downcast_ref::<BackupError>() {
            Some(BackupError::Service(inner)) => inner,
            _ => cause,
        };
        match cause.downcast_ref::<ServiceError>() {
            Some(ServiceError::Invalid { .. }) => return ExitCode::from(2),
            Some(ServiceError::Conflict(Refusal::HostRemoved { .. })) => return ExitCode::from(9),
            Some(ServiceError::Conflict(Refusal::HostCloned)) => {}
            Some(ServiceError::Conflict(_) | ServiceError::Stale { .. } | ServiceError::Paused) => {
                return ExitCode::from(4);
            }
            Some(ServiceError::Unavailable(_)) => return ExitCode::from(6),
            _ => {}
        }
        match cause.downcast_ref::<StoreError>() {
            Some(StoreError::Unavailable { .. }) => return ExitCode::from(6),
            Some(StoreError::Conflict { .. }) => return ExitCode::from(4),
            _ => {}
        }
    }
    ExitCode::FAILURE
}

/// Says something that is not the result.
#[expect(clippy::print_stderr, reason = "what is not the result goes to standard error")]
fn tell(line: impl std::fmt::Display) {
    eprintln!("{line}");
}

/// Prints a result.
#[expect(clippy::print_stdout, reason = "results go to standard output")]
fn print(line: impl std::fmt::Display) {
    println!("{line}");
}
