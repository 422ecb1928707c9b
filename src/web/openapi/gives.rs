//! What each form of a good answer means to the outside.

use axum::http::StatusCode;
use utoipa::ToSchema;
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, OneOfBuilder, RefOr, Type};

use crate::api::answer::{Accepted, Created, List, Made, Moving, NoContent, Ordered, Placed, Plain, Single};
use crate::openapi::{Draft, header};
use services::COUNTED;

/// A good answer that says what it is.
pub(crate) trait Gives {
    /// Says it.
    fn give(draft: &mut Draft);
}

const ETAG: (&str, &str) = ("ETag", "The object's revision, for `If-Match`.");
const DIGEST: (&str, &str) = ("ETag", "A digest of the body, for `If-None-Match`.");
const LOCATION: (&str, &str) = ("Location", "Where the new object is.");

impl Draft {
    /// A good answer with JSON in it.
    fn gives<T: ToSchema>(&mut self, status: StatusCode, about: &str, headers: &[(&str, &str)]) {
        let content = self.json::<T>();
        let response = self.answer(status, about);
        response.content.insert("application/json".to_owned(), RefOr::T(content));
        for (name, about) in headers {
            response.headers.insert((*name).to_owned(), header(about));
        }
    }

    /// A further form of a good answer, for who asks for it by its type.
    pub(crate) fn also(&mut self, status: StatusCode, media_type: &str, about: &str) {
        let schema = ObjectBuilder::new().schema_type(Type::String).description(Some(about));
        let content = utoipa::openapi::Content::new(Some(schema));
        let response = self.answers.entry(status.as_u16()).or_default();
        response.content.insert(media_type.to_owned(), RefOr::T(content));
    }
}

/// Forms of an answer around one object: its status, what that means, and the headers besides.
macro_rules! objects {
    ($($answer:ident, $status:ident, $about:literal, $headers:expr;)*) => {$(
        impl<T: ToSchema> Gives for $answer<T> {
            fn give(draft: &mut Draft) {
                draft.gives::<T>(StatusCode::$status, $about, $headers);
            }
        }
    )*};
}

objects! {
    Single, OK, "As it is now.", &[ETAG];
    Moving, OK, "As it is now.", &[ETAG];
    Created, CREATED, "It was made.", &[ETAG, LOCATION];
    Plain, OK, "As it is now.", &[DIGEST];
    Placed, CREATED, "It was made.", &[LOCATION];
    Made, CREATED, "It was made; it is in this answer only.", &[];
    Ordered, ACCEPTED, "It was written down; the object tells how far it has come.", &[ETAG];
}

impl<T: ToSchema> Gives for List<T> {
    fn give(draft: &mut Draft) {
        let item = draft.schema::<T>();
        let text = ObjectBuilder::new().schema_type(Type::String);
        let cursor = OneOfBuilder::new()
            .item(text)
            .item(ObjectBuilder::new().schema_type(Type::Null))
            .description(Some("The `cursor` of the next page; `null` on the last one."));
        let about = format!(
            "How many there are on all pages, with `count=true`; counted no further than {COUNTED}: one more than that \
             means that there are more."
        );
        let count = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).description(Some(about));
        let list = ObjectBuilder::new()
            .property("count", count)
            .property("items", ArrayBuilder::new().items(item))
            .property("next_cursor", cursor)
            .required("items")
            .required("next_cursor");
        let schema = draft.add_schema(format!("{}List", T::name()), list);
        let response = draft.answer(StatusCode::OK, "A page of the list.");
        let content = utoipa::openapi::Content::new(Some(schema));
        response.content.insert("application/json".to_owned(), RefOr::T(content));
        response
            .headers
            .insert("Link".to_owned(), header("The next page, as `rel=\"next\"` (RFC 8288), if there is one."));
        response.headers.insert(DIGEST.0.to_owned(), header(DIGEST.1));
    }
}

impl Gives for NoContent {
    fn give(draft: &mut Draft) {
        draft.answer(StatusCode::NO_CONTENT, "It is done.");
    }
}

impl Gives for Accepted {
    fn give(draft: &mut Draft) {
        draft.answer(StatusCode::ACCEPTED, "It was written down; a host will do it in a moment.");
    }
}
