//! `postern join` where it ends before it has looked at the machine. That a machine becomes a host is seen end to end.

use std::path::Path;
use std::process::Command;

use postern::domain::secret::Secret;
use postern::keys::join::{CertificatePin, JoinToken};
use postern::services::hosts::joining::HostDatabase;
use postern::web::TlsFiles;
use serde_json::{Value, json};

use crate::api_rig::{Rig, settings};
use crate::support::mongod::shared;

/// A cluster with a certificate that nobody knows, and where its files are.
async fn rig() -> (Rig, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls =
        TlsFiles { certificate_file: folder.path().join("certificate.pem"), key_file: folder.path().join("key.pem") };
    std::fs::write(&tls.certificate_file, made.cert.pem()).unwrap();
    std::fs::write(&tls.key_file, made.signing_key.serialize_pem()).unwrap();
    let mut settings = settings();
    // What is asked with a token goes the encrypted way, what a test asks as an administrator the other.
    settings.admin.tls = Some(tls);
    let uri = Secret::new("mongodb://127.0.0.1:1/?replicaSet=none".to_owned());
    let hosts = HostDatabase { uri, name: "postern".to_owned(), for_hosts: true };
    let rig = Rig::for_hosts(shared().database(), settings, hosts).await;
    (rig, folder)
}

/// A token as the API would give it; the API's own listener speaks TLS here, which the tests' client does not.
async fn token(rig: &Rig, body: Value) -> JoinToken {
    let owner = postern::domain::audit::Actor::Shell("test");
    let new = serde_json::from_value(body).unwrap();
    let issued = rig.services.hosts().create_join_token(&postern::services::Act::of(owner), new).await.unwrap();
    issued.token.expose().parse().unwrap()
}

struct Ended {
    code: Option<i32>,
    error: String,
}

/// Runs the command to its end; `folder` is the machine.
fn join(folder: &Path, token: &JoinToken, url: Option<&str>) -> Ended {
    let file = folder.join("token");
    std::fs::write(&file, token.to_text().expose()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    command.arg("join").args(url).arg("--token-file").arg(file);
    command.arg("--config").arg(folder.join("postern.toml")).arg("--data-dir").arg(folder.join("data"));
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing came of it");
    Ended { code: output.status.code(), error: String::from_utf8(output.stderr).unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_certificate_is_shown_no_token() {
    let (rig, _files) = rig().await;
    let machine = tempfile::tempdir().unwrap();
    let real = token(&rig, json!({ "host_name": "vpn-3" })).await;
    let pin = real.pin.expect("a certificate that nobody knows is pinned");
    let forged = JoinToken { pin: Some(CertificatePin([7; 32])), ..real };
    let ended = join(machine.path(), &forged, None);
    assert_eq!(ended.code, Some(1), "{}", ended.error);
    for part in ["nothing was sent", &pin.to_string(), &CertificatePin([7; 32]).to_string(), "new token"] {
        assert!(ended.error.contains(part), "{part}: {}", ended.error);
    }
    assert!(!machine.path().join("postern.toml").exists());
    let trail = rig.store.database().collection::<mongodb::bson::Document>("audit");
    let shown = trail.count_documents(mongodb::bson::doc! { "action": "host.join" }).await.unwrap();
    assert_eq!(shown, 0, "the cluster was not even asked");

    // A token without a pin trusts what the machine trusts, and that is not this one.
    let unpinned = JoinToken { pin: None, ..forged };
    let ended = join(machine.path(), &unpinned, None);
    assert!(ended.error.contains("nothing was sent"), "{}", ended.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_in_the_words_of_the_cluster() {
    let (rig, _files) = rig().await;
    let machine = tempfile::tempdir().unwrap();
    let mut withdrawn = token(&rig, json!({ "host_name": "vpn-3" })).await;
    rig.store.database().collection::<mongodb::bson::Document>("tickets").drop().await.unwrap();
    let ended = join(machine.path(), &withdrawn, Some(&withdrawn.url.clone()));
    assert_eq!(ended.code, Some(4), "{}", ended.error);
    assert!(ended.error.contains("there is no such join token: it was withdrawn"), "{}", ended.error);
    assert_eq!(ended.error.lines().count(), 1, "{}", ended.error);
    assert!(machine.path().join("data/host.key").exists(), "the key waits for a good token");

    let plain = withdrawn.url.replace("https", "http");
    let ended = join(machine.path(), &withdrawn, Some(&plain));
    assert!(ended.error.contains("would send the token unencrypted"), "{}", ended.error);

    withdrawn.url = "https://127.0.0.1:1".to_owned();
    let ended = join(machine.path(), &withdrawn, None);
    assert!(ended.error.contains("cannot be reached"), "{}", ended.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_token_or_no_postern_is_said_to_be_so() {
    let machine = tempfile::tempdir().unwrap();
    let file = machine.path().join("token");
    std::fs::write(&file, "psj_AAAA\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    command.arg("join").arg("--token-file").arg(&file).arg("--data-dir").arg(machine.path().join("data"));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("not all of it: copy it again") && !said.contains("AAAA"), "{said}");
    assert!(!machine.path().join("data").exists(), "nothing was made");

    // Some other program's listener: here, the ops one.
    let rig = Rig::with(settings()).await;
    let url = format!("http://{}", rig.addresses.ops);
    let secret = postern::keys::token::OneTimeSecret::generate();
    let ended = join(machine.path(), &JoinToken { secret, pin: None, url }, None);
    assert!(ended.error.contains("there is nothing at /api/v1/join/checks"), "{}", ended.error);
}
