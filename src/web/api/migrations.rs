//! `/migrations`: in which shape the database is.

use axum::extract::State;

use crate::api::{
    answer::{Answer, List},
    extract::{Caller, NoQuery},
};
use services::{Services, cluster::migrations::MigrationView};

/// All of them, the first one first; they are few, so there is one page.
pub(crate) async fn list(
    State(services): State<Services>,
    Caller(act): Caller,
    _: NoQuery,
) -> Answer<List<MigrationView>> {
    Ok(List::whole(services.cluster().migrations(&act).await?))
}
