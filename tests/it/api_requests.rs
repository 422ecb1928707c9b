//! What every request of the API has: validators, counts, limits that are told, and refusals of one form.

use postern::domain::ids::OrganizationId;
use postern::domain::limits::Limit;
use postern::domain::role::Role;
use postern::keys::token::Token;
use serde_json::{Value, json};

use crate::api_rig::{Rig, nobody};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_seen_an_answer_is_told_that_it_is_the_same() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let made = owner.ask("POST", "/organizations", Some(&json!({ "name": "Acme" })));
    let object = made.header("location").to_owned();
    let host = rig.host().await;
    let lists = ["/organizations", "/tokens", "/authorities", "/migrations", "/settings", "/hosts?limit=5"];
    let paths =
        lists.iter().map(|path| format!("/api/v1{path}")).chain([object.clone(), format!("/api/v1/hosts/{host}")]);
    for path in paths {
        let first = owner.send("GET", &path, &[], None);
        let tag = first.header("etag").to_owned();
        assert!(first.checked() == 200 && tag.starts_with('"') && tag.len() > 2, "{path}: {first:?}");
        let weak = format!("W/{tag}");
        for known in [tag.as_str(), &weak, "*", &format!("\"other\", {tag}")] {
            let same = owner.send("GET", &path, &[("if-none-match", known)], None);
            assert_eq!((same.checked(), same.body.as_str()), (304, ""), "{path} {known}");
            assert_eq!(same.header("etag"), tag, "{path}");
        }
        assert_eq!(owner.send("GET", &path, &[("if-none-match", "\"other\"")], None).checked(), 200, "{path}");
    }
    let tag = owner.send("GET", &object, &[], None).header("etag").to_owned();
    assert_eq!(made.header("etag"), tag);
    let renamed = json!({ "name": "Acme Ltd" }).to_string();
    owner.send("PATCH", &object, &[JSON], Some(renamed.as_bytes()));
    assert_eq!(owner.send("GET", &object, &[("if-none-match", &tag)], None).checked(), 200);
    let gone = format!("/api/v1/organizations/{}", nobody::<OrganizationId>());
    assert_eq!(owner.send("GET", &gone, &[("if-none-match", "*")], None).checked(), 404);
}

/// The revision of a host stays when it reports; what is shown of it does not.
#[tokio::test(flavor = "multi_thread")]
async fn what_moves_without_a_revision_has_another_etag_that_still_guards_changes() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let host = rig.host().await;
    let path = format!("/api/v1/hosts/{host}");
    let first = owner.send("GET", &path, &[], None).header("etag").to_owned();
    rig.services.hosts().beat(host, 7).await.unwrap();
    let again = owner.send("GET", &path, &[("if-none-match", &first)], None);
    assert_eq!((again.checked(), &again.json()["sessions"]), (200, &json!(7)));
    assert_ne!(again.header("etag"), first);
    let change = |tag: &str, name: &str| {
        let body = json!({ "name": name }).to_string();
        owner.send("PATCH", &path, &[JSON, ("if-match", tag)], Some(body.as_bytes())).checked()
    };
    assert_eq!(change(&first, "vpn-5"), 200);
    assert_eq!(change(&first, "vpn-6"), 412);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_counted_when_that_is_asked_for() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let made = owner.post("/organizations", &json!({ "name": "Acme" }));
    for number in 0..7 {
        owner.post("/users", &json!({ "organization_id": made["id"], "name": format!("User {number}") }));
    }
    for (path, count) in [
        ("/users?limit=2&count=true", json!(7)),
        ("/users?q=user%203&count=true", json!(1)),
        ("/users?limit=2", Value::Null),
        ("/users?limit=2&count=false", Value::Null),
        ("/organizations?count=true", json!(1)),
        ("/tokens?count=true&limit=1", json!(6)),
        ("/hosts?count=true", json!(0)),
        ("/profiles?count=true", json!(0)),
        ("/servers?count=true", json!(0)),
        ("/sessions?count=true", json!(0)),
        ("/join-tokens?count=true", json!(0)),
        ("/audit?action=user.create&count=true&limit=3", json!(7)),
    ] {
        assert_eq!(owner.get(path)["count"], count, "{path}");
    }
    let mut next = "/api/v1/users?limit=3&count=true".to_owned();
    for (rows, last) in [(3, false), (3, false), (1, true)] {
        let page = owner.send("GET", &next, &[], None);
        assert_eq!(
            (page.json()["items"].as_array().unwrap().len(), &page.json()["count"]),
            (rows, &json!(7)),
            "{next}"
        );
        let link = page.header("link").strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
        assert_eq!(link.is_none(), last, "{page:?}");
        next = link.unwrap_or_default().to_owned();
    }
    owner.expect(400, "GET", "/users?count=yes", None);
    owner.expect(400, "GET", "/users?count=true&count=true", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_told_before_and_when_they_act() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let most = Limit::Api.rate().most;
    let left = |answer: &crate::api_rig::Answer| -> u32 {
        let told = answer.header("ratelimit");
        let (_, rest) = told.split_once("\"api\";r=").unwrap_or_else(|| panic!("{answer:?}"));
        rest.split_once(';').unwrap().0.parse().unwrap()
    };
    let first = owner.ask("GET", "/users", None);
    assert_eq!(first.header("ratelimit-policy"), format!("\"api\";q={most};w=600"));
    let before = left(&first);
    assert!(before < most);
    assert!(left(&owner.ask("GET", "/users", None)) <= before + 10);

    let token: Token = rig.tokens["owner"].parse().unwrap();
    while rig.services.cluster().limit_token(token.id).is_ok() {}
    // The limit fills again while the request is on its way; whatever comes in is taken at once.
    let refused = std::thread::scope(|scope| {
        let asked = scope.spawn(|| owner.ask("GET", "/users", None));
        while !asked.is_finished() {
            drop(rig.services.cluster().limit_token(token.id));
        }
        asked.join().unwrap()
    });
    assert_eq!((refused.checked(), &refused.json()["code"]), (429, &json!("PST-HTTP-011")));
    assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1, "{refused:?}");
    assert_eq!(left(&refused), 0);
    assert_eq!(rig.as_role(Role::Admin).ask("GET", "/users", None).checked(), 200, "each token has its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_refusal_is_a_problem_document() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let huge = format!("{{\"name\": \"{}\"}}", "x".repeat(1 << 20));
    let organizations = "/api/v1/organizations";
    for (method, path, headers, body, status) in [
        ("GET", "/api/v1/nothing", vec![], None, 404),
        ("GET", "/api/v1", vec![], None, 404),
        ("PUT", organizations, vec![], Some("{}"), 405),
        ("TRACE", organizations, vec![], None, 405),
        ("POST", organizations, vec![JSON], Some(huge.as_str()), 413),
        ("POST", organizations, vec![JSON, ("idempotency-key", "k")], Some(huge.as_str()), 413),
        ("POST", organizations, vec![("content-type", "text/plain")], Some("{}"), 415),
        ("POST", organizations, vec![], Some("{}"), 415),
        ("POST", organizations, vec![JSON], Some("{"), 400),
        ("POST", organizations, vec![JSON], Some("{}"), 422),
        ("GET", "/api/v1/organizations?x=1", vec![], None, 400),
        ("GET", "/api/v1/organizations/%2e%2e", vec![], None, 400),
    ] {
        let answer = owner.send(method, path, &headers, body.map(str::as_bytes));
        assert_eq!(answer.checked(), status, "{method} {path}: {answer:?}");
        if status == 405 {
            assert!(answer.header("allow").contains("POST"), "{answer:?}");
        }
    }
}
