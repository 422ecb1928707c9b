//! Who asks for something, in the course of which request.

use std::sync::{Arc, Mutex};

use crate::ServiceError;
use crate::access::effect::Trial;
use domain::audit::Actor;
use domain::ids::RequestId;
use domain::role::Permission;

/// Who asks, and in the course of which request.
#[derive(Debug, Clone)]
pub struct Act {
    /// Who.
    pub actor: Actor,
    /// Which request, for the audit log.
    pub request_id: Option<RequestId>,
    pub(crate) trial: Option<Trial>,
    pub(crate) warnings: Warnings,
}

/// What whoever acts should know, and what is no reason to refuse. All copies of an act share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    pub(crate) fn list(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Act {
    /// An act of Postern itself, or of a host, outside of any request.
    pub fn of(actor: Actor) -> Self {
        Self::by(actor, None)
    }

    /// An act in the course of a request.
    pub fn by(actor: Actor, request_id: Option<RequestId>) -> Self {
        Self { actor, request_id, trial: None, warnings: Warnings::default() }
    }

    /// The same act, to be tried only: what it would do comes to be known, and nothing is done. Verbs that change
    /// policy by `Core::change_by` can be tried; others take no notice.
    pub fn tried(&self) -> (Self, Trial) {
        let trial = Trial::default();
        (Self { trial: Some(trial.clone()), warnings: trial.warnings.clone(), ..self.clone() }, trial)
    }

    /// Tells whoever acts what they should know.
    pub(crate) fn warn(&self, sentence: String) {
        self.warnings.list().push(sentence);
    }

    /// What they were told.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.list().clone()
    }

    /// Whether it is tried only.
    pub fn is_tried(&self) -> bool {
        self.trial.is_some()
    }

    /// Refuses whoever lacks a right.
    pub fn require(&self, permission: Permission) -> Result<(), ServiceError> {
        if self.actor.may(permission) { Ok(()) } else { Err(ServiceError::Forbidden(described(permission))) }
    }
}

/// What a right allows, in words that follow "may".
pub fn described(permission: Permission) -> &'static str {
    match permission {
        Permission::Read => "see the cluster",
        Permission::ReadAudit => "read the audit log",
        Permission::ManageOrganizations => "manage organizations",
        Permission::ManageUsers => "manage users",
        Permission::ManageServers => "manage servers",
        Permission::ManageHosts => "manage hosts",
        Permission::EndSessions => "end sessions",
        Permission::ManageSettings => "manage settings",
        Permission::ManageTokens => "manage API tokens",
    }
}
