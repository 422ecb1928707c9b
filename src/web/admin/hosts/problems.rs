//! What is wrong with a host, as pages tell it.

use jiff::Timestamp;

use crate::ui::{Chip, Icon, Tone, When};
use domain::ids::ServerId;
use domain::problem::{Problem, ProblemCode};
use domain::text::Name;

/// One thing that is wrong.
pub(crate) struct ProblemLine {
    /// What kind of thing.
    pub(crate) chip: Chip,
    /// The server that it is about.
    pub(crate) server: Option<String>,
    /// What is wrong and what helps.
    pub(crate) detail: String,
    /// Since when, where that is known.
    pub(crate) since: Option<When>,
}

impl ProblemLine {
    /// The line of a problem, with the name of the server that it is about.
    pub(crate) fn new(problem: &Problem, server: Option<&Name>, now: Timestamp) -> Self {
        let Problem { code, detail, since, .. } = problem;
        let tone = if code.is_grave() || *code == ProblemCode::Offline { Tone::Bad } else { Tone::Warn };
        let never = *since == Timestamp::UNIX_EPOCH;
        Self {
            chip: Chip::new(tone, Icon::Alert, code.title()),
            server: server.map(ToString::to_string),
            detail: detail.clone(),
            since: (!never).then(|| When::new(*since, now)),
        }
    }

    /// The lines of all that is wrong with a host.
    pub(crate) fn all<'a>(
        problems: &[Problem],
        now: Timestamp,
        name: impl Fn(ServerId) -> Option<&'a Name>,
    ) -> Vec<Self> {
        problems.iter().map(|problem| Self::new(problem, problem.server_id.and_then(&name), now)).collect()
    }
}

/// How many things are wrong with a host that is heard of, if any is.
pub(crate) fn problem_chip(problems: &[Problem]) -> Option<Chip> {
    let (grave, heard) =
        (problems.iter().any(|it| it.code.is_grave()), |it: &&Problem| it.code != ProblemCode::Offline);
    let count = problems.iter().filter(heard).count();
    let text = match count {
        0 => return None,
        1 => "1 problem".to_owned(),
        _ => format!("{count} problems"),
    };
    Some(Chip::new(if grave { Tone::Bad } else { Tone::Warn }, Icon::Alert, text))
}
