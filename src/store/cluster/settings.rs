//! The cluster's settings: one document.

use std::collections::BTreeSet;

use mongodb::bson::Binary;
use serde::{Deserialize, Serialize};

use crate::entity::{Entity, binary};
use domain::ids::OrganizationId;
use domain::oidc::{Issuer, Oidc, SealedSecret};
use domain::settings::{OutageAdmission, ProfileLifetime, ProfileLimit, Retention, Settings};
use domain::text::{ClientId, Comment, DnsName, Name};
use domain::{Revised, Revision};

/// The stored form. What it lacks has its default, so that a new setting needs no migration.
#[derive(Serialize, Deserialize)]
pub struct SettingsDoc {
    #[serde(rename = "_id")]
    id: String,
    rev: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    company_name: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contact: Option<Comment>,
    #[serde(default)]
    oidc: OidcDoc,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile_lifetime_days: Option<ProfileLifetime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profiles_per_user: Option<ProfileLimit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outage_admission_hours: Option<OutageAdmission>,
    #[serde(default)]
    retention: Retention,
}

/// The stored form of the settings of sign-in.
#[derive(Default, Serialize, Deserialize)]
struct OidcDoc {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<Issuer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed_client_secret: Option<Binary>,
    #[serde(default)]
    allowed_domains: BTreeSet<DnsName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default_organization_id: Option<OrganizationId>,
    #[serde(default)]
    trust_email_domain: bool,
}

impl From<Oidc> for OidcDoc {
    fn from(oidc: Oidc) -> Self {
        Self {
            issuer: Some(oidc.issuer),
            client_id: oidc.client_id,
            sealed_client_secret: oidc.client_secret.map(|sealed| binary(&sealed.0)),
            allowed_domains: oidc.allowed_domains,
            default_organization_id: oidc.default_organization_id,
            trust_email_domain: oidc.trust_email_domain,
        }
    }
}

impl From<OidcDoc> for Oidc {
    fn from(doc: OidcDoc) -> Self {
        Self {
            issuer: doc.issuer.unwrap_or_default(),
            client_id: doc.client_id,
            client_secret: doc.sealed_client_secret.map(|sealed| SealedSecret(sealed.bytes)),
            allowed_domains: doc.allowed_domains,
            default_organization_id: doc.default_organization_id,
            trust_email_domain: doc.trust_email_domain,
        }
    }
}

/// The key of the one document.
pub const SETTINGS_KEY: &str = "settings";

impl Entity for Settings {
    const COLLECTION: &'static str = "settings";
    type Key = &'static str;
    type Doc = SettingsDoc;

    fn key(&self) -> &'static str {
        SETTINGS_KEY
    }

    fn to_doc(&self, rev: Revision) -> SettingsDoc {
        SettingsDoc {
            id: SETTINGS_KEY.to_owned(),
            rev: rev.0,
            company_name: self.company_name.clone(),
            contact: self.contact.clone(),
            oidc: self.oidc.clone().into(),
            profile_lifetime_days: Some(self.profile_lifetime_days),
            profiles_per_user: Some(self.profiles_per_user),
            outage_admission_hours: Some(self.outage_admission_hours),
            retention: self.retention,
        }
    }

    fn from_doc(doc: SettingsDoc) -> Option<Revised<Self>> {
        let default = Self::default();
        let value = Self {
            company_name: doc.company_name,
            contact: doc.contact,
            oidc: doc.oidc.into(),
            profile_lifetime_days: doc.profile_lifetime_days.unwrap_or(default.profile_lifetime_days),
            profiles_per_user: doc.profiles_per_user.unwrap_or(default.profiles_per_user),
            outage_admission_hours: doc.outage_admission_hours.unwrap_or(default.outage_admission_hours),
            retention: doc.retention,
        };
        Some(Revised { rev: Revision(doc.rev), value })
    }
}
