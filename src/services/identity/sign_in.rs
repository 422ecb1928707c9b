//! Signing in: the browser goes to the identity provider and comes back, maybe to another host.
//!
//! Between the two rests one record, found by the hash of `state` and taken only together with the cookie that the
//! same browser got: who has one without the other has nothing. Taking it is deleting it, so a callback counts once.
//!
//! Who an account *is*, is decided by issuer and subject alone. Whose user it becomes at the first sign-in is decided
//! in [`crate::identity::membership`] and in one change of policy, which queues with all others: of any number of
//! callbacks at once, one claims or makes the user, and the rest find it.

use serde_json::json;

use crate::cluster::limits::Limit;
use crate::identity::logins::{Browser, NewLogin};
use crate::identity::membership::check_membership;
use crate::identity::outcome::{CallbackAnswer, CameBack, SignInFacts, SignInRefusal, SignInStart, SignedIn, cleaned};
use crate::{Act, Identities, SOON, ServiceError};
use domain::audit::{Action, Actor, AuditEntry};
use domain::login::{ReturnPath, Surface, Who};
use domain::oidc::Oidc;
use domain::role::Role;
use domain::text::{DnsName, Email};
use domain::ticket::{LIFETIME, SignInTicket, Ticket};
use domain::user::Identity;
use keys::token::{OneTimeSecret, SecretHash};
use metrics::catalogue::OIDC_LOGINS;
use oidc::{AuthorizeRequest, OidcError, OidcSettings};

/// Where the provider sends browsers back to, under the public URL.
const CALLBACK: &str = "/oauth/callback";

/// What the provider's failure means for the person; the cause is logged here and nowhere else.
fn provider_failed(error: OidcError) -> SignInRefusal {
    tracing::warn!(
        event = "oidc.failed",
        error = &error as &dyn std::error::Error,
        "sign-in at the identity provider failed"
    );
    match error {
        OidcError::Away { since, .. } => SignInRefusal::ProviderAway { since },
        OidcError::Refused(code) => SignInRefusal::Provider(cleaned(&code)),
        OidcError::BadToken(bad) => SignInRefusal::Provider(bad.code().to_owned()),
        OidcError::Misconfigured { .. } => SignInRefusal::NotConfigured,
    }
}

/// Who was refused, for the audit log.
#[derive(Default)]
struct Claimant {
    identity: Option<Identity>,
    email: Option<Email>,
}

impl Identities<'_> {
    /// What the sign-in page of a surface says.
    pub async fn sign_in_facts(self, surface: Surface) -> Result<SignInFacts, ServiceError> {
        let settings = self.cluster().current_settings().await?;
        let oidc = settings.oidc;
        let is_ready = oidc.is_complete() && self.has_url(surface);
        Ok(SignInFacts {
            company_name: settings.company_name,
            contact: settings.contact,
            is_google: oidc.issuer.is_google(),
            away_since: self.provider.away_since(oidc.issuer.as_str()),
            issuer: is_ready.then(|| oidc.issuer.into()),
        })
    }

    /// Begins a sign-in to a surface: writes down what the callback must bring back, and tells where to send the browser.
    pub async fn start_sign_in(
        self,
        surface: Surface,
        return_to: ReturnPath,
        browser: &Browser,
    ) -> Result<SignInStart, SignInRefusal> {
        let started = self.leave_for_provider(surface, return_to, browser, false).await;
        // One that starts well is counted when it comes back.
        started.inspect_err(|refusal| self.count_sign_in(surface, Some(refusal)))
    }

    /// Where the provider is to send browsers back to that sign in to a surface; nothing where its URL is not known.
    pub fn redirect_url(self, surface: Surface) -> Option<String> {
        self.url(surface).map(|url| format!("{url}{CALLBACK}"))
    }

    pub(crate) async fn leave_for_provider(
        self,
        surface: Surface,
        return_to: ReturnPath,
        browser: &Browser,
        is_test: bool,
    ) -> Result<SignInStart, SignInRefusal> {
        self.cluster().limit_address(Limit::SignInStart, browser.address)?;
        let redirect_url = self.redirect_url(surface).ok_or(SignInRefusal::NotConfigured)?;
        let oidc = self.cluster().current_settings().await?.oidc;
        let settings = self.provider_settings(&oidc, redirect_url)?;
        let [state, cookie, nonce, verifier] = [(); 4].map(|()| OneTimeSecret::generate());
        let hash = state.hash("sign_in");
        let [state, nonce, verifier] = [state, nonce, verifier].map(|secret| secret.to_text());
        // More than one domain cannot be asked for; then people choose among all their accounts.
        let mut domains = oidc.allowed_domains.iter();
        let hint = domains.next().filter(|_| domains.next().is_none());
        let request = AuthorizeRequest {
            state: state.expose(),
            nonce: nonce.expose(),
            pkce_verifier: verifier.expose(),
            hosted_domain_hint: hint.map(DnsName::as_str),
        };
        let redirect = self.provider.authorize_url(&settings, request).await.map_err(provider_failed)?;
        let body = SignInTicket {
            cookie_hash: *cookie_hash(&cookie).as_bytes(),
            nonce: nonce.expose().clone(),
            pkce_verifier: verifier.expose().clone(),
            issuer: settings.issuer,
            redirect_url: settings.redirect_url,
            return_to: return_to.as_str().to_owned(),
            surface,
            is_test,
        };
        let ticket = Ticket { body, expires_at: self.now() + LIFETIME };
        let inserting = self.store().identity().insert_ticket(hash.as_bytes(), &ticket);
        self.store().write(SOON, inserting).await?;
        Ok(SignInStart { redirect, cookie: cookie.to_text() })
    }

    fn provider_settings(self, oidc: &Oidc, redirect_url: String) -> Result<OidcSettings, SignInRefusal> {
        let client_id = oidc.client_id.as_ref().filter(|_| oidc.is_complete()).ok_or(SignInRefusal::NotConfigured)?;
        let client_secret = self.cluster().client_secret(oidc)?.ok_or(SignInRefusal::NotConfigured)?;
        let issuer = oidc.issuer.as_str().to_owned();
        Ok(OidcSettings { issuer, client_id: client_id.as_str().to_owned(), client_secret, redirect_url })
    }

    /// Finishes a sign-in to a surface; `cookie` is the pre-login cookie. Both outcomes are in the audit log.
    pub async fn complete_sign_in(
        self,
        surface: Surface,
        answer: &CallbackAnswer,
        cookie: Option<&str>,
        browser: &Browser,
    ) -> Result<CameBack, SignInRefusal> {
        self.cluster().limit_address(Limit::Callback, browser.address)?;
        let mut asked = Claimant::default();
        let outcome = self.come_back(surface, answer, cookie, browser, &mut asked).await;
        // A test signs nobody in.
        if !matches!(outcome, Ok(CameBack::Tested(_))) {
            self.count_sign_in(surface, outcome.as_ref().err());
        }
        if let Err(refusal) = &outcome
            && refusal.is_denial()
        {
            let entry = self.denial(surface, refusal, &asked, browser);
            self.store().write(SOON, self.store().evidence().insert_audit(&entry)).await?;
        }
        outcome
    }

    fn count_sign_in(self, surface: Surface, refusal: Option<&SignInRefusal>) {
        let (result, reason) = match refusal {
            None => ("success", "none"),
            Some(refusal) if refusal.is_denial() => ("denied", refusal.as_str()),
            Some(refusal) => ("failed", refusal.as_str()),
        };
        self.metrics().count(&OIDC_LOGINS, [surface.as_str(), result, reason]);
    }

    async fn come_back(
        self,
        surface: Surface,
        answer: &CallbackAnswer,
        cookie: Option<&str>,
        browser: &Browser,
        asked: &mut Claimant,
    ) -> Result<CameBack, SignInRefusal> {
        let ticket = self.take_sign_in(surface, answer, cookie).await?.ok_or(SignInRefusal::Expired)?;
        match answer.error.as_deref() {
            None => {}
            Some("access_denied") => return Err(SignInRefusal::Cancelled),
            Some(code) => return Err(SignInRefusal::Provider(cleaned(code))),
        }
        let code = answer.code.as_deref().ok_or(SignInRefusal::Expired)?;
        let oidc = self.cluster().current_settings().await?.oidc;
        if oidc.issuer.as_str() != ticket.issuer {
            return Err(SignInRefusal::Expired);
        }
        let settings = self.provider_settings(&oidc, ticket.redirect_url)?;
        let (verifier, nonce) = (&ticket.pkce_verifier, &ticket.nonce);
        let exchange = self.provider.exchange(&settings, code, verifier, nonce, answer.iss.as_deref());
        let account = exchange.await.map_err(provider_failed)?;
        asked.email.clone_from(&account.email);
        // The issuer as configured, not as the token spells it: Google has two spellings of itself.
        let identity = Identity { iss: settings.issuer, sub: account.subject.clone() };
        asked.identity = Some(identity.clone());
        if ticket.is_test {
            return Ok(CameBack::Tested(Box::new(self.judge(&identity, &account, &oidc).await?)));
        }
        let email = check_membership(&account, &oidc)?;
        // Whoever is new is an employee: the console makes no users.
        let organization = oidc.default_organization_id.filter(|_| surface == Surface::Portal);
        let user = self.user_of(&identity, &email, &account, organization, browser).await?;
        if user.disabled {
            return Err(SignInRefusal::Disabled { account: Some(email) });
        }
        if surface == Surface::Console && user.role == Role::User {
            return Err(SignInRefusal::NoRole { account: Some(email) });
        }
        let (who, identity) = (Who::User(user.id), Some(&identity));
        let new = &NewLogin { surface, who, role: user.role, identity, browser };
        let cookie = self.store().note(|tx| async move { self.open_login(&tx, new).await }).await?;
        Ok(CameBack::SignedIn(SignedIn { cookie, return_to: ticket.return_to.parse().unwrap_or_default() }))
    }

    async fn take_sign_in(
        self,
        surface: Surface,
        answer: &CallbackAnswer,
        cookie: Option<&str>,
    ) -> Result<Option<SignInTicket>, ServiceError> {
        let secret = |text: Option<&str>| text.and_then(|text| text.parse::<OneTimeSecret>().ok());
        let (Some(state), Some(cookie)) = (secret(answer.state.as_deref()), secret(cookie)) else { return Ok(None) };
        let (state, cookie) = (state.hash("sign_in"), cookie_hash(&cookie));
        let taking = self.store().identity().take_sign_in(surface, state.as_bytes(), cookie.as_bytes(), self.now());
        Ok(self.store().write(SOON, taking).await?)
    }

    /// The entry of a refused sign-in. Nobody is signed in, so the rule is the actor and the account the object.
    fn denial(self, surface: Surface, refusal: &SignInRefusal, asked: &Claimant, browser: &Browser) -> AuditEntry {
        let act = Act::by(Actor::System("sign_in"), browser.request_id);
        let object = asked.email.as_ref().map_or_else(|| "sign_in".to_owned(), ToString::to_string);
        let changes = json!({
            "reason": [null, refusal.as_str()], "surface": [null, surface], "address": [null, browser.address],
            "browser": [null, cleaned(&browser.label)], "identity": [null, asked.identity],
        });
        AuditEntry { outcome: "denied".to_owned(), ..self.entry(&act, Action::LoginStart, &object, changes) }
    }
}

fn cookie_hash(cookie: &OneTimeSecret) -> SecretHash {
    cookie.hash("sign_in_cookie")
}
