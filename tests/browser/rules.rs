//! What every page must keep, whatever it shows: the rules of accessibility, in light and dark, and no sideways
//! scrolling on the narrowest screen.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::browser::{Browser, Scheme};

/// The narrowest screen, a tablet and a desktop: width and height.
const SIZES: [(u32, u32); 3] = [(320, 640), (768, 1024), (1440, 900)];

/// All that is wrong with the page that the browser shows, one line each. Pictures of it are kept under `name`, if it
/// has one.
pub(crate) fn faults(browser: &Browser, name: Option<&str>) -> Vec<String> {
    let mut faults = Vec::new();
    for (width, height) in SIZES {
        browser.resize(width, height);
        for scheme in [Scheme::Light, Scheme::Dark] {
            browser.prefer(scheme);
            if let Some(name) = name {
                browser.screenshot(&format!("{name}-{width}-{}", scheme.name()));
            }
            // The colours depend on the scheme, the order of things on the width: each once is enough.
            let is_due = matches!((width, scheme), (320, Scheme::Light) | (1440, Scheme::Dark));
            if is_due && browser.is_scripted() {
                let seen = axe(browser).into_iter();
                faults.extend(seen.map(|fault| format!("{width} px, {}: {fault}", scheme.name())));
            }
        }
        let sideways = browser.sideways();
        if sideways > 0 {
            faults.push(format!("{width} px: scrolls sideways by {sideways} px: {}", widest(browser)));
        }
    }
    faults
}

/// Checks the page that the browser shows.
#[track_caller]
pub(crate) fn assert_keeps(browser: &Browser, name: &str) {
    let faults = faults(browser, Some(name));
    assert!(faults.is_empty(), "{name} ({}):\n  {}", browser.url(), faults.join("\n  "));
}

/// The rules of WCAG 2.2 A and AA and axe's own good practices that the page breaks.
fn axe(browser: &Browser) -> Vec<String> {
    if browser.run("return !window.axe") == Value::Bool(true) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/axe/node_modules/axe-core/axe.min.js");
        let axe =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}: run make setup", path.display()));
        browser.run(&axe);
    }
    let found = browser.run_async(
        "const done = arguments[arguments.length - 1];
        axe.run(document, { resultTypes: ['violations'] }).then(
            result => done(result.violations.flatMap(rule => rule.nodes.map(node =>
                `${rule.id}: ${rule.help}: ${node.html.slice(0, 200)}: ${(node.any[0] ?? node.all[0] ?? node.none[0])?.message ?? ''}`))),
            error => done([`axe failed: ${error}`]));",
    );
    let Value::Array(lines) = found else { panic!("axe answered {found}") };
    lines.iter().map(|line| line.as_str().unwrap_or_default().to_owned()).collect()
}

/// The innermost elements that reach beyond the window, for whoever has to mend it.
fn widest(browser: &Browser) -> String {
    let found = browser.run(
        "const edge = document.documentElement.clientWidth;
        const over = [...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > edge + 0.5);
        return over.filter(e => !over.some(other => other !== e && e.contains(other))).slice(0, 5)
            .map(e => e.outerHTML.slice(0, 160)).join(' | ');",
    );
    found.as_str().unwrap_or_default().to_owned()
}
