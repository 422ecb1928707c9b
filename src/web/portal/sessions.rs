//! One's VPN sessions and logins, and their end (UX-08).

use askama::Template;
use jiff::Timestamp;

use crate::api::extract::At;
use crate::ui::page::Answer;
use crate::ui::{Chrome, Employee, Flash, Pressed, When};
use domain::ids::{LoginId, SessionId};
use services::identity::logins::LoginView;
use services::people::self_service::MySession;

/// The page.
#[derive(Template)]
#[template(path = "portal/sessions.html")]
pub(crate) struct Sessions {
    pub(crate) chrome: Chrome,
    pub(crate) tunnels: Vec<MySession>,
    pub(crate) logins: Vec<LoginView>,
    pub(crate) now: Timestamp,
}

impl Sessions {
    fn when(&self, at: &Timestamp) -> When {
        When::new(*at, self.now)
    }
}

pub(crate) async fn page(Employee { services, person, visit }: Employee) -> Answer {
    let (tunnels, logins) =
        tokio::try_join!(services.people().my_sessions(&person), services.identity().logins_of(&person))?;
    Ok(visit.show(&Sessions { chrome: visit.chrome.clone(), tunnels, logins, now: visit.now }))
}

pub(crate) async fn end_session(At(id): At<SessionId>, Pressed { services, person, visit }: Pressed) -> Answer {
    services.people().end_own_session(&person, id).await?;
    Ok(visit.go("/sessions", Some(Flash::SessionEnded)))
}

pub(crate) async fn end_login(At(id): At<LoginId>, Pressed { services, person, visit }: Pressed) -> Answer {
    services.identity().end_login(&person, id).await?;
    Ok(visit.go("/sessions", Some(Flash::LoginEnded)))
}

pub(crate) async fn end_others(Pressed { services, person, visit }: Pressed) -> Answer {
    services.identity().end_other_logins(&person).await?;
    Ok(visit.go("/sessions", Some(Flash::LoginsEnded)))
}
