//! What was typed into a form, and what is wrong with it. What is typed lives in [`Fields`] and nowhere else, so there is
//! one shape to fill, to read, to show again, to compare and to send on.

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;

use crate::http::problem::{Code, Problem};
use crate::ui::field::{Field, Widget};
use crate::ui::forms::Form;
use crate::ui::input::Input;
use crate::ui::text::sentence;
use domain::Revision;
use domain::login::Surface;
use services::ServiceError;

/// What is wrong with a form, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// The id of the field on the page; empty for the form as a whole.
    pub(crate) field: String,
    /// What is wrong, as a sentence.
    pub(crate) text: String,
}

impl FieldError {
    /// Something wrong with the form as a whole.
    pub(crate) fn whole(text: impl Into<String>) -> Self {
        Self { field: String::new(), text: text.into() }
    }
}

/// The version of the other person, as the value of the field that chooses between two.
const THEIRS: &str = "theirs";

/// The field that says that the one who sends a form has seen what it does.
pub(crate) const CONFIRMED: &str = "confirmed";

/// A form that one of our own pages sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    values: Vec<(String, String)>,
    /// What is wrong so far.
    pub(crate) errors: Vec<FieldError>,
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Form(values) = Form::<Vec<(String, String)>>::from_request(request, state).await?;
        Ok(Self { values, errors: Vec::new() })
    }
}

impl Fields {
    /// Fields that hold these values.
    pub(crate) fn of<N: Into<String>>(values: impl IntoIterator<Item = (N, String)>) -> Self {
        let values = values.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Self { values, errors: Vec::new() }
    }

    /// Everything that was sent, for a page that sends it again.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        self.values.iter().filter(|(name, _)| name != CONFIRMED).cloned().collect()
    }

    /// Whether the one who sent it has seen what it does.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.is_ticked(CONFIRMED)
    }

    /// Puts values in the place of what was typed into a field.
    pub(crate) fn replace(&mut self, field: &str, values: impl IntoIterator<Item = String>) {
        self.values.retain(|(name, _)| name != field);
        self.values.extend(values.into_iter().map(|value| (field.to_owned(), value)));
    }

    /// What was typed into a field; empty if it was not sent.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.all(field).next().unwrap_or_default().trim()
    }

    /// All values of a field that may be there several times: ticked boxes.
    pub(crate) fn all(&self, field: &str) -> impl Iterator<Item = &str> {
        self.values.iter().filter(move |(name, _)| name == field).map(|(_, value)| value.as_str())
    }

    /// Whether a box is ticked.
    pub(crate) fn is_ticked(&self, field: &str) -> bool {
        !self.text(field).is_empty()
    }

    /// Whether a field was sent at all; boxes that are not ticked are not.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.all(field).next().is_some()
    }

    /// What is wrong with a field, if something is.
    pub(crate) fn error(&self, field: &str) -> Option<&str> {
        self.errors.iter().find(|error| error.field == field).map(|error| error.text.as_str())
    }

    /// What a field holds; nothing, and an error at the field, if it cannot be read.
    pub(crate) fn read<T: Input>(&mut self, field: &Field) -> Option<T> {
        let typed: Vec<&str> = self.all(field.name).collect();
        let is_choice = matches!(field.widget, Widget::Select | Widget::Radios);
        let is_empty = self.text(field.name).is_empty();
        let reasons = match T::read(&typed, field.subject) {
            Ok(value) if field.missing.is_empty() || !is_empty => return Some(value),
            Err(reasons) if field.missing.is_empty() || !(is_choice || is_empty) => reasons,
            // What cannot be chosen is as good as nothing.
            _ => vec![field.missing.to_owned()],
        };
        for reason in reasons {
            self.wrong(field.name, &reason);
        }
        None
    }

    /// The revision that the form was filled from.
    ///
    /// # Errors
    /// A form without it is none of ours.
    pub(crate) fn revision(&self) -> Result<Revision, Problem> {
        let revision = self.text("revision").parse().map(Revision);
        revision.map_err(|_other| Problem::new(Code::NotAForm, "the form lacks the revision that it was filled from"))
    }

    /// These fields as a page carries them, to say what a form was filled from.
    pub(crate) fn as_base(&self) -> String {
        serde_json::to_string(&self.values).unwrap_or_default()
    }

    /// What the form was filled from, if the page said so.
    pub(crate) fn base(&self) -> Option<Self> {
        serde_json::from_str(self.text("base")).ok().map(|values: Vec<(String, String)>| Self::of(values))
    }

    /// Takes the other person's version of each field for which it was chosen. That version is what the form was filled
    /// from when the two were shown side by side.
    pub(crate) fn take_theirs(&mut self, table: &[Field]) {
        let theirs = self.base().unwrap_or_default();
        for Field { name, .. } in table {
            let choice = format!("take-{name}");
            if self.text(&choice) == THEIRS {
                self.replace(name, theirs.all(name).map(ToOwned::to_owned).collect::<Vec<_>>());
            }
            self.replace(&choice, []);
        }
    }

    /// Notes what is wrong with a field.
    pub(crate) fn wrong(&mut self, field: &str, text: &str) {
        self.errors.push(FieldError { field: field.to_owned(), text: sentence(text) });
    }

    /// Notes what is wrong with the form as a whole.
    pub(crate) fn wrong_as_a_whole(&mut self, text: &str) {
        self.errors.push(FieldError::whole(sentence(text)));
    }

    /// Notes a refusal of a service at the field that it names, and gives the status that goes with it. Refusals that are
    /// about no form are handed back.
    pub(crate) fn refused(&mut self, error: ServiceError, surface: Surface) -> Result<StatusCode, Problem> {
        match &error {
            ServiceError::Invalid { field, reason } => {
                // A pointer leads through objects to the field, and may go on into a list that the field holds.
                let is_name = |part: &&str| !part.starts_with(|first: char| first.is_ascii_digit());
                let known = field.split('/').find(|part| self.has(part));
                let field = known.or_else(|| field.rsplit('/').find(is_name)).unwrap_or_default().to_owned();
                self.wrong(&field, &reason.on(surface).to_string());
                Ok(StatusCode::UNPROCESSABLE_ENTITY)
            }
            ServiceError::Conflict(refusal) => {
                // What is about no field of this form is about the form.
                let field = refusal.field().filter(|field| self.has(field)).unwrap_or_default();
                self.wrong(field, &refusal.on(surface).to_string());
                Ok(StatusCode::CONFLICT)
            }
            _ => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::server::{Port, Protocol};
    use domain::text::Name;
    use services::{InvalidReason, Refusal};

    fn fields(values: &[(&'static str, &str)]) -> Fields {
        Fields::of(values.iter().map(|(name, value)| (*name, (*value).to_owned())))
    }

    #[test]
    fn what_is_wrong_is_said_at_its_field() {
        let mut form = fields(&[("name", " "), ("ports", "1, x\n2"), ("comment", "")]);
        let [name, ports, comment] = ["name", "ports", "comment"].map(|name| Field::text("A name").named(name));
        assert_eq!(form.read::<Name>(&name.subject("The name")), None);
        assert_eq!(form.read::<Vec<u32>>(&ports), None);
        assert_eq!(form.read::<Option<Name>>(&comment), Some(None));
        let found: Vec<_> = form.errors.iter().map(|error| (error.field.as_str(), error.text.as_str())).collect();
        assert_eq!(found, [("name", "The name must not be empty."), ("ports", "“x” must be a whole number.")]);
    }

    #[test]
    fn refusals_of_services_find_their_field() {
        let mut form = fields(&[("name", "a"), ("routes", "b")]);
        let mut status = |error| form.refused(error, Surface::Console).ok();
        let (protocol, port) = (Protocol::Udp, Port::try_from(1194).unwrap());
        for refusal in
            [Refusal::NameTaken { what: "server" }, Refusal::PortTaken { protocol, port }, Refusal::LastOwner]
        {
            assert_eq!(status(ServiceError::Conflict(refusal)), Some(StatusCode::CONFLICT));
        }
        let inside = ServiceError::invalid("routes/0/network", InvalidReason::Repeated);
        assert_eq!(status(inside), Some(StatusCode::UNPROCESSABLE_ENTITY));
        assert_eq!(status(ServiceError::NotFound(services::Missing::User)), None);
        let expected = [
            ("name", "Another server has this name."),
            ("", "Another server listens on udp 1194 of the same host."),
            (
                "",
                "This is the last enabled owner, who cannot be demoted, disabled or deleted; make another owner first.",
            ),
            ("routes", "Stands in the list twice."),
        ];
        let found: Vec<_> = form.errors.iter().map(|error| (error.field.as_str(), error.text.as_str())).collect();
        assert_eq!(found, expected);
    }
}
