//! The first minute: of a cluster, in which nothing may look like an alarm that is merely young, and of `make run`, whose
//! every line must work as it is printed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postern::domain::clock::{Clock as _, SystemClock};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::api::{status_of, text_of};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::netns;
use crate::netns::Namespace;
use crate::support::mongod;
use crate::wait::{wait_for, wait_until};

const POSTERN: &str = env!("CARGO_BIN_EXE_postern");
const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const PATIENCE: Duration = Duration::from_mins(1);
/// What an administrator watches after the start.
const FIRST: Duration = Duration::from_mins(1);
/// How often the hosts are asked for their numbers, in seconds.
const SCRAPE: u32 = 5;

/// Lines of a log that somebody should look at.
/// What the log warns of, but for the one thing that the laboratory lacks: TLS to its database.
fn alarms(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_alarm = |line: &Value| line["level"] == "warn" || line["level"] == "error";
    lines.filter(|line| is_alarm(line) && line["event"] != "database.unencrypted").collect()
}

#[test]
fn in_its_first_minute_a_cluster_raises_no_alarm() {
    let begun = Instant::now();
    let cluster = Cluster::of_two_hosts();
    let profile = cluster.user_with_profile("anna");
    let _client = Client::connect(&cluster.lab, 0, &profile.text);
    let names: Vec<&str> = cluster.hosts.iter().map(crate::host::Host::name).collect();
    let (first, mut scrapes) = (SystemClock.now(), Vec::new());
    while begun.elapsed() < FIRST || scrapes.len() < 6 {
        let scrape = cluster.hosts.iter().map(|host| {
            let text = text_of(&host.machine().namespace, "http://127.0.0.1:9600/metrics");
            text.expect("a host tells its numbers")
        });
        scrapes.push(scrape.collect::<Vec<_>>());
        std::thread::sleep(Duration::from_secs(SCRAPE.into()));
    }

    for host in &cluster.hosts {
        let alarms = alarms(&host.log());
        assert!(alarms.is_empty(), "{} says: {alarms:#?}", host.name());
    }
    let api = cluster.api(0);
    let jobs = api.list("/jobs");
    let verified = jobs.iter().find(|job| job["name"] == "audit-verify").unwrap();
    assert_eq!(verified["last_run"]["result"], "done", "{verified:#}");
    assert!(verified["last_run"]["counts"]["checkpoints"].as_u64().unwrap() > 0, "verified after it was signed");
    for host in api.list("/hosts") {
        assert_eq!(host["state"], "online", "{host:#}");
        assert!(host["problems"].as_array().is_none_or(Vec::is_empty), "{host:#}");
    }
    let findings = cluster.hosts[0].try_run(&["doctor", "--json"]).1;
    assert!(!findings.contains("\"fail\""), "{findings}");
    assert_no_alert(&names, &scrapes, first);
}

/// Puts what the hosts have told to the alert rules of `deploy/grafana`, as Prometheus would, and then for twenty minutes
/// more in which nothing changes. None may fire. `first` is when they were asked first.
fn assert_no_alert(instances: &[&str], scrapes: &[Vec<String>], first: jiff::Timestamp) {
    let mut series: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
    for (at, scrape) in scrapes.iter().enumerate() {
        for (instance, text) in instances.iter().zip(scrape) {
            let up = format!("up{{instance=\"{instance}\",job=\"postern\"}} 1");
            for line in text.lines().filter(|line| !line.starts_with('#')).chain([up.as_str()]) {
                let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no number: {line}"));
                let mut value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
                // The rules are tried at the beginning of time.
                if name.split('{').next().unwrap().ends_with("_timestamp_seconds") {
                    #[expect(clippy::cast_precision_loss, reason = "seconds of this century")]
                    let first = first.as_second() as f64;
                    value -= first;
                }
                // As Prometheus scrapes with `honor_labels`: what a host says of itself stays.
                let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
                let own = [("instance", *instance), ("job", "postern")];
                let own = own.iter().filter(|(label, _)| !labels.contains(&format!("{label}=\"")));
                let own = own.map(|(label, value)| format!("{label}=\"{value}\",")).collect::<Vec<_>>().concat();
                let name = format!("{name}{{{own}{labels}").replace(",}", "}");
                let values = series.entry(name).or_default();
                values.resize(at, None);
                values.push(Some(value));
            }
        }
    }
    let mut input = String::new();
    for (name, values) in &series {
        let mut told: Vec<String> =
            values.iter().map(|value| value.map_or("_".to_owned(), |value| value.to_string())).collect();
        if let Some(last) = values.last().copied().flatten().filter(|_| values.len() == scrapes.len()) {
            // What recurs goes on; all else stays as it was last seen.
            let step = if name.starts_with("postern_task_last_success_timestamp_seconds") { SCRAPE } else { 0 };
            told.push(format!("{last}+{step}x{}", 20 * 60 / SCRAPE));
        }
        writeln!(input, "      - {{ series: {}, values: '{}' }}", json!(name), told.join(" ")).unwrap();
    }
    let rules = fs::read_to_string(Path::new(REPOSITORY).join("deploy/grafana/alerts.yaml")).unwrap();
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    let mut tests = String::new();
    for at in [30, 60, 120, 300, 600, 1200] {
        for alert in &alerts {
            writeln!(tests, "      - {{ alertname: {alert}, eval_time: {at}s, exp_alerts: [] }}").unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("alerts.yaml"), rules).unwrap();
    let text = format!(
        "rule_files: [alerts.yaml]\nevaluation_interval: 15s\ntests:\n  - interval: {SCRAPE}s\n    input_series:\n{input}    \
         alert_rule_test:\n{tests}"
    );
    fs::write(folder.path().join("fresh.yaml"), text).unwrap();
    let ran = Command::new("promtool").args(["test", "rules", "fresh.yaml"]).current_dir(&folder).output();
    let ran = ran.expect("promtool runs");
    let said = [&ran.stdout[..], &ran.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    assert!(ran.status.success(), "alerts fire on a fresh cluster: {said}");
}

/// `make run` from the moment at which everything is built, on a machine of its own.
struct Made {
    namespace: Namespace,
    folder: tempfile::TempDir,
    log: PathBuf,
    make: Child,
}

impl Made {
    /// Starts it; `config` is what an earlier checkout has left.
    fn start(config: Option<&str>) -> Self {
        static SWEPT: std::sync::Once = std::sync::Once::new();
        SWEPT.call_once(netns::sweep);
        let namespace = Namespace::new("dev");
        let folder = tempfile::Builder::new().prefix("postern-e2e-").tempdir().unwrap();
        let state = folder.path().join("state");
        if let Some(config) = config {
            fs::create_dir(&state).unwrap();
            fs::write(state.join("postern.toml"), config.replace("STATE", state.to_str().unwrap())).unwrap();
        }
        let log = folder.path().join("make.log");
        let output = fs::File::create(&log).unwrap();
        let mut make = namespace.command("make");
        make.args(["--no-print-directory", "--directory", REPOSITORY, "start"]);
        make.arg(format!("STATE={}", state.display())).arg(format!("POSTERN={POSTERN}"));
        make.arg(format!("MONGOD={}", mongod::binary().display()));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POSTERN_")) {
            make.env_remove(name);
        }
        // A terminal gives each command line a group of its own, and Ctrl-C goes to all of it.
        make.process_group(0).stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let make = make.spawn().unwrap();
        let running = Self { namespace, folder, log, make };
        wait_until("Postern to be ready", PATIENCE, || {
            status_of(&running.namespace, "http://127.0.0.1:9600/readyz") == Some(200)
        });
        running
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The first line that it printed with this in it, as somebody would copy it.
    #[track_caller]
    fn line(&self, with: &str) -> String {
        let said = self.said();
        let found = said.lines().find(|line| line.contains(with));
        found.unwrap_or_else(|| panic!("no line with {with}: {said}")).trim().to_owned()
    }

    /// Types lines into a shell on the machine, in the folder of the checkout; answers what they print.
    #[track_caller]
    fn types(&self, lines: &str) -> String {
        // Where lines may write files: another folder with the same scripts.
        let place = self.folder.path().join("checkout");
        if !place.exists() {
            fs::create_dir(&place).unwrap();
            std::os::unix::fs::symlink(Path::new(REPOSITORY).join("deploy"), place.join("deploy")).unwrap();
        }
        let output = self.namespace.command("sh").args(["-euc", lines]).current_dir(&place).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(output.status.success(), "{lines}: {out}{err}\n{}", self.said());
        out
    }

    /// The programs that run on the machine.
    fn programs(&self) -> Vec<String> {
        let name = |pid: Pid| fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).ok();
        let names = self.namespace.processes().into_iter().filter_map(name);
        names.map(|name| name.trim().to_owned()).collect()
    }

    /// Ctrl-C.
    #[track_caller]
    fn interrupt(mut self) {
        kill_process_group(Pid::from_child(&self.make), Signal::INT).unwrap();
        wait_until("make to end", PATIENCE, || self.make.try_wait().unwrap().is_some());
        // What has not ended within the patience of a person is left behind.
        let deadline = Instant::now() + PATIENCE;
        while !self.programs().is_empty() {
            assert!(Instant::now() < deadline, "left behind: {:?}\n{}", self.programs(), self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn every_line_that_make_run_prints_works_as_it_is_and_ctrl_c_leaves_nothing_behind() {
    let made = Made::start(None);
    let (owner_link, setup) = (made.line("owner-link"), made.line("/setup"));
    let said = made.said();
    let place = |text: &str| said.find(text).unwrap();
    assert!(
        place("owner-link") < place("/setup") && place("/setup") < place("TOKEN="),
        "the console comes first: {said}"
    );

    let link = made.types(&owner_link);
    assert!(link.starts_with("http://127.0.0.1:9443/owner-link/"), "{link}");
    let page = text_of(&made.namespace, link.trim()).unwrap();
    assert!(page.contains("Open the console as owner"), "{page}");
    let setup = setup.split_whitespace().find(|word| word.ends_with("/setup")).unwrap().to_owned();
    let browse = format!(
        "curl -sS -c jar -o opened -H 'Origin: http://127.0.0.1:9443' --data '' {}\ncurl -sS -b jar {setup}",
        link.trim()
    );
    let page = made.types(&browse);
    assert!(page.contains("<h1>Set-up</h1>"), "{page}");
    // Whoever lost the terminal finds the same command on the page, and it works there as well.
    let page = text_of(&made.namespace, "http://127.0.0.1:9443/sign-in").unwrap();
    let shown = page.split("<code>").nth(1).and_then(|rest| rest.split("</code>").next()).unwrap();
    assert!(page.contains("as root") && made.types(shown).starts_with("http://127.0.0.1:9443/owner-link/"), "{page}");

    let first = format!("{}\n{}\ncat you.ovpn", made.line("TOKEN=$("), made.line("first-profile.sh"));
    let profile = made.types(&first);
    assert!(profile.contains("remote 127.0.0.1 1194 udp"), "{profile}");
    assert!(made.programs().iter().any(|name| name == "openvpn"), "{:?}", made.programs());
    let alarms = alarms(&made.said());
    assert!(alarms.is_empty(), "{alarms:#?}");
    made.interrupt();
}

#[test]
fn the_configuration_of_an_older_checkout_leaves_nothing_behind_either() {
    let older = "[host]\nname = \"local\"\ndata_dir = \"STATE/data\"\npublic_address = \"127.0.0.1\"\n[database]\nmongod = \
                 \"MONGOD\"\n[public]\nlisten = \"127.0.0.1:8443\"\nurl = \"http://127.0.0.1:8443\"\n[admin]\nlisten = \
                 \"127.0.0.1:9443\"\nurl = \"http://127.0.0.1:9443\"\n";
    let made = Made::start(Some(&older.replace("MONGOD", mongod::binary().to_str().unwrap())));
    made.types(&format!("{}\n{}", made.line("TOKEN=$("), made.line("first-profile.sh")));
    wait_for("a daemon", PATIENCE, || made.programs().iter().any(|name| name == "openvpn").then_some(()));
    made.interrupt();
}
