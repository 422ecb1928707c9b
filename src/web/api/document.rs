//! The document as a whole: all operations, what holds for each of them, and examples.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, Parameter, ParameterIn};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, ObjectBuilder, OpenApiBuilder, Paths, Ref, RefOr, Required,
    ResponseBuilder, ResponsesBuilder, Schema, SecurityRequirement, Type,
};

use crate::api::answer::Answer;
use crate::api::extract::NoQuery;
use crate::api::idempotency as once;
use crate::http::problem::Document;
use crate::http::route::{Access, Route, RouteInfo};
use crate::openapi::{Documented, Draft, Gives, header};
use domain::role::{Permission, Role};
use services::described;

/// What holds for the whole API.
const ABOUT: &str = "\
Everything that the console and the command line can do. Every request carries `Authorization: Bearer pst_…`; what a \
token may do follows from its role.\n\n\
Lists come in pages: follow `next_cursor`, or the `Link` header; `count=true` counts as well. A POST may carry an \
`Idempotency-Key`, so that sending it twice does it once. A change of an object may carry the `ETag` that was \
last seen as `If-Match`; PATCH takes a JSON merge patch (RFC 7396). With `dry_run=true`, where that is known, a change \
is not done, and the answer tells what it would do. Refusals and failures are RFC 9457 documents with a \
stable `code`. New fields and new values of enumerations may appear at any time.";

/// The document. `routes` is the table of the admin listener; what is no part of the API has no presentation there.
pub(crate) fn document<S: Clone + Send + Sync + 'static>(routes: &[Route<S>]) -> Value {
    let mut paths = Paths::new();
    let mut schemas = Vec::new();
    let mut draft = Draft::default();
    draft.schema::<Document<'_>>();
    schemas.append(&mut draft.schemas);
    for route in routes {
        let (info, Some(documented)) = (route.info(), route.documented()) else { continue };
        let mut draft = Draft::default();
        (documented.describe)(&mut draft);
        if info.can_be_tried {
            draft.can_be_tried();
        }
        schemas.append(&mut draft.schemas);
        paths.add_path_operation(info.path, methods(&info.method), operation(&info, documented, draft));
    }
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .response("Problem", problem())
        .security_scheme(TOKEN, SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()));
    let info = InfoBuilder::new().title("Postern").version("1").description(Some(ABOUT));
    let document = OpenApiBuilder::new().info(info.build()).paths(paths).components(Some(components.build())).build();
    let mut document = serde_json::to_value(document).unwrap_or_default();
    add_examples(&mut document);
    document
}

/// What bearer tokens are called in the document.
const TOKEN: &str = "token";

/// What all refusals and failures look like.
fn problem() -> utoipa::openapi::Response {
    let schema = Ref::from_schema_name(<Document<'_> as ToSchema>::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new().description("Refused, or failed; `code` says which.");
    response.content("application/problem+json", content).build()
}

fn methods(method: &Method) -> Vec<HttpMethod> {
    match *method {
        Method::GET => vec![HttpMethod::Get],
        Method::POST => vec![HttpMethod::Post],
        Method::PUT => vec![HttpMethod::Put],
        Method::PATCH => vec![HttpMethod::Patch],
        Method::DELETE => vec![HttpMethod::Delete],
        _ => Vec::new(),
    }
}

fn operation(info: &RouteInfo, documented: Documented, mut draft: Draft) -> Operation {
    if info.method != Method::GET {
        draft.refuses([StatusCode::CONFLICT]);
    }
    let is_bearer = matches!(info.access, Access::Bearer(_));
    if is_bearer {
        draft.refuses([StatusCode::TOO_MANY_REQUESTS]);
    }
    if is_bearer && info.method == Method::POST {
        can_be_sent_again(&mut draft);
    }
    let is_tagged = draft.answers.get(&200).is_some_and(|response| response.headers.contains_key("ETag"));
    if info.method == Method::GET && is_tagged {
        can_be_known(&mut draft);
    }
    let mut responses = ResponsesBuilder::new();
    for (status, mut response) in draft.answers {
        let mut headers = vec![("X-Request-Id", "The request, as the audit log and the logs name it.")];
        if is_bearer {
            headers
                .push(("RateLimit", "How many requests the token has left, and in how many seconds it has all again."));
            headers.push(("RateLimit-Policy", "How many requests in how many seconds."));
        }
        for (name, about) in headers {
            response.headers.insert(name.to_owned(), header(about));
        }
        responses = responses.response(status.to_string(), response);
    }
    for refusal in draft.refusals {
        responses = responses.response(refusal.as_str(), Ref::from_response_name("Problem"));
    }
    responses = responses.response("default", Ref::from_response_name("Problem"));
    let segments = info.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let ids = segments.zip(draft.path_ids).map(|(name, schema)| in_path(name, schema));
    let (id, tag) = names(documented.handler);
    let mut operation = OperationBuilder::new()
        .operation_id(Some(id))
        .tag(tag)
        .summary(Some(documented.summary))
        .request_body(draft.body)
        .responses(responses.build());
    for parameter in ids.chain(draft.parameters) {
        operation = operation.parameter(parameter);
    }
    if let Access::Bearer(permission) = info.access {
        operation = operation.description(Some(takes(permission))).security(SecurityRequirement::new(TOKEN, [""; 0]));
    }
    operation.build()
}

/// A POST may carry a key, so that sending it twice does it once.
fn can_be_sent_again(draft: &mut Draft) {
    let about = "Names this request. Sent again with the same key and body within a day, it is not done again but answered \
                 as it was (with `Idempotency-Replayed: true`); a secret is told once only, so then the answer is 409. With \
                 another body the answer is 422, and while the first is being done 409 with `Retry-After`. A refused \
                 request gives its key back.";
    let key = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(once::LONGEST));
    draft.parameter(ParameterIn::Header, "Idempotency-Key", about, key.pattern(Some("^[!-~]+$")));
    draft.refuses([StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY]);
}

/// Whoever has seen an answer need not get it again.
fn can_be_known(draft: &mut Draft) {
    let about = "The `ETag` that was last seen; if it is still that, the answer is 304 without a body.";
    let tag = ObjectBuilder::new().schema_type(Type::String).examples(["\"12\""]);
    draft.parameter(ParameterIn::Header, "If-None-Match", about, tag);
    draft.answer(StatusCode::NOT_MODIFIED, "It is as it was last seen.");
}

/// `…::api::users::list` is the operation `users_list` under `users`.
fn names(handler: &'static str) -> (String, &'static str) {
    let mut segments = handler.rsplit("::");
    let (verb, noun) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
    (format!("{noun}_{verb}"), noun)
}

/// Who may, in words.
fn takes(permission: Permission) -> String {
    let holders: Vec<_> = Role::ALL.iter().filter(|role| role.may(permission)).map(|role| role.as_str()).collect();
    format!("For those who may {}: {}.", described(permission), holders.join(", "))
}

fn in_path(name: &str, schema: RefOr<Schema>) -> Parameter {
    let mut parameter = Parameter::new(name);
    parameter.parameter_in = ParameterIn::Path;
    parameter.required = Required::True;
    parameter.schema = Some(schema);
    parameter
}

/// Gives every body an example, made of those of its parts.
fn add_examples(document: &mut Value) {
    let schemas = document.pointer("/components/schemas").cloned().unwrap_or_default();
    walk(document, &|content| {
        let Some(schema) = content.get("schema").filter(|_| !content.contains_key("example")) else { return };
        let example = example(schema, &schemas);
        content.insert("example".to_owned(), example);
    });
}

/// Calls `change` for each value of each map named `content`.
fn walk(value: &mut Value, change: &impl Fn(&mut Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let (true, Value::Object(contents)) = (name == "content", &mut *field) {
                    contents.values_mut().filter_map(Value::as_object_mut).for_each(change);
                } else {
                    walk(field, change);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, change)),
        _ => {}
    }
}

/// An example of what a schema allows.
fn example(schema: &Value, schemas: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return example(&schemas[name], schemas);
    }
    let given = ["/example", "/examples/0", "/default", "/enum/0"].iter().find_map(|place| schema.pointer(place));
    if let Some(given) = given.filter(|given| !given.is_null()) {
        return given.clone();
    }
    if let Some(first) = ["oneOf", "anyOf", "allOf"].iter().find_map(|of| schema[of].as_array()?.first()) {
        return example(first, schemas);
    }
    let kind = schema["type"].as_str().or_else(|| schema.pointer("/type/0")?.as_str()).unwrap_or_default();
    match kind {
        "object" => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            properties.map(|(name, property)| (name.clone(), example(property, schemas))).collect()
        }
        "array" => json!([example(&schema["items"], schemas)]),
        "string" if schema["format"] == "date-time" => json!("2026-11-25T09:30:00Z"),
        "string" => json!("text"),
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or(json!(0)),
        "boolean" => json!(false),
        _ => Value::Null,
    }
}

/// `/openapi.json`: the document, written once.
pub(crate) async fn show(_: NoQuery) -> Answer<DocumentAnswer> {
    static WRITTEN: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document(&crate::api::routes()).to_string()));
    Ok(DocumentAnswer(WRITTEN.clone()))
}

/// The document as an answer.
pub(crate) struct DocumentAnswer(Bytes);

impl IntoResponse for DocumentAnswer {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

impl Gives for DocumentAnswer {
    fn give(draft: &mut Draft) {
        let content = ContentBuilder::new().schema(Some(ObjectBuilder::new())).build();
        let response = draft.answer(StatusCode::OK, "This document.");
        response.content.insert("application/json".to_owned(), RefOr::T(content));
    }
}
