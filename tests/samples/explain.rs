//! The page that explains access, in every state.

use crate::admin::access::explain::ExplainPage;
use crate::samples::{SampleSet, id, now, text};
use domain::ids::{ProfileId, ServerId, UserId};
use services::access::explain::{ChainLink, Explanation, LinkKind, Way};

/// Adds the samples to a set of samples.
pub(super) fn add(set: &mut SampleSet) {
    let name = set.name;
    let link = |kind, says: &str, change: Option<&str>| ChainLink {
        kind,
        holds: change.is_none(),
        says: says.to_owned(),
        change: change.map(str::to_owned),
    };
    let chain = |disabled: bool| {
        let user = if disabled {
            link(LinkKind::User, &format!("{name} is disabled."), Some(&format!("Enable {name}.")))
        } else {
            link(LinkKind::User, &format!("{name} is enabled."), None)
        };
        vec![
            user,
            link(LinkKind::Organization, "Office is open to Acme.", None),
            link(LinkKind::Group, &format!("{name} is in ops, to which Office is open."), None),
            link(LinkKind::Profile, "The profile Laptop works until 2027-02-21.", None),
            link(LinkKind::Server, "Office is enabled.", None),
            link(LinkKind::Route, "Office leads to 10.8.0.0/16 (the office network).", None),
            link(LinkKind::Host, "These hosts take connections: vpn-1, vpn-2.", None),
        ]
    };
    let way = |number: u128, server: &str, disabled: bool| Way {
        server_id: id::<ServerId>(number),
        server: text(server),
        profile_id: Some(id::<ProfileId>(1)),
        allowed: !disabled,
        links: chain(disabled),
    };
    let answer = |allowed: bool, ways: Vec<Way>, changes: &[&str]| Explanation {
        destination: text("10.8.0.5"),
        at: now(),
        allowed,
        ways,
        changes: changes.iter().map(|change| (*change).to_owned()).collect(),
    };
    let who = || (id::<UserId>(1), name.to_owned());
    let desk = set.desk("/explain");
    set.add("explain", &ExplainPage::new(&desk, "", ""));
    let asked = || ExplainPage::new(&desk, name, "10.8.0.5");
    set.add("explain-allowed", &asked().with(who(), answer(true, vec![way(1, "Office", false)], &[])));
    let ways = vec![way(1, "Office", true), way(2, name, true)];
    set.add("explain-denied", &asked().with(who(), answer(false, ways, &["Enable Ana.", "Attach a host to Office."])));
    let nowhere = answer(false, Vec::new(), &["Add a route to 10.8.0.5 to a server."]);
    set.add("explain-nowhere", &asked().with(who(), nowhere));
    let mut refused = ExplainPage::new(&desk, name, "office");
    refused.wrong("user", "No user is called so");
    refused.wrong("destination", "The destination must be an IPv4 address such as 10.8.0.5");
    set.add("explain-refused", &refused);
}
