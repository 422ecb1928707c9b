//! The page of sessions in every state.

use crate::admin::access::sessions::{Chosen, Sessions};
use crate::admin::context::Desk;
use crate::admin::lists::Place;
use crate::samples::{SampleSet, ago, id, text};
use crate::ui::page::Flash;
use crate::ui::topic::Topic;
use domain::ids::{HostId, ServerId, UserId};
use domain::role::Role;
use domain::samples;
use domain::session::{EndReason, Session, SessionState};
use services::people::views::{EndedSessionRow, SessionRow, SessionSurroundings};

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

/// The only page of a choice.
fn only(chosen: &Chosen) -> Place {
    Place { is_first: true, first: chosen.address(), next: None }
}

fn live<'a>(desk: &'a Desk, chosen: Chosen, around: SessionSurroundings, rows: &[SessionRow]) -> Sessions<'a> {
    let place = only(&chosen);
    Sessions::new(desk, chosen, around).live(rows, place)
}

/// Adds the samples to a set of samples.
pub(super) fn add(set: &mut SampleSet) {
    let name = set.name;
    let around = |user: bool| SessionSurroundings {
        user: user.then(|| (id::<UserId>(1), text(name))),
        servers: vec![(id::<ServerId>(1), text("Office")), (id::<ServerId>(2), text(name))],
        hosts: vec![(id::<HostId>(1), text("vpn-1")), (id::<HostId>(2), text("vpn-2"))],
    };
    let rows = [row(set, 1, "Laptop", true), row(set, 2, name, true), row(set, 3, "", false)];
    let all = Chosen::default;
    let mut desk = set.desk("/sessions");
    desk.live = &[Topic::Sessions];
    let next = Some("/sessions?limit=50&cursor=x".to_owned());
    let first = Place { next, ..only(&all()) };
    set.add("sessions", &Sessions::new(&desk, all(), around(false)).live(&rows, first));
    set.add("sessions-empty", &live(&desk, all(), around(false), &[]));
    let narrowed =
        || Chosen { user_id: id::<UserId>(1).to_string(), server_id: id::<ServerId>(1).to_string(), ..all() };
    desk.chrome.flash = Some(Flash::SessionEnded);
    set.add("sessions-of-one", &live(&desk, narrowed(), around(true), &rows));
    set.add("sessions-none", &live(&desk, narrowed(), around(true), &[]));
    let auditor = set.desk_of(Role::Auditor, "/sessions");
    set.add("sessions-auditor", &live(&auditor, all(), around(false), &rows));
    let wrong = Chosen { q: "group:ops".to_owned(), ..all() };
    let list =
        Sessions::new(&auditor, wrong, around(false)).refused("has no key “group”; there are user, server and host");
    set.add("sessions-refused", &list);

    let over = || Chosen { state: SessionState::Ended, ..all() };
    let [first, second, third] = rows;
    let past = [
        ended(first, 1, Some(EndReason::Disconnected)),
        ended(second, 2, Some(EndReason::Superseded)),
        ended(third, 2, None),
    ];
    let list = Sessions::new(&auditor, over(), around(false)).ended(&past, only(&over()));
    set.add("sessions-ended", &list);
    let of_one = || Chosen { state: SessionState::Ended, ..narrowed() };
    let list = Sessions::new(&auditor, of_one(), around(true)).ended(&[], only(&of_one()));
    set.add("sessions-none-ended", &list);
}
