//! What people do with their own profiles and sessions. What is not one's own does not exist.

use jiff::Timestamp;

use super::{
    ServiceError, Services,
    logins::Person,
    profiles::{IssuedProfile, NewProfile},
};
use crate::domain::{
    Revised,
    ids::{ProfileId, SessionId},
    profile::Profile,
    server::Server,
    session::Session,
    text::{HostName, Name},
};

/// A profile as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MyProfile {
    /// The profile.
    pub profile: Revised<Profile>,
    /// The server it leads to.
    pub server_name: Name,
    /// How it stands.
    pub status: MyProfileStatus,
    /// Why a new one would be better; absent if it would not.
    pub note: Option<Outdated>,
}

/// How a profile stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MyProfileStatus {
    /// It never connected.
    NeverUsed,
    /// It connects when asked to.
    Ready,
    /// It is connected.
    Connected {
        /// Through which host.
        host: HostName,
        /// Since when.
        since: Timestamp,
    },
    /// Another one took its place; it goes on working for a while.
    Replaced {
        /// Until when.
        until: Timestamp,
    },
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked {
        /// When.
        at: Timestamp,
    },
}

/// In what a profile differs from one that would be issued now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outdated {
    /// Hosts that it does not list yet.
    pub added: Vec<HostName>,
    /// Hosts that it lists and that no longer run the server.
    pub removed: Vec<HostName>,
    /// Whether anything else changed: port, protocol, the address of a host.
    pub other: bool,
}

/// A VPN session as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MySession {
    /// The session.
    pub session: Session,
    /// The profile that it connected with.
    pub profile_name: Name,
    /// The host that carries it.
    pub host_name: HostName,
}

impl Services {
    /// All profiles of the one who asks, the newest first.
    pub async fn my_profiles(&self, _: &Person) -> Result<Vec<MyProfile>, ServiceError> {
        Err(ServiceError::NoMasterKey)
    }

    /// One of them.
    pub async fn my_profile(&self, _: &Person, _: ProfileId) -> Result<MyProfile, ServiceError> {
        Err(ServiceError::NoMasterKey)
    }

    /// The servers that are open to the one who asks.
    pub async fn servers_for(&self, _: &Person) -> Result<Vec<Server>, ServiceError> {
        Err(ServiceError::NoMasterKey)
    }

    /// Issues a profile to the one who asks.
    pub async fn issue_own(&self, _: &Person, _: NewProfile) -> Result<IssuedProfile, ServiceError> {
        Err(ServiceError::NoMasterKey)
    }

    /// Issues a profile in the place of one, which goes on working for seven days.
    pub async fn replace_own(&self, _: &Person, _: ProfileId) -> Result<IssuedProfile, ServiceError> {
        Err(ServiceError::NoMasterKey)
    }

    /// Gives a profile another name.
    pub async fn rename_own(&self, _: &Person, _: ProfileId, _: Name) -> Result<Revised<Profile>, ServiceError> {
        Err(ServiceError::NoMasterKey)
    }

    /// Revokes a profile.
    pub async fn revoke_own(&self, _: &Person, _: ProfileId) -> Result<Revised<Profile>, ServiceError> {
        Err(ServiceError::NoMasterKey)
    }

    /// The live VPN sessions of the one who asks.
    pub async fn my_sessions(&self, _: &Person) -> Result<Vec<MySession>, ServiceError> {
        Err(ServiceError::NoMasterKey)
    }

    /// Ends one of them.
    pub async fn end_own_session(&self, _: &Person, _: SessionId) -> Result<(), ServiceError> {
        Err(ServiceError::NoMasterKey)
    }
}
