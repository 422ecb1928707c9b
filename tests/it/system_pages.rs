//! The pages about the cluster itself, as a browser meets them.

use postern::domain::role::Role;

use crate::api_rig::Caller;
use crate::console_rig::Console;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_at_the_console_shown_once_and_revoked() {
    let console = Console::new().await;
    let mut admin = console.signed_in(Role::Admin);
    let form = admin.get("/tokens/new");
    assert!(form.body.contains("value=\"operator\"") && !form.body.contains("value=\"owner\""), "{form:?}");

    let fields = [("name", "Terraform"), ("role", "operator"), ("days", "30")];
    let made = admin.post("/tokens/new", "/tokens", &fields);
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"), "{made:?}");
    let (_, rest) = made.body.split_once("value=\"pst_").unwrap();
    let token = format!("pst_{}", rest.split_once('"').unwrap().0);
    let bearer = Caller::new(console.rig.addresses.admin.unwrap(), Some(&token));
    bearer.get("/servers");
    bearer.expect(403, "GET", "/settings", None);

    let list = admin.get("/tokens");
    let (_, secret) = token.rsplit_once('_').unwrap();
    assert!(list.body.contains("Terraform") && !list.body.contains(secret), "{list:?}");
    assert!(list.body.contains("data-label=\"Made by\">admin<"), "{list:?}");
    let (_, rest) = list.body.rsplit_once("action=\"/tokens/").unwrap();
    let path = format!("/tokens/{}", rest.split_once('"').unwrap().0);
    let gone = admin.post("/tokens/new", &path, &[]);
    assert_eq!((gone.status, gone.header("location")), (303, "/tokens"));
    assert!(admin.get("/tokens").body.contains("The API token is revoked"));
    bearer.expect(401, "GET", "/servers", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_token_is_said_and_a_mightier_one_is_refused() {
    let console = Console::new().await;
    let mut admin = console.signed_in(Role::Admin);
    let wrong = admin.post("/tokens/new", "/tokens", &[("name", " "), ("role", "king"), ("days", "9999")]);
    assert_eq!(wrong.status, 422);
    for field in ["name-error", "role-error", "days-error"] {
        assert!(wrong.body.contains(&format!("id=\"{field}\"")), "{field}: {wrong:?}");
    }
    let mightier = admin.post("/tokens/new", "/tokens", &[("name", "a"), ("role", "owner"), ("days", "30")]);
    assert!(mightier.status == 403 && mightier.body.contains("PST-AUTH-003"), "{mightier:?}");
    let list = admin.get("/tokens");
    let of_owner = console.rig.owner().list("/tokens", 200);
    let of_owner = of_owner.iter().find(|token| token["role"] == "owner").unwrap()["id"].as_str().unwrap().to_owned();
    assert!(!list.body.contains(&format!("/tokens/{of_owner}/revoke")), "what is not allowed is not offered");
    assert_eq!(admin.post("/tokens/new", &format!("/tokens/{of_owner}/revoke"), &[]).status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_and_migrations_are_there_to_read() {
    let console = Console::new().await;
    let mut auditor = console.signed_in(Role::Auditor);
    let authorities = auditor.get("/authorities").body;
    assert!(authorities.contains("Profiles") && authorities.contains("VPN daemons"), "{authorities}");
    assert_eq!(authorities.matches("Issues certificates").count(), 2);
    let migrations = auditor.get("/migrations").body;
    assert!(migrations.contains("0001-first") && migrations.contains("Applied"), "{migrations}");
    assert!(!migrations.contains("Pending"));
}
