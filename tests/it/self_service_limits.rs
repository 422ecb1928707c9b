//! Limits: per address in one process, per account over all of them, and while the database is away.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use postern::domain::clock::SystemClock;
use postern::domain::login::Surface;
use postern::services::cluster::limits::Limit;
use postern::services::{ServiceError, Services};
use postern::store::{Emitter, Settings, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::self_service_rig::{Rig, browser};

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_an_account_holds_over_all_hosts() {
    let rig = &Rig::new().await;
    let spend =
        (0..40).map(|n| async move { rig.hosts[n % 2].cluster().limit_account(Limit::ProfileIssue, "usr_x").await });
    let (granted, refused): (Vec<_>, Vec<_>) = join_all(spend).await.into_iter().partition(Result::is_ok);
    assert_eq!(granted.len(), Limit::ProfileIssue.rate().most as usize);
    for refusal in refused {
        let Err(ServiceError::TooMany { after, .. }) = refusal else { panic!("{refusal:?}") };
        assert!(after <= Limit::ProfileIssue.rate().per, "{after:?}");
    }
    rig.hosts[0].cluster().limit_account(Limit::ProfileIssue, "usr_y").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_more_profiles_in_an_hour_than_the_limit() {
    let rig = Rig::new().await;
    let ana = rig.person("ana").await;
    let new = || postern::services::access::profiles::NewProfile { server_id: rig.server, name: "x".parse().unwrap() };
    let mut last = None;
    for n in 0..11 {
        let issued = rig.hosts[n % 2].people().issue_own(&ana, new()).await;
        if let Ok(issued) = &issued {
            rig.here().people().revoke_own(&ana, issued.profile.value.id).await.unwrap();
        }
        last = Some(issued.map(drop));
    }
    assert!(matches!(last, Some(Err(ServiceError::TooMany { .. }))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_guesses_tickets_or_begins_many_sign_ins_is_slowed_down() {
    let rig = Rig::new().await;
    let browser = browser();
    for _ in 0..Limit::Ticket.rate().most {
        let guess = rig.here().identity().look_at_ticket(&"0".repeat(64), &browser).await;
        assert!(matches!(guess, Err(ServiceError::NotFound(_))));
    }
    let guess = rig.here().identity().redeem_ticket(&"0".repeat(64), &browser).await.map(drop);
    assert!(matches!(guess, Err(ServiceError::TooMany { .. })), "{guess:?}");

    for _ in 0..Limit::SignInStart.rate().most {
        rig.here().identity().start_sign_in(Surface::Portal, "/".parse().unwrap(), &browser).await.unwrap();
    }
    let refused =
        rig.here().identity().start_sign_in(Surface::Portal, "/".parse().unwrap(), &browser).await.unwrap_err();
    assert!(refused.to_string().contains("too many"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_an_account_has_its_limit_on_each_host() {
    let nowhere = Settings { uri: "mongodb://127.0.0.1:1/?replicaSet=none".to_owned(), database: "postern".to_owned() };
    let store = Store::connect(&nowhere).await.unwrap();
    let emitter = Emitter::start(&store, Duration::from_secs(8), &TaskTracker::new(), &CancellationToken::new());
    let services = &Services::builder(store, emitter, Arc::new(SystemClock)).build();
    let most = Limit::ProfileIssue.rate().most as usize;
    let spend = (0..most + 5).map(|_| services.cluster().limit_account(Limit::ProfileIssue, "usr_x"));
    let granted = join_all(spend).await.into_iter().flatten().count();
    assert_eq!(granted, most);
    assert!(!services.cluster().cluster_health().await.database);
    assert!(matches!(services.identity().person(&"0".repeat(64)).await, Err(ServiceError::Unavailable(_))));
}
