//! The browser itself: that it does what the other tests build on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use crate::browser::{Browser, Options, Scheme};
use crate::netns::Namespace;
use crate::portal::{ORIGIN, Portal};
use crate::rules::faults;

const PAGE: &str = "<!doctype html><html lang=en><title>Probe</title><meta name=color-scheme content='light dark'>\
    <main><h1>Probe</h1><noscript>No script here.</noscript><p id=scripted></p>\
    <form method=post action=/file><label>Name <input name=name></label><button>Get the file</button></form>\
    <a href=/other>Another page</a></main>\
    <script>document.getElementById('scripted').textContent='Script ran.';console.log('hello from the page')</script>";

/// Serves the page, and a file as the answer to the form.
fn serve(namespace: &Namespace) -> SocketAddr {
    let listener = namespace.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut visitor, _)) = listener.accept() {
            let mut head = String::new();
            let mut lines = BufReader::new(visitor.try_clone().unwrap());
            while lines.read_line(&mut head).is_ok_and(|read| read > 2) {}
            // A connection that is closed with something unread in it is reset, and the answer lost.
            let length = |line: &str| line.to_lowercase().strip_prefix("content-length: ")?.trim().parse().ok();
            let length: usize = head.lines().find_map(length).unwrap_or(0);
            lines.read_exact(&mut vec![0; length]).unwrap();
            let answer = if head.starts_with("POST /file") {
                "content-type: application/x-openvpn-profile\r\ncontent-disposition: attachment; filename=\"a.ovpn\"\r\n\
                 content-length: 7\r\n\r\nremote\n"
                    .to_owned()
            } else {
                format!("content-type: text/html; charset=utf-8\r\ncontent-length: {}\r\n\r\n{PAGE}", PAGE.len())
            };
            let _ = write!(visitor, "HTTP/1.1 200 OK\r\nconnection: close\r\n{answer}");
        }
    });
    address
}

#[test]
fn browser_in_a_namespace_reads_presses_and_downloads() {
    for without_script in [false, true] {
        let namespace = Arc::new(Namespace::new("b"));
        let address = serve(&namespace);
        let options = Options { namespace: Some(namespace), without_script, ..Options::default() };
        let browser = Browser::start(&Options { names: Some("MAP *.localhost 127.0.0.1".to_owned()), ..options });
        browser.goto(&format!("http://probe.localhost:{}/", address.port()));
        assert_eq!(browser.title(), "Probe");
        let text = browser.text();
        assert_eq!(text.contains("Script ran."), !without_script, "{text}");
        assert_eq!(text.contains("No script here."), without_script, "{text}");

        browser.fill("input[name=name]", "laptop");
        browser.press("Get the file");
        assert_eq!(browser.take_download(), ("a.ovpn".to_owned(), b"remote\n".to_vec()));
        browser.press("Another page");
        browser.wait_url("/other");

        for (scheme, dark) in [(Scheme::Dark, true), (Scheme::Light, false)] {
            browser.prefer(scheme);
            assert_eq!(browser.run("return matchMedia('(prefers-color-scheme: dark)').matches"), dark);
        }
        browser.resize(320, 640);
        assert_eq!(browser.run("return innerWidth"), 320);
        assert_eq!(browser.sideways(), 0);
        let said = browser.console();
        assert_eq!(said.iter().any(|line| line.contains("hello from the page")), !without_script, "{said:?}");
        browser.screenshot("harness");
    }
}

#[test]
fn rules_see_what_is_wrong_in_one_scheme_or_on_one_width() {
    let browser = Browser::start(&Options::default());
    let page = |style: &str, body: &str| {
        let html = format!(
            "<!doctype html><html lang=en><title>A page</title><meta name=viewport content='width=device-width'>\
             <meta name=color-scheme content='light dark'><style>{style}</style><main><h1>A page</h1>{body}</main>"
        );
        browser.goto(&format!("data:text/html;base64,{}", data_encoding::BASE64.encode(html.as_bytes())));
        faults(&browser, None)
    };
    assert_eq!(page("", "<p>Nothing is wrong here.</p>"), [""; 0]);
    let dark = page(
        "@media (prefers-color-scheme: dark) { body { background: #111; color: #fff } p { color: #333 } }",
        "<p>Too dark in the dark.</p>",
    );
    assert!(dark.iter().any(|fault| fault.contains("dark: color-contrast")), "{dark:?}");
    assert!(!dark.iter().any(|fault| fault.contains("light:")), "{dark:?}");
    let wide = page("div { width: 500px }", "<div id=wide>wide</div>");
    assert_eq!(wide.len(), 1, "{wide:?}");
    assert!(wide[0].contains("320 px: scrolls sideways") && wide[0].contains("id=\"wide\""), "{wide:?}");
    let unnamed = page("", "<input name=nameless>");
    assert!(unnamed.iter().any(|fault| fault.contains("label")), "{unnamed:?}");
}

#[test]
fn portal_answers_under_its_public_address_by_the_host_of_our_choice() {
    let portal = Portal::start(2);
    let browser = portal.browser();
    for host in [1, 0] {
        portal.balancer.lead_to(vec![portal.host(host)]);
        browser.goto(&format!("{ORIGIN}/"));
        assert!(browser.title().contains("Sign in"), "{}", browser.source());
        let mut visitor = portal.visitor();
        assert_eq!(visitor.get(portal.host(host), "/").status, 200);
    }
}
