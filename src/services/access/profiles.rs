//! Profiles: issue and revoke.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::people::users::check_profiles_of;
use crate::{Access, Act, InvalidReason, Missing, Refusal, SOON, ServiceError, check_revision, difference};
use domain::access::permits;
use domain::audit::Action;
use domain::ids::{ProfileId, ServerId, UserId};
use domain::profile::{Fingerprint, Profile, ProfileState, WrittenFor};
use domain::role::Permission;
use domain::secret::Secret;
use domain::server::Server;
use domain::settings::Settings;
use domain::text::Name;
use domain::ticket::ProfileTicket;
use domain::user::User;
use domain::{Revised, Revision};
use openvpn::config::{ClientProfile, ProfileKeys, Remote};
use pki::request::LeafKey;
use store::access::profiles::ProfileFilter;
use store::cluster::settings::SETTINGS_KEY;
use store::entity::{Page, PageRequest};
use store::network::server_keys::StoredServerKey;
use store::policy::PolicyChange;

/// How long an address may wait for its profile; issuing takes milliseconds.
const RESERVATION: SignedDuration = SignedDuration::from_mins(10);

/// A new profile of a user.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProfile {
    /// Where it leads.
    pub server_id: ServerId,
    /// The device, as its owner calls it.
    pub name: Name,
}

/// A profile that was just made, with the one copy of its file.
pub struct IssuedProfile {
    /// The profile.
    pub profile: Revised<Profile>,
    /// The file: the private key is in it and nowhere else.
    pub config: Secret<String>,
}

/// How long a profile goes on working after another one took its place.
pub const OVERLAP: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A profile to be issued, and what goes with it in the same change.
pub(crate) struct Issue<'a> {
    /// Whose it becomes.
    pub user: UserId,
    /// Where it leads.
    pub server: ServerId,
    /// What it is called.
    pub name: &'a Name,
    /// The profile of the same user whose place it takes.
    pub replaces: Option<ProfileId>,
    /// The hash of the one-time ticket that it is issued for, which is spent by it.
    pub ticket: Option<&'a [u8; 32]>,
}

impl Access<'_> {
    /// A page of profiles.
    pub async fn profiles(
        self,
        act: &Act,
        filter: &ProfileFilter,
        page: &PageRequest,
    ) -> Result<Page<Revised<Profile>>, ServiceError> {
        act.require(Permission::Read)?;
        Ok(self.store().access().list_profiles(filter, page).await?)
    }

    /// One profile.
    pub async fn profile(self, act: &Act, id: ProfileId) -> Result<Revised<Profile>, ServiceError> {
        act.require(Permission::Read)?;
        self.store().access().find_profile(id).await?.ok_or(ServiceError::NotFound(Missing::Profile))
    }

    /// Issues a profile: key and certificate, an address of its own, and the file that lists every host.
    pub async fn issue_profile(self, act: &Act, user: UserId, new: NewProfile) -> Result<IssuedProfile, ServiceError> {
        act.require(Permission::ManageUsers)?;
        let NewProfile { server_id, name } = &new;
        self.issue(act, &Issue { user, server: *server_id, name, replaces: None, ticket: None }).await
    }

    /// Issues a profile for whoever may have it; that the asker may is for the caller to know.
    pub(crate) async fn issue(self, act: &Act, issue: &Issue<'_>) -> Result<IssuedProfile, ServiceError> {
        let authorities = self.network().authorities().await?;
        let servers = [issue.server];
        let reads = async {
            tokio::try_join!(
                self.store().find::<Server>(&issue.server),
                self.store().hosts().attached_hosts(&servers),
                self.store().find::<Settings>(&SETTINGS_KEY),
                self.store().find::<StoredServerKey>(&issue.server),
            )
        };
        let (server, attached, settings, server_key) = self.store().deadline(SOON, reads).await?;
        let server = server.ok_or_else(|| ServiceError::invalid("server_id", InvalidReason::NoSuchServer))?.value;
        let hosts = attached.get(&server.id).map(Vec::as_slice).unwrap_or_default();
        let written_for = WrittenFor::now(&server, hosts);
        let settings = &settings.map(|found| found.value).unwrap_or_default();

        let (id, now): (ProfileId, _) = (self.new_id(), self.now());
        let expires_at = expiry(now, settings).min(authorities.client.not_after());
        let key = LeafKey::generate()?;
        let certificate = authorities.client.issue_client(&key.public_key(), id, now, expires_at)?;
        let server_key = server_key.map(|found| found.value);
        let wrapping = self.network().open_server_key(&authorities, server_key.as_ref())?;
        let tls_crypt = wrapping.client_key(id.to_string().as_bytes())?;

        let remotes = remotes(&written_for, id);
        if remotes.is_empty() {
            return Err(ServiceError::Conflict(Refusal::NoHostRuns));
        }
        let key_pem = key.pem();
        let keys = ProfileKeys {
            authorities: &authorities.server_roots,
            certificate: &certificate.pem,
            key: key_pem.expose(),
            tls_crypt: tls_crypt.pem(),
        };
        let config = ClientProfile::new(&remotes, &authorities.server_name, keys).and_then(|file| file.to_text());
        let config = Secret::new(config.map_err(|error| ServiceError::Internal(Box::new(error)))?);

        let address = self.store().access().reserve_address(server.id, server.network, id, now).await?;
        let address = address.ok_or(Refusal::NetworkFull)?;
        let profile = &Profile {
            id,
            user_id: issue.user,
            server_id: server.id,
            name: issue.name.clone(),
            address,
            state: ProfileState::Active,
            issued_at: now,
            expires_at,
            revoked_at: None,
            last_connected_at: None,
            replaced_by: None,
            fingerprint: Fingerprint(certificate.fingerprint_sha256),
            written_for: Some(written_for),
        };
        let added = self.add_profile(act, profile, issue, settings, server_key.as_ref()).await;
        let rev = match added {
            Ok(rev) => rev,
            // It may have been added all the same; the sweep finds out.
            Err(unknown @ ServiceError::Unavailable(_)) => return Err(unknown),
            Err(refused) => {
                if let Err(error) = self.store().access().release_address(id).await {
                    tracing::warn!(event = "profile.address_kept", profile.id = %id, %error,
                        "an address stays reserved for a profile that was not made");
                }
                return Err(refused);
            }
        };
        Ok(IssuedProfile { profile: Revised { rev, value: profile.clone() }, config })
    }

    async fn add_profile(
        self,
        act: &Act,
        profile: &Profile,
        issue: &Issue<'_>,
        settings: &Settings,
        server_key: Option<&StoredServerKey>,
    ) -> Result<Revision, ServiceError> {
        let sealed = server_key.and_then(|key| key.sealed.as_ref());
        let limit = u64::from(settings.profiles_per_user.get());
        self.change(|tx| async move {
            if let Some(hash) = issue.ticket
                && !tx.identity().spend_ticket::<ProfileTicket>(hash, self.now()).await?
            {
                return Err(ServiceError::NotFound(Missing::Link));
            }
            let user = tx.find::<User>(&profile.user_id).await?.ok_or(ServiceError::NotFound(Missing::User))?.value;
            check_profiles_of(act, &user)?;
            let server = tx.find::<Server>(&profile.server_id).await?;
            let server = server.ok_or_else(|| ServiceError::invalid("server_id", InvalidReason::NoSuchServer))?.value;
            if !server.network.net().contains(&profile.address) {
                return Err(ServiceError::Conflict(Refusal::NetworkChanged));
            }
            let now_sealed = tx.find::<StoredServerKey>(&server.id).await?.and_then(|found| found.value.sealed);
            if now_sealed.as_ref() != sealed {
                return Err(ServiceError::Conflict(Refusal::KeyRotated));
            }
            if user.disabled {
                return Err(ServiceError::Conflict(Refusal::UserDisabled));
            }
            if !permits(&server, user.organization_id, &user.groups) {
                return Err(ServiceError::Conflict(Refusal::ServerNotOpen));
            }
            if let Some(old) = issue.replaces {
                replace(&tx, old, profile).await?;
            }
            if tx.people().active_profiles_of(user.id, profile.issued_at, limit).await? >= limit {
                return Err(ServiceError::Conflict(Refusal::ProfileLimit { limit }));
            }
            tx.insert(profile).await?;
            let mut changes = difference(None, Some(profile));
            if let (Some(fields), Some(old)) = (changes.as_object_mut(), issue.replaces) {
                fields.insert("replaces".to_owned(), serde_json::json!([null, old]));
            }
            tx.record(&self.entry(act, Action::ProfileIssue, &profile.id, changes)).await?;
            Ok(tx.rev())
        })
        .await
    }

    /// Revokes a profile: its session ends, and it never connects again. Repeating it changes nothing.
    pub async fn revoke_profile(
        self,
        act: &Act,
        id: ProfileId,
        expected: Option<Revision>,
    ) -> Result<Revised<Profile>, ServiceError> {
        act.require(Permission::ManageUsers)?;
        self.revoke(act, id, None, expected).await
    }

    /// Revokes a profile; of `owner` only, if one is given.
    pub(crate) async fn revoke(
        self,
        act: &Act,
        id: ProfileId,
        owner: Option<UserId>,
        expected: Option<Revision>,
    ) -> Result<Revised<Profile>, ServiceError> {
        self.change(|tx| async move {
            let found = match owner {
                Some(owner) => tx.access().profile_of(owner, id).await?,
                None => tx.find::<Profile>(&id).await?,
            };
            let found = found.ok_or(ServiceError::NotFound(Missing::Profile))?;
            if let Some(user) = tx.find::<User>(&found.value.user_id).await? {
                check_profiles_of(act, &user.value)?;
            }
            if found.value.state == ProfileState::Revoked {
                return Ok(found);
            }
            check_revision(&found, expected)?;
            let after = Profile { state: ProfileState::Revoked, revoked_at: Some(self.now()), ..found.value.clone() };
            tx.replace(&after).await?;
            tx.access().free_address(id).await?;
            let changes = difference(Some(&found.value), Some(&after));
            tx.record(&self.entry(act, Action::ProfileRevoke, &id, changes)).await?;
            Ok(Revised { rev: tx.rev(), value: after })
        })
        .await
    }

    /// Gives back addresses that were reserved a while ago for profiles that never came to be.
    pub async fn sweep_addresses(self) -> Result<u64, ServiceError> {
        Ok(self.store().access().release_orphaned_addresses(self.now() - RESERVATION).await?)
    }
}

fn expiry(now: Timestamp, settings: &Settings) -> Timestamp {
    now + SignedDuration::from_hours(24 * i64::from(settings.profile_lifetime_days.get()))
}

/// Lets `new` take the place of an older profile of the same user and server, which goes on working for a while.
async fn replace(tx: &PolicyChange, old: ProfileId, new: &Profile) -> Result<(), ServiceError> {
    let old = tx.access().profile_of(new.user_id, old).await?.ok_or(ServiceError::NotFound(Missing::Profile))?.value;
    if old.replaced_by.is_some() || old.state == ProfileState::Revoked {
        return Err(ServiceError::Conflict(Refusal::ProfileOver));
    }
    let expires_at = old.expires_at.min(new.issued_at + OVERLAP);
    tx.replace(&Profile { replaced_by: Some(new.id), expires_at, ..old }).await?;
    Ok(())
}

/// A `remote` for each address of each host, in an order that is the profile's own. Engines that draw a remote "at
/// random" may all draw alike (OpenVPN 3 seeds with the second), so the draw is spread here.
fn remotes(file: &WrittenFor, profile: ProfileId) -> Vec<Remote> {
    let mut remotes: Vec<_> = file
        .hosts
        .iter()
        .flat_map(|host| host.addresses.iter())
        .map(|address| {
            let rank: [u8; 32] =
                Sha256::new().chain_update(profile.to_bytes()).chain_update(address.to_string()).finalize().into();
            (rank, Remote { address: address.clone(), port: file.port, protocol: file.protocol })
        })
        .collect();
    remotes.sort_by_key(|(rank, _)| *rank);
    remotes.into_iter().map(|(_, remote)| remote).collect()
}
