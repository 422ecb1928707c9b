//! Browser sign-ins: begun on one host, finished on another, used on a third.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{Act, ServiceError, Services};
use crate::domain::{
    audit::Actor,
    ids::{LoginId, RequestId},
    login::ReturnPath,
    secret::Secret,
    text::{Comment, Email, Name},
    user::User,
};

/// What is known of a browser.
#[derive(Debug, Clone)]
pub struct Browser {
    /// Family and major version only, for instance `Firefox 140`.
    pub label: String,
    /// From where it asks.
    pub address: IpAddr,
    /// In the course of which request, for the trail.
    pub request_id: Option<RequestId>,
}

/// A sign-in that was begun.
#[derive(Debug)]
pub struct SignInStart {
    /// Where to send the browser.
    pub redirect: String,
    /// The value of the pre-login cookie; good for ten minutes.
    pub cookie: Secret<String>,
}

/// What the identity provider's redirect brought.
#[derive(Debug, Clone, Default)]
pub struct CallbackAnswer {
    /// `state`.
    pub state: Option<String>,
    /// `code`.
    pub code: Option<String>,
    /// `iss` (RFC 9207).
    pub iss: Option<String>,
    /// `error`.
    pub error: Option<String>,
}

/// A sign-in that succeeded.
#[derive(Debug)]
pub struct SignedIn {
    /// The value of the login cookie.
    pub cookie: Secret<String>,
    /// Where to go.
    pub return_to: ReturnPath,
}

/// Why nobody was signed in. Each has a page of its own, with whom to ask.
#[derive(Debug, thiserror::Error)]
pub enum SignInRefusal {
    /// The account belongs to another company.
    #[error("this account does not belong to the company")]
    WrongCompany {
        /// Which account.
        account: Option<Email>,
    },
    /// The provider has not verified the account's e-mail address.
    #[error("the e-mail address of this account is not verified")]
    NotVerified {
        /// Which account.
        account: Option<Email>,
    },
    /// The account belongs to no company: a private one.
    #[error("this is a private account")]
    NoHostedDomain {
        /// Which account.
        account: Option<Email>,
    },
    /// Nobody prepared a user for this account, and newcomers have no organization to go to.
    #[error("nobody has invited this account")]
    NotInvited {
        /// Which account.
        account: Option<Email>,
    },
    /// The user is disabled.
    #[error("this account is disabled")]
    Disabled {
        /// Which account.
        account: Option<Email>,
    },
    /// The e-mail address belongs to a user who signs in with another account.
    #[error("this e-mail address belongs to another account")]
    OtherPerson {
        /// Which account.
        account: Option<Email>,
    },
    /// The sign-in was not begun in this browser, or too long ago, or is already finished.
    #[error("this sign-in has expired")]
    Expired,
    /// The person, or the provider, ended the sign-in.
    #[error("the sign-in was cancelled")]
    Cancelled,
    /// Sign-in is not set up.
    #[error("sign-in is not set up")]
    NotConfigured,
    /// The provider cannot be reached.
    #[error("the identity provider cannot be reached")]
    ProviderAway {
        /// Since when.
        since: Timestamp,
    },
    /// The provider's answer is refused; a stable code for support.
    #[error("the identity provider's answer cannot be used ({0})")]
    Provider(String),
    /// Our side.
    #[error(transparent)]
    Unavailable(#[from] ServiceError),
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who.
    pub user: User,
    /// By which login.
    pub login: LoginId,
    /// The token that forms carry, bound to the login (SEC-CSRF-01).
    pub form_token: String,
    /// In the course of which request, for the trail; whoever answers one sets it.
    pub request_id: Option<RequestId>,
}

impl Person {
    /// The person as one who acts.
    pub fn act(&self) -> Act {
        Act { actor: Actor::Person { user: self.user.id, login: self.login }, request_id: self.request_id }
    }

    /// Whether a form was made for this login; in constant time.
    pub fn is_own_form(&self, token: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        self.form_token.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

/// A login as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginView {
    /// Its id.
    pub id: LoginId,
    /// Which browser.
    pub label: String,
    /// From where.
    pub address: IpAddr,
    /// Since when.
    pub since: Timestamp,
    /// When it was last used, to the minute.
    pub seen_at: Timestamp,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// What the sign-in page says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInFacts {
    /// The company.
    pub company_name: Option<Name>,
    /// Whom to ask.
    pub contact: Option<Comment>,
    /// The issuer's identifier, if sign-in is set up.
    pub issuer: Option<String>,
    /// Whether that is Google.
    pub is_google: bool,
    /// Since when the issuer cannot be reached from here.
    pub away_since: Option<Timestamp>,
}

impl Services {
    /// Tells under which URL browsers reach the public pages; the first word counts.
    pub fn set_public_url(&self, url: &str) {
        drop(self.0.public_url.set(url.trim_end_matches('/').into()));
    }

    /// What the sign-in page says, also while the database is away (then nothing is known).
    pub async fn sign_in_facts(&self) -> Result<SignInFacts, ServiceError> {
        Err(ServiceError::NoMasterKey)
    }

    /// Begins a sign-in.
    pub async fn start_sign_in(&self, _: ReturnPath, _: &Browser) -> Result<SignInStart, SignInRefusal> {
        Err(SignInRefusal::NotConfigured)
    }

    /// Finishes a sign-in; `cookie` is the pre-login cookie.
    pub async fn complete_sign_in(
        &self,
        _: &CallbackAnswer,
        _cookie: Option<&str>,
        _: &Browser,
    ) -> Result<SignedIn, SignInRefusal> {
        Err(SignInRefusal::NotConfigured)
    }

    /// Whose login cookie this is; nobody's if it is over.
    pub async fn person(&self, _cookie: &str) -> Result<Option<Person>, ServiceError> {
        Ok(None)
    }

    /// Ends the login that asks.
    pub async fn sign_out(&self, _: &Person) -> Result<(), ServiceError> {
        Err(ServiceError::NoMasterKey)
    }

    /// All logins of the one who asks, the newest first.
    pub async fn logins_of(&self, _: &Person) -> Result<Vec<LoginView>, ServiceError> {
        Err(ServiceError::NoMasterKey)
    }

    /// Ends a login of the one who asks.
    pub async fn end_login(&self, _: &Person, _: LoginId) -> Result<(), ServiceError> {
        Err(ServiceError::NoMasterKey)
    }

    /// Ends all logins of the one who asks but the one that asks; answers how many.
    pub async fn end_other_logins(&self, _: &Person) -> Result<u64, ServiceError> {
        Err(ServiceError::NoMasterKey)
    }
}
