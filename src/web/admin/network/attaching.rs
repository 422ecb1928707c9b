//! Attaching a host to a server and detaching it: the same question and the same act, whichever of the two pages it begins
//! on.

use crate::admin::context::{Answer, Desk, Sent};
use crate::admin::network::attach_forms::{HostChoice, ServerChoice};
use crate::admin::nouns::Noun as _;
use crate::api::extract::At;
use crate::ui::{Asked, Fields, Flash, Link, Question, ask_or_do, touches_people};
use domain::ids::{HostId, ServerId};
use services::Services;

/// What is wanted of a host and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Attach,
    Detach,
}

impl Wish {
    fn question(self, action: Link, back: Link) -> Question {
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
        Question { title: title.to_owned(), hint, button, is_final: false, action, back, changes: Vec::new() }
    }
}

/// The page that it begins on, and where whoever asked goes back to.
#[derive(Debug, Clone, Copy)]
enum Page {
    Server(ServerId),
    Host(HostId),
}

pub(crate) async fn attach_to_server(At(server): At<ServerId>, Sent { services, desk, mut form }: Sent) -> Answer {
    let place = HostChoice::read(&mut form).map(|host| (server, host));
    let action = Link::to(&server).and("hosts");
    answer(&services, desk, place, Wish::Attach, (form, Page::Server(server), action)).await
}

pub(crate) async fn detach_from_server(
    At((server, host)): At<(ServerId, HostId)>,
    Sent { services, desk, form }: Sent,
) -> Answer {
    let action = Link::to(&server).within("hosts", &host).and("detach");
    answer(&services, desk, Some((server, host)), Wish::Detach, (form, Page::Server(server), action)).await
}

pub(crate) async fn attach_host(At(host): At<HostId>, Sent { services, desk, mut form }: Sent) -> Answer {
    let place = ServerChoice::read(&mut form).map(|server| (server, host));
    let action = Link::to(&host).and("attach");
    answer(&services, desk, place, Wish::Attach, (form, Page::Host(host), action)).await
}

pub(crate) async fn detach_host(At(host): At<HostId>, Sent { services, desk, mut form }: Sent) -> Answer {
    let place = ServerChoice::read(&mut form).map(|server| (server, host));
    let action = Link::to(&host).and("detach");
    answer(&services, desk, place, Wish::Detach, (form, Page::Host(host), action)).await
}

/// Does what is wanted; where people notice it, for whoever has been shown how many do, and who is cut off.
async fn answer(
    services: &Services,
    desk: Desk,
    place: Option<(ServerId, HostId)>,
    wish: Wish,
    (form, page, action): (Fields, Page, Link),
) -> Answer {
    let back = match page {
        Page::Server(server) => Link::to(&server),
        Page::Host(host) => Link::to(&host),
    };
    let (sent, network) = (form.clone(), services.network());
    let doing = place.map(|(server, host)| {
        let doing = move |act| async move {
            match wish {
                Wish::Attach => network.attach(&act, server, host).await,
                Wish::Detach => network.detach(&act, server, host).await,
            }
        };
        ask_or_do(&desk, &sent, doing, |(), effect| {
            // Whoever attaches a host that cannot run the server is told so first.
            let is_doubtful = wish == Wish::Attach && !effect.warnings.is_empty();
            (touches_people(effect) || is_doubtful).then(|| wish.question(action, back.clone()))
        })
    });
    let flash = match wish {
        Wish::Attach => Flash::HostAttached,
        Wish::Detach => Flash::HostDetached,
    };
    let submitted = form.submit(doing).await?;
    let done = |desk: &Desk, asked: Asked<()>| asked.or(|()| desk.go(&back, flash));
    match page {
        Page::Server(id) => id.after(submitted, services, desk, done).await,
        Page::Host(id) => id.after(submitted, services, desk, done).await,
    }
}
