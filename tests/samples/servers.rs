//! The pages of servers in every state.

use crate::admin::context::Desk;
use crate::admin::network::servers::ServerPage;
use crate::admin::network::servers::edit::ServerFormPage;
use crate::samples::{SampleSet, id, listed, text, with, wrong};
use crate::ui::fields::Fields;
use crate::ui::links::Link;
use crate::ui::preview::{Preview, Question};
use crate::ui::topic::Topic;
use domain::ids::{HostId, OrganizationId, ServerId};
use domain::role::Role;
use domain::server::{DaemonState, Server};
use domain::text::Name;
use domain::{Revised, Revision, samples};
use services::access::effect::Effect;
use services::network::server_view::{ServerHost, ServerRow, ServerView};

fn server(number: u128, name: &str) -> Server {
    Server {
        name: text(name),
        network: text("10.200.0.0/16"),
        groups: [text("engineering"), text("operations")].into(),
        dns_servers: vec![[10, 0, 0, 53].into()],
        search_domains: vec![text("corp.example.com")],
        ..samples::server(number)
    }
}

fn row(server: Server, attached: usize, running: usize, sessions: u64) -> ServerRow {
    ServerRow { server: Revised { rev: Revision(7), value: server }, attached, running, sessions }
}

fn routed(name: &str) -> Server {
    let route = |network: &str, comment: Option<&str>, nat| domain::network::Route {
        network: text(network),
        comment: comment.map(text),
        nat,
    };
    let routes = vec![
        route("10.0.0.0/8", Some("the office network"), true),
        route("172.16.0.0/12", Some(name), false),
        route("192.168.20.0/24", None, true),
    ];
    Server { routes, ..server(1, name) }
}

fn view(name: &str) -> ServerView {
    let host = |number, name: &str, state, detail: Option<&str>, is_online| ServerHost {
        id: id::<HostId>(number),
        name: text(name),
        state,
        detail: detail.map(ToOwned::to_owned),
        is_online,
    };
    ServerView {
        row: row(routed(name), 4, 2, 128),
        hosts: vec![
            host(1, "vpn-1", DaemonState::Running, None, true),
            host(2, "vpn-2", DaemonState::Running, None, true),
            host(3, "vpn-3", DaemonState::Pending, None, true),
            host(4, "vpn-4", DaemonState::Failed, Some("port 1194/udp is taken by another program"), true),
        ],
        others: vec![(id::<HostId>(5), text("vpn-5"))],
        organizations: vec![(id::<OrganizationId>(1), text(name)), (id::<OrganizationId>(2), text("Contractors"))],
        profiles: 240,
        outdated: 12,
    }
}

fn organizations(name: &str) -> Vec<(OrganizationId, Name)> {
    vec![(id::<OrganizationId>(1), text(name)), (id::<OrganizationId>(2), text("Contractors"))]
}

impl SampleSet {
    /// A server of this name.
    pub(super) fn sample_server(&self) -> Revised<Server> {
        Revised { rev: Revision(7), value: routed(self.name) }
    }

    /// The list, one server, and the preview of what a change does.
    pub(super) fn servers(&mut self) {
        let name = self.name;
        let mut desk = self.desk("/servers");
        desk.live = &[Topic::Policy, Topic::Hosts, Topic::Sessions];
        let off = Server { enabled: false, ..server(3, "Archive") };
        let rows = || {
            vec![
                row(routed(name), 2, 2, 128),
                row(server(2, "Contractors"), 3, 1, 4),
                row(off.clone(), 1, 0, 0),
                row(server(4, "Lab"), 0, 0, 0),
                row(server(5, "Branch"), 1, 0, 0),
            ]
        };
        self.add("servers", &listed(&desk, &rows(), true, None));
        self.add("servers-empty", &listed::<ServerRow>(&desk, &[], true, None));
        let auditor = self.desk_of(Role::Auditor, "/servers");
        self.add("servers-auditor", &listed(&auditor, &rows(), true, None));

        let changes = self.changes();
        let of = |desk, view| ServerPage::new(desk, view, changes.clone());
        self.add("server", &of(&desk, view(name)));
        self.add("server-auditor", &of(&auditor, view(name)));
        let used = wrong(&[("", "Hosts are still attached to the server; detach them first.")]);
        let in_use = with(of(&desk, view(name)), |page| page.form = page.form.clone().typed(used));
        self.add("server-in-use", &in_use);
        let bare = ServerView {
            row: row(server(1, name), 0, 0, 0),
            hosts: Vec::new(),
            organizations: Vec::new(),
            profiles: 0,
            outdated: 0,
            ..view(name)
        };
        self.add("server-bare", &of(&desk, bare));
        self.server_forms(&desk);
    }

    fn server_forms(&mut self, desk: &Desk) {
        let name = self.name;
        let organizations = organizations(name);
        self.add("server-new", &ServerFormPage::new(desk, &organizations));
        self.add("server-new-first", &ServerFormPage::new(desk, &[]));
        let there = self.sample_server();
        let page = || ServerFormPage::of(desk, &there, &organizations);
        self.add("server-edit", &page());
        let filled = page().form.fields;
        let mut typed = filled.clone().with("network", "10.200.0.1/16").with("base", &filled.as_base());
        typed = typed.with("revision", "7");
        typed.errors = wrong(&[
            ("name", "Another server has this name."),
            ("network", "The network has bits set behind its prefix; did you mean 10.200.0.0/16?"),
            ("routes", "“10.0.0.1/8” has bits set behind its prefix; did you mean 10.0.0.0/8?"),
        ])
        .errors;
        self.add("server-edit-refused", &ServerFormPage { form: page().form.typed(typed), ..page() });

        let typed = filled.clone().with("port", "1195").with("routes", "");
        let changes = page().form.differences(&filled, &typed);
        let mut conflict = page();
        conflict.form.fields = filled.clone().with("port", "443").with("dns_servers", "10.0.0.54");
        let (typed, there) = (typed.with("base", &filled.as_base()), Link::to(&id::<ServerId>(1)).and("edit"));
        conflict.form = conflict.form.with_conflict(typed, self.quicker(desk), there);
        self.add("server-edit-conflict", &conflict);

        let link = Link::to(&id::<ServerId>(1));
        let question = Question {
            title: format!("Save the changes to {name}?"),
            hint: "The numbers are of this moment.",
            button: "Save changes",
            is_final: false,
            action: link.clone(),
            back: link.and("edit"),
            changes,
        };
        let effect = Effect {
            users_gaining_access: 3,
            users_losing_access: 12,
            sessions_ending: 4,
            sessions_moving: 124,
            profiles_outdated: 240,
            daemons_restarting: 2,
            warnings: vec![
                "The routes send all traffic through the tunnel, but the server has no DNS servers.".to_owned(),
            ],
            ..Effect::default()
        };
        let form = Fields::default();
        self.add("server-preview", &Preview::new(desk, question.clone(), &form, &effect));
        let last = Question {
            title: format!("Delete {name}?"),
            button: "Delete server",
            is_final: true,
            changes: Vec::new(),
            ..question
        };
        self.add("server-delete", &Preview::new(desk, last, &form, &Effect::default()));
    }
}
