//! Which sessions the page shows, as its address says.

use std::fmt::Display;
use std::str::FromStr;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::extract::{Filter, Sort};
use crate::http::problem::Problem;
use crate::ui::{Fields, Link};
use domain::ids::{HostId, ServerId, SessionId, UserId};
use domain::session::SessionState;
use services::{OrderBy, SessionFilter};

/// Which sessions, as the form of the page sends it: what is not chosen is empty.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Chosen {
    pub(crate) user_id: String,
    pub(crate) server_id: String,
    pub(crate) host_id: String,
    /// The search, as it was typed.
    pub(crate) q: String,
    pub(crate) state: SessionState,
}

impl Filter for Chosen {
    type Id = SessionId;
    const SORTS: &'static [Sort] = &[("since", OrderBy::Created), ("ended", OrderBy::Ended)];
}

fn parsed<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<Option<T>, Problem> {
    let read = || text.parse().map_err(|error| Problem::parameter(name, format!("is {error}")));
    if text.is_empty() { Ok(None) } else { read().map(Some) }
}

impl Chosen {
    /// Those of one host.
    pub(crate) fn of_host(host: HostId) -> Self {
        Self { host_id: host.to_string(), ..Self::default() }
    }

    /// Those of one user that are over.
    pub(crate) fn ended_of(user: UserId) -> Self {
        Self { user_id: user.to_string(), state: SessionState::Ended, ..Self::default() }
    }

    /// What a form of the page carries, so that the way back leads to the same choice.
    pub(crate) fn of_form(form: &Fields) -> Self {
        let text = |field| form.text(field).to_owned();
        Self {
            user_id: text("user_id"),
            server_id: text("server_id"),
            host_id: text("host_id"),
            q: text("q"),
            state: SessionState::Live,
        }
    }

    /// What was chosen by ids.
    pub(crate) fn filter(&self) -> Result<SessionFilter, Problem> {
        Ok(SessionFilter {
            user_id: parsed::<UserId>("user_id", &self.user_id)?,
            users: None,
            server_id: parsed::<ServerId>("server_id", &self.server_id)?,
            host_id: parsed::<HostId>("host_id", &self.host_id)?,
        })
    }

    /// What was chosen, as fields of forms.
    pub(crate) fn fields(&self) -> Vec<(&'static str, &str)> {
        let state = if self.is_ended() { "ended" } else { "" };
        let fields = [
            ("user_id", self.user_id.as_str()),
            ("server_id", &self.server_id),
            ("host_id", &self.host_id),
            ("q", &self.q),
            ("state", state),
        ];
        fields.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    /// The address of the page.
    pub(crate) fn address(&self) -> String {
        self.under(Link::list::<SessionId>().as_str())
    }

    /// An address at `path` for this choice.
    pub(crate) fn under(&self, path: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let query = query.extend_pairs(self.fields()).finish();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    /// The address of the same choice among those that are over, or that go on.
    pub(crate) fn turned(&self) -> String {
        let state = if self.is_ended() { SessionState::Live } else { SessionState::Ended };
        Self { state, ..self.clone() }.address()
    }

    /// Whether those that are over are shown.
    pub(crate) fn is_ended(&self) -> bool {
        self.state == SessionState::Ended
    }

    /// Whether anything is left out.
    pub(crate) fn is_narrowed(&self) -> bool {
        [&self.user_id, &self.server_id, &self.host_id, &self.q].into_iter().any(|part| !part.is_empty())
    }
}
