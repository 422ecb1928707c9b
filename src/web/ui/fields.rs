//! The fields of a form, read into typed values; what cannot be read is said at its field, and what was typed is kept.

use std::{fmt::Display, str::FromStr};

use axum::{
    extract::{FromRequest, Request},
    http::StatusCode,
};

use crate::{
    http::problem::{Code, Problem},
    ui::forms::Form,
    ui::text::sentence,
};
use domain::Revision;
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

/// What is wrong with a field, if something is.
pub(crate) fn error_of<'a>(errors: &'a [FieldError], field: &str) -> Option<&'a str> {
    errors.iter().find(|error| error.field == field).map(|error| error.text.as_str())
}

/// The field that says that the one who sends a form has seen what it does.
pub(crate) const CONFIRMED: &str = "confirmed";

/// A number within bounds, as it is typed.
pub(crate) struct Typed<T>(pub(crate) T);

impl<T: TryFrom<u32, Error = &'static str>> FromStr for Typed<T> {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number: u32 = text.parse().map_err(|_other| "must be a whole number")?;
        T::try_from(number).map(Self)
    }
}

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
        let mut found = self.values.iter().filter(|(name, _)| name == field);
        found.next().map_or("", |(_, value)| value.trim())
    }

    /// All values of a field that may be there several times: ticked boxes.
    pub(crate) fn all<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a str> {
        self.values.iter().filter(move |(name, _)| name == field).map(|(_, value)| value.as_str())
    }

    /// Whether a box is ticked.
    pub(crate) fn is_ticked(&self, field: &str) -> bool {
        !self.text(field).is_empty()
    }

    /// A field that must hold a value; nothing, and an error at the field, if it does not.
    /// `subject` begins the sentence that the error ends: "The name".
    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, field: &str, subject: &str) -> Option<T> {
        match self.text(field).parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(field, &format!("{subject} {error}"));
                None
            }
        }
    }

    /// A field that may be empty.
    pub(crate) fn parse_optional<T: FromStr<Err: Display>>(&mut self, field: &str, subject: &str) -> Option<T> {
        if self.text(field).is_empty() { None } else { self.parse(field, subject) }
    }

    /// A field with a value on each line, or between commas; empty ones are passed over.
    pub(crate) fn parse_list<T: FromStr<Err: Display>>(&mut self, field: &str) -> Vec<T> {
        let typed = self.text(field).to_owned();
        let mut values = Vec::new();
        for part in typed.split(['\n', ',']).map(str::trim).filter(|part| !part.is_empty()) {
            match part.parse() {
                Ok(value) => values.push(value),
                Err(error) => self.wrong(field, &format!("“{part}” {error}")),
            }
        }
        values
    }

    /// The revision that the form was filled from.
    ///
    /// # Errors
    /// A form without it is none of ours.
    pub(crate) fn revision(&self) -> Result<Revision, Problem> {
        let revision = self.text("revision").parse().map(Revision);
        revision.map_err(|_other| Problem::new(Code::NotAForm, "the form lacks the revision that it was filled from"))
    }

    /// Notes what is wrong with a field.
    pub(crate) fn wrong(&mut self, field: &str, text: &str) {
        self.errors.push(FieldError { field: field.to_owned(), text: sentence(text) });
    }

    /// Notes a refusal of a service at the field that it names, and gives the status that goes with it. Refusals that are
    /// about no form are handed back.
    pub(crate) fn refused(&mut self, error: ServiceError) -> Result<StatusCode, Problem> {
        match &error {
            ServiceError::Invalid { field, reason } => {
                // A pointer into a list points into the field that holds the list.
                let field = field.split('/').next().unwrap_or_default().to_owned();
                self.wrong(&field, reason);
                Ok(StatusCode::UNPROCESSABLE_ENTITY)
            }
            ServiceError::Conflict(text) => {
                match text.split_once(": ") {
                    Some((field, rest)) if self.values.iter().any(|(name, _)| name == field) => self.wrong(field, rest),
                    _ => self.errors.push(FieldError::whole(sentence(text))),
                }
                Ok(StatusCode::CONFLICT)
            }
            _ => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::text::Name;

    fn fields(values: &[(&str, &str)]) -> Fields {
        let pairs = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Fields { values: pairs.collect(), errors: Vec::new() }
    }

    #[test]
    fn what_is_wrong_is_said_at_its_field() {
        let mut form = fields(&[("name", " "), ("ports", "1, x\n2"), ("comment", "")]);
        assert_eq!(form.parse::<Name>("name", "The name"), None);
        assert_eq!(form.parse_list::<u16>("ports"), [1, 2]);
        assert_eq!(form.parse_optional::<Name>("comment", "The comment"), None);
        let places: Vec<_> = form.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(places, ["name", "ports"]);
        assert!(form.errors.iter().all(|error| error.text.ends_with('.')), "{:?}", form.errors);
    }

    #[test]
    fn refusals_of_services_find_their_field() {
        let mut form = fields(&[("name", "a"), ("routes", "b")]);
        assert_eq!(form.refused(ServiceError::Conflict("name: taken".into())).ok(), Some(StatusCode::CONFLICT));
        assert_eq!(form.refused(ServiceError::Conflict("it has users".into())).ok(), Some(StatusCode::CONFLICT));
        let inside = ServiceError::invalid("routes/0/network", "overlaps");
        assert_eq!(form.refused(inside).ok(), Some(StatusCode::UNPROCESSABLE_ENTITY));
        let expected = [("name", "Taken."), ("", "It has users."), ("routes", "Overlaps.")];
        let found: Vec<_> = form.errors.iter().map(|error| (error.field.as_str(), error.text.as_str())).collect();
        assert_eq!(found, expected);
        assert!(form.refused(ServiceError::NotFound("user")).is_err());
    }
}
