//! The command line as a client: the real program against real listeners, each noun and each verb.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use postern::domain::role::Role;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};

use crate::api_rig::{Caller, Rig};

/// The program as somebody with a token runs it.
pub(crate) struct Cli {
    url: String,
    token: String,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    #[track_caller]
    fn refused(self, code: i32, part: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(part), "{part:?} is not in {self:?}");
        assert_eq!(self.out, "", "{self:?}");
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Cli {
    pub(crate) fn new(rig: &Rig, role: Role) -> Self {
        Self { url: format!("http://{}", rig.addresses.admin.unwrap()), token: rig.tokens[role.as_str()].clone() }
    }

    /// The program where nothing is known of any cluster.
    pub(crate) fn nowhere() -> Self {
        Self { url: String::new(), token: String::new() }
    }

    fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
        command.args(arguments).env_clear();
        command.env("POSTERN_URL", &self.url).env("POSTERN_TOKEN", &self.token).stdin(Stdio::null());
        command
    }

    /// Runs it with arguments that have no spaces.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.args(&line.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn args(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }
}

/// An organization, a server and a host that is attached to it.
async fn furnished(rig: &Rig, cli: &Cli) {
    let host = rig.host().await;
    cli.run("org create Acme").ok();
    cli.run("server create main --network 10.9.0.0/24 --org acme").ok();
    cli.run(&format!("server attach main {host}")).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_does_what_the_api_does() {
    let rig = Rig::new().await;
    let (cli, api) = (Cli::new(&rig, Role::Owner), rig.owner());
    furnished(&rig, &cli).await;
    let host = api.get("/hosts")["items"][0]["name"].as_str().unwrap().to_owned();

    let made = cli.run("org create Other --json").json();
    assert_eq!(made["name"], "Other");
    assert_eq!(cli.run("org rename other Another --json").json()["name"], "Another");
    cli.run("org delete Another --yes").ok();

    let ana = cli.args(&[
        "user",
        "create",
        "Ana Ng",
        "--org",
        "Acme",
        "--email",
        "ana@example.com",
        "--group",
        "dev",
        "--json",
    ]);
    let ana = ana.json();
    assert_eq!(ana["groups"], json!(["dev"]));
    let id = ana["id"].as_str().unwrap();
    let changed =
        cli.run(&format!("user update {id} --add-group ops --remove-group dev --role helpdesk --json")).json();
    assert_eq!((&changed["groups"], &changed["role"]), (&json!(["ops"]), &json!("helpdesk")));
    assert_eq!(cli.run("user update ana@example.com --no-email --json").json()["email"], Value::Null);
    assert_eq!(cli.args(&["user", "disable", "ana ng", "--json"]).json()["disabled"], true);
    assert_eq!(cli.args(&["user", "enable", "Ana Ng", "--json"]).json()["disabled"], false);

    let changed =
        cli.run("server update main --port 1195 --add-route 10.8.0.0/16=office --dns 10.8.0.1 --keepalive 3/9 --json");
    let changed = changed.json();
    assert_eq!(changed["routes"], json!([{"network": "10.8.0.0/16", "comment": "office", "nat": true}]));
    assert_eq!((&changed["port"], &changed["keepalive"]["timeout"]), (&json!(1195), &json!(9)));
    assert_eq!(cli.run("server update main --remove-route 10.8.0.0/16 --json").json()["routes"], json!([]));
    assert_eq!(cli.run("server disable main --yes --json").json()["enabled"], false);
    assert_eq!(cli.run("server enable main --json").json()["enabled"], true);
    assert_eq!(cli.run("server hosts main --json").json(), api.get(&server_path(&api, "/hosts")));

    cli.args(&["group", "add", "night shift", id]).ok();
    assert_eq!(cli.args(&["group", "show", "night shift", "--json"]).json()["users"], 1);
    assert_eq!(cli.run("group list --json").json(), api.get("/groups"));
    assert_eq!(cli.args(&["group", "rename", "night shift", "nights", "--json"]).json()["name"], "nights");
    cli.run(&format!("group remove nights {id}")).ok();
    cli.run("group delete ops --yes").ok();
    cli.run(&format!("user sign-out {id}")).ok();
    cli.run(&format!("session end --user {id} --yes")).ok();
    let explained = cli.run(&format!("explain {id} 10.8.0.1")).ok();
    assert!(explained.starts_with("10.8.0.1: denied\n") && explained.contains("Add a route to"), "{explained}");

    let profile = cli.args(&["profile", "issue", id, "--server", "main", "--name", "laptop", "--json"]).json();
    assert!(profile["config"].as_str().unwrap().contains("BEGIN PRIVATE KEY"));
    assert_eq!(cli.run(&format!("profile show laptop --user {id} --json")).json()["name"], "laptop");
    let revoked = cli.run(&format!("profile revoke laptop --user {id} --yes --json")).json();
    assert_eq!(revoked["state"], "revoked");

    assert_eq!(cli.run(&format!("host rename {host} renamed --json")).json()["name"], "renamed");
    cli.run("server detach main renamed --yes").ok();
    assert_eq!(cli.run("server hosts main --json").json()["items"], json!([]));
    let refused = cli.run("host remove renamed --yes");
    assert_eq!(refused.code, 4, "{refused:?}");
    cli.run("host remove renamed --force --yes").ok();
    assert_eq!(api.get("/hosts")["items"], json!([]));
    cli.run(&format!("user delete {id} --yes")).ok();
    cli.run("server delete main --yes").ok();
    let settings =
        cli.args(&["settings", "update", "--company-name", "Acme Ltd", "--profile-lifetime-days", "30", "--json"]);
    assert_eq!(settings.json()["profile_lifetime_days"], 30);
}

fn server_path(api: &Caller, rest: &str) -> String {
    format!("/servers/{}{rest}", api.get("/servers")["items"][0]["id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_the_body_of_the_api() {
    let rig = Rig::new().await;
    let (cli, api) = (Cli::new(&rig, Role::Owner), rig.owner());
    furnished(&rig, &cli).await;
    cli.run("user create Ana --org Acme --email ana@example.com").ok();
    for (noun, path) in [
        ("org", "/organizations"),
        ("user", "/users"),
        ("profile", "/profiles"),
        ("server", "/servers"),
        ("host", "/hosts"),
        ("session", "/sessions"),
    ] {
        assert_eq!(cli.run(&format!("{noun} list --json")).json(), api.get(path), "{noun}");
        let Some(first) = api.get(path)["items"][0]["id"].as_str().map(str::to_owned) else { continue };
        assert_eq!(cli.run(&format!("{noun} show {first} --output json")).json(), api.get(&format!("{path}/{first}")));
        assert_eq!(cli.run(&format!("{noun} list --quiet")).ok(), format!("{first}\n"));
    }
    assert_eq!(cli.run("settings show --json").json(), api.get("/settings"));
    assert_eq!(cli.run("audit list --limit 2 --json").json(), api.get("/audit?limit=2"));
    let cursor = api.get("/audit?limit=2")["next_cursor"].as_str().unwrap().to_owned();
    let rest = cli.run(&format!("audit list --limit 2 --cursor {cursor} --json")).json();
    assert_eq!(rest, api.get(&format!("/audit?limit=2&cursor={cursor}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_read_to_their_end() {
    let rig = Rig::new().await;
    let (cli, api) = (Cli::new(&rig, Role::Owner), rig.owner());
    let organization = api.post("/organizations", &json!({ "name": "=Acme" }))["id"].clone();
    for number in 0..205 {
        api.post("/users", &json!({ "organization_id": organization, "name": format!("user {number:03}") }));
    }
    let all = cli.run("user list --json").json();
    assert_eq!((all["items"].as_array().unwrap().len(), &all["next_cursor"]), (205, &Value::Null));
    let lines = cli.run("user list --output jsonl --fields name,organization_id").ok();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((lines.lines().count(), first), (205, json!({"name": "user 000", "organization_id": organization})));
    let csv = cli.run("user list --output csv --fields name").ok();
    assert_eq!((csv.lines().count(), csv.lines().next()), (206, Some("name")));
    assert_eq!(cli.run("org list --output csv --fields name").ok(), "name\n'=Acme\n");
    let table = cli.run("user list --limit 201").ok();
    assert_eq!(table.lines().count(), 202);

    // Whoever has seen enough closes the pipe, and nobody is told off for it.
    let mut child = cli
        .command(&["user", "list", "--output", "jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &[][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_has_its_exit_code_and_its_sentence() {
    let rig = Rig::new().await;
    let cli = Cli::new(&rig, Role::Owner);
    furnished(&rig, &cli).await;
    cli.run("user create Ana --org Acme --email a@example.com").ok();
    cli.run("user create Ana --org Acme --email b@example.com").ok();

    cli.run("usr list").refused(2, "'user'");
    cli.run("user update Ana --nonsense").refused(2, "--nonsense");
    cli.run("user show Ana").refused(2, "2 users are called Ana").refused(2, "b@example.com");
    cli.run("user create X --org Acme --email nonsense")
        .refused(2, "email: must be")
        .refused(2, "PST-DATA-002, request req_");
    cli.run("user update a@example.com").refused(2, "nothing to change");
    cli.run("org delete Acme").refused(2, "--yes");
    cli.run("user show nobody").refused(3, "there is no user called nobody");
    cli.run("user show usr_01ARZ3NDEKTSV4RRFFQ69G5FAV").refused(3, "there is no such user").refused(3, "PST-DATA-001");
    cli.run("server create main --network 10.7.0.0/24").refused(4, "PST-DATA-003");
    cli.run("org delete Acme --yes").refused(4, "PST-DATA-003");
    Cli::new(&rig, Role::Helpdesk).run("org create Mine").refused(5, "PST-AUTH-003");
    Cli { token: "pst_nonsense".to_owned(), ..Cli::new(&rig, Role::Owner) }.run("org list").refused(5, "PST-AUTH-002");
    Cli { url: "http://127.0.0.1:1".to_owned(), ..Cli::new(&rig, Role::Owner) }
        .run("org list")
        .refused(6, "cannot be reached");
    let refused = cli.command(&["org", "list"]).env_remove("POSTERN_TOKEN").output().unwrap();
    Ran::from(refused).refused(2, "--token-file");

    // A listener that takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    Cli { url, ..Cli::new(&rig, Role::Owner) }.run("org list --timeout 300ms").refused(6, "did not answer in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_comes_from_a_file_and_never_from_the_arguments() {
    let rig = Rig::new().await;
    let cli = Cli::new(&rig, Role::Owner);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, format!("{}\n", cli.token)).unwrap();
    let list = ["org", "list", "--json", "--token-file"];
    let mut command = cli.command(&[&list[..], &[file.to_str().unwrap()]].concat());
    Ran::from(command.env_remove("POSTERN_TOKEN").output().unwrap()).json();

    let mut command = cli.command(&[&list[..], &["-"]].concat());
    command.env_remove("POSTERN_TOKEN").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(cli.token.as_bytes()).unwrap();
    Ran::from(child.wait_with_output().unwrap()).json();
    cli.run("org list --token pst_x").refused(2, "--token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_written_for_its_owner_alone_and_only_once() {
    let rig = Rig::new().await;
    let (cli, api) = (Cli::new(&rig, Role::Owner), rig.owner());
    furnished(&rig, &cli).await;
    cli.run("user create Ana --org Acme").ok();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ana.ovpn");
    let issue = |file: &str| cli.args(&["profile", "issue", "Ana", "--server", "main", "--name", "laptop", "-o", file]);
    issue(file.to_str().unwrap()).ok();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("client\n") && text.contains("BEGIN PRIVATE KEY"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    issue(file.to_str().unwrap()).refused(2, "is there already");
    issue(folder.path().join("no/where.ovpn").to_str().unwrap()).refused(1, "cannot be written");
    assert_eq!(api.get("/profiles")["items"].as_array().unwrap().len(), 1, "what cannot be kept is not made");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    assert!(issue("-").ok().starts_with("client\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_users_come_from_a_file_and_each_mistake_is_told_with_its_line() {
    let rig = Rig::new().await;
    let (cli, api) = (Cli::new(&rig, Role::Owner), rig.owner());
    cli.run("org create Acme").ok();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("people.csv");
    let import = |content: &str, rest: &[&str]| {
        fs::write(&file, content).unwrap();
        cli.args(&[&["user", "import", file.to_str().unwrap(), "--org", "Acme"], rest].concat())
    };
    let count = || api.list("/users", 200).len();

    import("name,email\nAna,ana@example.com\n,x\n", &["--yes"]).refused(2, "line 3: email must be");
    import("name,email\nAna,ana@example.com\n", &[]).refused(2, "--yes");
    assert_eq!(count(), 0);
    let done = import("name,email,groups\nAna,ana@example.com,dev;ops\nBo,,\n", &["--yes"]);
    assert!(done.err.contains("made 2 users"), "{done:?}");
    assert_eq!((done.code, count()), (0, 2));
    assert_eq!(api.get("/users?email=ana%40example.com")["items"][0]["groups"], json!(["dev", "ops"]));
    let again = import("name,email\nAna,ana@example.com\nCy,cy@example.com\n", &["--yes", "--json"]);
    assert!(again.err.contains("made 1 users; 1 were there already"), "{again:?}");
    let report = again.json();
    assert_eq!((&report["new"], &report["lines"][0]["outcome"], count()), (&json!(1), &json!("existing"), 3));
    import("name,surprise\nAna,x\n", &["--yes"]).refused(2, "surprise");
}

/// Runs the program on a terminal of a width, and gives what it would have shown.
fn on_a_terminal(command: &mut Command, width: u16) -> String {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    tcsetwinsize(&controller, Winsize { ws_row: 24, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let terminal = fs::OpenOptions::new().read(true).write(true).open(OsStr::new(name.to_str().unwrap())).unwrap();
    let mut child = command.stdout(terminal).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The terminal end must be open in the child alone, so that its end is the end of what is read.
    command.stdout(Stdio::null());
    let mut shown = Vec::new();
    let mut reader = fs::File::from(controller);
    // Linux tells the end of the other side as an error.
    drop(reader.read_to_end(&mut shown));
    assert!(child.wait().unwrap().success());
    String::from_utf8(shown).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_fit_a_terminal_and_are_whole_in_a_pipe() {
    let rig = Rig::new().await;
    let cli = Cli::new(&rig, Role::Owner);
    let long = "a".repeat(80);
    let organization = cli.run(&format!("org create {long} --quiet")).ok();
    cli.args(&["user", "create", &long, "--org", organization.trim(), "--email", "ana@example.com"]).ok();

    let piped = cli.run("user list").ok();
    assert!(piped.contains(&long) && !piped.contains('\u{1b}'), "{piped}");
    let mut list = cli.command(&["user", "list"]);
    let shown = on_a_terminal(list.env("TERM", "xterm"), 100);
    assert!(shown.contains("\u{1b}["), "a terminal gets colours: {shown:?}");
    let shown = on_a_terminal(list.env("NO_COLOR", "1"), 100);
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
    assert!(shown.contains("aaa…") && shown.contains("usr_"), "{shown}");
}

#[test]
fn shells_and_man_learn_every_noun() {
    let program = || Command::new(env!("CARGO_BIN_EXE_postern"));
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = Ran::from(program().args(["completions", shell]).output().unwrap()).ok();
        assert!(script.contains("session"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    Ran::from(program().arg("man").arg(folder.path()).output().unwrap()).ok();
    let page = fs::read_to_string(folder.path().join("postern-profile-issue.1")).unwrap();
    assert!(page.contains("private key"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_authorities_are_listed_and_tokens_revoked() {
    let rig = Rig::new().await;
    let (cli, api) = (Cli::new(&rig, Role::Owner), rig.owner());
    let made = api.post("/tokens", &json!({ "name": "nightly", "role": "auditor" }));
    let listed = cli.run("token list --json").json();
    assert!(listed["items"].as_array().unwrap().iter().any(|item| item["id"] == made["id"]), "{listed}");
    assert!(!listed.to_string().contains("pst_"), "{listed}");
    cli.run("token revoke nightly").refused(2, "--yes");
    cli.run("token revoke nightly --yes").ok();
    cli.run("token revoke nightly --yes").refused(3, "there is no API token called nightly");
    Cli::new(&rig, Role::Operator).run("token revoke test --yes").refused(2, "6 API tokens are called test");
    let authorities = cli.run("authority list").ok();
    assert!(authorities.contains("client") && authorities.contains("server"), "{authorities}");
}
