//! How a sign-in goes out: begun, refused and why, done, or only tested.

use jiff::Timestamp;

use crate::ServiceError;
use domain::login::ReturnPath;
use domain::role::Role;
use domain::secret::Secret;
use domain::text::{Comment, Email, Name};
use store::StoreError;

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

/// What a browser brought back from the provider.
#[derive(Debug)]
pub enum CameBack {
    /// Somebody who is signed in from now on.
    SignedIn(SignedIn),
    /// What would have come of it, since it was a dry run.
    Tested(Box<SignInTest>),
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
    /// The user administers nothing, so there is no console for it.
    #[error("this account has no role in the administration")]
    NoRole {
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

impl SignInRefusal {
    /// The word in the audit log.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::WrongCompany { .. } => "wrong_company",
            Self::NotVerified { .. } => "not_verified",
            Self::NoHostedDomain { .. } => "no_hosted_domain",
            Self::NotInvited { .. } => "not_invited",
            Self::NoRole { .. } => "no_role",
            Self::Disabled { .. } => "disabled",
            Self::OtherPerson { .. } => "other_person",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::NotConfigured => "not_configured",
            Self::ProviderAway { .. } => "provider_away",
            Self::Provider(_) => "provider",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// The code that a page shows for support, which never changes its meaning. What the provider refuses has the code of
    /// the defect; what is a problem of ours like any other has none here.
    pub fn code(&self) -> Option<&str> {
        Some(match self {
            Self::WrongCompany { .. } => "PST-AUTH-010",
            Self::NoHostedDomain { .. } => "PST-AUTH-011",
            Self::NotVerified { .. } => "PST-AUTH-012",
            Self::NotInvited { .. } => "PST-AUTH-013",
            Self::NoRole { .. } => "PST-AUTH-020",
            Self::Disabled { .. } => "PST-AUTH-014",
            Self::OtherPerson { .. } => "PST-AUTH-015",
            Self::Expired => "PST-AUTH-016",
            Self::Cancelled => "PST-AUTH-017",
            Self::NotConfigured => "PST-AUTH-018",
            Self::ProviderAway { .. } => "PST-AUTH-019",
            Self::Provider(code) => code,
            Self::Unavailable(_) => return None,
        })
    }

    /// Whether it says something about who asked, rather than about us.
    pub(crate) fn is_denial(&self) -> bool {
        !matches!(self, Self::NotConfigured | Self::ProviderAway { .. } | Self::Unavailable(_))
    }
}

impl From<StoreError> for SignInRefusal {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.into())
    }
}

/// What the provider and our rules say of an account.
#[derive(Debug)]
pub struct SignInTest {
    /// The account.
    pub account: Option<Email>,
    /// What would come of it on the public pages.
    pub portal: Result<Welcome, SignInRefusal>,
    /// What would come of it in the console.
    pub console: Result<Welcome, SignInRefusal>,
}

/// Whose user an account would become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Welcome {
    /// The one that signs in with it already.
    Known {
        /// What the user is called.
        name: Name,
        /// What the user may do.
        role: Role,
    },
    /// The one that was prepared under its address.
    Prepared {
        /// What the user is called.
        name: Name,
        /// What the user may do.
        role: Role,
    },
    /// A new one of this organization.
    New {
        /// Which one.
        organization: Name,
    },
}

/// A text from outside, for a page and the audit log: short, and plain ASCII.
pub(crate) fn cleaned(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(80).collect()
}
