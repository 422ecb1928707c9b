//! Trying sign-in out: the whole way to the identity provider and back, with the settings as they are, up to the point where
//! somebody would be let in. It says who that would be and signs nobody in.

use crate::identity::logins::Browser;
use crate::identity::membership::check_membership;
use crate::identity::outcome::{SignInRefusal, SignInStart, SignInTest, Welcome};
use crate::{Act, Identities, SOON, ServiceError};
use domain::login::{ReturnPath, Surface};
use domain::oidc::Oidc;
use domain::organization::Organization;
use domain::role::{Permission, Role};
use domain::text::Email;
use domain::user::{Identity, User};
use oidc::VerifiedIdentity;
use store::entity::PageRequest;
use store::people::users::UserFilter;

impl Identities<'_> {
    /// Sends a browser on the way to the provider, to find out what would come of it.
    pub async fn start_sign_in_test(self, act: &Act, browser: &Browser) -> Result<SignInStart, SignInRefusal> {
        act.require(Permission::ManageSettings)?;
        self.leave_for_provider(Surface::Console, ReturnPath::default(), browser, true).await
    }

    /// Who would be let in with an account, on either site. Nothing is written.
    pub(crate) async fn judge(
        self,
        identity: &Identity,
        account: &VerifiedIdentity,
        oidc: &Oidc,
    ) -> Result<SignInTest, ServiceError> {
        let portal = self.welcome(Surface::Portal, identity, account, oidc).await?;
        let console = self.welcome(Surface::Console, identity, account, oidc).await?;
        Ok(SignInTest { account: account.email.clone(), portal, console })
    }

    async fn welcome(
        self,
        surface: Surface,
        identity: &Identity,
        account: &VerifiedIdentity,
        oidc: &Oidc,
    ) -> Result<Result<Welcome, SignInRefusal>, ServiceError> {
        let email = match check_membership(account, oidc) {
            Ok(email) => email,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let found = self.store().deadline(SOON, self.store().people().find_user_by_identity(identity)).await?;
        if let Some(User { name, role, disabled, .. }) = found {
            return Ok(admitted(surface, Welcome::Known { name, role }, role, disabled, email));
        }
        let filter = UserFilter { email: Some(email.clone()), ..UserFilter::default() };
        let one = PageRequest::first(1);
        let prepared = self.store().deadline(SOON, self.store().people().list_users(&filter, &one)).await?.items.pop();
        if let Some(User { name, role, disabled, identity, .. }) = prepared.map(|found| found.value) {
            if identity.is_some() {
                return Ok(Err(SignInRefusal::OtherPerson { account: Some(email) }));
            }
            return Ok(admitted(surface, Welcome::Prepared { name, role }, role, disabled, email));
        }
        let organization = match oidc.default_organization_id.filter(|_| surface == Surface::Portal) {
            Some(id) => self.store().deadline(SOON, self.store().find::<Organization>(&id)).await?,
            None => None,
        };
        let refused = SignInRefusal::NotInvited { account: Some(email) };
        Ok(organization.map(|found| Welcome::New { organization: found.value.name }).ok_or(refused))
    }
}

fn admitted(
    surface: Surface,
    welcome: Welcome,
    role: Role,
    disabled: bool,
    email: Email,
) -> Result<Welcome, SignInRefusal> {
    let account = Some(email);
    match (disabled, surface, role) {
        (true, ..) => Err(SignInRefusal::Disabled { account }),
        (false, Surface::Console, Role::User) => Err(SignInRefusal::NoRole { account }),
        _ => Ok(welcome),
    }
}
