//! The cluster's settings.

use serde::Deserialize;

use super::{Act, Removable, ServiceError, Services, check_revision, difference, given};
use crate::{
    domain::{
        Revised, Revision,
        audit::Action,
        role::Permission,
        settings::{OutageAdmission, ProfileLifetime, ProfileLimit, Settings},
        text::Name,
    },
    store::settings::SETTINGS_KEY,
};

/// A change of the settings; what is absent stays.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SettingsPatch {
    /// The company, as people read it; `null` removes it.
    pub company_name: Removable<Name>,
    /// For how many days a new profile is valid.
    #[serde(deserialize_with = "given")]
    pub profile_lifetime_days: Option<ProfileLifetime>,
    /// How many active profiles a user may have.
    #[serde(deserialize_with = "given")]
    pub profiles_per_user: Option<ProfileLimit>,
    /// For how many hours hosts go on admitting people while the database is away.
    #[serde(deserialize_with = "given")]
    pub outage_admission_hours: Option<OutageAdmission>,
}

impl Services {
    /// The settings; the defaults, at revision zero, until somebody changes them.
    pub async fn settings(&self, act: &Act) -> Result<Revised<Settings>, ServiceError> {
        act.require(Permission::ManageSettings)?;
        let found = self.store().find::<Settings>(&SETTINGS_KEY).await?;
        Ok(found.unwrap_or(Revised { rev: Revision(0), value: Settings::default() }))
    }

    /// Changes the settings.
    pub async fn update_settings(
        &self,
        act: &Act,
        patch: SettingsPatch,
        expected: Option<Revision>,
    ) -> Result<Revised<Settings>, ServiceError> {
        act.require(Permission::ManageSettings)?;
        let patch = &patch;
        self.change(|tx| async move {
            let found = tx.find::<Settings>(&SETTINGS_KEY).await?;
            let absent = found.is_none();
            let found = found.unwrap_or(Revised { rev: Revision(0), value: Settings::default() });
            check_revision(&found, expected)?;
            let before = &found.value;
            let after = Settings {
                company_name: patch.company_name.over(before.company_name.as_ref()),
                profile_lifetime_days: patch.profile_lifetime_days.unwrap_or(before.profile_lifetime_days),
                profiles_per_user: patch.profiles_per_user.unwrap_or(before.profiles_per_user),
                outage_admission_hours: patch.outage_admission_hours.unwrap_or(before.outage_admission_hours),
            };
            if after == *before {
                return Ok(found);
            }
            if absent {
                tx.insert(&after).await?;
            } else {
                tx.replace(&after).await?;
            }
            let changes = difference(Some(before), Some(&after));
            tx.record(&self.entry(act, Action::SettingsUpdate, &SETTINGS_KEY, changes)).await?;
            Ok(Revised { rev: tx.rev(), value: after })
        })
        .await
    }
}
