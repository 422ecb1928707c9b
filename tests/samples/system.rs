//! The pages about the cluster itself, in every state, from sample data.

use crate::admin::cluster::migrations::Migrations;
use crate::admin::identity::tokens;
use crate::admin::identity::tokens::{TokenMade, TokenRow};
use crate::admin::network::authorities::Authorities;
use crate::admin::nouns::NewPage;
use crate::samples::{SampleSet, ago, id, listed, wrong};
use crate::ui::page::Flash;
use crate::ui::topic::Topic;
use domain::authority::{AuthorityKind, AuthorityState};
use domain::ids::{AuthorityId, TokenId};
use domain::role::Role;
use domain::samples;
use domain::secret::Secret;
use domain::token::ApiToken;
use services::cluster::migrations::{MigrationState, MigrationView};
use services::identity::tokens::{IssuedToken, TokenPeople};
use services::network::authorities::AuthorityView;

fn token(name: &str, number: u128, role: Role, hours_left: i64, used: Option<i64>) -> ApiToken {
    ApiToken { role, expires_at: ago(-hours_left), last_used_at: used.map(ago), ..samples::token(number, name) }
}

impl SampleSet {
    /// All of them.
    pub(super) fn system(&mut self) {
        self.tokens();
        self.token_forms();
        self.authorities();
        self.migrations();
    }

    fn tokens(&mut self) {
        let name = self.name;
        let row = |token, maker: Option<&str>, owner: Option<&str>| {
            let people = TokenPeople { maker: maker.map(str::to_owned), owner: owner.map(str::to_owned) };
            TokenRow { token, people }
        };
        let rows = [
            row(token(name, 1, Role::Owner, 24 * 200, Some(0)), Some(name), Some(name)),
            row(token(name, 2, Role::Auditor, 24 * 3, Some(30)), Some("postern token create"), None),
            row(token(name, 3, Role::Helpdesk, 24 * 25, None), None, None),
        ];
        let mut desk = self.desk("/tokens");
        desk.live = &[Topic::Tokens];
        self.add("tokens", &listed(&desk, &rows, false, Some("/tokens?limit=50&cursor=x")));
        desk.chrome.flash = Some(Flash::TokenRevoked);
        self.add("tokens-empty", &listed::<TokenRow>(&desk, &[], true, None));
        for role in [Role::Admin, Role::Auditor] {
            let desk = self.desk_of(role, "/tokens");
            self.add(&format!("tokens-{}", role.as_str()), &listed(&desk, &rows, true, None));
        }
    }

    fn token_forms(&mut self) {
        let desk = self.desk_of(Role::Admin, "/tokens/new");
        self.add("token-new", &NewPage::of::<TokenId>(&desk, tokens::form(&desk)));
        let errors = wrong(&[
            ("name", "The name must not be empty."),
            ("role", "The role must be one of those below."),
            ("days", "The life must be between 1 and 366 days."),
        ]);
        self.add("token-new-refused", &NewPage::of::<TokenId>(&desk, tokens::form(&desk).typed(errors)));
        let secret = format!("pst_{}_{}", id::<TokenId>(1), "9f2c".repeat(16));
        let issued =
            IssuedToken { token: token(self.name, 1, Role::Operator, 24 * 30, None), text: Secret::new(secret) };
        self.add("token-made", &TokenMade::new(&desk, &issued));
    }

    fn authorities(&mut self) {
        let view = |number: u128, kind, state, hours_left: i64| {
            let id = id::<AuthorityId>(number);
            AuthorityView {
                id,
                kind,
                state,
                subject: Some(format!("Postern {} root {id}", kind.as_str())),
                fingerprint: "9f86d081884c7d65".repeat(4),
                not_before: ago(24 * 900),
                not_after: ago(-hours_left),
            }
        };
        let mut desk = self.desk("/authorities");
        desk.live = &[Topic::Policy];
        let views = vec![
            view(1, AuthorityKind::Client, AuthorityState::Retired, -24),
            view(2, AuthorityKind::Client, AuthorityState::Trusted, 24 * 90),
            view(3, AuthorityKind::Client, AuthorityState::Issuing, 24 * 3000),
            view(4, AuthorityKind::Server, AuthorityState::Issuing, 24 * 3000),
        ];
        self.add("authorities", &Authorities::new(&desk, &views));
        self.add("authorities-empty", &Authorities::new(&desk, &[]));
    }

    fn migrations(&mut self) {
        let view = |number: u32, name: &str, state, hours: Option<i64>| MigrationView {
            number,
            name: name.to_owned(),
            state,
            applied_at: hours.map(ago),
        };
        let first = || view(1, "0001-first", MigrationState::Applied, Some(24 * 40));
        let desk = self.desk("/migrations");
        let second = view(2, "0002-self-service", MigrationState::Applied, Some(3));
        self.add("migrations", &Migrations::new(&desk, vec![first(), second]));
        let pending = view(2, "0002-self-service", MigrationState::Pending, None);
        self.add("migrations-pending", &Migrations::new(&desk, vec![first(), pending]));
        let newer = view(9, "0009-of-tomorrow", MigrationState::Newer, Some(1));
        self.add("migrations-newer", &Migrations::new(&desk, vec![first(), newer]));
    }
}
