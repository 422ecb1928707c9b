//! The API's document (OpenAPI 3.1), made of the route table and the handlers' own signatures.
//!
//! What a handler extracts and what it answers are types, and each of these types says here what it means to the
//! outside: [`Takes`] for extractors, [`Gives`] for answers. So an operation is described by the code that answers it
//! and cannot part ways with it; the table adds one sentence. The shapes of bodies come from `derive(ToSchema)` on the
//! types themselves, their sentences from the doc comments.
//!
//! # Theory of operation
//! [`Described`] holds for every handler whose arguments are `Takes` and whose result is `Gives`; the constructors of
//! the API's table ask for it, so an undocumented route of the API does not compile. Each route keeps a function that
//! fills a [`Draft`]; [`crate::api::document`] runs them all and adds what holds for every operation. The document is also
//! committed, so that a change of the API is seen in a review; a test compares.

mod gives;
mod takes;

use std::collections::BTreeMap;

use axum::handler::Handler;
use axum::http::StatusCode;
use utoipa::ToSchema;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::{Content, Header, ObjectBuilder, OneOfBuilder, Ref, RefOr, Response, Schema, Type};

use crate::api::answer::Answer;
pub(crate) use crate::openapi::gives::Gives;
pub(crate) use crate::openapi::takes::Takes;
use services::access::effect::Effect;

/// What becomes known of an operation, piece by piece.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) path_ids: Vec<RefOr<Schema>>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Option<RequestBody>,
    pub(crate) answers: BTreeMap<u16, Response>,
    pub(crate) refusals: Vec<StatusCode>,
    pub(crate) schemas: Vec<(String, RefOr<Schema>)>,
}

impl Draft {
    /// A reference to the shape of `T`, which the document then holds.
    pub(crate) fn schema<T: ToSchema>(&mut self) -> RefOr<Schema> {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        RefOr::Ref(Ref::from_schema_name(T::name()))
    }

    /// The same as JSON.
    pub(crate) fn json<T: ToSchema>(&mut self) -> Content {
        Content::new(Some(self.schema::<T>()))
    }

    /// A shape that is no type of ours.
    pub(crate) fn add_schema(&mut self, name: String, schema: impl Into<RefOr<Schema>>) -> RefOr<Schema> {
        let reference = RefOr::Ref(Ref::from_schema_name(&name));
        self.schemas.push((name, schema.into()));
        reference
    }

    /// Another parameter.
    pub(crate) fn parameter(&mut self, place: ParameterIn, name: &str, about: &str, schema: impl Into<RefOr<Schema>>) {
        let mut parameter = Parameter::new(name);
        parameter.parameter_in = place;
        parameter.required = utoipa::openapi::Required::False;
        parameter.description = Some(about.to_owned());
        parameter.schema = Some(schema.into());
        self.parameters.push(parameter);
    }

    /// A good answer.
    pub(crate) fn answer(&mut self, status: StatusCode, about: &str) -> &mut Response {
        let response = self.answers.entry(status.as_u16()).or_default();
        about.clone_into(&mut response.description);
        response
    }

    /// That it can be tried.
    pub(crate) fn can_be_tried(&mut self) {
        let about = "`true` changes nothing and answers what the change would do.";
        self.parameter(ParameterIn::Query, "dry_run", about, ObjectBuilder::new().schema_type(Type::Boolean));
        self.refuses([StatusCode::BAD_REQUEST]);
        let effect = self.schema::<Effect>();
        let response = self.answers.entry(StatusCode::OK.as_u16()).or_default();
        let usual = match response.content.get("application/json") {
            Some(RefOr::T(content)) => content.schema.clone(),
            _ => None,
        };
        let schema = if let Some(usual) = usual {
            OneOfBuilder::new().item(usual).item(effect).into()
        } else {
            "Nothing was done; this is what would be.".clone_into(&mut response.description);
            effect
        };
        response.content.insert("application/json".to_owned(), RefOr::T(Content::new(Some(schema))));
        let about = "A sentence that whoever acts should know, such as a host that cannot run the server; may be given \
                     again, and is left out where there is none.";
        for response in self.answers.values_mut() {
            response.headers.insert("Postern-Warning".to_owned(), header(about));
        }
    }

    /// Refusals that are to be expected.
    pub(crate) fn refuses(&mut self, statuses: impl IntoIterator<Item = StatusCode>) {
        self.refusals.extend(statuses);
    }
}

/// A header of an answer.
pub(crate) fn header(about: &str) -> RefOr<Header> {
    let mut header = Header::default();
    header.description = Some(about.to_owned());
    RefOr::T(header)
}

/// How a route of the API presents itself.
#[derive(Clone, Copy)]
pub(crate) struct Documented {
    /// What it does, one short sentence without a full stop.
    pub(crate) summary: &'static str,
    /// The path of the handler, which is the operation's name.
    pub(crate) handler: &'static str,
    pub(crate) describe: fn(&mut Draft),
}

impl Documented {
    /// The presentation of a handler.
    pub(crate) fn new<H, T, S>(_: &H, summary: &'static str) -> Self
    where
        H: Handler<T, S> + Described<T>,
    {
        Self { summary, handler: std::any::type_name::<H>(), describe: H::describe }
    }
}

/// A handler whose signature says what it takes and gives. `T` is what axum knows it by.
pub(crate) trait Described<T> {
    /// Says it.
    fn describe(draft: &mut Draft);
}

macro_rules! described {
    ($($takes:ident),*) => {
        impl<F, Fut, R, M, $($takes: Takes),*> Described<(M, $($takes,)*)> for F
        where
            F: Fn($($takes),*) -> Fut,
            Fut: Future<Output = Answer<R>>,
            R: Gives,
        {
            fn describe(draft: &mut Draft) {
                $($takes::take(draft);)*
                R::give(draft);
            }
        }
    };
}

described!(A);
described!(A, B);
described!(A, B, C);
described!(A, B, C, D);
described!(A, B, C, D, E);
described!(A, B, C, D, E, G);
described!(A, B, C, D, E, G, H);
