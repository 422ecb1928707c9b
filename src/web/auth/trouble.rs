//! What went wrong, as a page: what happened, what it means, what to do next, and what to quote.

use askama::Template;
use axum::response::Response;

use crate::http::problem::{Code, Problem};
use crate::ui::page::{Chrome, show};
use crate::ui::parts::span;
use crate::ui::site::Site;
use domain::ids::RequestId;
use domain::login::Surface;

/// A problem for people.
#[derive(Template)]
#[template(path = "portal/trouble.html")]
pub(crate) struct Trouble {
    pub(crate) chrome: Chrome,
    pub(crate) words: Words,
    pub(crate) request_id: String,
}

/// What is said about a problem.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    /// What happened.
    pub(crate) title: &'static str,
    /// What it means.
    pub(crate) what: String,
    /// What to do next.
    pub(crate) next: String,
    /// What to quote.
    pub(crate) code: &'static str,
}

impl Words {
    /// The words for a problem on the pages of a surface.
    pub(crate) fn of(problem: &Problem, surface: Surface) -> Self {
        let (title, what, next) = words(problem, surface);
        Self { title, what, next, code: problem.code().as_str() }
    }
}

/// A problem as a page. It asks nobody, since the database may be what is wrong.
pub(crate) fn page(site: &Site, problem: &Problem, id: RequestId) -> Response {
    let chrome = Chrome::on(site.surface(), &site.known(), None, None);
    let page = Trouble { chrome, words: Words::of(problem, site.surface()), request_id: id.to_string() };
    show(&page.chrome, problem.code().status(), &page)
}

fn words(problem: &Problem, surface: Surface) -> (&'static str, String, String) {
    let of = |title, what: &str, next: &str| (title, what.to_owned(), next.to_owned());
    match problem.code() {
        Code::NoSuchPath | Code::NotFound | Code::BadPath => of(
            "There is nothing here",
            "The address may be mistyped, or what it led to is gone.",
            "Go to the start page and look for it there.",
        ),
        Code::MethodNotAllowed => of(
            "This address cannot be opened like that",
            "It belongs to a form, which has to be sent from its page.",
            "Go to the start page and use the form again.",
        ),
        Code::StaleForm => of(
            "This form was open too long",
            "Nothing was changed.",
            "Go back, load the page again and send the form once more.",
        ),
        Code::ForeignForm => of(
            "This form did not come from here",
            "Another site may have tried to act in your name. Nothing was changed.",
            "If you did this yourself, go to the start page and use the form there.",
        ),
        Code::TooLarge => of(
            "That was too much at once",
            "The form was larger than 1 MB. Nothing was changed.",
            "Go back, shorten what you typed and send it again.",
        ),
        Code::TooMany => {
            let wait = problem.retry_after().map_or(60, |after| i64::try_from(after.as_secs() + 1).unwrap_or(60));
            let wait = match wait {
                ..=1 => "1 second".to_owned(),
                2..60 => format!("{wait} seconds"),
                _ => span(wait + 59),
            };
            ("Too many attempts", "Nothing was changed.".to_owned(), format!("Wait {wait}, then try again."))
        }
        Code::DatabaseAway | Code::Deadline => of(
            "Not right now",
            "Postern cannot reach its database right now. Your VPN connection is not affected.",
            "Try again in a minute. If you sent a form, go back: what you typed is still there.",
        ),
        Code::Paused => of(
            "Not for some minutes",
            "Postern's database is being moved, so nothing can be changed now. Your VPN connection is not affected.",
            "Try again in a few minutes.",
        ),
        Code::Busy | Code::TooSlow => of(
            "Very busy",
            "Too many requests at the same time. Your VPN connection is not affected.",
            "Try again in a moment.",
        ),
        Code::NoMasterKey => of(
            "Not on this host",
            "This host cannot issue profiles. Nothing was changed.",
            "Tell your administrator: the role portal needs the master key.",
        ),
        // Keys are for programs; no form sends one.
        Code::Conflict | Code::Invalid | Code::Stale | Code::KeyBusy | Code::KeyReused | Code::KeySpent => (
            "That did not work",
            problem.words(surface),
            "Nothing was changed. Go back and try it another way.".to_owned(),
        ),
        Code::Misdirected => of(
            "Wrong address",
            "This host does not answer under the name that your browser asked for.",
            "Use the address that your administrator gave you.",
        ),
        Code::Internal => of(
            "Something is wrong with Postern",
            "It is our fault and has been written down. Your VPN connection is not affected.",
            "Try again. If it happens again, tell your administrator the request below.",
        ),
        Code::Forbidden => (
            "Your role does not include this",
            problem.words(surface),
            "Ask an owner or an admin of this cluster, who can give you another role.".to_owned(),
        ),
        Code::NotJson
        | Code::NotAForm
        | Code::BadParameter
        | Code::BadHeader
        | Code::NotDeclaredJson
        | Code::NoToken
        | Code::BadToken => of(
            "This was not understood",
            "What the browser sent is not what this page expects. Nothing was changed.",
            "Go to the start page and try again from there.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_words_and_no_blame() {
        for (_, code) in crate::samples::MET {
            let (title, what, next) = words(&Problem::new(*code, "inside"), Surface::Console);
            assert!(!title.is_empty() && what.ends_with('.') && next.ends_with('.'), "{code:?}");
            assert!(!what.contains('!') && !what.contains("inside"), "{code:?}");
            assert!(!code.status().is_success());
        }
    }
}
