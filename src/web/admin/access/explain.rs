//! Who can reach what, and why.

use askama::Template;
use axum::http::StatusCode;
use serde::Deserialize;

use crate::admin::context::{Answer, Desk, Opened};
use crate::api::extract::Parameters;
use crate::http::problem::Problem;
use crate::ui::text::sentence;
use crate::ui::{Cell, Chip, Column, Field, Fields, FormView, Link, Table};
use domain::ids::{ProfileId, UserId};
use domain::search::quoted;
use domain::text::Email;
use services::access::explain::{ChainLink, Explanation, Subject, Target, Way};
use services::{PageRequest, ServiceError, Services, UserFilter};

/// The question, as it was typed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    #[serde(default)]
    user: String,
    #[serde(default)]
    destination: String,
}

/// The fields of the question.
const FIELDS: &[Field] = &[
    Field::text("Who")
        .named("user")
        .with(r#"required maxlength="254" autocomplete="off" spellcheck="false" placeholder="ana@example.com""#),
    Field::text("Destination")
        .named("destination")
        .with(r#"required maxlength="50" autocomplete="off" spellcheck="false" placeholder="10.8.0.5""#),
];

/// The page: the question, and the answer to it.
#[derive(Template)]
#[template(path = "admin/explain.html")]
pub(crate) struct ExplainPage<'a> {
    desk: &'a Desk,
    pub(crate) form: FormView,
    answer: Option<Explained>,
}

/// The answer.
struct Explained {
    /// Who was asked about.
    link: Link,
    name: String,
    target: Target,
    verdict: Chip,
    changes: Vec<String>,
    ways: Vec<WayRow>,
}

struct WayRow {
    server: String,
    verdict: Chip,
    links: Table,
}

impl<'a> ExplainPage<'a> {
    /// The question alone.
    pub(crate) fn new(desk: &'a Desk, user: &str, destination: &str) -> Self {
        let asked = [("user", user.trim().to_owned()), ("destination", destination.trim().to_owned())];
        let form = FormView::fresh(&desk.chrome, FIELDS).typed(Fields::of(asked));
        Self { desk, form: form.titled("The question cannot be answered"), answer: None }
    }

    /// The same with an answer about somebody.
    pub(crate) fn with(self, who: (UserId, String), answer: Explanation) -> Self {
        let Explanation { destination, at: _, allowed, ways, changes } = answer;
        let columns = [
            Column::name("Link of the chain", |link: &ChainLink| Cell::word(link.kind.as_str())),
            Column::new("Holds", |link: &ChainLink| Cell::part(held(link.holds))),
            Column::broken("What is so", |link: &ChainLink| Cell::text(&link.says)),
        ];
        let way = |way: Way| WayRow {
            server: way.server.to_string(),
            verdict: verdict(way.allowed),
            links: Table::new(&columns, &way.links),
        };
        let answer = Explained {
            link: Link::to(&who.0),
            name: who.1,
            target: destination,
            verdict: verdict(allowed),
            changes,
            ways: ways.into_iter().map(way).collect(),
        };
        Self { answer: Some(answer), ..self }
    }

    pub(crate) fn wrong(&mut self, field: &str, text: &str) {
        self.form.fields.wrong(field, text);
    }
}

fn verdict(allowed: bool) -> Chip {
    if allowed { Chip::good("Allowed") } else { Chip::bad("Denied") }
}

fn held(holds: bool) -> Chip {
    if holds { Chip::good("Yes") } else { Chip::bad("No") }
}

/// Who is meant: an id, an address, or a name that only one user has.
async fn meant(services: &Services, desk: &Desk, text: &str) -> Result<Result<Subject, String>, Problem> {
    if let Ok(id) = text.parse::<UserId>() {
        return Ok(Ok(Subject::User(id)));
    }
    if let Ok(id) = text.parse::<ProfileId>() {
        return Ok(Ok(Subject::Profile(id)));
    }
    let filter = match text.parse::<Email>() {
        Ok(email) => UserFilter { email: Some(email), ..UserFilter::default() },
        Err(_) => match quoted(text).parse() {
            Ok(search) => UserFilter { search, ..UserFilter::default() },
            Err(error) => return Ok(Err(format!("The name {error}"))),
        },
    };
    let found = services.people().users(&desk.act, &filter, &PageRequest::first(2)).await?.items;
    Ok(match found.as_slice() {
        [] => Err("No user is called so".to_owned()),
        [one] => Ok(Subject::User(one.value.id)),
        _ => Err("Several users are called so; type the e-mail address".to_owned()),
    })
}

pub(crate) async fn show(Opened { services, desk }: Opened, Parameters(asked): Parameters<Asked>) -> Answer {
    let mut page = ExplainPage::new(&desk, &asked.user, &asked.destination);
    let [user, destination] = ["user", "destination"].map(|name| page.form.value(name).to_owned());
    if user.is_empty() && destination.is_empty() {
        return Ok(desk.show(&page));
    }
    let target = match destination.parse::<Target>() {
        Ok(target) => Some(target),
        Err(error) => {
            page.wrong("destination", &format!("The destination {error}"));
            None
        }
    };
    let subject = if user.is_empty() {
        Err("Say who wants to get there".to_owned())
    } else {
        meant(&services, &desk, &user).await?
    };
    let subject = subject.map_err(|text| page.wrong("user", &text)).ok();
    if let (Some(subject), Some(target)) = (subject, target) {
        match services.access().explain(&desk.act, subject, target, None).await {
            Ok(answer) => {
                let id = match subject {
                    Subject::User(id) => id,
                    Subject::Profile(id) => services.access().profile(&desk.act, id).await?.value.user_id,
                };
                let name = services.people().user(&desk.act, id).await?.value.name.to_string();
                return Ok(desk.show(&page.with((id, name), answer)));
            }
            Err(ServiceError::NotFound(missing)) => page.wrong("user", &sentence(&missing.to_string())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(desk.show_as(StatusCode::UNPROCESSABLE_ENTITY, &page))
}
