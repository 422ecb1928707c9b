//! One's VPN sessions and logins, and their end (UX-08).

use askama::Template;
use jiff::Timestamp;

use crate::api::extract::At;
use crate::ui::page::Answer;
use crate::ui::{Chip, Chrome, Employee, Empty, Flash, Form, Icon, Tone, When, bytes};
use domain::ids::{LoginId, SessionId};
use services::identity::logins::LoginView;
use services::people::self_service::MySession;

/// Both lists.
#[derive(Template)]
#[template(path = "portal/sessions.html")]
pub(crate) struct Sessions {
    pub(crate) chrome: Chrome,
    pub(crate) tunnels: Vec<Tunnel>,
    pub(crate) logins: Vec<LoginRow>,
}

/// A VPN session.
pub(crate) struct Tunnel {
    pub(crate) id: String,
    pub(crate) device: String,
    pub(crate) chip: Chip,
    pub(crate) since: When,
    pub(crate) from: String,
    pub(crate) received: String,
    pub(crate) sent: String,
}

/// A login.
pub(crate) struct LoginRow {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) current: bool,
    pub(crate) since: When,
    pub(crate) seen: When,
    pub(crate) from: String,
}

impl Sessions {
    /// The page at a moment.
    pub(crate) fn new(chrome: Chrome, sessions: &[MySession], logins: &[LoginView], now: Timestamp) -> Self {
        let tunnel = |mine: &MySession| Tunnel {
            id: mine.session.id.to_string(),
            device: mine.profile_name.to_string(),
            chip: Chip::new(Tone::Good, Icon::Link, format!("Connected to {}", mine.host_name)),
            since: When::new(mine.session.connected_at, now),
            from: mine.session.remote_address.ip().to_string(),
            received: bytes(mine.session.bytes_received),
            sent: bytes(mine.session.bytes_sent),
        };
        let row = |login: &LoginView| LoginRow {
            id: login.id.to_string(),
            label: login.label.clone(),
            current: login.current,
            since: When::new(login.since, now),
            seen: When::new(login.seen_at, now),
            from: login.address.to_string(),
        };
        Self { chrome, tunnels: sessions.iter().map(tunnel).collect(), logins: logins.iter().map(row).collect() }
    }
}

pub(crate) async fn page(Employee { services, person, visit }: Employee) -> Answer {
    let (sessions, logins) =
        tokio::try_join!(services.people().my_sessions(&person), services.identity().logins_of(&person))?;
    Ok(visit.show(&Sessions::new(visit.chrome.clone(), &sessions, &logins, visit.now)))
}

pub(crate) async fn end_session(
    Employee { services, person, visit }: Employee,
    At(id): At<SessionId>,
    Form(Empty {}): Form<Empty>,
) -> Answer {
    services.people().end_own_session(&person, id).await?;
    Ok(visit.go("/sessions", Some(Flash::SessionEnded)))
}

pub(crate) async fn end_login(
    Employee { services, person, visit }: Employee,
    At(id): At<LoginId>,
    Form(Empty {}): Form<Empty>,
) -> Answer {
    services.identity().end_login(&person, id).await?;
    Ok(visit.go("/sessions", Some(Flash::LoginEnded)))
}

pub(crate) async fn end_others(Employee { services, person, visit }: Employee, Form(Empty {}): Form<Empty>) -> Answer {
    services.identity().end_other_logins(&person).await?;
    Ok(visit.go("/sessions", Some(Flash::LoginsEnded)))
}
