//! `postern token create`.

use std::{process::ExitCode, sync::Arc};

use clap::Subcommand;
use jiff::SignedDuration;

use super::{Machine, database::Database, print};
use crate::{
    domain::{audit::Actor, clock::SystemClock, role::Role, text::Name},
    services::{Act, Services},
};

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
        #[arg(long, default_value = "30d", value_parser = duration)]
        expires_in: SignedDuration,
    },
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    let Verb::Create { machine, name, role, expires_in } = verb;
    let database = Database::open(&machine).await?;
    database.require_current().await?;
    let services = Services::new(database.store.clone(), database.emitter(), Arc::new(SystemClock), None);
    let act = Act::of(Actor::Shell("token create"));
    let token = services.create_token(&act, name, role, expires_in).await?;
    print(token.expose());
    database.close().await;
    Ok(ExitCode::SUCCESS)
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    let wrong = || "must be a number and d, h or m, such as 30d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: i64 = text.strip_suffix(unit).unwrap_or_default().parse().map_err(|_other| wrong())?;
    let minutes = match unit {
        'd' => 24 * 60,
        'h' => 60,
        'm' => 1,
        _ => return Err(wrong()),
    };
    let minutes = number.checked_mul(minutes).filter(|minutes| (1..=366 * 24 * 60).contains(minutes));
    minutes.map(SignedDuration::from_mins).ok_or_else(|| "must be between 1m and 366d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_of_tokens_are_bounded() {
        assert_eq!(duration("30d"), Ok(SignedDuration::from_hours(720)));
        assert_eq!(duration("90m"), Ok(SignedDuration::from_mins(90)));
        for bad in ["", "d", "30", "30s", "-1d", "0d", "367d", "9999999999999999d", "1.5h", "3é"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
