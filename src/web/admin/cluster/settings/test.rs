//! Trying sign-in out. The browser goes to the provider and comes back to the console's own callback, which says who would
//! be let in.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::context::{Answer, Opened};
use crate::auth::refused;
use crate::ui::page::set_cookie;
use crate::ui::{Chip, Chrome, Cookie, Empty, Form, Visit};
use services::identity::outcome::{SignInRefusal, SignInTest, Welcome};

pub(crate) async fn start(Opened { services, desk }: Opened, visit: Visit, Form(Empty {}): Form<Empty>) -> Answer {
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
    portal: Outcome,
    console: Outcome,
}

/// What would come of it on one site.
struct Outcome {
    chip: Chip,
    words: String,
}

impl TestPage {
    pub(crate) fn new(chrome: Chrome, test: SignInTest) -> Self {
        let account = test.account.map_or_else(|| "an account without an e-mail address".to_owned(), |e| e.to_string());
        Self { chrome, account, portal: outcome(test.portal), console: outcome(test.console) }
    }
}

fn outcome(result: Result<Welcome, SignInRefusal>) -> Outcome {
    match result {
        Ok(welcome) => Outcome {
            chip: Chip::good("Let in"),
            words: match welcome {
                Welcome::Known { name, role } => format!("as {name}, with the role {}", role.as_str()),
                Welcome::Prepared { name, role } => {
                    format!("as {name}, who was prepared for this address, with the role {}", role.as_str())
                }
                Welcome::New { organization } => format!("as a new user of {organization}"),
            },
        },
        Err(refusal) => {
            Outcome { chip: Chip::warn("Turned away"), words: crate::ui::text::sentence(&refusal.to_string()) }
        }
    }
}

/// The answer to a browser that comes back from the provider.
pub(crate) fn answer(visit: &Visit, test: SignInTest) -> Response {
    visit.show_as(StatusCode::OK, &TestPage::new(visit.chrome.clone(), test))
}
