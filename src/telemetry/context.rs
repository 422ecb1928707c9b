//! In the course of what something is logged: the fields of the spans around it (request, trace, session, task).

use std::fmt;

use serde_json::Value;
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    layer::Context,
    registry::{LookupSpan, Scope},
};

use super::redact::redact;

/// The fields of one span, kept with it.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.0.push((field.name(), Value::String(redact(&text).into_owned())));
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

/// What the spans around an event say, the outermost first.
pub(super) fn around<S: Subscriber + for<'a> LookupSpan<'a>>(
    event: &tracing::Event<'_>,
    spans: &Context<'_, S>,
) -> Vec<(&'static str, Value)> {
    let scope = spans.event_scope(event).into_iter().flat_map(Scope::from_root);
    scope
        .flat_map(|span| span.extensions().get::<Fields>().map(|fields| fields.0.clone()).unwrap_or_default())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{Event, Instrument as _};
    use tracing_subscriber::{Layer, layer::SubscriberExt as _};

    use super::*;

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
}
