//! Requests that were refused, in the audit log.
//!
//! Whoever is refused can ask again as often as they like, so what is recorded is bounded: so many in a minute for one
//! address, and so many for all. The first ones tell who tries; the log has a line for each.

use std::net::IpAddr;

use serde_json::json;

use crate::cluster::limits::Limit;
use crate::{Act, Evidence, SOON};
use domain::audit::{Action, Actor, AuditEntry};
use domain::ids::RequestId;
use store::StoreError;

/// A request that was refused.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// Who asked, if that is known.
    pub act: Option<&'a Act>,
    /// By which method.
    pub method: &'a str,
    /// For what: the pattern of the path, since the path itself may hold a secret.
    pub path: &'a str,
    /// Why not: the code of the answer.
    pub reason: &'static str,
    /// From where.
    pub address: IpAddr,
    /// Which request.
    pub request_id: RequestId,
}

impl Evidence<'_> {
    /// Records a refusal. It stands whether or not that works.
    pub async fn record_refusal(self, refusal: &Refusal<'_>) {
        let counted = self.cluster().limit_address(Limit::Refusal, refusal.address);
        if counted.and_then(|()| self.cluster().limit_everybody(Limit::AllRefusals)).is_err() {
            return;
        }
        let entry = self.refusal(refusal);
        match self.store().write(SOON, self.store().evidence().insert_audit(&entry)).await {
            Ok(()) | Err(StoreError::Paused) => {}
            Err(error) => {
                tracing::warn!(event = "audit.refusal_lost", %error, request_id = %refusal.request_id, "a refusal was not recorded");
            }
        }
    }

    /// Where nobody is known, the rule is the actor.
    fn refusal(self, refusal: &Refusal<'_>) -> AuditEntry {
        let nobody = Act { request_id: Some(refusal.request_id), ..Act::of(Actor::System("access")) };
        let changes = json!({
            "method": [null, refusal.method], "reason": [null, refusal.reason], "address": [null, refusal.address],
        });
        let entry = self.entry(refusal.act.unwrap_or(&nobody), Action::AccessDeny, &refusal.path, changes);
        AuditEntry { outcome: "denied".to_owned(), ..entry }
    }
}
