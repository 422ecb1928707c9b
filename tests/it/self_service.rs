//! What people do with their own: profiles, sessions, one-time links, data; and that nobody else's can be touched.

use futures_util::TryStreamExt as _;
use futures_util::future::join_all;
use mongodb::bson::{RawDocumentBuf, doc};
use postern::domain::ids::{HostId, ProfileId, SessionId};
use postern::domain::login::Surface;
use postern::domain::retention::DataKind;
use postern::domain::role::Role;
use postern::domain::session::Session;
use postern::services::access::profiles::NewProfile;
use postern::services::access::sessions::SessionRecord;
use postern::services::hosts::removal::Removal;
use postern::services::identity::logins::Person;
use postern::services::people::self_service::{MyProfile, MyProfileStatus};
use postern::services::{Missing, ServiceError};
use postern::web;
use serde_json::json;

use crate::self_service_rig::{Rig, SECRET, account, browser, from_json, owner};

impl Rig {
    fn new_profile(&self, name: &str) -> NewProfile {
        NewProfile { server_id: self.server, name: name.parse().unwrap() }
    }

    async fn issue(&self, person: &Person, name: &str) -> ProfileId {
        self.here().people().issue_own(person, self.new_profile(name)).await.unwrap().profile.value.id
    }

    async fn show(&self, person: &Person, id: ProfileId) -> MyProfile {
        self.hosts[1].people().my_profile(person, id).await.unwrap()
    }

    async fn connect(&self, profile: &MyProfile, host: HostId) -> SessionId {
        let profile = &profile.profile.value;
        let session = Session {
            id: self.here().new_id(),
            user_id: profile.user_id,
            profile_id: profile.id,
            server_id: profile.server_id,
            host_id: host,
            address: profile.address,
            remote_address: "203.0.113.9:4711".parse().unwrap(),
            connected_at: self.here().now(),
            bytes_received: 0,
            bytes_sent: 0,
            client_version: None,
            client_protocol: None,
        };
        self.here().access().record_session(&SessionRecord::began(session.clone(), None)).await.unwrap();
        session.id
    }
}

fn names(hosts: &[postern::domain::text::HostName]) -> Vec<&str> {
    hosts.iter().map(postern::domain::text::HostName::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_says_how_it_stands_and_what_it_lacks() {
    let rig = Rig::new().await;
    let ana = rig.person("ana").await;
    assert_eq!(rig.here().people().servers_for(&ana).await.unwrap().len(), 1);
    let issued = rig.here().people().issue_own(&ana, rig.new_profile("Laptop")).await.unwrap();
    assert!(issued.config.expose().contains("PRIVATE KEY"));
    let id = issued.profile.value.id;
    let fresh = rig.show(&ana, id).await;
    assert_eq!((&fresh.status, &fresh.note, fresh.server_name.as_str()), (&MyProfileStatus::NeverUsed, &None, "main"));

    // A host more, another one gone: named, each as what it is.
    let second = rig.attach("vpn-2").await;
    let note = rig.show(&ana, id).await.note.unwrap();
    assert_eq!((names(&note.added), names(&note.removed), note.other), (vec!["vpn-2"], vec![], false));
    rig.here().hosts().remove_host(&owner(), rig.vpn, Removal { force: true }, None).await.unwrap();
    let note = rig.show(&ana, id).await.note.unwrap();
    assert_eq!((names(&note.added), names(&note.removed)), (vec!["vpn-2"], vec!["vpn-1"]));

    let session = rig.connect(&fresh, second).await;
    let connected = rig.show(&ana, id).await.status;
    assert!(matches!(&connected, MyProfileStatus::Connected { host, .. } if host.as_str() == "vpn-2"), "{connected:?}");
    let [mine] = rig.here().people().my_sessions(&ana).await.unwrap().try_into().unwrap();
    assert_eq!((mine.session.id, mine.profile_name.as_str(), mine.host_name.as_str()), (session, "Laptop", "vpn-2"));
    rig.here().people().end_own_session(&ana, session).await.unwrap();
    assert_eq!(rig.store.access().ordered_ends(&[session]).await.unwrap(), [session]);

    // The new one is up to date; the old one stays for a while and says until when.
    let replaced = rig.here().people().replace_own(&ana, id).await.unwrap().profile.value;
    let old = rig.show(&ana, id).await;
    let MyProfileStatus::Replaced { until } = old.status else { panic!("{:?}", old.status) };
    assert_eq!(until, old.profile.value.expires_at);
    let days = until.duration_since(rig.here().now()).as_hours() / 24;
    assert!((6..=7).contains(&days), "{days}");
    assert_eq!((old.profile.value.replaced_by, old.note), (Some(replaced.id), None));
    assert_eq!(rig.show(&ana, replaced.id).await.note, None);
    assert!(matches!(rig.here().people().replace_own(&ana, id).await, Err(ServiceError::Conflict(_))));

    rig.here().people().rename_own(&ana, replaced.id, "Ana's \"new\" laptop".parse().unwrap()).await.unwrap();
    rig.here().people().revoke_own(&ana, replaced.id).await.unwrap();
    let revoked = rig.show(&ana, replaced.id).await;
    assert_eq!(revoked.profile.value.name.as_str(), "Ana's \"new\" laptop");
    assert!(matches!(revoked.status, MyProfileStatus::Revoked { .. }) && revoked.note.is_none());
    let all: Vec<_> =
        rig.here().people().my_profiles(&ana).await.unwrap().iter().map(|mine| mine.profile.value.id).collect();
    assert_eq!(all, [replaced.id, id], "the newest first");
    for action in ["profile.rename", "profile.revoke", "session.end"] {
        let trail = rig.trail(action).await;
        assert_eq!((trail.len(), trail[0].actor.clone()), (1, ana.user.id.to_string()), "{action}");
    }
    assert_eq!(rig.trail("profile.issue").await[0].changes["replaces"][1], id.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_port_is_a_reason_for_a_new_file_and_a_drain_is_none() {
    let rig = Rig::new().await;
    let ana = rig.person("ana").await;
    let id = rig.issue(&ana, "Laptop").await;
    let hosts = rig.store.database().collection::<mongodb::bson::Document>("hosts");
    let draining = doc! { "$set": { "draining": true } };
    hosts.update_one(doc! { "_id": rig.vpn.to_string() }, draining).await.unwrap();
    assert_eq!(rig.show(&ana, id).await.note, None);
    rig.here().network().update_server(&owner(), rig.server, from_json(json!({ "port": 443 })), None).await.unwrap();
    let note = rig.show(&ana, id).await.note.unwrap();
    assert!(note.other && note.added.is_empty() && note.removed.is_empty(), "{note:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_others_does_not_exist() {
    let rig = Rig::new().await;
    let (ana, bo) = (rig.person("ana").await, rig.person("bo").await);
    let id = rig.issue(&ana, "Laptop").await;
    let session = rig.connect(&rig.show(&ana, id).await, rig.vpn).await;
    let closed = from_json(json!({ "name": "closed", "network": "10.8.0.0/16", "port": 1195, "protocol": "udp" }));
    let closed = rig.here().network().create_server(&owner(), closed).await.unwrap().value.id;

    let before = rig.rows("audit").await.len();
    let services = rig.here();
    let name = "x".parse::<postern::domain::text::Name>().unwrap();
    let refusals = [
        services.people().my_profile(&bo, id).await.map(drop),
        services.people().replace_own(&bo, id).await.map(drop),
        services.people().rename_own(&bo, id, name.clone()).await.map(drop),
        services.people().revoke_own(&bo, id).await.map(drop),
        services.people().end_own_session(&bo, session).await,
        services.identity().end_login(&bo, ana.login).await,
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Err(ServiceError::NotFound(_))), "{refusal:?}");
    }
    assert!(
        services.people().my_profiles(&bo).await.unwrap().is_empty()
            && services.people().my_sessions(&bo).await.unwrap().is_empty()
    );
    assert_eq!(rig.rows("audit").await.len(), before);

    // A server that is closed to her answers as one that does not exist.
    let unknown = postern::domain::ids::Id::from_parts(jiff::Timestamp::UNIX_EPOCH, 9);
    let [a, b] = [closed, unknown].map(|server_id| NewProfile { server_id, name: name.clone() });
    for (one, other) in [
        (
            services.people().issue_own(&bo, a.clone()).await.map(drop),
            services.people().issue_own(&bo, b.clone()).await.map(drop),
        ),
        (
            services.identity().make_own_ticket(&bo, a).await.map(drop),
            services.identity().make_own_ticket(&bo, b).await.map(drop),
        ),
    ] {
        assert_eq!(one.unwrap_err().to_string(), other.unwrap_err().to_string());
    }
    // Who is signed in has no right over others because of it.
    assert!(matches!(services.access().revoke_profile(&bo.act(), id, None).await, Err(ServiceError::Forbidden(_))));
    assert!(rig.hosts[1].identity().person("x").await.unwrap().is_none());
    assert!(matches!(rig.show(&ana, id).await.status, MyProfileStatus::Connected { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_who_redeem_a_ticket_at_once_one_gets_the_profile() {
    let rig = &Rig::new().await;
    let ana = rig.person("ana").await;
    let ticket = rig.here().identity().make_own_ticket(&ana, rig.new_profile("Phone")).await.unwrap();
    let secret = ticket.secret.expose().as_str();
    let url = rig.here().identity().ticket_url(&ticket).unwrap();
    assert_eq!(url.expose(), &format!("https://vpn.example.com/p/{secret}"));
    for host in &rig.hosts {
        let view = host.identity().look_at_ticket(secret, &browser()).await.unwrap();
        assert_eq!((view.server_name.as_str(), view.profile_name.as_str()), ("main", "Phone"));
    }
    let redeem = (0..50).map(|n| async move { rig.hosts[n % 2].identity().redeem_ticket(secret, &browser()).await });
    let (got, refused): (Vec<_>, Vec<_>) = join_all(redeem).await.into_iter().partition(Result::is_ok);
    assert_eq!((got.len(), refused.len()), (1, 49));
    assert!(refused.iter().all(|refusal| matches!(refusal, Err(ServiceError::NotFound(Missing::Link)))));
    let [mine] = rig.here().people().my_profiles(&ana).await.unwrap().try_into().unwrap();
    assert_eq!(mine.profile.value.name.as_str(), "Phone");
    assert_eq!(rig.rows("addresses").await.len(), 1, "the others gave their addresses back");
    assert!(rig.here().identity().look_at_ticket(secret, &browser()).await.is_err());
    let [made, issued] = [rig.trail("ticket.create").await, rig.trail("profile.issue").await];
    assert_eq!((made.len(), issued.len()), (1, 1));
    assert_eq!(issued[0].actor, ana.user.id.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_an_administrator_serves_somebody_without_an_account() {
    let rig = Rig::new().await;
    let new = from_json(json!({ "organization_id": rig.organization, "name": "Printer" }));
    let machine = rig.here().people().create_user(&owner(), new).await.unwrap().value.id;
    let ticket = rig.here().identity().make_ticket(&owner(), machine, rig.new_profile("Printer")).await.unwrap();
    let issued = rig.hosts[1].identity().redeem_ticket(ticket.secret.expose(), &browser()).await.unwrap();
    assert_eq!(issued.profile.value.user_id, machine);

    // Disabling somebody takes the links away that wait for them.
    let ticket = rig.here().identity().make_ticket(&owner(), machine, rig.new_profile("Printer")).await.unwrap();
    rig.here().people().update_user(&owner(), machine, from_json(json!({ "disabled": true })), None).await.unwrap();
    assert!(matches!(
        rig.here().identity().redeem_ticket(ticket.secret.expose(), &browser()).await,
        Err(ServiceError::NotFound(Missing::Link))
    ));
    assert!(rig.here().identity().make_ticket(&owner(), machine, rig.new_profile("Printer")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_makes_links_under_the_public_url_for_who_may_manage_users() {
    let settings = crate::api_rig::settings();
    let public = web::Listener { url: Some("https://vpn.example.com".to_owned()), ..settings.public.clone() };
    let rig = crate::api_rig::Rig::with(web::Settings { public, ..settings }).await;
    let api = rig.owner();
    let organization = api.post("/organizations", &json!({ "name": "Acme" }))["id"].clone();
    let server = json!({
        "name": "main", "network": "10.9.0.0/24", "port": 1194, "protocol": "udp", "organization_ids": [organization],
    });
    let server = api.post("/servers", &server)["id"].clone();
    let host = rig.host().await;
    api.expect(204, "PUT", &format!("/servers/{}/hosts/{host}", server.as_str().unwrap()), None);
    let user = api.post("/users", &json!({ "organization_id": organization, "name": "Printer" }))["id"].clone();
    let path = format!("/users/{}/profile-links", user.as_str().unwrap());
    let body = json!({ "server_id": server, "name": "Printer" });
    // A process that does not know the portal's URL can make no link to it.
    crate::api_once::elsewhere(&rig, Role::Owner).await.expect(409, "POST", &path, Some(&body));
    let link = api.post(&path, &body);
    let secret = link["url"].as_str().unwrap().strip_prefix("https://vpn.example.com/p/").unwrap();
    assert!(link["expires_at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    let issued = rig.services.identity().redeem_ticket(secret, &browser()).await.unwrap();
    assert_eq!(json!(issued.profile.value.user_id), user);
    rig.as_role(postern::domain::role::Role::Auditor).expect(403, "POST", &path, Some(&body));
    api.expect(404, "POST", "/users/usr_01ARZ3NDEKTSV4RRFFQ69G5FAV/profile-links", Some(&body));

    let settings =
        json!({ "oidc": { "client_id": "postern", "client_secret": SECRET, "allowed_domains": ["example.com"] } });
    let answers = [api.patch("/settings", &settings), api.get("/settings")];
    assert!(answers.iter().all(|answer| answer["oidc"]["credentials_set"] == true));
    assert!(answers.iter().all(|answer| answer["oidc"]["issuer"] == "https://accounts.google.com"));
    let trail = api.get("/audit?action=settings.update");
    assert!(![&answers[0], &answers[1], &trail].iter().any(|answer| answer.to_string().contains(SECRET)));
    for bad in [
        json!({ "issuer": "http://accounts.google.com" }),
        json!({ "allowed_domains": ["Example.com"] }),
        json!({ "allowed_domains": ["example.com."] }),
        json!({ "default_organization_id": "org_01ARZ3NDEKTSV4RRFFQ69G5FAV" }),
        json!({ "trust_email_domain": true }),
        json!({ "client_secret": "" }),
    ] {
        let problem = api.expect(422, "PATCH", "/settings", Some(&json!({ "oidc": bad })));
        assert!(problem["errors"][0]["pointer"].as_str().unwrap().starts_with("/oidc/"), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_opens_anything_rests_in_the_database() {
    let rig = Rig::new().await;
    let start = rig.here().identity().start_sign_in(Surface::Portal, "/".parse().unwrap(), &browser()).await.unwrap();
    let waiting = rig.issuer.code(&start.redirect, &account("bo"));
    let signed_in = rig.sign_in(&account("ana")).await.unwrap();
    let ana = rig.here().identity().person(signed_in.cookie.expose()).await.unwrap().unwrap();
    let ticket = rig.here().identity().make_own_ticket(&ana, rig.new_profile("Phone")).await.unwrap();
    let issued = rig.here().people().issue_own(&ana, rig.new_profile("Laptop")).await.unwrap();
    let (_, key) = issued.config.expose().split_once("PRIVATE KEY-----\n").unwrap();
    let secrets = [
        SECRET,
        start.cookie.expose(),
        waiting.state.as_ref().unwrap(),
        waiting.code.as_ref().unwrap(),
        signed_in.cookie.expose(),
        &ana.form_token.0,
        ticket.secret.expose(),
        key.lines().next().unwrap(),
    ];
    let mut seen = 0;
    for collection in rig.database.open().await.list_collection_names().await.unwrap() {
        for row in rig.rows(&collection).await {
            seen += 1;
            let text = String::from_utf8_lossy(row.as_bytes()).into_owned();
            for secret in secrets {
                let bytes = data_encoding::HEXLOWER.decode(secret.as_bytes()).unwrap_or_else(|_| secret.into());
                let in_bytes = row.as_bytes().windows(bytes.len()).any(|window| window == bytes);
                assert!(!text.contains(secret) && !in_bytes, "a secret in {collection}");
            }
        }
    }
    assert!(seen > 10, "{seen}");
    let shown = serde_json::to_string(&rig.here().cluster().settings(&owner()).await.unwrap().value).unwrap();
    assert!(!shown.contains(SECRET) && shown.contains("\"credentials_set\":true"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn my_data_holds_every_kind_and_nothing_of_others() {
    let rig = Rig::new().await;
    let (ana, bo) = (rig.person("ana").await, rig.person("bo").await);
    let id = rig.issue(&ana, "Laptop").await;
    rig.connect(&rig.show(&ana, id).await, rig.vpn).await;
    rig.here().identity().make_own_ticket(&ana, rig.new_profile("Phone")).await.unwrap();
    let data = rig.here().people().my_data(&ana).await.unwrap();
    assert_eq!(data.kinds.iter().map(|kind| kind.kind).collect::<Vec<_>>(), DataKind::ALL);
    for kind in &data.kinds {
        assert!(!kind.values.is_empty(), "{:?}", kind.kind);
    }
    let others = serde_json::to_string(&rig.here().people().my_data(&bo).await.unwrap()).unwrap();
    assert!(!others.contains("Laptop") && !others.contains("ana@") && !others.contains(&ana.user.id.to_string()));
}

impl Rig {
    async fn rows(&self, collection: &str) -> Vec<RawDocumentBuf> {
        let rows = self.database.open().await.collection::<RawDocumentBuf>(collection);
        rows.find(doc! {}).await.unwrap().try_collect().await.unwrap()
    }
}
