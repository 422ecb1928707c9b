//! `/settings`.

use axum::extract::State;

use crate::api::{
    answer::{Answer, Single},
    extract::{Caller, IfMatch, Json, NoQuery},
};
use domain::settings::Settings;
use services::{Services, cluster::settings::SettingsPatch};

pub(crate) async fn show(
    State(services): State<Services>,
    Caller(act): Caller,
    _: NoQuery,
) -> Answer<Single<Settings>> {
    Ok(Single(services.cluster().settings(&act).await?))
}

pub(crate) async fn update(
    State(services): State<Services>,
    Caller(act): Caller,
    IfMatch(expected): IfMatch,
    Json(patch): Json<SettingsPatch>,
) -> Answer<Single<Settings>> {
    Ok(Single(services.cluster().update_settings(&act, patch, expected).await?))
}
