//! `postern owner-link`.

use std::process::ExitCode;

use super::database::{Database, load};
use super::{Machine, print};
use crate::config::Config;
use crate::domain::audit::Actor;
use crate::services::Act;

pub(super) async fn run(machine: Machine) -> anyhow::Result<ExitCode> {
    let config = load(&machine)?;
    let database = Database::of(&config).await?;
    database.require_current().await?;
    let services = database.services(None).await;
    let link = services.identity().make_owner_link(&Act::of(Actor::Shell("owner-link"))).await?;
    print(format_args!("{}/owner-link/{}", base(&config), link.secret.expose()));
    tracing::info!(event = "owner_link.made", until = %link.expires_at,
        "this link opens the console as owner, once; do not pass it on");
    database.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Where browsers reach the console: as configured, or where it listens.
fn base(config: &Config) -> String {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let url = config.admin.url.clone().unwrap_or_else(|| format!("{scheme}://{}", config.admin_listen()));
    url.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_is_under_the_address_of_the_console() {
        let base = |key: &str, value: &str| base(&Config::load(None, [(key.to_owned(), value.to_owned())]).unwrap());
        assert_eq!(base("POSTERN_ADMIN__URL", "https://admin.example.com/"), "https://admin.example.com");
        assert_eq!(base("POSTERN_ADMIN__LISTEN", "127.0.0.1:9001"), "http://127.0.0.1:9001");
    }
}
