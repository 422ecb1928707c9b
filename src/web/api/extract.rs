//! What handlers take out of a request. Each extractor refuses what it does not understand, and names it.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::Segment;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::api::answer::List;
use crate::http::client::ClientAddress;
use crate::http::problem::{Code, Problem};
use domain::Revision;
use domain::ids::{Id, RequestId};
use services::hosts::joining::UnauthenticatedPeer;
use services::{Act, Order, OrderBy, Page, PageRequest, Services};

/// A body that has not arrived by then is given up.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(8);

/// Who asks, as the guard of the route found out, and what is asked.
pub(crate) struct Call(pub(crate) Services, pub(crate) Act);

impl FromRequestParts<Services> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, services: &Services) -> Result<Self, Problem> {
        // Without a guard there is no act: a route that is open to anyone cannot have a caller.
        let act = parts.extensions.get().cloned().ok_or_else(no_token)?;
        Ok(Self(services.clone(), act))
    }
}

/// That nobody is known to ask.
pub(crate) fn no_token() -> Problem {
    Problem::new(Code::NoToken, "send an API token: `Authorization: Bearer pst_…`")
}

/// Finds out who sends a request, by its bearer token and nothing else.
pub(crate) async fn authenticate(
    services: &Services,
    headers: &HeaderMap,
    request_id: Option<RequestId>,
) -> Result<Act, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(credentials), None) = (given.next(), given.next()) else { return Err(no_token()) };
    let bearer = credentials.to_str().ok().and_then(|text| text.split_once(' '));
    let Some((_, token)) = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
        return Err(no_token());
    };
    Ok(Act::by(services.identity().authenticate(token).await?, request_id))
}

/// Where a request comes from whose sender has not shown who it is.
pub(crate) struct From(pub(crate) UnauthenticatedPeer);

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let ClientAddress(address) = parts.extensions.get().copied().unwrap_or_default();
        Ok(Self(UnauthenticatedPeer { address, request_id: parts.extensions.get().copied() }))
    }
}

/// The ids in the path.
pub(crate) struct At<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        refuse_query(&parts.uri)?;
        ids(parts, state).await.map(Self)
    }
}

async fn ids<T: DeserializeOwned + Send, S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<T, Problem> {
    match Path::<T>::from_request_parts(parts, state).await {
        Ok(Path(ids)) => Ok(ids),
        Err(_other_kind) => {
            Err(Problem::new(Code::NotFound, "an id in the path is not of the kind that belongs there"))
        }
    }
}

/// The ids in the path, and what the query says besides.
pub(crate) struct AtWith<T, Q>(pub(crate) T, pub(crate) Q);

impl<T, Q, S> FromRequestParts<S> for AtWith<T, Q>
where
    T: DeserializeOwned + Send,
    Q: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = read_query(parts.uri.query().unwrap_or_default())?;
        Ok(Self(ids(parts, state).await?, query))
    }
}

/// That there is no query; for routes without anything else that looks at it.
pub(crate) struct NoQuery;

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        refuse_query(&parts.uri).map(|()| Self)
    }
}

fn refuse_query(uri: &Uri) -> Result<(), Problem> {
    match form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).next() {
        None => Ok(()),
        Some((name, _)) => Err(Problem::parameter(&name, "is not known here")),
    }
}

/// The revision that the caller last saw, if it says so.
pub(crate) struct IfMatch(pub(crate) Option<Revision>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        if_match(&parts.headers).map(Self)
    }
}

fn if_match(headers: &HeaderMap) -> Result<Option<Revision>, Problem> {
    let mut given = headers.get_all(header::IF_MATCH).iter();
    let Some(tag) = given.next() else { return Ok(None) };
    let text = tag.to_str().unwrap_or_default();
    if text == "*" {
        return Ok(None);
    }
    let digits = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    // Behind the revision stands what moves without one.
    let digits = digits.map(|digits| digits.split_once('-').map_or(digits, |(revision, _)| revision));
    let digits = digits.filter(|digits| given.next().is_none() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let revision = digits.and_then(|digits| digits.parse().ok()).map(Revision);
    revision.map(Some).ok_or_else(|| Problem::header("If-Match", "must be `*` or one ETag as it was received"))
}

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        refuse_query(request.uri())?;
        if !declares_json(request.headers()) {
            let detail = "the body must be JSON: send `Content-Type: application/json`";
            return Err(Problem::new(Code::NotDeclaredJson, detail));
        }
        read_json(&read_body(request, state, Code::NotJson).await?).map(Self)
    }
}

/// The whole body of a request, within its bounds; `broken` is the code where it breaks off.
pub(crate) async fn read_body<S: Send + Sync>(request: Request, state: &S, broken: Code) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_TIME, Bytes::from_request(request, state)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Problem::new(Code::TooLarge, "the body is larger than 1 MiB"))
        }
        Ok(Err(_broken)) => Err(Problem::new(broken, "the body broke off")),
        Err(_elapsed) => Err(Problem::new(Code::TooSlow, "the body did not arrive in time")),
    }
}

fn declares_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["application/json", "application/merge-patch+json"].contains(&essence.as_str())
}

fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let not_json =
        |error: &dyn std::fmt::Display| Problem::new(Code::NotJson, format!("the body is not JSON: {error}"));
    let text = std::str::from_utf8(bytes).map_err(|error| not_json(&error))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| not_json(&error))?;
    // A struct would also take its fields as an array, in an order that nobody promised.
    if text.trim_start().starts_with('[') {
        return Err(Problem::field(String::new(), "must be an object"));
    }
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(text)).map_err(|error| {
        let mut pointer = pointer(error.path());
        let detail = without_place(&error.inner().to_string());
        // The path of a missing field ends at the object that lacks it, and `serde_json` keeps of the field that serde hands
        // to `Error::missing_field` nothing but this sentence.
        if let Some(missing) = detail.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            pointer = format!("{pointer}/{missing}");
        }
        Problem::field(pointer, detail)
    })
}

/// The sentence of a serde error without where it is, which the pointer tells.
fn without_place(sentence: &str) -> String {
    sentence.rsplit_once(" at line ").map_or(sentence, |(sentence, _)| sentence).to_owned()
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let name = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { .. } | Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&name);
    }
    pointer
}

fn read_query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let reader = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let mut name = pointer(error.path()).trim_start_matches('/').to_owned();
        let detail = error.inner().to_string();
        if let Some(missing) = detail.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            missing.clone_into(&mut name);
        }
        Problem::parameter(&name, detail)
    })
}

/// The filter of a list and the kind of its ids.
pub(crate) trait Filter: DeserializeOwned + ToSchema {
    /// The kind of the ids of its rows.
    type Id: Id;
    /// The words that it can be ordered by, each with what it means.
    const SORTS: &'static [Sort] = &[];
    /// In which order it comes unless somebody wants another one; without it, in the list's own.
    const USUAL: Option<Order> = None;
}

/// A word that a list can be ordered by.
pub(crate) type Sort = (&'static str, OrderBy);

/// Which page of which list.
pub(crate) struct Query<F> {
    /// Which rows.
    pub(crate) filter: F,
    /// Which page of them, and whether to count.
    pub(crate) page: PageRequest,
    /// The list's address without the place in it.
    base: String,
    /// The same without an order.
    unsorted: String,
}

/// Rows of a page unless the caller says how many.
pub(crate) const USUAL: u32 = 50;

/// At most so many.
pub(crate) const MOST: u32 = 200;

impl<F: Filter, S: Sync> FromRequestParts<S> for Query<F> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut page = PageRequest { order: F::USUAL, ..PageRequest::first(USUAL) };
        let mut seen = (false, false, false, false);
        let mut sorted = String::new();
        let mut rest = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            match &*name {
                "limit" if !std::mem::replace(&mut seen.0, true) => page.limit = limit(&value)?,
                "cursor" if !std::mem::replace(&mut seen.1, true) => page.after = Some(cursor::<F::Id>(&value)?),
                "count" if !std::mem::replace(&mut seen.2, true) => page.count = count(&value)?,
                "sort" if !F::SORTS.is_empty() && !std::mem::replace(&mut seen.3, true) => {
                    page.order = Some(order::<F>(&value)?);
                    sorted = format!("&sort={value}");
                }
                "sort" if F::SORTS.is_empty() => return Err(Problem::parameter("sort", "is not known here")),
                "limit" | "cursor" | "count" | "sort" => return Err(Problem::parameter(&name, "is given twice")),
                _ => drop(rest.append_pair(&name, &value)),
            }
        }
        let rest = rest.finish();
        let filter = read_query(&rest)?;
        let separator = if rest.is_empty() { "" } else { "&" };
        let counted = if page.count { "&count=true" } else { "" };
        let unsorted = format!("{}?{rest}{separator}limit={}{counted}", parts.uri.path(), page.limit);
        Ok(Self { filter, base: format!("{unsorted}{sorted}"), unsorted, page })
    }
}

/// A word of the list, `-` before it for the other direction.
fn order<F: Filter>(text: &str) -> Result<Order, Problem> {
    let (word, is_descending) = text.strip_prefix('-').map_or((text, false), |word| (word, true));
    let found = F::SORTS.iter().find(|(known, _)| *known == word);
    let (_, by) = found.ok_or_else(|| Problem::parameter("sort", format!("must be {}", sorts::<F>())))?;
    Ok(Order { by: *by, is_descending })
}

/// The words that a list can be ordered by, for people.
pub(crate) fn sorts<F: Filter>() -> String {
    let words: Vec<String> = F::SORTS.iter().map(|(word, _)| format!("`{word}`")).collect();
    format!("{}, with `-` before it for the opposite direction", words.join(" or "))
}

fn count(text: &str) -> Result<bool, Problem> {
    text.parse().map_err(|_other| Problem::parameter("count", "must be `true` or `false`"))
}

fn limit(text: &str) -> Result<u32, Problem> {
    let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| Problem::parameter("limit", format!("must be a number between 1 and {MOST}")))
}

/// The cursor is the last id of the page before, and by what the row was ordered; dressed so that nobody builds one by
/// hand.
fn cursor<T: Id>(text: &str) -> Result<String, Problem> {
    let place = BASE64URL_NOPAD.decode(text.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let place = place.filter(|place| place.split(' ').next().unwrap_or_default().parse::<T>().is_ok());
    place.ok_or_else(|| Problem::parameter("cursor", "must be the `next_cursor` of a page of the same list"))
}

impl<F> Query<F> {
    /// Whether it asks for the first page.
    pub(crate) fn is_first(&self) -> bool {
        self.page.after.is_none()
    }

    /// The address of the first page.
    pub(crate) fn first(&self) -> &str {
        &self.base
    }

    /// The address of the first page in no order yet.
    pub(crate) fn unsorted(&self) -> &str {
        &self.unsorted
    }

    /// The address of the page after `page`, if there is one.
    pub(crate) fn next<R>(&self, page: &Page<R>) -> Option<String> {
        let cursor = BASE64URL_NOPAD.encode(page.next.as_ref()?.as_bytes());
        Some(format!("{}&cursor={cursor}", self.base))
    }

    /// The answer that shows `page`, each row as `show` makes it.
    pub(crate) fn answer<R, T>(&self, page: Page<R>, show: impl FnMut(R) -> T) -> List<T> {
        let link = self.next(&page).map(|next| format!("<{next}>; rel=\"next\""));
        let next = page.next.map(|last| BASE64URL_NOPAD.encode(last.as_bytes()));
        List { items: page.items.into_iter().map(show).collect(), next_cursor: next, count: page.count, link }
    }
}

/// The parameters of a query, for what is no list.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        read_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// A filter without parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct All<T, const NAMED: bool = false, const BY_NAME: bool = false> {
    #[serde(skip)]
    kind: std::marker::PhantomData<T>,
}

impl<T, const NAMED: bool, const BY_NAME: bool> PartialSchema for All<T, NAMED, BY_NAME> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().into()
    }
}

impl<T, const NAMED: bool, const BY_NAME: bool> ToSchema for All<T, NAMED, BY_NAME> {}

impl<T: Id, const NAMED: bool, const BY_NAME: bool> Filter for All<T, NAMED, BY_NAME> {
    type Id = T;
    const SORTS: &'static [Sort] = if NAMED { &[("name", OrderBy::Name), ("created", OrderBy::Created)] } else { &[] };
    const USUAL: Option<Order> = if BY_NAME { Some(Order::NAME) } else { None };
}

/// A list of things that have names, with nothing else to choose them by.
pub(crate) type Named<T> = All<T, true>;

/// The same as people look at it: by name.
pub(crate) type ByName<T> = All<T, true, true>;

#[cfg(test)]
mod tests {
    use super::*;
    use services::network::servers::NewServer;

    fn refused(body: &str) -> String {
        let problem = read_json::<NewServer>(body.as_bytes()).err().unwrap();
        format!("{problem:?}")
    }

    #[test]
    fn the_field_at_fault_is_named() {
        let server =
            |rest: &str| format!(r#"{{"name": "a", "network": "10.0.0.0/16", "port": 1194, "protocol": "udp"{rest}}}"#);
        assert!(read_json::<NewServer>(server("").as_bytes()).is_ok());
        for (rest, place) in [
            (r#", "routes": [{"network": "10.0.0.1/8"}]"#, r#""/routes/0/network""#),
            (r#", "routes": [{"network": "10.0.0.0/8", "x/y": 1}]"#, r#""/routes/0/x~1y""#),
            (r#", "keepalive": {"interval": 2}"#, r#""/keepalive/timeout""#),
            (r#", "search_domains": ["a.example", "b\n"]"#, r#""/search_domains/1""#),
            (r#", "surprise": 1"#, r#""/surprise""#),
        ] {
            let shown = refused(&server(rest));
            assert!(shown.contains(place), "{rest}: {shown}");
        }
        assert!(refused(r#"{"name": "a"}"#).contains(r#""/network""#));
        assert!(refused(r#"{"name": {"$ne": null}}"#).contains(r#""/name""#));
        assert!(refused("[]").contains("must be an object"));
        assert!(refused("{").contains("NotJson") && refused("").contains("NotJson"));
    }

    #[test]
    fn an_etag_is_read_back_and_nothing_else_is() {
        let read = |text: &'static str| {
            let headers = HeaderMap::from_iter([(header::IF_MATCH, header::HeaderValue::from_static(text))]);
            if_match(&headers).map_err(|_refused| ())
        };
        assert_eq!(read("\"12\""), Ok(Some(Revision(12))));
        assert_eq!(read("\"12-9f86d081884c7d65\""), Ok(Some(Revision(12))));
        assert_eq!(read("*"), Ok(None));
        assert_eq!(if_match(&HeaderMap::new()).ok(), Some(None));
        for bad in ["12", "W/\"12\"", "\"\"", "\"-1\"", "\"1\", \"2\"", "\"+1\""] {
            assert_eq!(read(bad), Err(()), "{bad}");
        }
    }
}
