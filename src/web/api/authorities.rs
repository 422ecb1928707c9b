//! `/authorities`: what vouches for profiles and daemons, without the private halves.

use axum::extract::State;

use crate::api::{
    answer::{Answer, List},
    extract::{Caller, NoQuery},
};
use services::{Services, network::authorities::AuthorityView};

/// All of them; they are few, so there is one page.
pub(crate) async fn list(
    State(services): State<Services>,
    Caller(act): Caller,
    _: NoQuery,
) -> Answer<List<AuthorityView>> {
    Ok(List::whole(services.network().authority_views(&act).await?))
}
