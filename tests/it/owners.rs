//! A cluster always has an enabled owner, and nobody changes their own standing.

use postern::domain::audit::Actor;
use postern::domain::ids::{LoginId, UserId};
use postern::domain::login::Who;
use postern::domain::role::Role;
use postern::services::people::users::UserPatch;
use postern::services::{Act, Refusal, ServiceError};
use serde_json::{Value, json};

use crate::api_rig::{Caller, Rig};

fn owner_user(owner: &Caller, organization: &Value, name: &str) -> String {
    let user = json!({ "organization_id": organization, "name": name, "role": "owner" });
    format!("/users/{}", owner.post("/users", &user)["id"].as_str().unwrap())
}

fn enabled_owners(owner: &Caller) -> usize {
    owner.list("/users", 200).iter().filter(|user| user["role"] == "owner" && user["disabled"] == false).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_enabled_owner_stays_whoever_asks() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let organization = owner.post("/organizations", &json!({ "name": "Acme" }))["id"].clone();
    let (last, other) = (owner_user(&owner, &organization, "Ana"), owner_user(&owner, &organization, "Bo"));
    owner.patch(&other, &json!({ "disabled": true }));
    let before = rig.dump().await["audit"].len();
    for (method, body) in [
        ("PATCH", Some(json!({ "role": "admin" }))),
        ("PATCH", Some(json!({ "disabled": true }))),
        ("PATCH", Some(json!({ "name": "Eve", "role": "user", "disabled": true }))),
        ("DELETE", None),
    ] {
        let refused = owner.ask(method, &last, body.as_ref());
        assert_eq!(refused.checked(), 409, "{method} {body:?}");
        assert!(refused.json()["detail"].as_str().unwrap().contains("last enabled owner"), "{refused:?}");
    }
    let shell = Act::of(Actor::Shell("test"));
    let id: UserId = last.strip_prefix("/users/").unwrap().parse().unwrap();
    let demoted = UserPatch { role: Some(Role::Admin), ..UserPatch::default() };
    for refused in [
        rig.services.people().update_user(&shell, id, demoted, None).await.map(drop),
        rig.services.people().delete_user(&shell, id, None).await,
    ] {
        assert!(matches!(refused, Err(ServiceError::Conflict(_))), "{refused:?}");
    }
    assert_eq!(rig.dump().await["audit"].len(), before, "nothing was changed");
    owner.patch(&last, &json!({ "name": "Ana Ng" }));
    owner.patch(&other, &json!({ "disabled": false }));
    owner.expect(204, "DELETE", &last, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_demotions_at_once_one_owner_is_left() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let organization = owner.post("/organizations", &json!({ "name": "Acme" }))["id"].clone();
    let owners: Vec<_> = (0..5).map(|number| owner_user(&owner, &organization, &format!("Owner {number}"))).collect();
    let mut asked = Vec::new();
    for round in 0..50 {
        let (owner, path) = (owner.clone(), owners[round % owners.len()].clone());
        asked.push(tokio::task::spawn_blocking(move || match round % 3 {
            0 => owner.ask("PATCH", &path, Some(&json!({ "role": "user" }))).checked(),
            1 => owner.ask("PATCH", &path, Some(&json!({ "disabled": true }))).checked(),
            _ => owner.ask("DELETE", &path, None).checked(),
        }));
    }
    let mut refused = 0;
    for answer in asked {
        let status = answer.await.unwrap();
        assert!([200, 204, 404, 409].contains(&status), "{status}");
        refused += usize::from(status == 409);
    }
    assert!(refused > 0);
    assert_eq!(enabled_owners(&owner), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_their_own_standing() {
    let rig = Rig::new().await;
    let owner = rig.owner();
    let organization = owner.post("/organizations", &json!({ "name": "Acme" }))["id"].clone();
    let (own, _) = (owner_user(&owner, &organization, "Ana"), owner_user(&owner, &organization, "Bo"));
    let id: UserId = own.strip_prefix("/users/").unwrap().parse().unwrap();
    let login: LoginId = rig.services.new_id();
    let act = Act::of(Actor::Admin { who: Who::User(id), login, role: Role::Owner });
    let patch = |body: Value| serde_json::from_value::<UserPatch>(body).unwrap();
    for body in [json!({ "role": "admin" }), json!({ "disabled": true })] {
        let refused = rig.services.people().update_user(&act, id, patch(body.clone()), None).await;
        assert!(matches!(&refused, Err(ServiceError::Conflict(Refusal::OwnStanding))), "{body}: {refused:?}");
    }
    assert!(matches!(rig.services.people().delete_user(&act, id, None).await, Err(ServiceError::Conflict(_))));
    rig.services.people().update_user(&act, id, patch(json!({ "name": "Ana Ng" })), None).await.unwrap();
}
