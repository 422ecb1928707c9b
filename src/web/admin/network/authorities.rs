//! The certificate authorities: what vouches for profiles and for daemons, and until when.

use askama::Template;
use jiff::SignedDuration;

use crate::admin::context::{Answer, Desk, Opened};
use crate::api::extract::NoQuery;
use crate::ui::{Cell, Chip, Column, Icon, Table, Tone, Topic, When};
use domain::authority::{AuthorityKind, AuthorityState};
use services::network::authorities::AuthorityView;

/// The page.
#[derive(Template)]
#[template(path = "admin/authorities.html")]
pub(crate) struct Authorities<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) rows: Table,
}

/// A new authority has to be in every profile before the old one ends, so there is this much time to act.
const SOON: SignedDuration = SignedDuration::from_hours(180 * 24);

impl<'a> Authorities<'a> {
    /// The page of some authorities.
    pub(crate) fn new(desk: &'a Desk, views: &[AuthorityView]) -> Self {
        let state = |view: &AuthorityView| match view.state {
            AuthorityState::Issuing => Chip::good("Issues certificates"),
            AuthorityState::Trusted => Chip::new(Tone::Info, Icon::Clock, "Trusted, issues no certificates"),
            AuthorityState::Retired => Chip::new(Tone::Calm, Icon::Cross, "Not trusted any more"),
        };
        let ends = |view: &AuthorityView| {
            let soon = view.state != AuthorityState::Retired && view.not_after < desk.now + SOON;
            let soon = soon.then(|| Cell::part(Chip::warn("Expires soon")));
            Cell::part(When::new(view.not_after, desk.now)).and(soon)
        };
        let subject = |view: &AuthorityView| {
            let subject = Cell::mono(view.subject.clone().unwrap_or_else(|| view.id.to_string()));
            subject.line(Cell::text(pairs(&view.fingerprint)).within("span", "mono soft broken"))
        };
        let columns = [
            Column::name("Vouches for", |view: &AuthorityView| {
                Cell::strong(match view.kind {
                    AuthorityKind::Client => "Profiles",
                    AuthorityKind::Server => "VPN daemons",
                })
            }),
            Column::new("State", |view| Cell::part(state(view))),
            Column::new("Ends", ends),
            Column::new("Subject and fingerprint (SHA-256)", subject),
        ];
        Self { desk, rows: Table::new(&columns, views) }
    }
}

/// "9f86d0…" as "9F:86:D0:…", the way that tools print it.
fn pairs(hex: &str) -> String {
    let mut text = String::with_capacity(hex.len() * 3 / 2);
    for (at, digit) in hex.chars().enumerate() {
        if at > 0 && at % 2 == 0 {
            text.push(':');
        }
        text.push(digit.to_ascii_uppercase());
    }
    text
}

pub(crate) async fn list(Opened { services, mut desk }: Opened, _: NoQuery) -> Answer {
    desk.live = &[Topic::Policy];
    let views = services.network().authority_views(&desk.act).await?;
    Ok(desk.show(&Authorities::new(&desk, &views)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_look_as_tools_print_them() {
        assert_eq!(pairs("9f86d0"), "9F:86:D0");
        assert_eq!(pairs(""), "");
    }
}
