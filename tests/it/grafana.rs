//! The alert rules and the dashboard of `deploy/grafana` speak of numbers that exist, in words that Prometheus takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use postern::metrics::Kind;
use postern::metrics::catalogue::{CATALOGUE, LABELS};
use serde_json::Value;

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dashboard() -> Value {
    serde_json::from_str(&text("deploy/grafana/postern.json")).unwrap()
}

/// Every query of the dashboard, as Grafana would send it.
fn queries() -> Vec<String> {
    let board = dashboard();
    let targets = board["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array());
    let queries = targets.flatten().map(|target| target["expr"].as_str().unwrap());
    queries.map(|query| query.replace("$__rate_interval", "5m").replace("$instance", ".*")).collect()
}

#[track_caller]
fn promtool(folder: &Path, arguments: &[&str]) {
    let ran = Command::new("promtool").args(arguments).current_dir(folder).output().expect("promtool runs");
    let said = [&ran.stdout[..], &ran.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    assert!(ran.status.success(), "promtool {arguments:?}: {said}");
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[test]
fn every_metric_in_rules_and_dashboard_is_in_the_catalogue() {
    let known: BTreeSet<String> = CATALOGUE
        .iter()
        .flat_map(|about| match about.kind {
            Kind::Histogram => ["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", about.name)).to_vec(),
            Kind::Counter | Kind::Gauge => vec![about.name.to_owned()],
        })
        .collect();
    let both = [text("deploy/grafana/alerts.yaml"), queries().join("\n")].join("\n");
    let named: BTreeSet<&str> = words(&both).filter(|word| word.starts_with("postern_")).collect();
    assert!(named.len() > 20, "{named:?}");
    let unknown: Vec<_> = named.iter().filter(|name| !known.contains(**name)).collect();
    assert!(unknown.is_empty(), "not in src/metrics/catalogue.rs: {unknown:?}");
}

#[test]
fn every_label_in_rules_and_dashboard_is_one_that_metrics_have() {
    let both = [text("deploy/grafana/alerts.yaml"), text("deploy/grafana/postern.json")].join("\n");
    let grouped = both.split("by (").skip(1).map(|rest| rest.split_once(')').unwrap().0);
    let matched = both.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(inside, _)| inside);
    let matched = matched.filter(|inside| inside.contains('=')).flat_map(|inside| inside.split(','));
    let matched = matched.map(|matcher| matcher.split(['=', '!']).next().unwrap());
    let shown = both.split("$labels.").skip(1).map(|rest| words(rest).next().unwrap());
    let legends = both.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(inside, _)| inside.trim());
    let legends = legends.filter(|legend| !legend.contains('$'));
    let used: BTreeSet<&str> = grouped.flat_map(words).chain(matched).chain(shown).chain(legends).collect();
    assert!(used.len() > 8, "{used:?}");
    let own = ["instance", "job", "le"];
    let unknown: Vec<_> = used.iter().filter(|label| !LABELS.contains(*label) && !own.contains(*label)).collect();
    assert!(unknown.is_empty(), "no label of ours: {unknown:?}");
}

#[test]
fn prometheus_takes_the_rules_and_they_fire_when_they_should() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("alerts-of-deploy.yaml"), text("deploy/grafana/alerts.yaml")).unwrap();
    fs::write(folder.path().join("alerts.yaml"), text("tests/it/alerts.yaml")).unwrap();
    promtool(folder.path(), &["check", "rules", "alerts-of-deploy.yaml"]);
    promtool(folder.path(), &["test", "rules", "alerts.yaml"]);
}

#[test]
fn prometheus_takes_every_query_of_the_dashboard() {
    let queries = queries();
    assert!(queries.len() > 20);
    // As rules, because those are what the tool reads; JSON is YAML.
    let rules: Vec<_> = queries
        .iter()
        .enumerate()
        .map(|(number, query)| serde_json::json!({ "record": format!("query:{number}"), "expr": query }))
        .collect();
    let file = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("queries.yaml"), file.to_string()).unwrap();
    promtool(folder.path(), &["check", "rules", "queries.yaml"]);
}

#[test]
fn panels_of_the_dashboard_do_not_overlap_and_say_what_they_show() {
    let board = dashboard();
    let mut taken = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        assert!(!panel["title"].as_str().unwrap().is_empty(), "{panel}");
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{panel}");
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(taken.insert((x, y)), "two panels at {x}, {y}: {panel}");
            }
        }
    }
}
