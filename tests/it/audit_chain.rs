//! The audit log cannot be rewritten unseen: chained by every process, signed for, exported, verified offline.

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use mongodb::bson::{Document, doc};
use postern::domain::audit::Actor;
use postern::domain::chain::verify::Break;
use postern::domain::clock::SystemClock;
use postern::domain::role::Role;
use postern::keys::master::MasterKey;
use postern::services::people::organizations::NewOrganization;
use postern::services::{Act, Services};
use postern::store::Emitter;
use serde_json::{Value, json};

use crate::api_rig::{Rig, name};
use crate::cli::{Cli, Ran};
use crate::store::connect;

fn owner() -> Act {
    Act::of(Actor::Shell("test"))
}

fn organization(text: &str) -> NewOrganization {
    NewOrganization { name: name(text) }
}

/// An export and what it is verified with, in a folder of their own.
struct Desk {
    cli: Cli,
    folder: tempfile::TempDir,
}

impl Desk {
    fn new(rig: &Rig) -> Self {
        let desk = Self { cli: Cli::new(rig, Role::Auditor), folder: tempfile::tempdir().unwrap() };
        fs::write(desk.file("key.pem"), desk.cli.args(&["audit", "key"]).ok()).unwrap();
        desk
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Exports the trail as it is now.
    fn export(&self) -> String {
        let file = self.file("trail.jsonl");
        self.cli.args(&["audit", "export", "--yes", "-o", file.to_str().unwrap()]).ok();
        fs::read_to_string(file).unwrap()
    }

    /// Verifies a text; no server is known to the program that does so.
    fn verify(&self, text: &str, more: &[&str]) -> Ran {
        let file = self.file("verified.jsonl");
        fs::write(&file, text).unwrap();
        let (file, key) = (file.to_str().unwrap(), self.file("key.pem"));
        let arguments = [&["audit", "verify", file, "--key", key.to_str().unwrap()], more].concat();
        let offline = Cli::nowhere();
        offline.args(&arguments)
    }
}

/// Another process of the same cluster.
async fn process(rig: &Rig) -> Services {
    let store = connect(&rig.database).await;
    let emitter = Emitter::start(&store, std::time::Duration::from_secs(8), &rig.tasks, &rig.stop);
    let key = MasterKey::from_bytes(&[7; 32]);
    Services::builder(store, emitter, std::sync::Arc::new(SystemClock)).master_key(Some(key)).build()
}

async fn trail(rig: &Rig) -> mongodb::Collection<Document> {
    rig.database.open().await.collection("audit")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_what_two_processes_did_is_sound_and_names_every_kind_of_tampering() {
    let rig = Rig::new().await;
    let other = process(&rig).await;
    // An entry of a release that knew no chains.
    let before = doc! {
        "_id": "aud_01KAS00000000000000000000A", "at": mongodb::bson::DateTime::from_millis(1_764_000_000_000_i64),
        "actor": "usr_1", "action": "user.update", "object": "usr_2", "outcome": "success", "changes": {},
    };
    trail(&rig).await.insert_one(before).await.unwrap();
    for n in 0..4 {
        rig.services.people().create_organization(&owner(), organization(&format!("a{n}"))).await.unwrap();
        other.people().create_organization(&owner(), organization(&format!("b{n}"))).await.unwrap();
    }
    let desk = Desk::new(&rig);
    let text = desk.export();
    let report: Value = serde_json::from_str(&desk.verify(&text, &["--json"]).ok()).unwrap();
    assert_eq!(
        (&report["chains"], &report["before_the_chain"], &report["statements"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!((&report["not_yet_signed"], &report["findings"]), (&json!(0), &json!([])));
    assert!(desk.verify(&text, &[]).ok().contains("the audit log is sound"));

    let lines: Vec<&str> = text.lines().collect();
    let of = |object: &str| {
        lines.iter().position(|line| line.contains("organization.create") && line.contains(object)).unwrap()
    };
    let (a, b) = (of("\"a1\""), of("\"a2\""));
    let tampered = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        change(&mut lines);
        let entries = lines.iter().filter(|line| line.starts_with("{\"entry\"")).count();
        *lines.last_mut().unwrap() = json!({ "end": { "statements": 1, "entries": entries } }).to_string();
        lines.join("\n") + "\n"
    };
    let link = |at: usize| serde_json::from_str::<Value>(lines[at]).unwrap()["entry"]["link"].clone();
    let place = format!("{} entry {}", link(a)["chain"].as_str().unwrap(), link(a)["seq"]);
    for (what, change) in [
        (
            "changed",
            &(|lines: &mut Vec<String>| lines[a] = lines[a].replace("\"a1\"", "\"evil\"")) as &dyn Fn(&mut Vec<String>),
        ),
        ("missing", &|lines| drop(lines.remove(a))),
        ("inserted", &|lines| lines.insert(a, lines[a].clone())),
        ("moved", &|lines| lines.swap(a, b)),
    ] {
        let ran = desk.verify(&tampered(change), &["--json"]);
        assert_eq!(ran.code, 8, "{what}: {ran:?}");
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        let named = report["findings"].as_array().unwrap().iter();
        let named =
            named.filter(|finding| finding["kind"] == what && finding["place"].as_str().unwrap().starts_with(&place));
        assert_eq!(named.count(), 1, "{what}: {report:#}");
    }
    let broken_off = lines[..lines.len() - 1].join("\n");
    assert_eq!(desk.verify(&broken_off, &[]).code, 8);
    let filtered = desk.cli.args(&["audit", "export", "--action", "organization.create"]).ok();
    assert_eq!(filtered.lines().count(), 10, "{filtered}");
    assert_eq!(desk.verify(&filtered, &[]).code, 2, "what was filtered cannot be verified");
    assert_eq!(desk.verify("{}", &[]).code, 8);
    let other_key = desk.file("other.pem");
    fs::write(&other_key, postern::keys::signing::SigningKey::from_bytes(&[1; 32]).unwrap().public().to_pem()).unwrap();
    let ran = Cli::nowhere().args(&[
        "audit",
        "verify",
        desk.file("trail.jsonl").to_str().unwrap(),
        "--key",
        other_key.to_str().unwrap(),
    ]);
    assert_eq!(ran.code, 8, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tampering_with_the_database_is_found_there_and_by_checkpoints_kept_elsewhere() {
    let rig = Rig::new().await;
    rig.services.people().create_organization(&owner(), organization("one")).await.unwrap();
    let first = rig.services.evidence().checkpoint().await.unwrap().unwrap();
    assert!(rig.services.evidence().checkpoint().await.unwrap().is_none(), "nothing was recorded since");
    let made = rig.services.people().create_organization(&owner(), organization("two")).await.unwrap();
    let last = rig.services.evidence().checkpoint().await.unwrap().unwrap();
    assert_eq!((first.statement.seq, last.statement.seq, last.statement.prev), (1, 2, first.statement.hash()));
    assert!(rig.services.evidence().verify_audit().await.unwrap().is_sound());

    let desk = Desk::new(&rig);
    let kept = desk.file("kept.log");
    let line =
        json!({ "target": "audit", "message": "checkpoint", "statement": serde_json::to_string(&last).unwrap() });
    fs::write(&kept, format!("not of ours\n{line}\n")).unwrap();
    let kept = ["--checkpoints", kept.to_str().unwrap()];
    assert_eq!(desk.verify(&desk.export(), &kept).code, 0);

    // Whoever writes to the database removes the newest entries with all that speaks of them.
    let database = rig.database.open().await;
    let object = made.value.id.to_string();
    let gone = trail(&rig).await.find_one(doc! { "object": &object }).await.unwrap().unwrap();
    let seq = gone.get_document("link").unwrap().get_i64("seq").unwrap();
    trail(&rig).await.delete_many(doc! { "link.seq": { "$gte": seq } }).await.unwrap();
    for collection in ["audit_statements", "audit_heads"] {
        let rows = database.collection::<Document>(collection);
        rows.delete_many(doc! { "_id": { "$ne": 1 } }).await.unwrap();
    }
    let ran = desk.verify(&desk.export(), &kept);
    assert_eq!(ran.code, 8, "{ran:?}");
    assert!(ran.out.contains("checkpoint 2 of the copy"), "{ran:?}");

    trail(&rig).await.update_one(doc! { "link.seq": 1 }, doc! { "$set": { "actor": "somebody" } }).await.unwrap();
    let report = rig.services.evidence().verify_audit().await.unwrap();
    assert!(report.findings.iter().any(|finding| finding.kind == Break::Changed), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_no_doubt_about_the_chain() {
    let rig = Rig::new().await;
    let other = process(&rig).await;
    for n in 0..60_u32 {
        let services = if n % 3 == 0 { other.clone() } else { rig.services.clone() };
        #[expect(clippy::disallowed_methods, reason = "it is ended on its way")]
        let task = tokio::spawn(async move {
            services.people().create_organization(&owner(), organization(&format!("gone {n}"))).await.map(drop)
        });
        // Somewhere on its way: the database's answers come from outside, so every turn lets it come further.
        for _ in 0..n * 20 {
            tokio::task::yield_now().await;
        }
        task.abort();
        drop(task.await);
        rig.services.people().create_organization(&owner(), organization(&format!("stays {n}"))).await.unwrap();
    }
    rig.services.evidence().checkpoint().await.unwrap();
    let report = rig.services.evidence().verify_audit().await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    let made = trail(&rig).await.count_documents(doc! { "action": "organization.create" }).await.unwrap();
    let there = rig.database.open().await.collection::<Document>("organizations");
    assert_eq!(made, there.count_documents(doc! {}).await.unwrap(), "what was made is recorded, and nothing else");
    assert!(made >= 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_share_one_chain() {
    let rig = Rig::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..24 {
        let services = rig.services.clone();
        tasks.spawn(async move {
            let new = json!({ "name": format!("t{n}"), "role": "auditor" });
            services.identity().create_token(&owner(), serde_json::from_value(new).unwrap()).await.unwrap();
            services.people().create_organization(&owner(), organization(&format!("o{n}"))).await.unwrap();
        });
    }
    tasks.join_all().await;
    rig.services.evidence().checkpoint().await.unwrap();
    let report = rig.services.evidence().verify_audit().await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.chains, 1);
    assert_eq!(report.entries, trail(&rig).await.count_documents(doc! {}).await.unwrap());
    assert!(report.signed_until.unwrap() > Timestamp::UNIX_EPOCH);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_is_recorded_and_a_flood_is_not() {
    let rig = Rig::new().await;
    let entries = |query: &str| rig.owner().get(&format!("/audit?action=access.deny{query}"))["items"].clone();
    let auditor = rig.as_role(Role::Auditor);
    let answer = auditor.ask("POST", "/organizations", Some(&json!({ "name": "x" })));
    assert_eq!(answer.checked(), 403);
    let recorded = entries("&outcome=denied");
    assert_eq!(recorded.as_array().unwrap().len(), 1, "{recorded:#}");
    assert!(recorded[0]["actor"].as_str().unwrap().starts_with("tok_"), "{recorded:#}");
    assert_eq!(recorded[0]["object"], "/api/v1/organizations");
    assert_eq!(recorded[0]["request_id"], answer.header("x-request-id"));
    assert_eq!(recorded[0]["changes"]["reason"], json!([null, "PST-AUTH-003"]));
    assert_eq!(recorded[0]["changes"]["address"], json!([null, "127.0.0.1"]));

    let nobody = crate::api_rig::Caller::new(rig.addresses.admin.unwrap(), None);
    for _ in 0..50 {
        assert_eq!(nobody.ask("GET", "/users", None).checked(), 401);
    }
    let recorded = entries("");
    let count = recorded.as_array().unwrap().len();
    assert!((10..40).contains(&count), "{count}");
    assert_eq!(recorded[0]["actor"], "system:access");
    assert!(!recorded.to_string().contains("pst_"), "no token is written down");
}
