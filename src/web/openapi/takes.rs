//! What each extractor means to the outside.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use utoipa::ToSchema;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{ObjectBuilder, RefOr, Required, Schema, Type};

use crate::api::extract::{
    At, AtWith, Call, Filter, From, IfMatch, Json, MOST, NoQuery, Parameters, Query, USUAL, sorts,
};
use crate::openapi::Draft;
use domain::group::GroupId;
use domain::ids::{HostId, JoinTokenId, LoginId, OrganizationId, ProfileId, ServerId, SessionId, TokenId, UserId};
use domain::job::Job;

/// An extractor that says what it takes.
pub(crate) trait Takes {
    /// Says it.
    fn take(draft: &mut Draft);
}

impl<S> Takes for State<S> {
    fn take(_: &mut Draft) {}
}

impl Takes for HeaderMap {
    fn take(_: &mut Draft) {}
}

impl Takes for Call {
    fn take(draft: &mut Draft) {
        draft.refuses([StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN]);
    }
}

impl Takes for From {
    fn take(draft: &mut Draft) {
        // What lets a stranger in may be unknown, or shown too often.
        draft.refuses([StatusCode::NOT_FOUND, StatusCode::TOO_MANY_REQUESTS]);
    }
}

impl Takes for NoQuery {
    fn take(draft: &mut Draft) {
        draft.refuses([StatusCode::BAD_REQUEST]);
    }
}

impl Takes for IfMatch {
    fn take(draft: &mut Draft) {
        let about = "The `ETag` that was last seen; if the object has changed since, nothing is done (412).";
        let schema = ObjectBuilder::new().schema_type(Type::String).examples(["\"12\""]);
        draft.parameter(ParameterIn::Header, "If-Match", about, schema);
        draft.refuses([StatusCode::BAD_REQUEST, StatusCode::PRECONDITION_FAILED]);
    }
}

/// What can stand in a path: one id, or several in their order.
pub(crate) trait InPath {
    /// Adds their shapes.
    fn add(draft: &mut Draft);
}

macro_rules! in_path {
    ($($name:ty),+ $(,)?) => {$(
        impl InPath for $name {
            fn add(draft: &mut Draft) {
                let schema = draft.schema::<Self>();
                draft.path_ids.push(schema);
            }
        }
    )+};
}

in_path!(GroupId, HostId, Job, JoinTokenId, LoginId, OrganizationId, ProfileId, ServerId, SessionId, TokenId, UserId,);

impl<A: InPath, B: InPath> InPath for (A, B) {
    fn add(draft: &mut Draft) {
        A::add(draft);
        B::add(draft);
    }
}

impl<T: InPath> Takes for At<T> {
    fn take(draft: &mut Draft) {
        T::add(draft);
        draft.refuses([StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND]);
    }
}

impl<T: ToSchema> Takes for Json<T> {
    fn take(draft: &mut Draft) {
        let mut body = RequestBody::new();
        body.content.insert("application/json".to_owned(), RefOr::T(draft.json::<T>()));
        body.required = Some(Required::True);
        draft.body = Some(body);
        draft.refuses([
            StatusCode::BAD_REQUEST,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            StatusCode::UNPROCESSABLE_ENTITY,
        ]);
    }
}

impl<T: InPath, Q: ToSchema> Takes for AtWith<T, Q> {
    fn take(draft: &mut Draft) {
        At::<T>::take(draft);
        draft.query::<Q>();
    }
}

impl Draft {
    /// The fields of a type as parameters of the query.
    fn query<T: ToSchema>(&mut self) {
        T::schemas(&mut self.schemas);
        if let RefOr::T(Schema::Object(fields)) = T::schema() {
            for (name, schema) in fields.properties {
                let about = sentence(&schema);
                self.parameter(ParameterIn::Query, &name, &about, without_null(schema));
            }
        }
    }
}

impl<T: ToSchema> Takes for Parameters<T> {
    fn take(draft: &mut Draft) {
        draft.query::<T>();
        draft.refuses([StatusCode::BAD_REQUEST]);
    }
}

impl<F: Filter> Takes for Query<F> {
    fn take(draft: &mut Draft) {
        Parameters::<F>::take(draft);
        let limit = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(MOST as usize));
        draft.parameter(ParameterIn::Query, "limit", &format!("At most so many items; {USUAL} if absent."), limit);
        let about = "The `next_cursor` of the page before; absent for the first page.";
        draft.parameter(ParameterIn::Query, "cursor", about, ObjectBuilder::new().schema_type(Type::String));
        if !F::SORTS.is_empty() {
            let words = F::SORTS.iter().flat_map(|(word, _)| [(*word).to_owned(), format!("-{word}")]);
            let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
            draft.parameter(ParameterIn::Query, "sort", &format!("In which order: {}.", sorts::<F>()), schema);
        }
        let count = ObjectBuilder::new().schema_type(Type::Boolean);
        draft.parameter(ParameterIn::Query, "count", "Whether to count as well; lists are quicker without.", count);
    }
}

/// What the field of a filter says about itself.
fn sentence(schema: &RefOr<Schema>) -> String {
    match schema {
        RefOr::Ref(reference) => reference.description.clone(),
        RefOr::T(Schema::Object(object)) => object.description.clone().unwrap_or_default(),
        RefOr::T(Schema::OneOf(one)) => one.items.first().map(sentence).unwrap_or_default(),
        RefOr::T(_) => String::new(),
    }
}

/// A parameter that may be absent is an `Option` in Rust, but there is no `null` in a query.
fn without_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::OneOf(one)) => one.items.into_iter().next().unwrap_or_default(),
        RefOr::T(Schema::Object(mut object)) => {
            if let SchemaType::Array(types) = &object.schema_type
                && let Some(other) = types.iter().find(|known| **known != Type::Null)
            {
                object.schema_type = SchemaType::Type(other.clone());
            }
            RefOr::T(Schema::Object(object))
        }
        other => other,
    }
}
