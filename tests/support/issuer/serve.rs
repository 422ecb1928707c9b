//! The endpoints of the hostile issuer: just enough HTTP, one request per connection.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, PoisonError};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use postern::runtime::random;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::keys::{SigningKey, unsigned};
use super::{Behaviour, Flaw, Shared, Started, State};

struct Request {
    path: String,
    query: HashMap<String, String>,
    authorization: String,
    form: HashMap<String, String>,
}

struct Answer {
    status: &'static str,
    header: String,
    body: String,
}

pub(super) fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if shared.lock().stopped {
            return;
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || converse(&stream, &shared));
    }
}

/// A client that hangs up early is its own business.
fn converse(mut stream: &TcpStream, shared: &Shared) -> Option<()> {
    let request = read(stream)?;
    let answer = {
        let mut state = shared.lock();
        *state.asked.entry(request.path.clone()).or_default() += 1;
        while state.behaviour == Behaviour::Silent && !state.stopped {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.behaviour == Behaviour::Away {
            return None;
        }
        answer(&request, &mut state, shared)
    };
    let Answer { status, header, body } = answer;
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{header}content-length: {}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .ok()
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).ok()? == 0 {
            return None;
        }
        match header.trim().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok()?,
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                value.trim().clone_into(&mut authorization);
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = |text: &[u8]| form_urlencoded::parse(text).into_owned().collect();
    Some(Request { path: path.to_owned(), query: pairs(query.as_bytes()), authorization, form: pairs(&body) })
}

fn answer(request: &Request, state: &mut State, shared: &Shared) -> Answer {
    let url = &shared.url;
    match (request.path.as_str(), state.behaviour) {
        (_, Behaviour::Unwell) => Answer::text("503 Service Unavailable", "not now"),
        ("/.well-known/openid-configuration", behaviour) => metadata(shared, behaviour),
        ("/keys", Behaviour::RedirectedKeys) => Answer::redirect(&format!("{url}/keys/real")),
        ("/keys", Behaviour::HugeKeys) => Answer::json(&json!({ "keys": [], "filler": "x".repeat(10_000_000) })),
        ("/keys" | "/keys/real", _) => {
            Answer::json(&json!({ "keys": state.keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }))
        }
        ("/authorize", _) => authorize(request, state, shared),
        ("/token", Behaviour::RedirectedToken) => Answer::redirect(&format!("{url}/token/real")),
        ("/token" | "/token/real", _) => token(request, state, shared),
        _ => Answer::text("404 Not Found", "no such page"),
    }
}

fn metadata(shared: &Shared, behaviour: Behaviour) -> Answer {
    let url = &shared.url;
    let elsewhere = behaviour == Behaviour::KeysElsewhere;
    Answer::json(&json!({
        "issuer": if behaviour == Behaviour::OtherIssuer { "https://accounts.google.com" } else { url },
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": if elsewhere { "https://169.254.169.254/keys".to_owned() } else { format!("{url}/keys") },
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        "authorization_response_iss_parameter_supported": shared.options.response_issuer,
        "prompt_values_supported": ["none", "login", "select_account"],
    }))
}

/// Sends the browser back at once, with a code.
fn authorize(request: &Request, state: &mut State, shared: &Shared) -> Answer {
    let get = |name: &str| request.query.get(name).map_or("", String::as_str);
    let sound = get("response_type") == "code"
        && get("client_id") == shared.options.client_id
        && get("scope").split(' ').any(|scope| scope == "openid")
        && get("code_challenge_method") == "S256";
    if !sound {
        return Answer::text("400 Bad Request", "not a code request with PKCE by S256");
    }
    let code = BASE64URL_NOPAD.encode(&random::bytes::<32>());
    let started = Started {
        nonce: request.query.get("nonce").cloned(),
        challenge: get("code_challenge").to_owned(),
        redirect: get("redirect_uri").to_owned(),
        person: state.person.clone(),
    };
    let issuer = match &state.flaw {
        Flaw::ResponseIssuer(other) => other.map(str::to_owned),
        _ => shared.options.response_issuer.then(|| shared.url.clone()),
    };
    let echoed = if let Flaw::State(other) = state.flaw { other } else { get("state") };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("code", &code).append_pair("state", echoed);
    if let Some(issuer) = issuer {
        query.append_pair("iss", &issuer);
    }
    let place = format!("{}?{}", started.redirect, query.finish());
    state.codes.insert(code, started);
    Answer::redirect(&place)
}

/// Checks what a client can do wrong, then makes a token with what is to be wrong about it.
fn token(request: &Request, state: &mut State, shared: &Shared) -> Answer {
    let refuse = |code: &str| Answer { status: "400 Bad Request", ..Answer::json(&json!({ "error": code })) };
    let form = |name: &str| request.form.get(name).map_or("", String::as_str);
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let options = &shared.options;
    let pair = format!("{}:{}", encoded(&options.client_id), encoded(&options.client_secret));
    if request.authorization != format!("Basic {}", BASE64.encode(pair.as_bytes())) {
        return refuse("invalid_client");
    }
    let Some(started) = state.codes.remove(form("code")) else {
        return refuse("invalid_grant");
    };
    let challenge = BASE64URL_NOPAD.encode(&Sha256::digest(form("code_verifier").as_bytes()));
    if challenge != started.challenge || form("redirect_uri") != started.redirect {
        return refuse("invalid_grant");
    }
    let mut answer = json!({ "access_token": "opaque", "token_type": "Bearer", "expires_in": 3600 });
    match &state.flaw {
        Flaw::Answer(text) => {
            return Answer { header: Answer::json(&Value::Null).header, ..Answer::text("200 OK", text) };
        }
        Flaw::NoToken => {}
        flaw => answer["id_token"] = json!(id_token(flaw, &claims(&started, flaw, shared), state)),
    }
    Answer::json(&answer)
}

fn claims(started: &Started, flaw: &Flaw, shared: &Shared) -> Value {
    let now = shared.options.clock.now().as_second();
    let person = &started.person;
    let mut claims = json!({
        "iss": shared.url,
        "aud": shared.options.client_id,
        "azp": shared.options.client_id,
        "iat": now,
        "exp": now + 3600,
        "nonce": started.nonce,
        "sub": person.subject,
        "email": person.email,
        "email_verified": person.email_verified,
        "hd": person.hosted_domain,
        "name": person.name,
    });
    if let Flaw::Claim(name, value) = flaw {
        claims[*name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn id_token(flaw: &Flaw, claims: &Value, state: &State) -> String {
    let key = &state.keys[0];
    match flaw {
        Flaw::AlgNone => unsigned(claims),
        Flaw::Hs256 => key.hs256(claims),
        Flaw::ForeignKey => {
            let published = state.keys.iter().map(|key| key.kid.as_str()).next().unwrap();
            SigningKey::other_like(key).token(published, claims, false)
        }
        Flaw::UnknownKey => key.token("never-published", claims, false),
        Flaw::WeakKey => SigningKey::weak().token("weak", claims, false),
        Flaw::Critical => key.token(&key.kid, claims, true),
        Flaw::Changed => {
            let token = key.token(&key.kid, claims, false);
            let mut other = claims.clone();
            other["sub"] = json!("somebody-else");
            let [header, _, signature] = token.split('.').collect::<Vec<_>>()[..] else { unreachable!() };
            format!("{header}.{}.{signature}", BASE64URL_NOPAD.encode(other.to_string().as_bytes()))
        }
        Flaw::Garbage => "not.a.token".to_owned(),
        _ => key.token(&key.kid, claims, false),
    }
}

impl Answer {
    fn text(status: &'static str, body: &str) -> Self {
        Self { status, header: "content-type: text/plain\r\n".to_owned(), body: body.to_owned() }
    }

    fn json(body: &Value) -> Self {
        let header = "content-type: application/json\r\n".to_owned();
        Self { status: "200 OK", header, body: body.to_string() }
    }

    fn redirect(place: &str) -> Self {
        Self { status: "302 Found", header: format!("location: {place}\r\n"), body: String::new() }
    }
}
