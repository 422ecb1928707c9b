//! The cluster's settings.

use std::collections::BTreeSet;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{Act, Cluster, InvalidReason, Removable, SOON, ServiceError, check_revision, difference, given};
use domain::audit::Action;
use domain::ids::OrganizationId;
use domain::oidc::{Issuer, Oidc, SealedSecret};
use domain::organization::Organization;
use domain::role::Permission;
use domain::secret::Secret;
use domain::settings::{
    AddressDays, AuditDays, DepartedDays, OutageAdmission, ProfileLifetime, ProfileLimit, Retention, SessionDays,
    Settings,
};
use domain::text::{ClientId, Comment, DnsName, Name};
use domain::{Revised, Revision};
use keys::seal::{Context, Sealed};
use store::cluster::settings::SETTINGS_KEY;

/// A change of the settings; what is absent stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsPatch {
    /// The company, as people read it; `null` removes it.
    #[serde(default)]
    #[schema(value_type = Option<Name>)]
    pub company_name: Removable<Name>,
    /// Whom people may ask; `null` removes it.
    #[serde(default)]
    #[schema(value_type = Option<Comment>)]
    pub contact: Removable<Comment>,
    /// How people sign in; what is absent stays.
    #[serde(default)]
    pub oidc: OidcPatch,
    /// For how many days a new profile is valid.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub profile_lifetime_days: Option<ProfileLifetime>,
    /// How many active profiles a user may have.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub profiles_per_user: Option<ProfileLimit>,
    /// For how many hours hosts go on admitting people while the database is away.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub outage_admission_hours: Option<OutageAdmission>,
    /// For how long what is about people is kept; what is absent stays.
    #[serde(default)]
    pub retention: RetentionPatch,
}

/// A change of how long what is about people is kept; what is absent stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionPatch {
    /// How many days after the end of a VPN session the address that it came from is shortened to its network.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub address_days: Option<AddressDays>,
    /// How many days after its end a VPN session is forgotten.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub session_days: Option<SessionDays>,
    /// How many days after the end of a VPN session it stops telling whose it was, if the account is gone by then.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub departed_days: Option<DepartedDays>,
    /// For how many days the audit log is kept.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub audit_days: Option<AuditDays>,
}

impl RetentionPatch {
    fn over(&self, before: &Retention) -> Retention {
        Retention {
            address_days: self.address_days.unwrap_or(before.address_days),
            session_days: self.session_days.unwrap_or(before.session_days),
            departed_days: self.departed_days.unwrap_or(before.departed_days),
            audit_days: self.audit_days.unwrap_or(before.audit_days),
        }
    }
}

/// A change of the settings of sign-in; what is absent stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcPatch {
    /// Who vouches for people. Another issuer never gets the secret that was meant for the one before.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub issuer: Option<Issuer>,
    /// Our name there; `null` switches sign-in off.
    #[serde(default)]
    #[schema(value_type = Option<ClientId>)]
    pub client_id: Removable<ClientId>,
    /// Our password there; `null` removes it. It can be set, never read.
    #[serde(default)]
    #[schema(value_type = Option<ClientSecret>)]
    pub client_secret: Removable<ClientSecret>,
    /// All domains from now on.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub allowed_domains: Option<BTreeSet<DnsName>>,
    /// Where people go whom nobody prepared; `null` lets only prepared people in.
    #[serde(default)]
    #[schema(value_type = Option<OrganizationId>)]
    pub default_organization_id: Removable<OrganizationId>,
    /// Whether the domain of a verified e-mail address stands for the company.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub trust_email_domain: Option<bool>,
}

/// A client secret on its way in: 1 to 1,000 characters.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, min_length = 1, max_length = 1000)]
pub struct ClientSecret(Secret<String>);

impl TryFrom<String> for ClientSecret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let secret = Secret::new(text);
        let length = secret.expose().chars().count();
        (1..=1000).contains(&length).then_some(Self(secret)).ok_or("must have 1 to 1000 characters")
    }
}

/// Where the client secret rests. The issuer is part of the place, so that the secret opens for no other one.
fn place(issuer: &Issuer) -> Context<'_> {
    Context { collection: "settings", id: issuer.as_str(), field: "oidc.client_secret" }
}

impl Cluster<'_> {
    /// The settings for Postern's own use.
    pub(crate) async fn current_settings(self) -> Result<Settings, ServiceError> {
        let found = self.store().deadline(SOON, self.store().find::<Settings>(&SETTINGS_KEY)).await?;
        Ok(found.map(|found| found.value).unwrap_or_default())
    }

    /// The client secret, opened.
    pub(crate) fn client_secret(self, oidc: &Oidc) -> Result<Option<Secret<String>>, ServiceError> {
        let Some(sealed) = &oidc.client_secret else { return Ok(None) };
        let opened = self.master_key()?.open(&place(&oidc.issuer), &Sealed::from(sealed.0.clone()))?;
        let text = std::str::from_utf8(&opened).map_err(|error| ServiceError::Internal(Box::new(error)))?;
        Ok(Some(Secret::new(text.to_owned())))
    }

    /// What becomes of the settings of sign-in.
    fn patched(self, before: &Oidc, patch: &OidcPatch) -> Result<Oidc, ServiceError> {
        let issuer = patch.issuer.clone().unwrap_or_else(|| before.issuer.clone());
        let client_secret = match &patch.client_secret {
            Removable::Set(ClientSecret(secret)) => {
                let sealed = self.master_key()?.seal(&place(&issuer), secret.expose().as_bytes());
                Some(SealedSecret(sealed.into_bytes()))
            }
            Removable::Kept if issuer == before.issuer => before.client_secret.clone(),
            Removable::Kept | Removable::Removed => None,
        };
        let after = Oidc {
            client_id: patch.client_id.over(before.client_id.as_ref()),
            client_secret,
            allowed_domains: patch.allowed_domains.clone().unwrap_or_else(|| before.allowed_domains.clone()),
            default_organization_id: patch.default_organization_id.over(before.default_organization_id.as_ref()),
            trust_email_domain: patch.trust_email_domain.unwrap_or(before.trust_email_domain),
            issuer,
        };
        if after.trust_email_domain && after.issuer.is_google() {
            return Err(ServiceError::invalid("oidc/trust_email_domain", InvalidReason::GoogleNamesCompany));
        }
        Ok(after)
    }

    /// The settings; the defaults, at revision zero, until somebody changes them.
    pub async fn settings(self, act: &Act) -> Result<Revised<Settings>, ServiceError> {
        act.require(Permission::ManageSettings)?;
        let found = self.store().find::<Settings>(&SETTINGS_KEY).await?;
        Ok(found.unwrap_or(Revised { rev: Revision(0), value: Settings::default() }))
    }

    /// Changes the settings.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`] for a change of how people sign in by anybody but an owner.
    pub async fn update_settings(
        self,
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
                contact: patch.contact.over(before.contact.as_ref()),
                oidc: self.patched(&before.oidc, &patch.oidc)?,
                profile_lifetime_days: patch.profile_lifetime_days.unwrap_or(before.profile_lifetime_days),
                profiles_per_user: patch.profiles_per_user.unwrap_or(before.profiles_per_user),
                outage_admission_hours: patch.outage_admission_hours.unwrap_or(before.outage_admission_hours),
                retention: patch.retention.over(&before.retention),
            };
            if after == *before {
                return Ok(found);
            }
            if after.oidc != before.oidc {
                act.require(Permission::ManageSignIn)?;
            }
            if let Some(organization) = after.oidc.default_organization_id
                && after.oidc.default_organization_id != before.oidc.default_organization_id
                && tx.find::<Organization>(&organization).await?.is_none()
            {
                let reason = InvalidReason::NoSuchOrganization { organization };
                return Err(ServiceError::invalid("oidc/default_organization_id", reason));
            }
            if absent {
                tx.insert(&after).await?;
            } else {
                tx.replace(&after).await?;
            }
            let mut changes = difference(Some(before), Some(&after));
            // That the secret is another one is worth an entry; what it is, is not.
            if after.oidc.client_secret != before.oidc.client_secret
                && let Some(fields) = changes.as_object_mut()
            {
                let said = |oidc: &Oidc| oidc.client_secret.as_ref().map(|_| "(not shown)");
                fields.insert(
                    "oidc.client_secret".to_owned(),
                    serde_json::json!([said(&before.oidc), said(&after.oidc)]),
                );
            }
            tx.record(&self.entry(act, Action::SettingsUpdate, &SETTINGS_KEY, changes)).await?;
            Ok(Revised { rev: tx.rev(), value: after })
        })
        .await
    }
}
