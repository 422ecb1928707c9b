//! Profiles: issue and revoke.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Act, ServiceError, Services, check_revision, difference};
use crate::{
    domain::{
        Revised, Revision,
        access::permits,
        audit::Action,
        host::Host,
        ids::{ProfileId, ServerId, UserId},
        profile::{Fingerprint, Profile, ProfileState},
        role::Permission,
        secret::Secret,
        server::Server,
        settings::Settings,
        text::Name,
        user::User,
    },
    openvpn::config::{ClientProfile, ProfileKeys, Remote},
    pki::request::LeafKey,
    store::{
        entity::{Page, PageRequest},
        profiles::ProfileFilter,
        settings::SETTINGS_KEY,
    },
};

const WHAT: &str = "profile";

/// How long an address may wait for its profile; issuing takes milliseconds.
const RESERVATION: SignedDuration = SignedDuration::from_mins(10);

/// A new profile of a user.
#[derive(Debug, Clone, Deserialize)]
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

impl Services {
    /// A page of profiles.
    pub async fn profiles(
        &self,
        act: &Act,
        filter: &ProfileFilter,
        page: &PageRequest,
    ) -> Result<Page<Revised<Profile>>, ServiceError> {
        act.require(Permission::Read)?;
        Ok(self.store().list_profiles(filter, page).await?)
    }

    /// One profile.
    pub async fn profile(&self, act: &Act, id: ProfileId) -> Result<Revised<Profile>, ServiceError> {
        act.require(Permission::Read)?;
        self.store().find::<Profile>(&id).await?.ok_or(ServiceError::NotFound(WHAT))
    }

    /// Issues a profile: key and certificate, an address of its own, and the file that lists every host.
    pub async fn issue_profile(&self, act: &Act, user: UserId, new: NewProfile) -> Result<IssuedProfile, ServiceError> {
        act.require(Permission::ManageUsers)?;
        let authorities = self.authorities().await?;
        let (server, hosts, settings) = tokio::try_join!(
            self.store().find::<Server>(&new.server_id),
            self.store().hosts_in_service(new.server_id),
            self.store().find::<Settings>(&SETTINGS_KEY),
        )?;
        let server = server.ok_or_else(|| ServiceError::invalid("server_id", "there is no such server"))?.value;
        let settings = &settings.map(|found| found.value).unwrap_or_default();

        let (id, now): (ProfileId, _) = (self.new_id(), self.now());
        let expires_at = expiry(now, settings).min(authorities.client.not_after());
        let key = LeafKey::generate()?;
        let certificate = authorities.client.issue_client(&key.public_key(), id, now, expires_at)?;
        let tls_crypt = authorities.tls_crypt.client_key(id.to_string().as_bytes())?;

        let remotes = remotes(&server, &hosts, id);
        if remotes.is_empty() {
            return Err(ServiceError::Conflict("server_id: no host runs this server yet; attach one first".into()));
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

        let full = || ServiceError::Conflict("server_id: every address of the server's network is taken".into());
        let address = self.store().reserve_address(server.id, server.network, id, now).await?.ok_or_else(full)?;
        let profile = &Profile {
            id,
            user_id: user,
            server_id: server.id,
            name: new.name,
            address,
            state: ProfileState::Active,
            issued_at: now,
            expires_at,
            revoked_at: None,
            last_connected_at: None,
            fingerprint: Fingerprint(certificate.fingerprint_sha256),
        };
        let added = self.add_profile(act, profile, settings).await;
        let rev = match added {
            Ok(rev) => rev,
            // It may have been added all the same; the sweep finds out.
            Err(unknown @ ServiceError::Unavailable(_)) => return Err(unknown),
            Err(refused) => {
                if let Err(error) = self.store().release_address(id).await {
                    tracing::warn!(profile.id = %id, %error, "an address stays reserved for a profile that was not made");
                }
                return Err(refused);
            }
        };
        Ok(IssuedProfile { profile: Revised { rev, value: profile.clone() }, config })
    }

    async fn add_profile(&self, act: &Act, profile: &Profile, settings: &Settings) -> Result<Revision, ServiceError> {
        let limit = u64::from(settings.profiles_per_user.get());
        self.change(|tx| async move {
            let user = tx.find::<User>(&profile.user_id).await?.ok_or(ServiceError::NotFound("user"))?.value;
            let server = tx.find::<Server>(&profile.server_id).await?;
            let server = server.ok_or_else(|| ServiceError::invalid("server_id", "there is no such server"))?.value;
            if !server.network.net().contains(&profile.address) {
                return Err(ServiceError::Conflict("the server's network was changed just now; try again".into()));
            }
            if user.disabled {
                return Err(ServiceError::Conflict("the user is disabled; enable the user first".into()));
            }
            if !permits(&server, user.organization_id, &user.groups) {
                return Err(ServiceError::Conflict("server_id: this server is not open to the user".into()));
            }
            if tx.active_profiles_of(user.id, limit).await? >= limit {
                let sentence = format!("the user has {limit} active profiles, the most allowed; revoke one first");
                return Err(ServiceError::Conflict(sentence));
            }
            tx.insert(profile).await?;
            tx.record(&self.entry(act, Action::ProfileIssue, &profile.id, difference(None, Some(profile)))).await?;
            Ok(tx.rev())
        })
        .await
    }

    /// Revokes a profile: its session ends, and it never connects again. Repeating it changes nothing.
    pub async fn revoke_profile(
        &self,
        act: &Act,
        id: ProfileId,
        expected: Option<Revision>,
    ) -> Result<Revised<Profile>, ServiceError> {
        act.require(Permission::ManageUsers)?;
        self.change(|tx| async move {
            let found = tx.find::<Profile>(&id).await?.ok_or(ServiceError::NotFound(WHAT))?;
            if found.value.state == ProfileState::Revoked {
                return Ok(found);
            }
            check_revision(&found, expected)?;
            let after = Profile { state: ProfileState::Revoked, revoked_at: Some(self.now()), ..found.value.clone() };
            tx.replace(&after).await?;
            tx.free_address(id).await?;
            let changes = difference(Some(&found.value), Some(&after));
            tx.record(&self.entry(act, Action::ProfileRevoke, &id, changes)).await?;
            Ok(Revised { rev: tx.rev(), value: after })
        })
        .await
    }

    /// Gives back addresses that were reserved a while ago for profiles that never came to be.
    pub async fn sweep_addresses(&self) -> Result<u64, ServiceError> {
        Ok(self.store().release_orphaned_addresses(self.now() - RESERVATION).await?)
    }
}

fn expiry(now: Timestamp, settings: &Settings) -> Timestamp {
    now + SignedDuration::from_hours(24 * i64::from(settings.profile_lifetime_days.get()))
}

/// A `remote` for each address of each host, in an order that is the profile's own. Engines that draw a remote "at
/// random" may all draw alike (OpenVPN 3 seeds with the second), so the draw is spread here.
fn remotes(server: &Server, hosts: &[Host], profile: ProfileId) -> Vec<Remote> {
    let mut remotes: Vec<_> = hosts
        .iter()
        .flat_map(|host| host.public_addresses.iter())
        .map(|address| {
            let rank: [u8; 32] =
                Sha256::new().chain_update(profile.to_bytes()).chain_update(address.to_string()).finalize().into();
            (rank, Remote { address: address.clone(), port: server.port, protocol: server.protocol })
        })
        .collect();
    remotes.sort_by_key(|(rank, _)| *rank);
    remotes.into_iter().map(|(_, remote)| remote).collect()
}
