//! The page of sessions in every state.

use crate::admin::access::sessions::{Chosen, Sessions};
use crate::samples::{SampleSet, ago, id, text, with};
use crate::ui::page::Flash;
use crate::ui::topic::Topic;
use domain::{
    ids::{HostId, ServerId, UserId},
    role::Role,
    samples,
    session::{EndReason, Session, SessionState},
};
use services::{
    Page,
    people::views::{EndedSessionRow, SessionRow, SessionSurroundings},
};

/// A session of somebody with a device; of things that are gone, where they have no names.
pub(super) fn row(set: &SampleSet, number: u128, device: &str, is_named: bool) -> SessionRow {
    let named = |name: &str| is_named.then(|| text(name));
    SessionRow {
        session: Session { user_id: id::<UserId>(number), ..samples::session(number) },
        user: named(set.name),
        profile: named(device),
        server: named("Office"),
        host: is_named.then(|| text("vpn-2")),
    }
}

fn ended(row: SessionRow, hours: i64, reason: Option<EndReason>) -> EndedSessionRow {
    EndedSessionRow { row, ended_at: ago(hours), reason }
}

/// Adds the samples to a set of samples.
pub(super) fn add(set: &mut SampleSet) {
    let name = set.name;
    let around = |user: bool| SessionSurroundings {
        user: user.then(|| (id::<UserId>(1), text(name))),
        servers: vec![(id::<ServerId>(1), text("Office")), (id::<ServerId>(2), text(name))],
        hosts: vec![(id::<HostId>(1), text("vpn-1")), (id::<HostId>(2), text("vpn-2"))],
    };
    let rows = |set: &SampleSet| Page {
        items: vec![row(set, 1, "Laptop", true), row(set, 2, name, true), row(set, 3, "", false)],
        ..Page::empty()
    };
    let all = Chosen::default;
    let mut desk = set.desk("/sessions");
    desk.live = &[Topic::Sessions];
    let next = Some("/sessions?limit=50&cursor=x".to_owned());
    let list = with(Sessions::new(&desk, all(), around(false)).live(rows(set)), |list| list.next = next);
    set.add("sessions", &list);
    set.add("sessions-empty", &Sessions::new(&desk, all(), around(false)));
    let narrowed =
        || Chosen { user_id: id::<UserId>(1).to_string(), server_id: id::<ServerId>(1).to_string(), ..all() };
    desk.chrome.flash = Some(Flash::SessionEnded);
    let list = Sessions::new(&desk, narrowed(), around(true)).live(rows(set));
    set.add("sessions-of-one", &list);
    set.add("sessions-none", &Sessions::new(&desk, narrowed(), around(true)));
    let auditor = set.desk_of(Role::Auditor, "/sessions");
    let list = Sessions::new(&auditor, all(), around(false)).live(rows(set));
    set.add("sessions-auditor", &list);
    let wrong = Chosen { q: "group:ops".to_owned(), ..all() };
    let list =
        Sessions::new(&auditor, wrong, around(false)).refused("has no key “group”; there are user, server and host");
    set.add("sessions-refused", &list);

    let over = || Chosen { state: SessionState::Ended, ..all() };
    let past = Page {
        items: vec![
            ended(row(set, 1, "Laptop", true), 1, Some(EndReason::Disconnected)),
            ended(row(set, 2, name, true), 2, Some(EndReason::Superseded)),
            ended(row(set, 3, "", false), 2, None),
        ],
        ..Page::empty()
    };
    let list = Sessions::new(&auditor, over(), around(false)).ended(past);
    set.add("sessions-ended", &list);
    let of_one = Chosen { state: SessionState::Ended, ..narrowed() };
    set.add("sessions-none-ended", &Sessions::new(&auditor, of_one, around(true)));
}
