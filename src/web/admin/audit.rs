//! The audit trail: filtered by its address, each entry with what it changed, and whether the whole is what was recorded.

use askama::Template;
use axum::{extract::State, response::Response};
use jiff::{Timestamp, civil::Date, tz::Offset};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{desk::Desk, history::done, live::Topic};
use crate::{
    domain::{
        ids::AuditId,
        job::{Job, JobState, RunResult},
    },
    services::{AuditFilter, Page, Services, history::NamedEntry},
    web::{
        answer::Answer,
        export::JsonLines,
        extract::{Filter, Parameters, Query},
        portal::parts::{Chip, Icon, Tone, When},
        problem::Problem,
    },
};

/// What is looked for, as the form of the page sends it: what is empty does not count.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    pub(super) actor: String,
    pub(super) object: String,
    pub(super) action: String,
    pub(super) outcome: String,
    /// A day.
    pub(super) from: String,
    /// A day, that day included.
    pub(super) until: String,
}

impl Filter for Wanted {
    type Id = AuditId;
}

impl Wanted {
    /// The filter; a parameter that is no day is refused by its name.
    fn filter(&self) -> Result<AuditFilter, Problem> {
        let given = |text: &String| Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        let after = day("from", &self.from)?;
        let before = day("until", &self.until)?.and_then(|day| day.tomorrow().ok());
        Ok(AuditFilter {
            actor: given(&self.actor),
            object: given(&self.object),
            action: given(&self.action),
            outcome: given(&self.outcome),
            after: after.and_then(midnight),
            before: before.and_then(midnight),
        })
    }

    fn fields(&self) -> [(&'static str, &str); 6] {
        [
            ("actor", &self.actor),
            ("object", &self.object),
            ("action", &self.action),
            ("outcome", &self.outcome),
            ("from", &self.from),
            ("until", &self.until),
        ]
    }

    /// Whether it lets everything through.
    fn is_all(&self) -> bool {
        self.fields().iter().all(|(_, value)| value.trim().is_empty())
    }

    /// The address of a page with this filter.
    fn address(&self, page: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.fields().into_iter().filter(|(_, value)| !value.trim().is_empty()) {
            query.append_pair(name, value);
        }
        let query = query.finish();
        if query.is_empty() { page.to_owned() } else { format!("{page}?{query}") }
    }
}

fn day(name: &str, text: &str) -> Result<Option<Date>, Problem> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let day = text.trim().parse().map_err(|_no_day| Problem::parameter(name, "must be a day such as 2026-11-25"))?;
    Ok(Some(day))
}

fn midnight(day: Date) -> Option<Timestamp> {
    Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok()
}

/// The page.
#[derive(Template)]
#[template(path = "admin/audit.html")]
pub(super) struct AuditPage<'a> {
    pub(super) desk: &'a Desk,
    pub(super) wanted: Wanted,
    pub(super) proof: Proof,
    pub(super) rows: Vec<Row>,
    pub(super) is_first: bool,
    pub(super) next: Option<String>,
}

/// Whether the trail is what was recorded, as far as somebody has looked.
pub(super) struct Proof {
    pub(super) chip: Chip,
    pub(super) detail: String,
    pub(super) at: Option<When>,
}

/// One entry.
pub(super) struct Row {
    pub(super) at: When,
    pub(super) what: String,
    pub(super) action: String,
    pub(super) by: String,
    pub(super) actor: String,
    pub(super) by_link: String,
    pub(super) object: String,
    pub(super) object_link: String,
    pub(super) denied: bool,
    pub(super) changes: Vec<(String, String, String)>,
    pub(super) id: String,
    pub(super) request: Option<String>,
    pub(super) place: Option<(String, u64)>,
}

impl Proof {
    /// What the last run of the job says.
    pub(super) fn of(job: &JobState, now: Timestamp) -> Self {
        let Some(run) = &job.last_run else {
            let detail = "A process with the role jobs verifies the whole trail once a day.".to_owned();
            return Self { chip: Chip::new(Tone::Calm, Icon::Ring, "Not verified yet"), detail, at: None };
        };
        let chip = match run.result {
            RunResult::Done => Chip::new(Tone::Good, Icon::Check, "The chain is sound"),
            RunResult::Found => Chip::new(Tone::Bad, Icon::Alert, "The chain is broken"),
            RunResult::Failed => Chip::new(Tone::Warn, Icon::Alert, "Could not be verified"),
        };
        Self { chip, detail: run.detail.clone(), at: Some(When::new(run.started_at, now)) }
    }
}

impl Row {
    fn new(named: NamedEntry, now: Timestamp) -> Self {
        let NamedEntry { entry, by } = named;
        let (noun, verb) = entry.action.split_once('.').unwrap_or(("", &entry.action));
        let by_link = Wanted { actor: entry.actor.clone(), ..Wanted::default() }.address("/audit");
        let object_link = Wanted { object: entry.object.clone(), ..Wanted::default() }.address("/audit");
        Self {
            at: When::new(entry.at, now),
            what: format!("{} {}", done(verb), noun.replace('_', " ")),
            changes: changes(&entry.changes),
            denied: entry.outcome != "success",
            id: entry.id.to_string(),
            request: entry.request_id.map(|id| id.to_string()),
            place: entry.link.map(|link| (link.chain.to_string(), link.seq)),
            action: entry.action,
            actor: entry.actor,
            object: entry.object,
            by,
            by_link,
            object_link,
        }
    }
}

/// Field, before, after; one without a before is told as new.
fn changes(changes: &Value) -> Vec<(String, String, String)> {
    let fields = changes.as_object().into_iter().flatten();
    let row = |(field, value): (&String, &Value)| {
        let (before, after) = match value.as_array().map(Vec::as_slice) {
            Some([before, after]) => (plain(before), plain(after)),
            _ => (String::new(), plain(value)),
        };
        (field.replace('_', " "), before, after)
    };
    fields.map(row).collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

impl<'a> AuditPage<'a> {
    /// A page of the trail.
    pub(super) fn new(
        desk: &'a Desk,
        wanted: Wanted,
        job: &JobState,
        page: Page<NamedEntry>,
        is_first: bool,
        next: Option<String>,
    ) -> Self {
        let rows = page.items.into_iter().map(|entry| Row::new(entry, desk.now)).collect();
        Self { desk, wanted, proof: Proof::of(job, desk.now), rows, is_first, next }
    }

    fn export(&self) -> String {
        self.wanted.address("/audit/export")
    }

    fn first(&self) -> String {
        self.wanted.address("/audit")
    }
}

pub(super) async fn list(
    State(services): State<Services>,
    mut desk: Desk,
    query: Query<Wanted>,
) -> Result<Response, Problem> {
    desk.live = &[Topic::Policy, Topic::Jobs];
    let filter = query.filter.filter()?;
    let (page, job) =
        tokio::try_join!(services.named_audit(&desk.act, &filter, &query.page), services.job(Job::AuditVerify))?;
    let next = query.next(&page);
    Ok(desk.show(&AuditPage::new(&desk, query.filter.clone(), &job, page, query.is_first(), next)))
}

pub(super) async fn export(
    State(services): State<Services>,
    desk: Desk,
    Parameters(wanted): Parameters<Wanted>,
) -> Answer<JsonLines> {
    Ok(JsonLines(services.export_audit(&desk.act, wanted.filter()?).await?))
}
