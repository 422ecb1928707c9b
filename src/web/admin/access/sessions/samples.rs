//! The page of sessions in every state.

use std::net::Ipv4Addr;

use crate::admin::access::sessions::{Chosen, Sessions};
use crate::{
    admin::{live::Topic, samples::Book},
    portal::samples::{ago, id, text},
    ui::page::Flash,
};
use domain::{
    ids::{HostId, ProfileId, ServerId, SessionId, UserId},
    role::Role,
    session::{EndReason, Session, SessionState},
};
use services::{
    Page,
    people::views::{EndedSessionRow, SessionRow, SessionSurroundings},
};

/// A session of somebody with a device; of things that are gone, where they have no names.
pub(crate) fn row(book: &Book, number: u128, device: &str, is_named: bool) -> SessionRow {
    let named = |name: &str| is_named.then(|| text(name));
    SessionRow {
        session: Session {
            id: id::<SessionId>(number),
            user_id: id::<UserId>(number),
            profile_id: id::<ProfileId>(number),
            server_id: id::<ServerId>(1),
            host_id: id::<HostId>(1),
            address: Ipv4Addr::new(10, 200, 14, 7),
            remote_address: (Ipv4Addr::new(198, 51, 100, 7), 50123).into(),
            connected_at: ago(3),
            bytes_received: 48_200_000,
            bytes_sent: 1_412_000_000,
            client_version: None,
            client_protocol: None,
        },
        user: named(book.name),
        profile: named(device),
        server: named("Office"),
        host: is_named.then(|| text("vpn-2")),
    }
}

fn ended(row: SessionRow, hours: i64, reason: Option<EndReason>) -> EndedSessionRow {
    EndedSessionRow { row, ended_at: ago(hours), reason }
}

/// Adds the samples to a book.
pub(crate) fn add(book: &mut Book) {
    let name = book.name;
    let around = |user: bool| SessionSurroundings {
        user: user.then(|| (id::<UserId>(1), text(name))),
        servers: vec![(id::<ServerId>(1), text("Office")), (id::<ServerId>(2), text(name))],
        hosts: vec![(id::<HostId>(1), text("vpn-1")), (id::<HostId>(2), text("vpn-2"))],
    };
    let rows = |book: &Book| Page {
        items: vec![row(book, 1, "Laptop", true), row(book, 2, name, true), row(book, 3, "", false)],
        ..Page::empty()
    };
    let all = Chosen::default;
    let mut desk = book.desk("/sessions");
    desk.live = &[Topic::Sessions];
    let next = Some("/sessions?limit=50&cursor=x".to_owned());
    let list = Sessions { next, ..Sessions::new(&desk, all(), around(false)).live(rows(book)) };
    book.add("sessions", &list);
    book.add("sessions-empty", &Sessions::new(&desk, all(), around(false)));
    let narrowed =
        || Chosen { user_id: id::<UserId>(1).to_string(), server_id: id::<ServerId>(1).to_string(), ..all() };
    desk.chrome.flash = Some(Flash::SessionEnded);
    let list = Sessions::new(&desk, narrowed(), around(true)).live(rows(book));
    book.add("sessions-of-one", &list);
    book.add("sessions-none", &Sessions::new(&desk, narrowed(), around(true)));
    let auditor = book.desk_of(Role::Auditor, "/sessions");
    let list = Sessions::new(&auditor, all(), around(false)).live(rows(book));
    book.add("sessions-auditor", &list);
    let wrong = Chosen { q: "group:ops".to_owned(), ..all() };
    let list =
        Sessions::new(&auditor, wrong, around(false)).refused("has no key “group”; there are user, server and host");
    book.add("sessions-refused", &list);

    let over = || Chosen { state: SessionState::Ended, ..all() };
    let past = Page {
        items: vec![
            ended(row(book, 1, "Laptop", true), 1, Some(EndReason::Disconnected)),
            ended(row(book, 2, name, true), 2, Some(EndReason::Superseded)),
            ended(row(book, 3, "", false), 2, None),
        ],
        ..Page::empty()
    };
    let list = Sessions::new(&auditor, over(), around(false)).ended(past);
    book.add("sessions-ended", &list);
    let of_one = Chosen { state: SessionState::Ended, ..narrowed() };
    book.add("sessions-none-ended", &Sessions::new(&auditor, of_one, around(true)));
}
