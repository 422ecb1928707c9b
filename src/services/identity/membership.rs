//! Whether an account is one of the company's, by what the token says of it and never by what was asked for; and whose
//! user it becomes at the first sign-in: the one prepared under its address, or a new one, and never one that signs in
//! with another account.

use std::collections::BTreeSet;

use crate::identity::logins::Browser;
use crate::identity::outcome::SignInRefusal;
use crate::{Act, Identities, SOON, difference};
use domain::audit::{Action, Actor};
use domain::ids::{OrganizationId, UserId};
use domain::oidc::Oidc;
use domain::organization::Organization;
use domain::role::Role;
use domain::text::{Email, Name};
use domain::user::{Identity, User};
use oidc::VerifiedIdentity;
use store::policy::PolicyChange;

/// The verified e-mail address of an account of the company.
///
/// The company is the token's `hd`, letter by letter (SEC-OIDC-06). The domain of the e-mail address is not asked: it
/// can pass to another owner (SEC-OIDC-07). The one exception is for issuers that have no `hd` and only accounts of
/// the company; an administrator switches it on, and Google never counts as one.
///
/// # Errors
/// The refusal that tells the person why not.
pub(crate) fn check_membership(identity: &VerifiedIdentity, oidc: &Oidc) -> Result<Email, SignInRefusal> {
    let account = || identity.email.clone();
    let email = identity.email.as_ref().filter(|_| identity.email_verified);
    let email = email.ok_or_else(|| SignInRefusal::NotVerified { account: account() })?;
    let by_email = oidc.trust_email_domain && !oidc.issuer.is_google();
    let domain = match &identity.hosted_domain {
        Some(domain) => domain.as_str(),
        None if by_email => email.domain(),
        None => return Err(SignInRefusal::NoHostedDomain { account: account() }),
    };
    if oidc.allows(domain) { Ok(email.clone()) } else { Err(SignInRefusal::WrongCompany { account: account() }) }
}

impl Identities<'_> {
    /// The user whose account this is; at the first sign-in the one that was prepared for it, or a new one of the
    /// organization that takes newcomers, if one does.
    pub(crate) async fn user_of(
        self,
        identity: &Identity,
        email: &Email,
        account: &VerifiedIdentity,
        organization: Option<OrganizationId>,
        browser: &Browser,
    ) -> Result<User, SignInRefusal> {
        let known = self.store().deadline(SOON, self.store().people().find_user_by_identity(identity)).await?;
        if let Some(user) = known {
            return Ok(user);
        }
        let name = account.name.clone();
        let newcomer = &Newcomer { identity, email, name, organization, browser };
        self.change_or(|tx| async move { self.first_sign_in(&tx, newcomer).await }).await
    }

    /// Claims or makes a user, inside a change. Nobody's user is taken over: one with an account stays that account's.
    async fn first_sign_in(self, tx: &PolicyChange, newcomer: &Newcomer<'_>) -> Result<User, SignInRefusal> {
        let Newcomer { identity, email, browser, .. } = newcomer;
        let account = || Some((*email).clone());
        // Another callback of the same person may have been quicker.
        if let Some(found) = tx.people().user_by_identity(identity).await? {
            return Ok(found.value);
        }
        let act = |user: UserId| Act::by(Actor::Holder(user), browser.request_id);
        let Some(prepared) = tx.people().user_by_email(email).await? else {
            let organization = newcomer.organization.ok_or(SignInRefusal::NotInvited { account: account() })?;
            if tx.find::<Organization>(&organization).await?.is_none() {
                return Err(SignInRefusal::NotInvited { account: account() });
            }
            let user = newcomer.user(self.new_id(), organization);
            tx.insert(&user).await?;
            let entry = self.entry(&act(user.id), Action::UserCreate, &user.id, difference(None, Some(&user)));
            tx.record(&entry).await?;
            return Ok(user);
        };
        let prepared = prepared.value;
        if prepared.identity.is_some() {
            return Err(SignInRefusal::OtherPerson { account: account() });
        }
        if prepared.disabled {
            return Err(SignInRefusal::Disabled { account: account() });
        }
        let claimed = User { identity: Some((*identity).clone()), ..prepared.clone() };
        tx.replace(&claimed).await?;
        let changes = difference(Some(&prepared), Some(&claimed));
        tx.record(&self.entry(&act(claimed.id), Action::UserClaim, &claimed.id, changes)).await?;
        Ok(claimed)
    }
}

/// Somebody at the first sign-in.
struct Newcomer<'a> {
    identity: &'a Identity,
    email: &'a Email,
    name: Option<Name>,
    organization: Option<OrganizationId>,
    browser: &'a Browser,
}

impl Newcomer<'_> {
    fn user(&self, id: UserId, organization_id: OrganizationId) -> User {
        User {
            id,
            organization_id,
            name: self.name.clone().unwrap_or_else(|| self.email.local_part()),
            email: Some(self.email.clone()),
            groups: BTreeSet::new(),
            role: Role::User,
            disabled: false,
            identity: Some(self.identity.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oidc(issuer: &str, trust_email_domain: bool) -> Oidc {
        Oidc {
            issuer: issuer.parse().unwrap(),
            allowed_domains: ["example.com".parse().unwrap()].into(),
            trust_email_domain,
            ..Oidc::default()
        }
    }

    fn check(hosted_domain: Option<&str>, email: Option<&str>, verified: bool, oidc: &Oidc) -> &'static str {
        let identity = VerifiedIdentity {
            issuer: oidc.issuer.as_str().to_owned(),
            subject: "1".to_owned(),
            email: email.map(|email| email.parse().unwrap()),
            email_verified: verified,
            hosted_domain: hosted_domain.map(str::to_owned),
            name: None,
        };
        check_membership(&identity, oidc).map_or_else(|refusal| refusal.as_str(), |_email| "member")
    }

    #[test]
    fn only_the_tokens_hosted_domain_makes_a_member() {
        let google = &oidc("https://accounts.google.com", true);
        assert_eq!(check(Some("example.com"), Some("ana@example.com"), true, google), "member");
        // A second domain of the same company has its mailboxes elsewhere.
        assert_eq!(check(Some("example.com"), Some("ana@example.org"), true, google), "member");
        for other in
            ["evil.example", "sub.example.com", "Example.com", "example.com.", "example.co", "", "xexample.com"]
        {
            assert_eq!(check(Some(other), Some("ana@example.com"), true, google), "wrong_company", "{other:?}");
        }
        assert_eq!(check(None, Some("ana@example.com"), true, google), "no_hosted_domain");
    }

    #[test]
    fn an_unverified_address_makes_nobody_a_member() {
        let google = &oidc("https://accounts.google.com", false);
        assert_eq!(check(Some("example.com"), Some("ana@example.com"), false, google), "not_verified");
        assert_eq!(check(Some("example.com"), None, true, google), "not_verified");
    }

    #[test]
    fn the_domain_of_an_address_counts_only_where_it_is_switched_on() {
        let [on, off] = [true, false].map(|trust| oidc("https://login.example.com", trust));
        assert_eq!(check(None, Some("ana@example.com"), true, &on), "member");
        assert_eq!(check(None, Some("ana@evil.example"), true, &on), "wrong_company");
        assert_eq!(check(None, Some("ana@sub.example.com"), true, &on), "wrong_company");
        assert_eq!(check(None, Some("ana@example.com"), false, &on), "not_verified");
        assert_eq!(check(Some("evil.example"), Some("ana@example.com"), true, &on), "wrong_company");
        assert_eq!(check(None, Some("ana@example.com"), true, &off), "no_hosted_domain");
    }
}
