//! In the course of what something is logged: the fields of the spans around it (request, trace, session, task).

use std::fmt;

use serde_json::Value;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::redact::redact;

/// The fields of one span, kept with it.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        put(&mut self.0, field.name(), value.into());
    }
}

impl Fields {
    fn put(&mut self, name: &'static str, text: &str) {
        put(&mut self.0, name, Value::String(redact(text).into_owned()));
    }
}

/// Adds a field, or takes the place of one of this name.
fn put(fields: &mut Vec<(&'static str, Value)>, name: &'static str, value: Value) {
    match fields.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = value,
        None => fields.push((name, value)),
    }
}

/// Keeps what a new span says.
pub(super) fn begin<S: Subscriber + for<'a> LookupSpan<'a>>(
    attributes: &Attributes<'_>,
    id: &Id,
    spans: &Context<'_, S>,
) {
    let mut fields = Fields::default();
    attributes.record(&mut fields);
    if let Some(span) = spans.span(id) {
        span.extensions_mut().insert(fields);
    }
}

/// Keeps what a span says later.
pub(super) fn add<S: Subscriber + for<'a> LookupSpan<'a>>(values: &Record<'_>, id: &Id, spans: &Context<'_, S>) {
    if let Some(span) = spans.span(id)
        && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
    {
        values.record(fields);
    }
}

/// What the spans around an event say, the outermost first. Of two that say the same, the inner one counts.
pub(super) fn around<S: Subscriber + for<'a> LookupSpan<'a>>(
    event: &tracing::Event<'_>,
    spans: &Context<'_, S>,
) -> Vec<(&'static str, Value)> {
    let mut said = Vec::new();
    for span in spans.event_scope(event).into_iter().flat_map(Scope::from_root) {
        if let Some(fields) = span.extensions().get::<Fields>() {
            for (name, value) in &fields.0 {
                put(&mut said, name, value.clone());
            }
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;
    use tracing::{Event, Instrument as _};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::domain::clock::SystemClock;
    use crate::domain::samples;
    use crate::domain::user::User;
    use crate::runtime::reconcile::{Done, Task};
    use crate::services;
    use crate::store::{Settings, Store};

    /// What was said around each event.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Kept {
        fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, spans: Context<'_, S>) {
            begin(attributes, id, &spans);
        }

        fn on_record(&self, id: &Id, values: &Record<'_>, spans: Context<'_, S>) {
            add(values, id, &spans);
        }

        fn on_event(&self, event: &Event<'_>, spans: Context<'_, S>) {
            let said: Vec<_> = around(event, &spans).iter().map(|(name, value)| format!("{name}={value}")).collect();
            self.0.lock().unwrap().push(said.join(" "));
        }
    }

    #[tokio::test]
    async fn a_warning_bears_what_the_spans_around_it_say_in_a_task_of_its_own_too() {
        let kept = Kept::default();
        let filter = tracing_subscriber::EnvFilter::new("warn");
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(filter).with(kept.clone()));
        tracing::warn!("outside");
        let request = tracing::error_span!("request", request_id = %"req_1", trace_id = tracing::field::Empty);
        async {
            tracing::warn!("inside");
            tracing::Span::current().record("trace_id", tracing::field::display("4bf9"));
            let task = tracing::error_span!("task", task = %"sweep");
            async { tracing::warn!("deeper") }.instrument(task).await;
            let other = async { tracing::warn!("elsewhere") }.in_current_span();
            tokio::task::LocalSet::new().run_until(other).await;
        }
        .instrument(request)
        .await;
        assert_eq!(
            *kept.0.lock().unwrap(),
            [
                "",
                "request_id=\"req_1\"",
                "request_id=\"req_1\" trace_id=\"4bf9\" task=\"sweep\"",
                "request_id=\"req_1\" trace_id=\"4bf9\"",
            ]
        );
    }

    #[tokio::test]
    async fn a_call_to_the_database_that_fails_is_told_within_its_request_or_task() {
        let kept = Kept::default();
        let filter = tracing_subscriber::EnvFilter::new("error,postern_store=debug");
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(filter).with(kept.clone()));
        let uri = "mongodb://127.0.0.1:1/?replicaSet=nowhere".to_owned();
        let store = Store::connect(&Settings { uri, database: "postern".to_owned() }).await.unwrap();
        let limit = Duration::from_millis(20);
        let ask = async |store: &Store| store.deadline(limit, store.find::<User>(&samples::id(1))).await.map(drop);

        let request = tracing::error_span!("request", request_id = %"req_1");
        ask(&store).instrument(request).await.unwrap_err();

        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let tasks = services::tasks::reconciler(&tracker, &stop, store.metrics(), Arc::new(SystemClock));
        let task = Task::new("sweep", "", Duration::from_hours(1));
        let asking = store.clone();
        let handle = tasks.start(task, move || {
            let store = asking.clone();
            async move {
                store.deadline(limit, store.find::<User>(&samples::id(1))).await?;
                Ok(Done::default())
            }
        });
        handle.watch().wait_for(|status| status.runs > 0).await.unwrap();
        stop.cancel();

        let call = "db.operation=\"read\" db.collection=\"users\"";
        let kept = kept.0.lock().unwrap();
        let told: Vec<_> = kept.iter().filter(|said| said.contains("db.operation")).collect();
        assert_eq!(told, [&format!("request_id=\"req_1\" {call}"), &format!("task=\"sweep\" {call}")]);
    }
}
