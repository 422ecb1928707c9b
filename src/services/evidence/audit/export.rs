//! The audit log on its way out, line by line.

use std::collections::BTreeMap;

use serde_json::json;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::statements::ON_THE_WAY;
use super::{Act, ServiceError};
use crate::Evidence;
use domain::audit::Action;
use domain::chain::lines::{Beginning, Ending, FORMAT, Line};
use domain::role::Permission;
use store::StoreError;
use store::evidence::audit::AuditFilter;
use store::evidence::statements::TrailItem;

/// An export that is being read.
pub struct AuditExport {
    beginning: Option<Beginning>,
    items: mpsc::Receiver<TrailItem>,
    reading: Option<tokio::task::JoinHandle<Result<(), StoreError>>>,
    ending: Ending,
}

impl Evidence<'_> {
    /// Begins an export of the audit log as of this moment: all of it, signed to its end, in the form that can be verified,
    /// or what a filter lets through. That it was asked for is recorded.
    pub async fn export_audit(self, act: &Act, filter: AuditFilter) -> Result<AuditExport, ServiceError> {
        act.require(Permission::ReadAudit)?;
        let words = words(&filter);
        self.store()
            .evidence()
            .insert_audit(&self.entry(act, Action::AuditExport, &"audit", json!({ "filter": words })))
            .await?;
        let filter = Some(filter).filter(|filter| *filter != AuditFilter::default());
        if filter.is_none() {
            self.checkpoint().await?;
        }
        let cluster = self.store().access().cluster_id().await?;
        let (to, items) = mpsc::channel(ON_THE_WAY);
        let store = self.store().clone();
        #[expect(clippy::disallowed_methods, reason = "it ends with the receiver of what it reads")]
        let reading =
            tokio::spawn(async move { store.evidence().read_trail(filter.as_ref(), &to).await }.in_current_span());
        Ok(AuditExport {
            beginning: Some(Beginning { format: FORMAT, cluster, at: self.now(), filter: words }),
            items,
            reading: Some(reading),
            ending: Ending::default(),
        })
    }
}

impl AuditExport {
    /// The next line; nothing after the last one, and nothing after an error.
    pub async fn next(&mut self) -> Option<Result<Line, ServiceError>> {
        if let Some(beginning) = self.beginning.take() {
            return Some(Ok(Line::Export(beginning)));
        }
        match self.items.recv().await {
            Some(TrailItem::Statement(signed)) => {
                self.ending.statements += 1;
                Some(Ok(Line::Statement(signed)))
            }
            Some(TrailItem::Entry(entry)) => {
                self.ending.entries += 1;
                Some(Ok(Line::Entry(entry)))
            }
            // Only a reader that came to the end may say so.
            None => Some(match self.reading.take()?.await {
                Ok(Ok(())) => Ok(Line::End(self.ending)),
                Ok(Err(error)) => Err(error.into()),
                Err(panicked) => Err(ServiceError::Internal(Box::new(panicked))),
            }),
        }
    }
}

/// A filter as the API spells it.
fn words(filter: &AuditFilter) -> BTreeMap<String, String> {
    let AuditFilter { actor, object, action, outcome, after, before } = filter;
    let moment = |at: &Option<jiff::Timestamp>| at.map(|at| at.to_string());
    let fields = [
        ("actor", actor.clone()),
        ("object", object.clone()),
        ("action", action.clone()),
        ("outcome", outcome.clone()),
        ("after", moment(after)),
        ("before", moment(before)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
