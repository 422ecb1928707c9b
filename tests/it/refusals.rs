//! Refusals of the catalogue, as each surface tells them.

use std::collections::BTreeSet;

use postern::domain::role::Role;
use postern::services::refusal::entries;
use postern::web;
use serde_json::{Value, json};

use crate::cli::Cli;
use crate::console_rig::Console;

#[tokio::test(flavor = "multi_thread")]
async fn every_surface_tells_a_refusal_at_its_field() {
    let console = Console::new().await;
    let problem = console.rig.owner().expect(409, "POST", "/organizations", Some(&json!({ "name": "Acme" })));
    assert_eq!(
        (&problem["code"], &problem["reason"], &problem["parameters"]),
        (&json!("PST-DATA-003"), &json!("name_taken"), &json!({ "what": "organization" }))
    );
    assert_eq!(problem["detail"], "another organization has this name");
    let error = json!({ "pointer": "/name", "code": "PST-DATA-003", "detail": problem["detail"] });
    assert_eq!(problem["errors"], json!([error]));

    let page = console.signed_in(Role::Owner).post("/organizations/new", "/organizations", &[("name", "Acme")]);
    assert_eq!(page.status, 409, "{page:?}");
    for part in ["href=\"#name\">Another organization has this name.", "aria-describedby=\"name-error\""] {
        assert!(page.body.contains(part), "{part} is missing: {}", page.body);
    }

    let ran = Cli::new(&console.rig, Role::Owner).run("org create Acme");
    assert_eq!(ran.code, 4, "{ran:?}");
    assert_eq!(ran.err.matches("another organization has this name").count(), 1, "{ran:?}");
    assert!(ran.err.contains("name: another organization has this name"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_surface_advises_what_can_be_done_there() {
    let console = Console::new().await;
    let host = console.rig.host().await;
    console.rig.services.hosts().beat(host, 0).await.unwrap();
    let problem = console.rig.owner().expect(409, "DELETE", &format!("/hosts/{host}"), None);
    assert_eq!((&problem["reason"], &problem["parameters"]["sessions"]), (&json!("host_in_service"), &json!(0)));
    assert!(problem["detail"].as_str().unwrap().contains("?force=true"), "{problem}");
    assert_eq!(problem["errors"], Value::Null, "it is about no field");
    let ran = Cli::new(&console.rig, Role::Owner).run(&format!("host remove {host} --yes"));
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("--force removes it all the same"), "{ran:?}");
}

#[test]
fn fields_of_the_catalogue_are_fields_of_the_api() {
    let document = web::openapi();
    let schemas = document["components"]["schemas"].as_object().unwrap().values();
    let fields: BTreeSet<&String> =
        schemas.filter_map(|schema| schema["properties"].as_object()).flat_map(|fields| fields.keys()).collect();
    for field in entries().filter_map(|(_, entry)| entry.field) {
        assert!(fields.contains(&field.to_owned()), "no body of the API has {field}");
    }
}
