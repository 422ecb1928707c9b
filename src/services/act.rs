//! Who asks for something, in the course of which request.

use std::sync::{Arc, Mutex};

use crate::ServiceError;
use crate::access::effect::DryRun;
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
    pub(crate) dry_run: Option<DryRun>,
    pub(crate) warnings: Warnings,
}

/// Warnings for the actor that are no reason to refuse. All copies of an act share them.
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
        Self { actor, request_id, dry_run: None, warnings: Warnings::default() }
    }

    /// The same act as a dry run: its effect is computed, and nothing is done. Verbs that change policy by
    /// `Core::change_by` support it; others take no notice.
    pub fn as_dry_run(&self) -> (Self, DryRun) {
        let dry_run = DryRun::default();
        (Self { dry_run: Some(dry_run.clone()), warnings: dry_run.warnings.clone(), ..self.clone() }, dry_run)
    }

    /// Adds a warning for the actor.
    pub(crate) fn warn(&self, sentence: String) {
        self.warnings.list().push(sentence);
    }

    /// What they were told.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.list().clone()
    }

    /// Whether it is a dry run.
    pub fn is_tried(&self) -> bool {
        self.dry_run.is_some()
    }

    /// Refuses an actor that lacks a right.
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
        Permission::ManageSignIn => "change how people sign in (oidc): an owner may",
        Permission::ManageTokens => "manage API tokens",
    }
}
