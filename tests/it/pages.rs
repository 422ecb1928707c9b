//! The public pages: every page in every state from samples, and what goes around them on a real listener.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use html5ever::tendril::TendrilSink as _;
use html5ever::tokenizer::TokenizerOpts;
use html5ever::{ParseOpts, parse_document};
use markup5ever_rcdom::{Handle, NodeData, RcDom};
use postern::domain::host::ProcessRole;
use postern::web;
use postern::web::{Access, PageSample, page_samples};

use crate::api_rig::{Answer, Caller, Rig, settings};

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
const SAME_ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn parse(html: &str) -> RcDom {
    let tokenizer = TokenizerOpts { exact_errors: true, ..TokenizerOpts::default() };
    parse_document(RcDom::default(), ParseOpts { tokenizer, ..ParseOpts::default() }).one(html)
}

/// Calls `see` with each element: its name and its attributes.
fn walk(node: &Handle, see: &mut impl FnMut(&str, &[(String, String)])) {
    if let NodeData::Element { name, attrs, .. } = &node.data {
        let pairs = |attrs: &RefCell<Vec<html5ever::Attribute>>| -> Vec<_> {
            attrs.borrow().iter().map(|attr| (attr.name.local.to_string(), attr.value.to_string())).collect()
        };
        see(&name.local, &pairs(attrs));
    }
    for child in node.children.borrow().iter() {
        walk(child, see);
    }
}

fn attribute<'a>(attributes: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

#[test]
fn every_page_in_every_state_is_well_formed() {
    for PageSample { name, html } in page_samples() {
        let errors = parse(&html).errors.into_inner();
        assert!(errors.is_empty(), "{name}: {errors:?}\n{html}");
        assert!(html.starts_with("<!doctype html>"), "{name}");
        assert_eq!(html.matches("<h1").count(), 1, "{name}");
        assert_eq!(html.matches("<main").count(), 1, "{name}");
        assert!(html.matches("button primary").count() <= 1, "{name} has more than one primary button");
    }
}

/// What no page has, since the policy would not let it run, or since a name got out of its place.
#[test]
fn no_page_has_script_or_style_in_it() {
    for PageSample { name, html } in page_samples() {
        let mut scripts = 0;
        let mut ids = BTreeSet::new();
        walk(&parse(&html).document, &mut |element, attributes| {
            assert!(!["style", "iframe", "object", "embed", "base", "img"].contains(&element), "{name}: <{element}>");
            for (attribute, value) in attributes {
                assert!(!attribute.starts_with("on") && attribute != "style", "{name}: {attribute}={value}");
                let leads = ["href", "src", "action"].contains(&attribute.as_str());
                let known = ["/", "#", "https://", "openvpn://import-profile/https://"];
                assert!(!leads || known.iter().any(|start| value.starts_with(start)), "{name}: {attribute}={value}");
                assert!(attribute != "id" || ids.insert(value.clone()), "{name}: the id {value} is there twice");
            }
            if element == "script" {
                scripts += 1;
                assert!(attribute(attributes, "nonce").is_some_and(|nonce| nonce.len() >= 22), "{name}");
                assert!(attribute(attributes, "src").unwrap().starts_with("/assets/"), "{name}");
            }
        });
        assert_eq!(scripts, 1, "{name}");
    }
}

#[test]
fn hostile_names_stay_text() {
    let all = page_samples();
    let hostile: Vec<_> = all.iter().filter(|page| page.name.starts_with("hostile-")).collect();
    assert_eq!(hostile.len() * 2, all.len());
    for PageSample { name, html } in hostile {
        assert!(!html.contains("<script>") && !html.contains("<img"), "{name}:\n{html}");
        // The one state in which nothing is known about the company.
        let nameless = name == "hostile-sign-in-not-set-up";
        assert!(nameless || html.contains("&#60;script&#62;alert(1)"), "{name} shows no hostile name at all");
    }
}

#[test]
fn every_field_has_a_label_and_every_form_that_changes_something_a_token() {
    for PageSample { name, html } in page_samples() {
        let mut labels = BTreeSet::new();
        walk(&parse(&html).document, &mut |element, attributes| {
            if element == "label"
                && let Some(of) = attribute(attributes, "for")
            {
                labels.insert(of.to_owned());
            }
        });
        let (mut forms, mut tokens) = (0, 0);
        walk(&parse(&html).document, &mut |element, attributes| match element {
            "input" if attribute(attributes, "type") == Some("text") => {
                assert!(attribute(attributes, "id").is_some_and(|id| labels.contains(id)), "{name}: {attributes:?}");
            }
            "input" if attribute(attributes, "name") == Some("form_token") => {
                tokens += 1;
                assert_eq!(attribute(attributes, "value"), Some("sample-form-token"), "{name}");
            }
            // One that only looks.
            "form" if attribute(attributes, "method") == Some("get") => {}
            "form" => {
                assert_eq!(attribute(attributes, "method"), Some("post"), "{name}");
                let action = attribute(attributes, "action").unwrap();
                let once = ["/p/", "/owner-link/"].iter().any(|start| action.starts_with(start));
                forms += usize::from(!once && action != "/sign-in/start");
            }
            _ => {}
        });
        assert_eq!(forms, tokens, "{name}");
    }
}

/// The samples as files, for whoever wants to look at them: `POSTERN_PAGES=folder cargo test --test it pages`.
#[test]
fn samples_have_names_that_files_can_have() {
    let folder = std::env::var_os("POSTERN_PAGES");
    let mut seen = BTreeSet::new();
    for PageSample { name, html } in page_samples() {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
        if let Some(folder) = &folder {
            std::fs::write(std::path::Path::new(folder).join(format!("{name}.html")), html).unwrap();
        }
        assert!(seen.insert(name));
    }
}

fn public(rig: &Rig) -> Caller {
    Caller::new(rig.addresses.public.unwrap(), None)
}

fn browse(caller: &Caller, method: &str, path: &str, more: &[(&str, &str)], body: Option<&str>) -> Answer {
    let headers: Vec<_> = [BROWSER].into_iter().chain(more.iter().copied()).collect();
    caller.send(method, path, &headers, body.map(str::as_bytes))
}

/// The answer has the headers that every page has.
#[track_caller]
fn check_page(answer: &Answer) {
    let policy = answer.header("content-security-policy");
    let nonce = policy.split_once("script-src 'nonce-").and_then(|(_, rest)| rest.split_once('\'')).unwrap().0;
    assert!(nonce.len() >= 22 && answer.body.contains(&format!("nonce=\"{nonce}\"")), "{policy}\n{}", answer.body);
    for part in [
        "default-src 'none'",
        "style-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), value, "{answer:?}");
    }
    assert!(!answer.header("permissions-policy").is_empty() && !answer.header("referrer-policy").is_empty());
    assert!(parse(&answer.body).errors.into_inner().is_empty(), "{}", answer.body);
}

/// The route's path with something in each of its places.
fn path_of(path: &str) -> String {
    path.replace("{id}", "prf_01ARZ3NDEKTSV4RRFFQ69G5FAV").replace("{ticket}", "nothing").replace("{os}", "windows")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_public_route_answers_strangers_as_its_table_says() {
    let rig = Rig::new().await;
    let caller = public(&rig);
    for route in web::routes().public {
        let path = path_of(route.path);
        let body = (route.method == "POST").then_some("");
        for cookie in [None, Some("postern-login=nonsense"), Some("__Host-postern-login=nonsense")] {
            let headers: Vec<_> =
                [FORM, SAME_ORIGIN].into_iter().chain(cookie.map(|cookie| ("cookie", cookie))).collect();
            let answer = browse(&caller, route.method.as_str(), &path, &headers, body);
            match route.access {
                Access::SignedIn => {
                    assert_eq!(answer.status, 303, "{route:?}: {answer:?}");
                    assert!(answer.header("location").starts_with("/sign-in"), "{route:?}: {answer:?}");
                }
                Access::Anyone => {
                    assert!(answer.status < 500 || route.path == "/sign-in/start", "{route:?}: {answer:?}");
                }
                Access::Bearer(_) | Access::Console(_) => panic!("{route:?} is none of the public listener"),
            }
            if answer.header("content-type").starts_with("text/html") {
                check_page(&answer);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_are_pages_for_browsers_and_documents_for_programs() {
    let rig = Rig::new().await;
    let caller = public(&rig);
    for (method, path, status) in [("GET", "/nothing", 404), ("GET", "/p/nothing", 404), ("GET", "/sign-out", 405)] {
        let page = browse(&caller, method, path, &[], None);
        assert_eq!(page.status, status, "{page:?}");
        check_page(&page);
        assert!(page.body.contains(page.header("x-request-id")), "{}", page.body);
    }
    assert_eq!(caller.send("GET", "/nothing", &[], None).checked(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_too_large_is_answered_with_a_page() {
    let rig = Rig::new().await;
    let mut stream = TcpStream::connect(rig.addresses.public.unwrap()).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let answer = std::thread::spawn(move || {
        let mut answer = Vec::new();
        let _ = reader.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    });
    let head = "POST /sign-in/start HTTP/1.1\r\nhost: localhost\r\naccept: text/html\r\nsec-fetch-site: same-origin\r\n\
                content-type: application/x-www-form-urlencoded\r\nconnection: close\r\ncontent-length: 2097152\r\n\r\n";
    // The server hangs up before it has read everything.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&vec![b'a'; 2 << 20]);
    let answer = answer.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("PST-HTTP-008"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_from_elsewhere_are_refused() {
    let rig = Rig::new().await;
    let caller = public(&rig);
    let origin = format!("http://{}", rig.addresses.public.unwrap());
    let post = |headers: &[(&str, &str)]| {
        let headers: Vec<_> = [FORM].into_iter().chain(headers.iter().copied()).collect();
        let answer = browse(&caller, "POST", "/sign-in/start", &headers, Some("return_to=/"));
        check_page(&answer);
        (answer.status, answer.body.contains("PST-AUTH-005"))
    };
    for own in [&[SAME_ORIGIN][..], &[("origin", &origin)]] {
        assert!(!post(own).1, "{own:?}");
    }
    for foreign in [
        &[][..],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("origin", "null")],
        &[("origin", "https://evil.example")],
        &[("sec-fetch-site", "cross-site"), ("origin", &origin)],
    ] {
        assert_eq!(post(foreign), (403, true), "{foreign:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_kept_for_ever_under_a_path_of_their_content() {
    let rig = Rig::new().await;
    let caller = public(&rig);
    let page = browse(&caller, "GET", "/help", &[], None);
    check_page(&page);
    let mut assets = Vec::new();
    walk(&parse(&page.body).document, &mut |_, attributes| {
        let paths = attributes.iter().filter(|(_, value)| value.starts_with("/assets/"));
        assets.extend(paths.map(|(_, value)| value.clone()));
    });
    assert_eq!(assets.len(), 3);
    for path in assets {
        let asset = caller.send("GET", &path, &[], None);
        assert_eq!(asset.status, 200);
        assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable");
        assert!(!asset.body.is_empty() && asset.body.len() < 30_000);
        let (_, file) = path.rsplit_once('/').unwrap();
        let other = caller.send("GET", &format!("/assets/0000/{file}"), &[], None);
        assert_eq!((other.status, other.header("cache-control")), (200, "no-cache"));
    }
    assert_eq!(caller.send("GET", "/assets/0000/passwd", &[], None).checked(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_with_tls_in_front_says_so_everywhere() {
    let mut settings = settings();
    settings.public.url = Some("https://vpn.example.com".to_owned());
    settings.roles.insert(ProcessRole::Portal);
    let rig = Rig::with(settings).await;
    let answer = browse(&public(&rig), "GET", "/", &[("host", "vpn.example.com")], None);
    check_page(&answer);
    assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
    let answer =
        browse(&public(&rig), "POST", "/sign-out", &[FORM, SAME_ORIGIN, ("host", "vpn.example.com")], Some(""));
    let flash = answer.header("set-cookie");
    assert!(flash.starts_with("__Host-postern-flash=") && flash.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"));
}
