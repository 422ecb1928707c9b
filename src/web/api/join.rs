//! `/join`: a new machine shows its join token. Nobody is signed in here; the token is what lets in, and shows of it
//! are counted by address.

use axum::extract::State;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use crate::api::answer::{Answer, Plain};
use crate::api::extract::{From, Json};
use crate::http::problem::Problem;
use domain::join::MachineCheck;
use domain::secret::Secret;
use domain::text::PublicAddress;
use services::hosts::joining::{JoinCredentials, JoinPlan, JoinRequest, Joined};
use services::{HostPublicKey, Services};

/// How many addresses a host may have.
const MOST_ADDRESSES: usize = 8;

/// What a machine shows in order to become a host.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JoinRequest)]
pub(crate) struct Redemption {
    token: String,
    /// The public half of the machine's key (X25519), in base64.
    #[serde(deserialize_with = "public_key")]
    #[schema(value_type = String)]
    public_key: HostPublicKey,
    public_addresses: Vec<PublicAddress>,
}

fn public_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HostPublicKey, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_other| D::Error::custom("must be an X25519 public key in base64"))
}

/// What a machine found out about itself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MachineReport)]
pub(crate) struct Report {
    token: String,
    /// The public half of the machine's key (X25519), in base64.
    #[serde(deserialize_with = "public_key")]
    #[schema(value_type = String)]
    public_key: HostPublicKey,
    #[serde(default)]
    checks: Vec<MachineCheck>,
}

pub(crate) async fn redeem(
    State(services): State<Services>,
    From(peer): From,
    Json(Redemption { token, public_key, public_addresses }): Json<Redemption>,
) -> Answer<Plain<Joined>> {
    if !(1..=MOST_ADDRESSES).contains(&public_addresses.len()) {
        let detail = format!("must be 1 to {MOST_ADDRESSES} addresses");
        return Err(Problem::field("/public_addresses".to_owned(), detail));
    }
    let request = JoinRequest { shown: JoinCredentials { token: Secret::new(token), public_key }, public_addresses };
    let joined = services.hosts().redeem_join_token(&request, &peer).await?;
    Ok(Plain(joined))
}

pub(crate) async fn report(
    State(services): State<Services>,
    From(peer): From,
    Json(Report { token, public_key, checks }): Json<Report>,
) -> Answer<Plain<JoinPlan>> {
    let shown = JoinCredentials { token: Secret::new(token), public_key };
    Ok(Plain(services.hosts().report_machine(&shown, &checks, &peer).await?))
}
