//! `postern settings`.

use std::path::PathBuf;

use clap::Subcommand;

use super::api::Ask;
use super::body::{Body, given};
use super::error::ClientError;
use super::options::read_text;
use super::output::View;
use super::refs::NounKind;
use super::{Client, Run};

/// There is one of it, and no list.
const VIEW: View = View { key: "company_name", columns: &[] };

#[derive(Debug, Subcommand)]
pub(in super::super) enum Verb {
    /// Show the settings.
    Show,
    /// Update settings; what is not named stays.
    Update(Box<Update>),
}

/// What to change.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Update {
    /// The company, as pages name it.
    #[arg(long)]
    company_name: Option<String>,
    /// Whom people ask for help.
    #[arg(long)]
    contact: Option<String>,
    /// How long a profile is valid, in days.
    #[arg(long, value_name = "DAYS")]
    profile_lifetime_days: Option<u32>,
    /// How many profiles a user may have.
    #[arg(long, value_name = "N")]
    profiles_per_user: Option<u32>,
    /// For how long hosts admit people while the database is away, in hours.
    #[arg(long, value_name = "HOURS")]
    outage_admission_hours: Option<u32>,
    #[command(flatten)]
    retention: Retention,
    /// The identity provider; Google without it.
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Our name at the identity provider.
    #[arg(long)]
    client_id: Option<String>,
    /// A file that holds our secret at the identity provider, `-` for standard input.
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// A domain whose accounts may sign in; may be given again, and replaces those there were.
    #[arg(long = "allowed-domain", value_name = "DOMAIN")]
    allowed_domains: Vec<String>,
    /// Where people go who sign in and whom nobody prepared.
    #[arg(long, value_name = "ORG")]
    default_org: Option<String>,
    /// Only people who were prepared may sign in.
    #[arg(long, conflicts_with = "default_org")]
    no_default_org: bool,
}

/// For how long what is about people is kept.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_field_names, reason = "they are the names of options")]
struct Retention {
    /// How long the address of a VPN session is kept whole after its end, in days.
    #[arg(long, value_name = "DAYS")]
    keep_address_days: Option<u32>,
    /// How long a VPN session is kept after its end, in days.
    #[arg(long, value_name = "DAYS")]
    keep_session_days: Option<u32>,
    /// How long after its end a VPN session tells whose it was once the account is gone, in days.
    #[arg(long, value_name = "DAYS")]
    keep_departed_days: Option<u32>,
    /// How long the audit log is kept, in days.
    #[arg(long, value_name = "DAYS")]
    keep_audit_days: Option<u32>,
}

impl Run for Verb {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        match self {
            Self::Show => client.show(&Ask::get("/settings"), &VIEW),
            Self::Update(update) => update.run(client),
        }
    }
}

impl Update {
    fn run(self, client: &Client) -> Result<(), ClientError> {
        let secret =
            self.client_secret_file.as_deref().map(|file| read_text(file, "--client-secret-file")).transpose()?;
        let oidc = Body::default()
            .set("issuer", self.issuer)
            .set("client_id", self.client_id)
            .set("client_secret", secret.map(|secret| secret.expose().trim().to_owned()))
            .set("allowed_domains", given(self.allowed_domains))
            .set("default_organization_id", client.find_given(NounKind::Organization, self.default_org.as_deref())?)
            .clear("default_organization_id", self.no_default_org);
        let body = Body::default()
            .set("company_name", self.company_name)
            .set("contact", self.contact)
            .set("profile_lifetime_days", self.profile_lifetime_days)
            .set("profiles_per_user", self.profiles_per_user)
            .set("outage_admission_hours", self.outage_admission_hours);
        let retention = Body::default()
            .set("address_days", self.retention.keep_address_days)
            .set("session_days", self.retention.keep_session_days)
            .set("departed_days", self.retention.keep_departed_days)
            .set("audit_days", self.retention.keep_audit_days);
        let body = if retention.is_empty() { body } else { body.set("retention", Some(retention.new_object())) };
        let body = if oidc.is_empty() { body } else { body.set("oidc", Some(oidc.new_object())) };
        client.show(&Ask::patch("/settings", &body.change()?), &VIEW)
    }
}
