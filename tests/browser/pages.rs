//! Every page in every state, from the product's own samples: whether it keeps the rules, and what it looks like.
//! Pictures of all are in `target/screenshots/pages`.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use postern::web::page_samples;

use crate::browser::{Browser, Options};
use crate::rules::faults;

#[test]
fn every_page_in_every_state_is_accessible_in_light_and_dark_and_fits_a_narrow_screen() {
    let samples = page_samples();
    assert!(samples.len() > 20, "there are samples");
    let names: Vec<_> = samples.iter().map(|sample| sample.name.clone()).collect();
    let address = serve(samples.into_iter().map(|sample| (sample.name, sample.html)).collect());
    // Two at a time, as there are cores.
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let halves = names.chunks(names.len().div_ceil(2)).map(|names| scope.spawn(move || look_at(address, names)));
        let halves: Vec<_> = halves.collect();
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

fn look_at(address: SocketAddr, names: &[String]) -> Vec<String> {
    let browser = Browser::start(&Options::default());
    let look = |name: &String| {
        browser.goto(&format!("http://{address}/{name}"));
        let picture = format!("pages/{name}");
        // Pages with hostile names differ in words only.
        let found = faults(&browser, (!name.starts_with("hostile-")).then_some(picture.as_str()));
        found.into_iter().map(|fault| format!("{name}: {fault}")).collect::<Vec<_>>()
    };
    names.iter().flat_map(look).collect()
}

/// Serves the samples by name, and stylesheet, script and mark by whatever path a page names them.
fn serve(samples: HashMap<String, String>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let samples = Arc::new(samples);
    std::thread::spawn(move || {
        while let Ok((visitor, _)) = listener.accept() {
            let samples = Arc::clone(&samples);
            std::thread::spawn(move || answer(visitor, &samples));
        }
    });
    address
}

fn answer(mut visitor: TcpStream, samples: &HashMap<String, String>) {
    let mut lines = BufReader::new(visitor.try_clone().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    lines.by_ref().find(String::is_empty);
    let path = first.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let file = path.rsplit('/').next().unwrap_or_default();
    let kind = match Path::new(file).extension().and_then(|ending| ending.to_str()) {
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("svg") => "image/svg+xml",
        _ => "text/html",
    };
    let body = match samples.get(file) {
        Some(html) => Some(html.clone()),
        None => fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(file)).ok(),
    };
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    let _ = write!(
        visitor,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
}
