//! The audit log: filtered by its address, each entry with what it changed, and whether the whole is what was recorded.

use askama::Template;
use axum::response::Response;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::admin::context::{Desk, Opened};
use crate::admin::evidence::history::done;
use crate::api::answer::Answer;
use crate::api::extract::{Filter, Parameters, Query, Sort};
use crate::http::problem::Problem;
use crate::ui::export::JsonLines;
use crate::ui::page::go;
use crate::ui::{Chip, Columns, Icon, Tone, Topic, When};
use domain::audit::AuditEntry;
use domain::ids::AuditId;
use domain::job::{Job, JobState, RunResult};
use services::access::lookup::Suggestion;
use services::evidence::history::NamedEntry;
use services::{AuditFilter, Order, OrderBy, Page, Services};

/// What is looked for, as the form of the page sends it: what is empty does not count.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Wanted {
    pub(crate) actor: String,
    pub(crate) object: String,
    pub(crate) action: String,
    pub(crate) outcome: String,
    /// A day.
    pub(crate) from: String,
    /// A day, that day included.
    pub(crate) until: String,
}

impl Filter for Wanted {
    type Id = AuditId;
    const SORTS: &'static [Sort] = &[("at", OrderBy::Created)];
    const USUAL: Option<Order> = Some(Order::NEWEST);
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

    /// Where all that somebody did is listed.
    fn by(actor: &str) -> String {
        Self { actor: actor.to_owned(), ..Self::default() }.address("/audit")
    }

    /// Where all that was done to something is listed.
    fn about(object: &str) -> String {
        Self { object: object.to_owned(), ..Self::default() }.address("/audit")
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
pub(crate) struct AuditPage<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) wanted: Wanted,
    pub(crate) proof: Proof,
    pub(crate) rows: Vec<NamedEntry>,
    pub(crate) columns: Columns,
    /// What the form may have meant by a name, where that is several things.
    pub(crate) choices: Vec<Choices>,
    /// What the ids in the form are called: who, and to what.
    pub(crate) called: (Option<String>, Option<String>),
    pub(crate) is_first: bool,
    pub(crate) next: Option<String>,
}

/// What a name in the form may mean.
pub(crate) struct Choices {
    /// The name.
    pub(crate) text: String,
    /// What it can mean: where the page of it is, its name, and what tells it from others.
    pub(crate) meant: Vec<(String, String, String)>,
}

/// Whether the audit log is what was recorded, as far as somebody has looked.
pub(crate) struct Proof {
    pub(crate) chip: Chip,
    pub(crate) detail: String,
    pub(crate) at: Option<When>,
}

impl Proof {
    /// What the last run of the job says.
    pub(crate) fn of(job: &JobState, now: Timestamp) -> Self {
        let Some(run) = &job.last_run else {
            let detail =
                "A process with the role jobs signs for the audit log every five minutes, and verifies the whole \
                          log after the first checkpoint and then once a day."
                    .to_owned();
            return Self { chip: Chip::calm("Not yet signed"), detail, at: None };
        };
        let is_signed = run.counts.get("checkpoints").is_none_or(|count| *count > 0);
        let chip = match run.result {
            RunResult::Done if !is_signed => Chip::calm("Not yet signed"),
            RunResult::Done => Chip::good("The chain is sound"),
            RunResult::Found => Chip::new(Tone::Bad, Icon::Alert, "The chain is broken"),
            RunResult::Failed => Chip::warn("Could not be verified"),
        };
        Self { chip, detail: run.detail.clone(), at: Some(When::new(run.started_at, now)) }
    }
}

/// What was done, in words.
fn what(entry: &AuditEntry) -> String {
    let (noun, verb) = entry.action.split_once('.').unwrap_or(("", &entry.action));
    format!("{} {}", done(verb), noun.replace('_', " "))
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
    /// A page of the audit log.
    pub(crate) fn new(
        desk: &'a Desk,
        wanted: Wanted,
        job: &JobState,
        page: Page<NamedEntry>,
        is_first: bool,
        next: Option<String>,
    ) -> Self {
        let columns = Columns::at(&wanted.address("/audit"), "at", true);
        let (choices, called) = (Vec::new(), (None, None));
        Self {
            desk,
            wanted,
            proof: Proof::of(job, desk.now),
            rows: page.items,
            columns,
            choices,
            called,
            is_first,
            next,
        }
    }

    fn export(&self) -> String {
        self.wanted.address("/audit/export")
    }

    fn first(&self) -> String {
        self.wanted.address("/audit")
    }
}

/// What came of looking for the names in the form.
enum Named {
    /// There are none, or nothing is called so.
    AsWritten,
    /// Each means one thing: the same with ids.
    Clear(Box<Wanted>),
    /// One of them can mean several things.
    Several(Choices),
}

/// Whether a text is one that stands in the audit log itself: an id, `shell:pause`, a path, or a word for all there is.
fn is_as_recorded(text: &str) -> bool {
    let is_id = |(prefix, rest): (&str, &str)| {
        let is_ulid = rest.len() == 26 && rest.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
        is_ulid || prefix == "grp"
    };
    text.is_empty()
        || text.contains([':', '/'])
        || ["cluster", "settings", "sessions"].contains(&text)
        || text.rsplit_once('_').is_some_and(is_id)
}

/// People write names and mailboxes; the audit log knows ids.
async fn named(services: &Services, desk: &Desk, wanted: &Wanted) -> Result<Named, Problem> {
    let (actor, object) = (wanted.actor.trim(), wanted.object.trim());
    let mut clear = wanted.clone();
    for (text, is_actor) in [(actor, true), (object, false)] {
        if is_as_recorded(text) {
            continue;
        }
        let meant = if is_actor {
            services.access().suggest_actors(&desk.act, text).await?
        } else {
            services.access().suggest_objects(&desk.act, text).await?
        };
        let with = |id: String| {
            let wanted = clear.clone();
            if is_actor { Wanted { actor: id, ..wanted } } else { Wanted { object: id, ..wanted } }
        };
        match <[Suggestion; 1]>::try_from(meant) {
            Ok([one]) => clear = with(one.id),
            Err(none) if none.is_empty() => {}
            Err(several) => {
                let choice = |meant: Suggestion| (with(meant.id).address("/audit"), meant.name, meant.about);
                let meant = several.into_iter().map(choice).collect();
                return Ok(Named::Several(Choices { text: text.to_owned(), meant }));
            }
        }
    }
    let is_other = (&clear.actor, &clear.object) != (&wanted.actor, &wanted.object);
    Ok(if is_other { Named::Clear(Box::new(clear)) } else { Named::AsWritten })
}

pub(crate) async fn list(Opened { services, mut desk }: Opened, query: Query<Wanted>) -> Result<Response, Problem> {
    desk.live = &[Topic::Policy, Topic::Jobs];
    let wanted = query.filter.clone();
    let filter = wanted.filter()?;
    let choices = match named(&services, &desk, &wanted).await? {
        Named::Clear(clear) => return Ok(go(&desk.site, &clear.address("/audit"), None)),
        Named::Several(choices) => vec![choices],
        Named::AsWritten => Vec::new(),
    };
    let (page, job, called) = tokio::try_join!(
        services.evidence().named_audit(&desk.act, &filter, &query.page),
        services.cluster().job(Job::AuditVerify),
        services.access().called(&desk.act, [&wanted.actor, &wanted.object]),
    )?;
    let next = query.next(&page);
    let [actor, object] = called;
    let page = AuditPage {
        columns: Columns::of(&query, None),
        choices,
        called: (actor, object),
        ..AuditPage::new(&desk, wanted, &job, page, query.is_first(), next)
    };
    Ok(desk.show(&page))
}

pub(crate) async fn export(
    Opened { services, desk }: Opened,
    Parameters(wanted): Parameters<Wanted>,
) -> Answer<JsonLines> {
    Ok(JsonLines(services.evidence().export_audit(&desk.act, wanted.filter()?).await?))
}
