//! The API, met by schemathesis: requests of every shape that the document allows, and of many that it does not. None may
//! break anything, and each answer must be one that the document speaks of.

use std::path::Path;
use std::process::{Command, Stdio};

use postern::web;

use crate::api_rig::Rig;

/// Where `deploy/dev/setup.sh test` puts it.
const FUZZER: &str = ".tools/fuzz/bin/schemathesis";

/// The document without its `default` answers, so that each status has to be named.
fn strict() -> String {
    let mut document = web::openapi();
    for operations in document["paths"].as_object_mut().unwrap().values_mut() {
        for operation in operations.as_object_mut().unwrap().values_mut() {
            operation["responses"].as_object_mut().unwrap().remove("default").unwrap();
        }
    }
    document.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_breaks_the_api_and_every_answer_is_documented() {
    let rig = Rig::new().await;
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("openapi.json");
    std::fs::write(&document, strict()).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(FUZZER);
    assert!(program.exists(), "{FUZZER} is missing: run deploy/dev/setup.sh test");
    let url = format!("http://{}", rig.addresses.admin.unwrap());
    let bearer = format!("Authorization: Bearer {}", rig.tokens["owner"]);
    let ran = Command::new(program)
        .current_dir(folder.path())
        .args(["run", "openapi.json", "--url", &url, "--header", &bearer])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--max-time", "60", "--seed", "1"])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"])
        .args(["--checks", "response_schema_conformance"])
        .args(["--continue-on-failure", "--warnings", "off"])
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    assert!(out.contains("✅ Coverage") && out.contains("✅ Fuzzing"), "{out}");
    assert!(rig.owner().ask("GET", "/users", None).checked() == 200, "the token was good to the end");
}
