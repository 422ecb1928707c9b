//! What stands in the form of the settings, as text. The client secret is not in it: it can be set, never read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::ui::{
    conflict::Shown,
    fields::{Fields, Typed},
};
use domain::{ids::OrganizationId, settings::Settings, text::Name};
use services::{
    Removable,
    cluster::settings::{OidcPatch, RetentionPatch, SettingsPatch},
};

/// The fields, in their order, as the form names them.
pub(crate) const NAMES: [&str; 14] = [
    "company_name",
    "contact",
    "issuer",
    "client_id",
    "allowed_domains",
    "default_organization_id",
    "trust_email_domain",
    "profile_lifetime_days",
    "profiles_per_user",
    "outage_admission_hours",
    "address_days",
    "session_days",
    "departed_days",
    "audit_days",
];

/// What people call them.
const LABELS: [&str; 14] = [
    "Company",
    "Contact",
    "Issuer",
    "Client id",
    "Allowed domains",
    "Newcomers join",
    "Trust e-mail domains",
    "Days a profile is valid",
    "Profiles per user",
    "Hours of admission during an outage",
    "Days until addresses are shortened",
    "Days sessions are kept",
    "Days until sessions of people who left are nameless",
    "Days the audit trail is kept",
];

/// The form, field by field. It travels through pages as JSON to say what a form was filled from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SettingsForm(BTreeMap<String, String>);

impl SettingsForm {
    /// Filled from the settings.
    pub(crate) fn of(settings: &Settings) -> Self {
        let Settings { oidc, retention, .. } = settings;
        let optional = |value: Option<String>| value.unwrap_or_default();
        let values = [
            optional(settings.company_name.as_ref().map(ToString::to_string)),
            optional(settings.contact.as_ref().map(ToString::to_string)),
            oidc.issuer.as_str().to_owned(),
            optional(oidc.client_id.as_ref().map(ToString::to_string)),
            oidc.allowed_domains.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            optional(oidc.default_organization_id.as_ref().map(ToString::to_string)),
            optional(oidc.trust_email_domain.then(|| "yes".to_owned())),
            settings.profile_lifetime_days.get().to_string(),
            settings.profiles_per_user.get().to_string(),
            settings.outage_admission_hours.get().to_string(),
            retention.address_days.get().to_string(),
            retention.session_days.get().to_string(),
            retention.departed_days.get().to_string(),
            retention.audit_days.get().to_string(),
        ];
        Self(NAMES.map(ToOwned::to_owned).into_iter().zip(values).collect())
    }

    /// As it was typed.
    pub(crate) fn typed(fields: &Fields) -> Self {
        Self(NAMES.map(|name| (name.to_owned(), fields.text(name).to_owned())).into_iter().collect())
    }

    /// What stands in a field.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.0.get(field).map_or("", String::as_str)
    }

    /// As people read it. The organization is shown by its name.
    pub(crate) fn shown(&self, organizations: &[(OrganizationId, Name)]) -> Vec<Shown> {
        let value = |field: &str| match (field, self.text(field)) {
            ("default_organization_id", id) => {
                let chosen = organizations.iter().find(|(known, _)| known.to_string() == id);
                chosen.map(|(_, name)| name.to_string()).unwrap_or_default()
            }
            ("trust_email_domain", ticked) => if ticked.is_empty() { "no" } else { "yes" }.to_owned(),
            (_, text) => text.to_owned(),
        };
        NAMES.into_iter().zip(LABELS).map(|(field, label)| Shown { field, label, value: value(field) }).collect()
    }
}

/// The change that was typed; what cannot be read is noted at its field.
pub(crate) fn read(fields: &mut Fields) -> Option<SettingsPatch> {
    let patch = SettingsPatch {
        company_name: removable(fields.parse_optional("company_name", "The company")),
        contact: removable(fields.parse_optional("contact", "The contact")),
        oidc: oidc(fields),
        profile_lifetime_days: number(fields, "profile_lifetime_days", "The number of days"),
        profiles_per_user: number(fields, "profiles_per_user", "The number of profiles"),
        outage_admission_hours: number(fields, "outage_admission_hours", "The number of hours"),
        retention: RetentionPatch {
            address_days: number(fields, "address_days", "The number of days"),
            session_days: number(fields, "session_days", "The number of days"),
            departed_days: number(fields, "departed_days", "The number of days"),
            audit_days: number(fields, "audit_days", "The number of days"),
        },
    };
    fields.errors.is_empty().then_some(patch)
}

fn oidc(fields: &mut Fields) -> OidcPatch {
    let typed = fields.text("client_secret").to_owned();
    let client_secret = if fields.is_ticked("forget_secret") {
        Removable::Removed
    } else if typed.is_empty() {
        Removable::Kept
    } else {
        match serde_json::from_value(json!(typed)) {
            Ok(secret) => Removable::Set(secret),
            Err(error) => {
                fields.wrong("client_secret", &format!("The secret {error}"));
                Removable::Kept
            }
        }
    };
    OidcPatch {
        issuer: fields.parse("issuer", "The issuer"),
        client_id: removable(fields.parse_optional("client_id", "The client id")),
        client_secret,
        allowed_domains: Some(fields.parse_list("allowed_domains").into_iter().collect()),
        default_organization_id: removable(fields.parse_optional("default_organization_id", "The organization")),
        trust_email_domain: Some(fields.is_ticked("trust_email_domain")),
    }
}

/// A number within bounds, which must be there.
fn number<T: TryFrom<u32, Error = &'static str>>(fields: &mut Fields, field: &str, subject: &str) -> Option<T> {
    fields.parse::<Typed<T>>(field, subject).map(|typed| typed.0)
}

/// An empty field takes what was there away.
fn removable<T>(value: Option<T>) -> Removable<T> {
    value.map_or(Removable::Removed, Removable::Set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_sent_as_they_were_filled_and_nonsense_is_said_at_its_field() {
        let mut fields = Fields::default();
        let form = SettingsForm::of(&Settings::default());
        for name in NAMES {
            fields.replace(name, [form.text(name).to_owned()]);
        }
        assert_eq!(SettingsForm::typed(&fields), form);
        assert!(matches!(read(&mut fields).unwrap().oidc.client_secret, Removable::Kept));
        fields.replace("profile_lifetime_days", ["0".to_owned()]);
        fields.replace("issuer", ["google".to_owned()]);
        fields.replace("allowed_domains", ["example.com, @".to_owned()]);
        assert!(read(&mut fields).is_none());
        let places: Vec<_> = fields.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(places, ["issuer", "allowed_domains", "profile_lifetime_days"]);
    }
}
