//! Attaching a host to a server and detaching it: the same question and the same act, whichever of the two pages it begins
//! on.

use axum::response::Response;

use crate::ui::page::Flash;
use crate::{
    admin::context::Desk,
    ui::{
        fields::Fields,
        links::Link,
        preview::{self, Question, touches_people},
    },
};
use domain::ids::{HostId, ServerId};
use services::{Act, ServiceError, Services};

/// What is wanted of a host and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Attach,
    Detach,
}

/// The page that it begins on.
pub(crate) struct Whence {
    /// Where it is, and where whoever asked goes back to.
    pub(crate) page: Link,
    /// What takes the form.
    pub(crate) action: Link,
}

impl Wish {
    async fn fulfil(
        self,
        services: &Services,
        act: &Act,
        (server, host): (ServerId, HostId),
    ) -> Result<(), ServiceError> {
        match self {
            Self::Attach => services.network().attach(act, server, host).await,
            Self::Detach => services.network().detach(act, server, host).await,
        }
    }

    fn question(self, Whence { page, action }: Whence) -> Question {
        let (title, hint, button) = match self {
            Self::Attach => (
                "Attach the host to this server?",
                "Profiles issued from now on list it. Those that are out there go on working without it.",
                "Attach host",
            ),
            Self::Detach => (
                "Detach the host from this server?",
                "Whoever is connected through it goes to another host of the server that the profile names.",
                "Detach host",
            ),
        };
        Question { title: title.to_owned(), hint, button, is_final: false, action, back: page }
    }

    /// What is said when it is done.
    pub(crate) fn done(self) -> Flash {
        match self {
            Self::Attach => Flash::HostAttached,
            Self::Detach => Flash::HostDetached,
        }
    }
}

/// Does what is wanted; where people notice it, for whoever has been shown how many do, and who is cut off.
pub(crate) async fn ask_or_do(
    services: &Services,
    desk: &Desk,
    place: (ServerId, HostId),
    wish: Wish,
    (form, whence): (&Fields, Whence),
) -> Result<Response, ServiceError> {
    if !form.is_confirmed() {
        let (act, trial) = desk.act.tried();
        wish.fulfil(services, &act, place).await?;
        let effect = trial.effect();
        // Whoever attaches a host that cannot run the server is told so first.
        if touches_people(&effect) || (wish == Wish::Attach && !effect.warnings.is_empty()) {
            return Ok(preview::ask(desk, wish.question(whence), form, (&[], &[]), &effect));
        }
    }
    wish.fulfil(services, &desk.act, place).await?;
    Ok(desk.go(&whence.page, wish.done()))
}
