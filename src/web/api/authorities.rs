//! `/authorities`: what vouches for profiles and daemons, without the private halves.

use crate::api::answer::{Answer, List};
use crate::api::extract::{Call, NoQuery};
use services::network::authorities::AuthorityView;

/// All of them; they are few, so there is one page.
pub(crate) async fn list(Call(services, act): Call, _: NoQuery) -> Answer<List<AuthorityView>> {
    Ok(List::whole(services.network().authority_views(&act).await?))
}
