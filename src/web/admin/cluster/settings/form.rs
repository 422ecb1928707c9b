//! The form of the settings. The client secret can be set in it, and is never shown.

use crate::ui::form::form;
use crate::ui::input::{joined, one, optional, ticked};
use crate::ui::{Choice, Field, FormView};
use domain::ids::OrganizationId;
use domain::settings::Settings;
use domain::text::Name;
use services::Removable;
use services::cluster::settings::{OidcPatch, RetentionPatch, SettingsPatch};

form! {
    /// The form of the settings.
    SettingsForm(settings: Settings) {
        company_name: Field::text("Name").short("Company").subject("The company").part("company")
            .with(r#"maxlength="200" autocomplete="organization""#)
            .hint("What your people read on every page."),
            optional(settings.company_name.as_ref());
        contact: Field::text("Contact").subject("The contact").part("company")
            .with(r#"maxlength="500" autocomplete="off""#)
            .hint("Whom people may ask, in words: “the IT desk, it@example.com”."),
            optional(settings.contact.as_ref());
        issuer: Field::text("Issuer").subject("The issuer").part("client")
            .with(r#"inputmode="url" required maxlength="500" autocomplete="off""#)
            .hint("Who vouches for your people. Google is <code>https://accounts.google.com</code>. Another issuer needs a \
                   client secret of its own."),
            one(settings.oidc.issuer.as_str());
        client_id: Field::text("Client id").subject("The client id").part("client")
            .hint("Without one, nobody can sign in; one-time profile links still work."),
            optional(settings.oidc.client_id.as_ref());
        client_secret: Field::password("Client secret").subject("The secret").part("client").hint("None is set."),
            Vec::new();
        forget_secret: Field::tick("Forget the client secret").part("forget"), ticked(false);
        allowed_domains: Field::text("Allowed domains").any_order().part("people")
            .hint("The domains of your company at the provider, with commas between them. Accounts of others are turned \
                   away."),
            joined(&settings.oidc.allowed_domains, ", ");
        default_organization_id: Field::select("Newcomers join").subject("The organization").part("people"),
            optional(settings.oidc.default_organization_id.as_ref());
        trust_email_domain: Field::tick("Take the domain of an e-mail address for the company")
            .short("Trust e-mail domains").part("people")
            .hint("Only for a provider whose accounts are all your company’s. Never for Google."),
            ticked(settings.oidc.trust_email_domain);
        profile_lifetime_days: Field::number("Days a profile is valid").subject("The number of days").part("profiles"),
            one(settings.profile_lifetime_days.get());
        profiles_per_user: Field::number("Profiles per user").subject("The number of profiles").part("profiles").beside(),
            one(settings.profiles_per_user.get());
        outage_admission_hours: Field::number("Hours of admission without the database")
            .short("Hours of admission during an outage").subject("The number of hours").part("outage")
            .hint("For so long, hosts go on letting people in by what they know. Whoever is connected stays connected in \
                   any case."),
            one(settings.outage_admission_hours.get());
        address_days: Field::number("Days until addresses are shortened").subject("The number of days").part("kept")
            .hint("So long after a VPN session ended, only the network is kept of the address it came from."),
            one(settings.retention.address_days.get());
        session_days: Field::number("Days sessions are kept").subject("The number of days").part("kept")
            .hint("So long after its end a VPN session is deleted."),
            one(settings.retention.session_days.get());
        departed_days: Field::number("Days until sessions of people who left are nameless").subject("The number of days")
            .part("kept")
            .hint("Counted from the end of the session, once the account is gone."),
            one(settings.retention.departed_days.get());
        audit_days: Field::number("Days the audit log is kept").subject("The number of days").part("kept")
            .hint("What is cut off is signed for, so the rest can still be verified."),
            one(settings.retention.audit_days.get());
    } fields => SettingsPatch {
        let client_secret: Option<_> = client_secret;
        let client_secret = if forget_secret {
            Removable::Removed
        } else {
            client_secret.map_or(Removable::Kept, Removable::Set)
        };
        Some(SettingsPatch {
            company_name,
            contact,
            oidc: OidcPatch {
                issuer: Some(issuer),
                client_id,
                client_secret,
                allowed_domains: Some(allowed_domains),
                default_organization_id,
                trust_email_domain: Some(trust_email_domain),
            },
            profile_lifetime_days: Some(profile_lifetime_days),
            profiles_per_user: Some(profiles_per_user),
            outage_admission_hours: Some(outage_admission_hours),
            retention: RetentionPatch {
                address_days: Some(address_days),
                session_days: Some(session_days),
                departed_days: Some(departed_days),
                audit_days: Some(audit_days),
            },
        })
    }
}

/// What can be chosen in the form, and what is said of the secret.
pub(crate) fn with_choices(form: FormView, organizations: &[(OrganizationId, Name)], has_secret: bool) -> FormView {
    let nowhere = Choice::new("", "Nowhere: only people who were added get in");
    let all = organizations.iter().map(|(id, name)| Choice::new(id, name));
    let form = form.choices("default_organization_id", [nowhere].into_iter().chain(all).collect());
    if !has_secret {
        return form;
    }
    form.hint("client_secret", "One is set. It is never shown; leave this empty to keep it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_sent_as_they_were_filled_and_nonsense_is_said_at_its_field() {
        let filled = || SettingsForm::fill(&Settings::default());
        assert!(matches!(SettingsForm::read(&mut filled()).unwrap().oidc.client_secret, Removable::Kept));
        let mut wrong = filled()
            .with("profile_lifetime_days", "0")
            .with("issuer", "google")
            .with("allowed_domains", "example.com, @");
        assert!(SettingsForm::read(&mut wrong).is_none());
        let places: Vec<_> = wrong.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(places, ["issuer", "allowed_domains", "profile_lifetime_days"]);
    }
}
