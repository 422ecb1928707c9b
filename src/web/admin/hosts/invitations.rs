//! Inviting a machine to become a host: a form, the command that is shown once, and what the machine finds out about
//! itself while somebody watches.

use std::collections::BTreeSet;

use askama::Template;
use axum::http::StatusCode;

use crate::admin::context::{Answer, Desk, Opened, Sent};
use crate::admin::nouns::{New, made};
use crate::api::extract::At;
use crate::http::problem::{Problem, found};
use crate::ui::form::form;
use crate::ui::{Chip, Choice, Field, Flash, FormView, Link, Linked as _, Topic};
use domain::ids::{HostId, JoinTokenId, ServerId};
use domain::join::{DatabaseUser, JoinLifetime, MachineCheck};
use domain::server::DaemonState;
use services::hosts::joining::{IssuedJoinToken, JoinTokenView, NewJoinToken};
use services::hosts::rows::{HostDaemon, HostRow, ServerChoice};
use services::{ServiceError, Services};

/// What an invitation's page depends on.
const TOPICS: &[Topic] = &[Topic::Hosts, Topic::Policy];

form! {
    /// The form of an invitation.
    InvitationForm {
        host_name: Field::text("Name of the host").subject("The name")
            .with(r#"required maxlength="63" autocomplete="off" spellcheck="false" placeholder="vpn-3""#);
        server_ids: Field::boxes("Servers that it runs at once");
        share_database_user: Field::boxes("Database user");
    } fields => NewJoinToken {
        Some(NewJoinToken { host_name, server_ids, expires_in_seconds: JoinLifetime::default(), share_database_user })
    }
}

/// The form, with the servers that there are. Whether the machine may share the database user of the web process is
/// asked only where it would have to.
pub(crate) fn form(desk: &Desk, servers: Vec<ServerChoice>, must_share: bool) -> FormView {
    let mut form = FormView::fresh(&desk.chrome, InvitationForm::FIELDS);
    if servers.is_empty() {
        form = form.hint("server_ids", "There is no server yet. You can attach one to the host later.");
    }
    // Most clusters have one server, and a host without any is of no use.
    form = form.choices_or_only("server_ids", Choice::all(servers.into_iter().map(|server| (server.id, server.name))));
    if must_share {
        let share = "Share the database user of the web process. Whoever takes this machine over can then read and \
                     change everything in the database, and removing the host does not end that.";
        let why = "Postern’s own database user may make no others, and no user for hosts is configured \
                   (<code>database.uri_for_hosts</code>). The machine can only share the user of the web process.";
        form = form.choices("share_database_user", vec![Choice::new("on", share)]).hint("share_database_user", why);
    }
    form
}

impl New for JoinTokenId {
    const TITLE: &'static str = "Join a host";
    const LEAD: &'static str = "A Debian machine with openvpn 2.6.2 or later and the postern package becomes a VPN host by \
                                one command, which you get in the next step.";
    const BUTTON: &'static str = "Create join token";
    const BACK: (&'static str, &'static str) = (HostId::LIST, "Hosts");

    async fn form(services: &Services, desk: &Desk) -> Result<FormView, Problem> {
        let servers = services.hosts().server_choices(&desk.act, None).await?;
        let must_share = match services.hosts().expected_database_user().await {
            Ok(user) => user == DatabaseUser::SharedWithWeb,
            // A cluster that takes no hosts says why when the form is sent.
            Err(ServiceError::Conflict(_)) => false,
            Err(error) => return Err(error.into()),
        };
        Ok(form(desk, servers, must_share))
    }
}

/// Who was invited, and how far the machine has come.
#[derive(Template)]
#[template(path = "admin/invitation.html")]
pub(crate) struct Invitation<'a> {
    desk: &'a Desk,
    token: &'a JoinTokenView,
    /// As whom the host comes to the database, where that is worth a sentence.
    access: Option<&'static str>,
    /// What to run on the machine; in the answer to the form only.
    command: Option<String>,
    steps: Vec<Step>,
    /// The host that came of it, if it is still there.
    host: Option<HostId>,
    is_done: bool,
}

/// The host that came of an invitation.
pub(crate) struct Joined {
    pub(crate) row: HostRow,
    /// The servers of it that another host can look at from outside.
    pub(crate) watched: BTreeSet<ServerId>,
}

/// One line of the checklist.
pub(crate) struct Step {
    pub(crate) what: String,
    pub(crate) chip: Chip,
    pub(crate) cause: Option<String>,
    pub(crate) remedy: Option<String>,
}

impl Step {
    fn new(what: &str, is_done: bool, waiting: &str) -> Self {
        let chip = if is_done { Chip::good("Done") } else { Chip::calm(waiting) };
        Self { what: what.to_owned(), chip, cause: None, remedy: None }
    }

    /// Whether clients could reach a server, which only another host can see; `waiting` until one has looked.
    fn reachable(daemon: &HostDaemon, waiting: &str) -> Self {
        let (protocol, port) = (daemon.protocol.as_str(), daemon.port.get());
        let what = format!("{} port {port} is reachable from another host", protocol.to_uppercase());
        let step = Self::new(&what, false, waiting);
        match &daemon.reached {
            None => step,
            Some(seen) if seen.ok => Self { chip: Chip::good("Reachable"), ..step },
            Some(seen) => Self {
                chip: Chip::bad("Not reachable"),
                cause: Some(format!(
                    "{} dialled {} and saw {}. Open {protocol} {port} to everybody in the firewall or security group in \
                     front of the machine. If its packets do arrive there, the machine's own firewall drops them:",
                    seen.name,
                    seen.address,
                    seen.detail.as_deref().unwrap_or("no answer"),
                )),
                remedy: Some(format!("tcpdump -ni any {protocol} port {port}")),
                ..step
            },
        }
    }

    fn of(check: &MachineCheck) -> Self {
        let chip = if check.passed { Chip::good("In order") } else { Chip::bad("Not in order") };
        let text = |comment: &domain::text::Comment| comment.to_string();
        Self {
            what: check.name.to_string(),
            chip,
            cause: check.cause.as_ref().map(text),
            remedy: check.remedy.as_ref().map(text),
        }
    }
}

impl<'a> Invitation<'a> {
    /// The page of an invitation, with the host that came of it.
    pub(crate) fn new(
        desk: &'a Desk,
        token: &'a JoinTokenView,
        joined: Option<&Joined>,
        command: Option<String>,
    ) -> Self {
        let host = joined.map(|joined| &joined.row);
        let heard = !token.checks.is_empty() || token.host_id.is_some();
        let is_online = host.is_some_and(HostRow::is_heard);
        let mut steps = vec![Step::new("The machine has shown its token", heard, "Waiting for the machine")];
        steps.extend(token.checks.iter().map(Step::of));
        steps.push(Step::new("It is a host of the cluster", token.host_id.is_some(), "Not yet"));
        steps.push(Step::new("It is online", is_online, "Not yet"));
        let daemons = host.map(|host| host.daemons.as_slice()).unwrap_or_default();
        let runs = |daemon: &HostDaemon| daemon.state == DaemonState::Running || !daemon.enabled;
        for daemon in daemons {
            let mut step = Step::new(&format!("It runs server {}", daemon.name), runs(daemon), "Not yet");
            step.cause = daemon.detail.clone().filter(|_| !runs(daemon));
            steps.push(step);
        }
        for daemon in daemons.iter().filter(|daemon| daemon.enabled) {
            let watched = joined.is_some_and(|joined| joined.watched.contains(&daemon.server_id));
            let waiting = match (runs(daemon), watched) {
                (false, _) => "Not yet",
                (true, false) => "No other host can look yet",
                (true, true) => "Not looked at yet",
            };
            steps.push(Step::reachable(daemon, waiting));
        }
        let is_shut = |daemon: &HostDaemon| daemon.reached.as_ref().is_some_and(|reached| !reached.ok);
        Self {
            desk,
            token,
            access: access(token),
            command,
            steps,
            host: token.host_id.filter(|_| host.is_some()),
            is_done: is_online && daemons.iter().all(runs) && !daemons.iter().any(is_shut),
        }
    }
}

/// What is worth knowing of how a host comes to the database.
fn access(token: &JoinTokenView) -> Option<&'static str> {
    match token.database_user {
        Some(DatabaseUser::SharedWithWeb) => Some(
            "It shares the database user of the web process: whoever takes this machine over can read and change everything \
             in the database. If you remove the host, change the password of that user.",
        ),
        None if token.share_database_user && token.host_id.is_none() => {
            Some("It may share the database user of the web process, if it can have none of its own.")
        }
        _ => None,
    }
}

pub(crate) async fn create(Sent { services, desk, mut form }: Sent) -> Answer {
    let doing = InvitationForm::read(&mut form).map(|wanted| services.hosts().create_join_token(&desk.act, wanted));
    let submitted = form.submit(doing).await?;
    let shown = |mut desk: Desk, IssuedJoinToken { view, command, .. }| {
        desk.live = TOPICS;
        desk.again = Link::to(&view.id).to_string();
        let page = Invitation::new(&desk, &view, None, Some(command.expose().clone()));
        desk.show_as(StatusCode::CREATED, &page)
    };
    made::<JoinTokenId, _>(submitted, &services, desk, shown).await
}

pub(crate) async fn show(Opened { services, mut desk }: Opened, At(id): At<JoinTokenId>) -> Answer {
    desk.live = TOPICS;
    let token = services.hosts().join_token(&desk.act, id).await?;
    let mut joined = None;
    if let Some(host) = token.host_id {
        // The host may have been removed since.
        if let Some(row) = found(services.hosts().host_row(&desk.act, host).await)? {
            joined = Some(Joined { row, watched: services.hosts().watched(host).await? });
        }
    }
    Ok(desk.show(&Invitation::new(&desk, &token, joined.as_ref(), None)))
}

pub(crate) async fn withdraw(At(id): At<JoinTokenId>, Sent { services, desk, .. }: Sent) -> Answer {
    match services.hosts().withdraw_join_token(&desk.act, id).await {
        Ok(()) => Ok(desk.go(&Link::list::<HostId>(), Flash::JoinTokenWithdrawn)),
        // It was used a moment ago: its page says by which machine.
        Err(ServiceError::Conflict(_)) => Ok(crate::ui::page::go(&desk.site, Link::to(&id).as_str(), None)),
        Err(error) => Err(error.into()),
    }
}
