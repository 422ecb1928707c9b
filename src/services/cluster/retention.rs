//! Forgetting: what is older than the settings allow is deleted, shortened, or made nameless.
//!
//! Login, tickets and the like carry their own end and go by themselves. The audit log is cut chain by chain, from its
//! beginning; what was cut is signed for in the same transaction, so that the rest can still be verified.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{Act, Cluster, ServiceError};
use domain::audit::{Action, Actor};
use domain::chain::Cut;
use domain::settings::Retention;
use store::StoreError;

/// How much was forgotten.
pub(crate) struct Forgotten {
    /// Addresses that were shortened.
    pub addresses: u64,
    /// Sessions that name nobody any more.
    pub departed: u64,
    /// Sessions that were deleted.
    pub sessions: u64,
    /// Entries of the audit log that were deleted.
    pub entries: u64,
}

impl Cluster<'_> {
    /// Forgets what is older than the settings allow.
    pub(crate) async fn forget_the_old(self) -> Result<Forgotten, ServiceError> {
        let Retention { address_days, session_days, departed_days, audit_days } =
            self.current_settings().await?.retention;
        let now = self.now();
        let ago = |days: u32| now.saturating_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(now);
        let store = self.store();
        Ok(Forgotten {
            sessions: store.cluster().delete_ended_sessions(ago(session_days.get())).await?,
            addresses: store.cluster().shorten_addresses(ago(address_days.get())).await?,
            departed: store.cluster().unname_departed(ago(departed_days.get()), now).await?,
            entries: self.cut_audit(ago(audit_days.get())).await?,
        })
    }

    /// Deletes what was recorded before a moment, from the beginning of each chain.
    async fn cut_audit(self, before: Timestamp) -> Result<u64, ServiceError> {
        // What goes is signed for first, so that a cut never hides what nobody vouched for.
        self.evidence().checkpoint().await?;
        let key = self.evidence().signing_key().await?;
        let mut deleted = 0;
        loop {
            let cuts = self.store().cluster().due_cuts(before).await?;
            let count: u64 = cuts.iter().map(|cut| cut.count).sum();
            if count == 0 {
                return Ok(deleted);
            }
            let last = self.store().evidence().last_statement().await?;
            let (signed, facts) = (&self.evidence().state(&key, last.as_ref(), Vec::new(), cuts.clone()), facts(&cuts));
            let act = Act::of(Actor::System("retention"));
            let (cuts, entry) = (&cuts, &self.entry(&act, Action::AuditExpire, &"audit", facts));
            self.store()
                .note(|tx| async move {
                    tx.evidence().insert_statement(signed).await?;
                    for cut in cuts {
                        tx.cluster().delete_cut(cut, before).await?;
                    }
                    tx.record(entry).await?;
                    Ok::<_, StoreError>(())
                })
                .await?;
            crate::evidence::audit::tell(signed);
            deleted += count;
        }
    }
}

/// What the audit log says about a cut of itself.
fn facts(cuts: &[Cut]) -> serde_json::Value {
    let count: u64 = cuts.iter().map(|cut| cut.count).sum();
    let (from, to) = (cuts.iter().map(|cut| cut.from).min(), cuts.iter().map(|cut| cut.to).max());
    json!({ "entries": [count, 0], "from": [from, null], "to": [to, null] })
}
