//! The API's document: complete, the same everywhere, and sound in itself.

use std::collections::BTreeSet;

use postern::web;
use postern::web::Access;
use serde_json::Value;

use crate::api_rig::{Caller, Rig};

const COMMITTED: &str = include_str!("../../docs/openapi.json");

#[test]
fn the_committed_document_is_the_present_one() {
    let committed: Value = serde_json::from_str(COMMITTED).unwrap();
    let present = web::openapi();
    for part in ["/paths", "/components/schemas"] {
        let (old, new) = (committed.pointer(part).unwrap(), present.pointer(part).unwrap().as_object().unwrap());
        for (name, value) in new {
            assert_eq!(&old[name], value, "{part}: {name} changed; renew docs/openapi.json with `make openapi`");
        }
    }
    assert!(committed == present, "docs/openapi.json is out of date; renew it with `make openapi`");
}

#[test]
fn every_route_of_the_api_is_in_the_document_with_its_right() {
    let document = web::openapi();
    let mut described: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        described.extend(operations.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    let routes = web::routes().admin;
    let api: Vec<_> = routes.iter().filter(|route| route.path.starts_with("/api/")).collect();
    for route in &api {
        let key = (route.method.to_string(), route.path.to_owned());
        assert!(described.remove(&key), "{route:?} is not in the document; see src/web/api/mod.rs");
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        assert_eq!(operation["security"].is_array(), matches!(route.access, Access::Bearer(_)), "{route:?}");
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{route:?}");
        let in_path = route.path.matches('{').count();
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        assert_eq!(parameters.filter(|parameter| parameter["in"] == "path").count(), in_path, "{route:?}");
    }
    assert!(described.is_empty(), "the document has what no route answers: {described:?}");
}

#[test]
fn operations_have_names_of_their_own_and_references_lead_somewhere() {
    let document = web::openapi();
    let mut names = BTreeSet::new();
    for operation in document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{name} is there twice");
    }
    let mut places = vec![&document];
    while let Some(place) = places.pop() {
        match place {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
                }
                places.extend(fields.values());
            }
            Value::Array(items) => places.extend(items),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_served_document_is_the_committed_one() {
    let rig = Rig::new().await;
    let anyone = Caller::new(rig.addresses.admin.unwrap(), None);
    let answer = anyone.send("GET", "/api/v1/openapi.json", &[], None);
    assert_eq!((answer.checked(), answer.header("content-type")), (200, "application/json"));
    assert!(answer.json() == serde_json::from_str::<Value>(COMMITTED).unwrap(), "the served document is another one");
    assert_eq!(answer.json()["openapi"], "3.1.0");
}
