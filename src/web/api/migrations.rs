//! `/migrations`: in which shape the database is.

use crate::api::answer::{Answer, List};
use crate::api::extract::{Call, NoQuery};
use services::cluster::migrations::MigrationView;

/// All of them, the first one first; they are few, so there is one page.
pub(crate) async fn list(Call(services, act): Call, _: NoQuery) -> Answer<List<MigrationView>> {
    Ok(List::whole(services.cluster().migrations(&act).await?))
}
