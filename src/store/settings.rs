//! The cluster's settings: one document.

use serde::{Deserialize, Serialize};

use super::entity::Entity;
use crate::domain::{
    Revised, Revision,
    settings::{OutageAdmission, ProfileLifetime, ProfileLimit, Settings},
    text::Name,
};

/// The stored form. What it lacks has its default, so that a new setting needs no migration.
#[derive(Serialize, Deserialize)]
pub struct SettingsDoc {
    #[serde(rename = "_id")]
    id: String,
    rev: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    company_name: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile_lifetime_days: Option<ProfileLifetime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profiles_per_user: Option<ProfileLimit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outage_admission_hours: Option<OutageAdmission>,
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
            profile_lifetime_days: Some(self.profile_lifetime_days),
            profiles_per_user: Some(self.profiles_per_user),
            outage_admission_hours: Some(self.outage_admission_hours),
        }
    }

    fn from_doc(doc: SettingsDoc) -> Option<Revised<Self>> {
        let default = Self::default();
        let value = Self {
            company_name: doc.company_name,
            profile_lifetime_days: doc.profile_lifetime_days.unwrap_or(default.profile_lifetime_days),
            profiles_per_user: doc.profiles_per_user.unwrap_or(default.profiles_per_user),
            outage_admission_hours: doc.outage_admission_hours.unwrap_or(default.outage_admission_hours),
        };
        Some(Revised { rev: Revision(doc.rev), value })
    }
}
