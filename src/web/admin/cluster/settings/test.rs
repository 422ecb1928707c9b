//! Trying sign-in out. The browser goes to the provider and comes back to the console's own callback, which says who would
//! be let in.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::context::{Answer, Sent};
use crate::auth::refused;
use crate::ui::page::set_cookie;
use crate::ui::{Chip, Chrome, Cookie, Visit, sentence};
use services::identity::outcome::{SignInRefusal, SignInTest, Welcome};

pub(crate) async fn start(visit: Visit, Sent { services, desk, .. }: Sent) -> Answer {
    match services.identity().start_sign_in_test(&desk.act, &visit.browser()).await {
        Ok(begun) => {
            let mut response = visit.go(&begun.redirect, None);
            set_cookie(&mut response, Cookie::SignIn.set(&visit.site, begun.cookie.expose()));
            Ok(response)
        }
        Err(refusal) => refused::answer(&visit, refusal),
    }
}

/// What came of it.
#[derive(Template)]
#[template(path = "admin/sign_in_test.html")]
pub(crate) struct TestPage {
    chrome: Chrome,
    account: String,
    /// What would come of it on each site, and as whom or why.
    portal: (Chip, String),
    console: (Chip, String),
}

impl TestPage {
    pub(crate) fn new(chrome: Chrome, test: SignInTest) -> Self {
        let account = test.account.map_or_else(|| "an account without an e-mail address".to_owned(), |e| e.to_string());
        Self { chrome, account, portal: outcome(test.portal), console: outcome(test.console) }
    }
}

fn outcome(result: Result<Welcome, SignInRefusal>) -> (Chip, String) {
    let welcome = match result {
        Ok(welcome) => welcome,
        Err(refusal) => return (Chip::warn("Turned away"), sentence(&refusal.to_string())),
    };
    let words = match welcome {
        Welcome::Known { name, role } => format!("as {name}, with the role {}", role.as_str()),
        Welcome::Prepared { name, role } => {
            format!("as {name}, who was prepared for this address, with the role {}", role.as_str())
        }
        Welcome::New { organization } => format!("as a new user of {organization}"),
    };
    (Chip::good("Let in"), words)
}

/// The answer to a browser that comes back from the provider.
pub(crate) fn answer(visit: &Visit, test: SignInTest) -> Response {
    visit.show_as(StatusCode::OK, &TestPage::new(visit.chrome.clone(), test))
}
