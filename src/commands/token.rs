//! `postern token`. The first token is made on a machine of the cluster, over the database; what is there is listed and
//! revoked over the API.

use std::process::ExitCode;

use clap::Subcommand;
use jiff::SignedDuration;

use super::client::{Options, Paging};
use super::database::Database;
use super::{Machine, client, print};
use crate::domain::audit::Actor;
use crate::domain::role::Role;
use crate::domain::text::Name;
use crate::domain::token::TokenLifetime;
use crate::services::Act;
use crate::services::identity::tokens::NewToken;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Print a new API token, alone on standard output. It is not shown again.
    Create {
        #[command(flatten)]
        machine: Machine,
        /// What the token is for.
        #[arg(long)]
        name: Name,
        /// What its bearer may do: owner, admin, operator, helpdesk, auditor or user.
        #[arg(long)]
        role: Role,
        /// How long it is valid: a number and d, h or m.
        #[arg(long, default_value = "30d", value_parser = lifetime)]
        expires_in: TokenLifetime,
    },
    /// List the API tokens that are good.
    List {
        #[command(flatten)]
        options: Box<Options>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Revoke an API token: the next request with it is refused.
    Revoke {
        #[command(flatten)]
        options: Box<Options>,
        /// Its id or name.
        token: String,
    },
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Create { machine, name, role, expires_in } => create(&machine, name, role, expires_in).await,
        Verb::List { options, paging } => client::ask(&options, |client| client.list_tokens(&paging)),
        Verb::Revoke { options, token } => client::ask(&options, |client| client.revoke_token(&token)),
    }
}

async fn create(
    machine: &Machine,
    name: Name,
    role: Role,
    expires_in_seconds: TokenLifetime,
) -> anyhow::Result<ExitCode> {
    let database = Database::open(machine).await?;
    database.require_current().await?;
    let services = database.services(None).await;
    let act = Act::of(Actor::Shell("token create"));
    let issued =
        services.identity().create_token(&act, NewToken { name, role, expires_in_seconds, service: true }).await?;
    print(issued.text.expose());
    database.close().await;
    Ok(ExitCode::SUCCESS)
}

fn lifetime(text: &str) -> Result<TokenLifetime, String> {
    let wrong = || "must be a number and d, h or m, such as 30d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: i64 = text.strip_suffix(unit).unwrap_or_default().parse().map_err(|_other| wrong())?;
    let minutes = match unit {
        'd' => 24 * 60,
        'h' => 60,
        'm' => 1,
        _ => return Err(wrong()),
    };
    let life = number.checked_mul(minutes).and_then(SignedDuration::try_from_mins);
    life.and_then(|life| life.try_into().ok()).ok_or_else(|| "must be between 1m and 366d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_of_tokens_are_bounded() {
        let seconds = |text| lifetime(text).map(u32::from);
        assert_eq!(seconds("30d"), Ok(30 * 86_400));
        assert_eq!(seconds("90m"), Ok(90 * 60));
        for bad in ["", "d", "30", "30s", "-1d", "0d", "367d", "9999999999999999d", "1.5h", "3é"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }
}
