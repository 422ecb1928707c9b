//! What a change does, shown before it is done: to people, sessions, profiles and daemons, and which values differ. The
//! page sends the same form again, with the word that somebody has seen this.

use std::future::Future;

use askama::Template;
use axum::response::Response;

use crate::admin::context::Desk;
use crate::ui::conflict::Difference;
use crate::ui::fields::Fields;
use crate::ui::links::Link;
use crate::ui::parts::{Chip, Icon, Tone};
use domain::effect::CutOff;
use domain::text::Name;
use services::access::effect::Effect;
use services::{Act, ServiceError};

/// The page.
#[derive(Template)]
#[template(path = "admin/preview.html")]
pub(crate) struct Preview<'a> {
    desk: &'a Desk,
    question: Question,
    pairs: Vec<(String, String)>,
    warnings: Vec<String>,
    effect: Vec<(&'static str, Chip)>,
    cut_off: CutOffList,
}

/// Whom something cuts off, by name.
pub(crate) struct CutOffList {
    /// Where the user is shown, what the user is called, and the device.
    pub(crate) named: Vec<(Link, String, String)>,
    /// "and 7 more", if not all are named.
    pub(crate) more: Option<String>,
}

impl CutOffList {
    /// The first of `count` people.
    pub(crate) fn new(count: u64, named: &[CutOff]) -> Self {
        let name =
            |name: &Option<Name>| name.as_ref().map_or_else(|| "deleted just now".to_owned(), ToString::to_string);
        let one = |one: &CutOff| (Link::to(&one.user_id), name(&one.user), name(&one.profile));
        let more = count.saturating_sub(number(named.len()));
        Self { named: named.iter().map(one).collect(), more: (more > 0).then(|| format!("and {more} more")) }
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// As the page's heading.
    pub(crate) title: String,
    /// What it means beside its numbers.
    pub(crate) hint: &'static str,
    /// What the button says.
    pub(crate) button: &'static str,
    /// Whether it cannot be taken back.
    pub(crate) is_final: bool,
    /// What takes the form.
    pub(crate) action: Link,
    /// Where whoever does not want it goes on.
    pub(crate) back: Link,
    /// Which fields of a form it changes, and from what into what.
    pub(crate) changes: Vec<Difference>,
}

impl<'a> Preview<'a> {
    /// The page for a form and what it would do.
    pub(crate) fn new(desk: &'a Desk, question: Question, form: &Fields, effect: &Effect) -> Self {
        let cut_off = CutOffList::new(effect.sessions_cut_off, &effect.cut_off);
        let (warnings, effect) = (effect.warnings.clone(), in_words(effect));
        Self { desk, question, pairs: form.pairs(), warnings, effect, cut_off }
    }
}

/// Whether people, sessions or profiles notice anything.
pub(crate) fn touches_people(effect: &Effect) -> bool {
    let daemons = Effect { daemons_starting: 0, daemons_restarting: 0, daemons_stopping: 0, ..effect.clone() };
    !daemons.is_nothing()
}

/// What it does, a line for each kind of thing.
fn in_words(effect: &Effect) -> Vec<(&'static str, Chip)> {
    let line = |parts: &[(Tone, u64, &str, &str)], nothing: &str| {
        let told = |(_, count, one, many): &(Tone, u64, &str, &str)| {
            format!("{count} {}", if *count == 1 { one } else { many })
        };
        let some: Vec<_> = parts.iter().filter(|(_, count, ..)| *count > 0).collect();
        let Some((tone, ..)) = some.first() else { return Chip::new(Tone::Calm, Icon::Check, nothing) };
        let icon = if matches!(tone, Tone::Good | Tone::Info) { Icon::Next } else { Icon::Alert };
        Chip::new(*tone, icon, some.into_iter().map(told).collect::<Vec<_>>().join(", "))
    };
    let people = [
        (Tone::Bad, effect.users_losing_access, "loses access", "lose access"),
        (Tone::Good, effect.users_gaining_access, "gains access", "gain access"),
    ];
    let sessions = [
        (Tone::Bad, effect.sessions_ending.saturating_sub(effect.sessions_cut_off), "ends at once", "end at once"),
        (Tone::Bad, effect.sessions_cut_off, "is cut off", "are cut off"),
        (Tone::Info, effect.sessions_moving, "reconnects by itself", "reconnect by themselves"),
    ];
    let profiles = [
        (Tone::Bad, effect.profiles_ending, "stops working for good", "stop working for good"),
        (Tone::Bad, effect.profiles_cut_off, "names no other host", "name no other host"),
        (Tone::Warn, effect.profiles_outdated, "becomes outdated", "become outdated"),
    ];
    let daemons = [
        (Tone::Info, effect.daemons_starting, "starts", "start"),
        (Tone::Info, effect.daemons_restarting, "restarts", "restart"),
        (Tone::Info, effect.daemons_stopping, "stops", "stop"),
    ];
    vec![
        ("People", line(&people, "Nobody gains or loses access")),
        ("Sessions", line(&sessions, "None is interrupted")),
        ("Profiles", line(&profiles, "All stay as they are")),
        ("Daemons", line(&daemons, "None is touched")),
    ]
}

/// What came of an act that may have to be asked about first.
pub(crate) enum Asked<R> {
    /// It is done.
    Done(R),
    /// The answer asks first.
    First(Response),
}

impl<R> Asked<R> {
    /// The answer that asks, or another one once it is done.
    pub(crate) fn or(self, done: impl FnOnce(R) -> Response) -> Response {
        match self {
            Self::Done(done_with) => done(done_with),
            Self::First(response) => response,
        }
    }
}

/// Does what a form asks for. Unless the form says that somebody has seen what it does, it is tried first, and asked about
/// if `question` finds that its result or its effect is worth a question.
pub(crate) async fn ask_or_do<R, F: Future<Output = Result<R, ServiceError>>>(
    desk: &Desk,
    form: &Fields,
    doing: impl Fn(Act) -> F,
    question: impl FnOnce(&R, &Effect) -> Option<Question>,
) -> Result<Asked<R>, ServiceError> {
    if !form.is_confirmed() {
        let (act, trial) = desk.act.as_dry_run();
        let tried = doing(act).await?;
        let effect = trial.effect();
        if let Some(question) = question(&tried, &effect) {
            return Ok(Asked::First(desk.show(&Preview::new(desk, question, form, &effect))));
        }
    }
    doing(desk.act.clone()).await.map(Asked::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_in_words_and_nothing_is_told_as_nothing() {
        let effect =
            Effect { users_losing_access: 1, users_gaining_access: 2, sessions_moving: 1, ..Effect::default() };
        let words: Vec<_> = in_words(&effect).into_iter().map(|(_, chip)| chip.text).collect();
        let expected =
            ["1 loses access, 2 gain access", "1 reconnects by itself", "All stay as they are", "None is touched"];
        assert_eq!(words, expected);
        let stranded = Effect { sessions_ending: 3, sessions_cut_off: 1, profiles_cut_off: 1, ..Effect::default() };
        let words: Vec<_> = in_words(&stranded).into_iter().map(|(_, chip)| chip.text).collect();
        assert_eq!(words[1..3], ["2 end at once, 1 is cut off", "1 names no other host"]);
        assert_eq!(CutOffList::new(9, &[]).more.as_deref(), Some("and 9 more"));
        assert!(touches_people(&effect));
        assert!(!touches_people(&Effect { daemons_starting: 3, ..Effect::default() }));
    }
}
