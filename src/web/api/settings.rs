//! `/settings`.

use crate::api::answer::{Answer, Single};
use crate::api::extract::{Call, IfMatch, Json, NoQuery};
use domain::settings::Settings;
use services::cluster::settings::SettingsPatch;

pub(crate) async fn show(Call(services, act): Call, _: NoQuery) -> Answer<Single<Settings>> {
    Ok(Single(services.cluster().settings(&act).await?))
}

pub(crate) async fn update(
    Call(services, act): Call,
    IfMatch(expected): IfMatch,
    Json(patch): Json<SettingsPatch>,
) -> Answer<Single<Settings>> {
    Ok(Single(services.cluster().update_settings(&act, patch, expected).await?))
}
