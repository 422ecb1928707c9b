//! Signing for the audit log, and looking whether it is what was signed for.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::ServiceError;
use crate::{Evidence, Missing};
use domain::chain::verify::{Report, Verifier};
use domain::chain::{Cut, Head, NOTHING, Signature, Signed, Statement};
use domain::ids::ChainId;
use keys::signing::SigningKey;
use store::StoreError;
use store::evidence::statements::TrailItem;

/// How much of the audit log is in memory on its way.
pub(super) const ON_THE_WAY: usize = 256;

impl Evidence<'_> {
    /// Signs for all that was recorded since the last time, and tells the log, so that a copy lies outside of the
    /// database. Nothing if nothing was, or if another process does so at this moment.
    ///
    /// # Errors
    /// [`ServiceError::Paused`] while the cluster is paused, [`ServiceError::NoMasterKey`] without a master key.
    pub async fn checkpoint(self) -> Result<Option<Signed>, ServiceError> {
        let key = self.signing_key().await?;
        let last = self.store().evidence().last_statement().await?;
        let heads = self.grown_heads().await?;
        if heads.is_empty() {
            return Ok(None);
        }
        let signed = &self.state(&key, last.as_ref(), heads, Vec::new());
        match self.store().note(|tx| async move { tx.evidence().insert_statement(signed).await }).await {
            Ok(()) => {}
            Err(StoreError::Conflict { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        tell(signed);
        Ok(Some(signed.clone()))
    }

    /// The heads of the chains that have grown since a statement named them.
    async fn grown_heads(self) -> Result<Vec<Head>, ServiceError> {
        let signed = self.store().evidence().signed_heads().await?;
        let signed: HashMap<ChainId, u64> = signed.into_iter().map(|head| (head.chain, head.seq)).collect();
        let mut heads = self.store().evidence().heads().await?;
        heads.retain(|head| signed.get(&head.chain).is_none_or(|seq| *seq < head.seq));
        heads.sort_unstable_by_key(|head| head.chain);
        Ok(heads)
    }

    /// The next statement.
    pub(crate) fn state(self, key: &SigningKey, last: Option<&Signed>, heads: Vec<Head>, cuts: Vec<Cut>) -> Signed {
        let statement = Statement {
            seq: last.map_or(0, |last| last.statement.seq) + 1,
            at: whole_milliseconds(self.now()),
            prev: last.map_or(NOTHING, |last| last.statement.hash()),
            key: key.public().name(),
            heads,
            cuts,
        };
        let signature = key.sign(&statement.to_bytes());
        Signed { statement, signature }
    }

    /// Verifies the whole audit log.
    ///
    /// A break is only told if a second reading shows it as well.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] before there is a key that could have signed.
    pub async fn verify_audit(self) -> Result<Report, ServiceError> {
        let first = self.read_and_verify().await?;
        if first.is_sound() {
            return Ok(first);
        }
        let report = self.read_and_verify().await?.confirming(&first);
        if report.is_sound() {
            let breaks = first.findings.len() as u64 + first.more_findings;
            tracing::warn!(
                target: "audit",
                event = "audit.not_confirmed",
                breaks,
                "a reading of the audit log showed breaks that a second one did not: the database may answer wrongly"
            );
        }
        Ok(report)
    }

    async fn read_and_verify(self) -> Result<Report, ServiceError> {
        let key = self.verifying_key().await?.ok_or(ServiceError::NotFound(Missing::AuditKey))?;
        // Asked before the audit log is read: a checkpoint that is made in between is read with the rest.
        let is_signed = self.store().evidence().is_trail_signed().await?;
        let (to, mut items) = mpsc::channel(ON_THE_WAY);
        let store = self.store().clone();
        let reading = async move { store.evidence().read_trail(None, &to).await };
        let check = |bytes: &[u8], signature: &Signature| key.verifies(bytes, signature);
        let folding = async {
            let verifier = Verifier::new(&check);
            let mut verifier = if is_signed { verifier } else { verifier.young() };
            while let Some(item) = items.recv().await {
                match item {
                    TrailItem::Statement(signed) => verifier.statement(&signed),
                    TrailItem::Entry(entry) => verifier.entry(&entry),
                }
            }
            verifier.finish()
        };
        let (read, report) = tokio::join!(reading, folding);
        read?;
        Ok(report)
    }
}

/// The copy outside of the database: one line that holds the statement as an export has it.
pub(crate) fn tell(signed: &Signed) {
    let statement = serde_json::to_string(signed).unwrap_or_default();
    tracing::info!(target: "audit", event = "audit.checkpoint", seq = signed.statement.seq, statement, "checkpoint");
}

fn whole_milliseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}
