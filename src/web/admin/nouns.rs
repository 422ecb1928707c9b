//! What all nouns of the console have in common: a page that is known by an id and that its forms lead back to, and a page
//! that is the form of a new one.

use std::future::Future;

use askama::Template;
use axum::response::Response;
use serde::de::DeserializeOwned;

use crate::admin::context::{Answer, Desk, Opened};
use crate::api::extract::At;
use crate::http::problem::Problem;
use crate::ui::{Again, FormView, Link, Linked, Topic};
use services::Services;

/// An id whose noun has a page.
pub(crate) trait Noun: Linked + DeserializeOwned + Send + Sync {
    /// The page.
    type Page<'a>: Template + Send;
    /// What the page depends on.
    const TOPICS: &'static [Topic];

    /// The page as things are.
    fn page<'a>(
        &self,
        services: &Services,
        desk: &'a Desk,
    ) -> impl Future<Output = Result<Self::Page<'a>, Problem>> + Send;

    /// The form of the page in which something is wrong.
    fn form<'p>(page: &'p mut Self::Page<'_>, again: &Again) -> &'p mut FormView;

    /// The page with what was typed into one of its forms.
    fn again(&self, again: Again, services: &Services, mut desk: Desk) -> impl Future<Output = Answer> + Send {
        async move {
            desk.again = Link::to(self).to_string();
            let (status, mut page) = (again.status, self.page(services, &desk).await?);
            let form = Self::form(&mut page, &again);
            *form = form.clone().again(again, services, &desk, self).await?;
            Ok(desk.show_as(status, &page))
        }
    }

    /// The end of a form that leads back to the page: what is answered once it is done, or the page with what was typed.
    fn after<R: Send>(
        &self,
        submitted: Result<R, Again>,
        services: &Services,
        desk: Desk,
        done: impl FnOnce(&Desk, R) -> Response + Send,
    ) -> impl Future<Output = Answer> + Send {
        async move {
            match submitted {
                Ok(result) => Ok(done(&desk, result)),
                Err(again) => self.again(again, services, desk).await,
            }
        }
    }
}

/// Shows the page of one thing.
pub(crate) async fn show<N: Noun>(Opened { services, mut desk }: Opened, At(id): At<N>) -> Answer {
    desk.live = N::TOPICS;
    Ok(desk.show(&id.page(&services, &desk).await?))
}

/// An id whose noun is made on a page of its own.
pub(crate) trait New: Linked {
    /// What the page is called.
    const TITLE: &'static str;
    /// What stands beneath the title.
    const LEAD: &'static str = "";
    /// What the button says.
    const BUTTON: &'static str;
    /// Where whoever does not want it goes on, and what is there.
    const BACK: (&'static str, &'static str);

    /// The form that nobody has touched.
    fn form(services: &Services, desk: &Desk) -> impl Future<Output = Result<FormView, Problem>> + Send;
}

/// The page of something new.
#[derive(Template)]
#[template(path = "admin/new.html")]
pub(crate) struct NewPage<'a> {
    desk: &'a Desk,
    title: &'static str,
    lead: &'static str,
    button: &'static str,
    back: (&'static str, &'static str),
    action: &'static str,
    form: FormView,
}

impl<'a> NewPage<'a> {
    /// The page with a form.
    pub(crate) fn of<N: New>(desk: &'a Desk, form: FormView) -> Self {
        Self { desk, title: N::TITLE, lead: N::LEAD, button: N::BUTTON, back: N::BACK, action: N::LIST, form }
    }
}

/// Shows the form of a new one.
pub(crate) async fn new<N: New>(Opened { services, desk }: Opened) -> Answer {
    Ok(desk.show(&NewPage::of::<N>(&desk, N::form(&services, &desk).await?)))
}

/// The end of the form of a new one: what is answered once it is made, or the form with what was typed.
pub(crate) async fn made<N: New, R>(
    submitted: Result<R, Again>,
    services: &Services,
    desk: Desk,
    done: impl FnOnce(Desk, R) -> Response,
) -> Answer {
    match submitted {
        Ok(result) => Ok(done(desk, result)),
        Err(again) => {
            let form = N::form(services, &desk).await?.typed(again.fields);
            Ok(desk.show_as(again.status, &NewPage::of::<N>(&desk, form)))
        }
    }
}
