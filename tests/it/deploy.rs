//! What `deploy/` says is true of the program: its tools read the files, its keys are known, its paths exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use postern::config::Config;
use postern::web;
use serde_json::Value;

/// More exposed than this (`systemd-analyze security`, 0 to 10) is too much.
const MOST_EXPOSED: [(&str, &str); 2] = [("postern-web", "20"), ("postern-vpn", "35")];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = [&output.stdout[..], &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output
}

/// That the program knows a command with these options.
#[track_caller]
fn assert_is_command(arguments: &[&str]) {
    run(env!("CARGO_BIN_EXE_postern"), &[arguments, &["--help"]].concat());
}

/// That a process starts with these variables, as far as its configuration goes.
#[track_caller]
fn assert_is_configuration(environment: &BTreeMap<String, String>) -> Config {
    let empty = tempfile::NamedTempFile::new().unwrap();
    Config::load(Some(empty.path()), environment.clone()).unwrap_or_else(|error| panic!("{environment:?}: {error:#}"))
}

#[test]
fn the_units_are_sound_and_shut() {
    let folder = tempfile::tempdir().unwrap();
    for (unit, most) in MOST_EXPOSED {
        let written = text(&format!("systemd/{unit}.service"));
        let command = written.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/postern ")).unwrap();
        assert_is_command(&command.split(' ').collect::<Vec<_>>());
        // What is verified is that the program is there, too.
        let path = folder.path().join(format!("{unit}.service"));
        fs::write(&path, written.replace("/usr/bin/postern", env!("CARGO_BIN_EXE_postern"))).unwrap();
        let path = path.to_str().unwrap();
        let verified = run("systemd-analyze", &["verify", "--man=no", path]);
        assert_eq!(String::from_utf8_lossy(&verified.stderr), "", "{unit}");
        run("systemd-analyze", &["security", "--offline=true", "--no-pager", &format!("--threshold={most}"), path]);
    }
    let [web, vpn] = ["systemd/postern-web.service", "systemd/postern-vpn.service"].map(text);
    assert!([&web, &vpn].iter().all(|unit| unit.contains("\nType=notify\nWatchdogSec=30\n")));
    assert!(web.contains("\nCapabilityBoundingSet=\n") && web.contains("\nUser=postern-web\n"));
    assert!(vpn.contains("\nCapabilityBoundingSet=CAP_NET_ADMIN\n") && vpn.contains("\nKillMode=process\n"));
    assert!(!vpn.contains("master.key"), "a VPN host has no master key");
}

#[test]
fn users_and_folders_of_the_units_are_made() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().to_str().unwrap();
    fs::create_dir(Path::new(root).join("etc")).unwrap();
    for (program, folder) in [("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles", "tmpfiles.d")] {
        let file = deploy(&format!("systemd/{folder}/postern.conf"));
        let mut arguments = vec!["--root", root];
        if program == "systemd-tmpfiles" {
            arguments.push("--create");
        }
        arguments.push(file.to_str().unwrap());
        run(program, &arguments);
    }
    let made = fs::read_to_string(Path::new(root).join("etc/passwd")).unwrap();
    for (unit, _) in MOST_EXPOSED {
        assert!(made.contains(&format!("{unit}:")), "{made}");
    }
    assert!(Path::new(root).join("etc/postern").is_dir());
}

#[test]
fn the_example_configuration_is_one() {
    let config = Config::load(Some(&deploy("systemd/web.toml")), []).unwrap();
    assert!(config.needs_master_key());
    assert_eq!(config.host.data_dir, Path::new("/var/lib/postern-web"));
    let unit = text("systemd/postern-web.service");
    let key = config.keys.master_key_file.unwrap();
    assert_eq!(key, Path::new("/run/credentials/postern-web.service/master.key"));
    assert!(unit.contains("\nLoadCredential=master.key:") && unit.contains("\nStateDirectory=postern-web\n"));
}

/// SEC-SUP-03: security.txt has the fields that RFC 9116, section 2.5, requires.
#[test]
fn programs_find_whom_to_tell_of_a_vulnerability() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/security.txt")).unwrap();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let contact = field("Contact").unwrap();
    assert!(contact.starts_with("mailto:") || contact.starts_with("https://"), "{contact}");
    field("Expires").unwrap().parse::<jiff::Timestamp>().unwrap();
    let policy = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/SECURITY.md")).unwrap();
    assert!(policy.contains(contact.trim_start_matches("mailto:")));
}

#[test]
fn the_package_brings_what_there_is() {
    let manifest: toml::Table =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap().parse().unwrap();
    let package = &manifest["package"]["metadata"]["deb"];
    for asset in package["assets"].as_array().unwrap() {
        let source = asset[0].as_str().unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(source.trim_end_matches("/*"));
        assert!(source == "target/release/postern" || path.exists(), "{source}");
    }
    for unit in package["systemd-units"].as_array().unwrap() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(unit["unit-scripts"].as_str().unwrap());
        assert!(folder.join(format!("{}.service", unit["unit-name"].as_str().unwrap())).exists());
    }
    let scripts = deploy("debian");
    assert!(package["maintainer-scripts"].as_str() == Some("deploy/debian") && scripts.join("postinst").exists());
    run("sh", &["-n", scripts.join("postinst").to_str().unwrap()]);
}

#[test]
fn the_images_start_as_they_say() {
    let written = text("container/Containerfile");
    let joined = written.replace("\\\n", " ");
    let parsed = dockerfile_parser::Dockerfile::parse(&written).unwrap();
    let stages: Vec<_> = parsed.iter_stages().collect();
    assert_eq!(stages.iter().filter_map(|stage| stage.name.as_deref()).collect::<Vec<_>>(), ["build", "web", "vpn"]);
    for stage in &stages[1..] {
        let mut environment = BTreeMap::new();
        for instruction in &stage.instructions {
            if let dockerfile_parser::Instruction::Env(env) = instruction {
                let variable = |v: &dockerfile_parser::EnvVar| (v.key.content.clone(), v.value.to_string());
                environment.extend(env.vars.iter().map(variable));
            }
        }
        environment.insert("POSTERN_DATABASE__URI".to_owned(), "mongodb://db".to_owned());
        environment.insert("POSTERN_KEYS__MASTER_KEY_FILE".to_owned(), "/run/secrets/master.key".to_owned());
        let config = assert_is_configuration(&environment);
        assert_eq!(config.host.data_dir, Path::new("/data"));
    }
    assert!(joined.contains("debian12:nonroot AS web") && joined.contains("\nUSER postern\n"), "no image runs as root");
    assert_eq!(joined.matches("CMD [\"serve\"]").count(), 2);
    assert_is_command(&["serve"]);
}

/// All objects of this name, wherever they stand.
fn named<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(name));
            fields.values().for_each(|field| named(field, name, found));
        }
        Value::Array(items) => items.iter().for_each(|item| named(item, name, found)),
        _ => {}
    }
}

fn all<'a>(value: &'a Value, name: &str) -> Vec<&'a Value> {
    let mut found = Vec::new();
    named(value, name, &mut found);
    found
}

/// A value as Nomad may put it in.
fn filled(name: &str, value: &str) -> String {
    if !value.contains("${") {
        return value.to_owned();
    }
    match name {
        "POSTERN_HOST__NAME" => "host-0",
        "POSTERN_HOST__PUBLIC_ADDRESS" => "203.0.113.7",
        "POSTERN_PROXY__TRUSTED" => "10.0.0.0/8",
        name if name.ends_with("__LISTEN") => "10.0.0.7:9600",
        name if name.ends_with("__URL") => "https://vpn.example.com",
        _ => "/secrets/file",
    }
    .to_owned()
}

#[test]
fn the_nomad_jobs_start_processes_that_there_are() {
    let ops: Vec<_> = web::routes().ops.into_iter().map(|route| route.path).collect();
    for file in ["postern", "vpn", "jobs"] {
        let job: Value = hcl::from_str(&text(&format!("nomad/{file}.nomad.hcl"))).unwrap();
        let tasks = all(&job, "task");
        assert!(!tasks.is_empty());
        for task in tasks {
            let mut environment = BTreeMap::from([("POSTERN_DATABASE__URI".to_owned(), "mongodb://db".to_owned())]);
            for env in all(task, "env").into_iter().filter_map(Value::as_object) {
                environment.extend(env.iter().map(|(k, v)| (k.clone(), filled(k, v.as_str().unwrap()))));
            }
            if file == "vpn" {
                environment.insert("POSTERN_HOST__ROLES".to_owned(), "vpn".to_owned());
                assert!(!environment.contains_key("POSTERN_KEYS__MASTER_KEY_FILE"));
            }
            assert_is_configuration(&environment);
            let templates: Vec<_> = all(task, "data").into_iter().filter_map(Value::as_str).collect();
            assert!(templates.iter().any(|data| data.starts_with("POSTERN_DATABASE__URI=")), "{templates:?}");
            for arguments in all(task, "args") {
                let arguments: Vec<_> = arguments.as_array().unwrap().iter().filter_map(Value::as_str).collect();
                assert_is_command(&arguments);
            }
        }
        for path in all(&job, "path") {
            assert!(ops.contains(&path.as_str().unwrap()), "{path} is no path of the ops listener");
        }
    }
}

#[test]
fn terraform_reads_and_the_role_can_be_told_to_atlas() {
    let mut whole = BTreeMap::new();
    for entry in fs::read_dir(deploy("terraform")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "tf") {
            let body =
                hcl::parse(&fs::read_to_string(&path).unwrap()).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            whole.insert(path.file_name().unwrap().to_owned(), body);
        }
    }
    assert!(whole.len() >= 6);
    let main: Value = hcl::from_str(&text("terraform/main.tf")).unwrap();
    let translated = main["locals"]["atlas_actions"].as_object().unwrap();
    let role: Value = serde_json::from_str(&text("mongodb/postern-host.json")).unwrap();
    for privilege in role["privileges"].as_array().unwrap() {
        for action in privilege["actions"].as_array().unwrap() {
            assert!(translated.contains_key(action.as_str().unwrap()), "{action}");
        }
    }
    let machines: Value = hcl::from_str(&text("terraform/vpn.tf")).unwrap();
    let options = &machines["resource"]["aws_instance"]["vpn"]["metadata_options"];
    assert_eq!(options["http_put_response_hop_limit"], 1, "packets that a machine passes on reach no credentials");
    let vpn = text("terraform/vpn.tf");
    assert!(vpn.contains("JOIN_TOKEN\\n") && vpn.contains("[postern, join, --token-file,"));
}

#[test]
fn a_machine_of_the_cloud_joins_by_a_command_that_there_is() {
    let written = text("cloud-init/user-data.yaml");
    assert!(written.starts_with("#cloud-config\n"), "what tells cloud-init that it is meant");
    let parsed = yaml_rust2::YamlLoader::load_from_str(&written).unwrap();
    let commands = parsed[0]["runcmd"].as_vec().unwrap();
    let words = |command: &yaml_rust2::Yaml| -> Vec<String> {
        command.as_vec().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let joins: Vec<_> = commands.iter().map(words).filter(|words| words[0] == "postern").collect();
    let [join] = &joins[..] else { panic!("{joins:?}") };
    assert_is_command(&join[1..].iter().map(String::as_str).collect::<Vec<_>>());
    let file = &parsed[0]["write_files"][0];
    assert_eq!(file["path"].as_str(), join.last().map(String::as_str));
    assert_eq!(file["permissions"].as_str(), Some("0600"));
    // What Terraform puts in for the token and the address is there to be replaced.
    assert!(written.contains("JOIN_TOKEN\n") && written.contains("[postern, join, --token-file,"));
}

#[test]
fn the_script_for_the_database_is_one() {
    run("node", &["--check", deploy("mongodb/apply.js").to_str().unwrap()]);
}

#[test]
fn each_folder_says_what_it_is_for() {
    for entry in fs::read_dir(deploy("")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("dev") {
            assert!(path.join("README.md").is_file(), "{}", path.display());
        }
    }
}

/// Every file in which people read what to type, under `folder`.
fn documents(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            documents(&entry, found);
        } else if let Ok(text) = fs::read_to_string(&entry) {
            found.push((entry, text));
        }
    }
}

#[test]
fn no_document_tells_people_to_end_sessions_or_names_a_unit_that_does_not_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["docs", "deploy", "src", "templates"] {
        documents(&root.join(folder), &mut found);
    }
    for file in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile"] {
        found.push((root.join(file), fs::read_to_string(root.join(file)).unwrap()));
    }
    let units = MOST_EXPOSED.map(|(unit, _)| unit);
    let (mut signals, mut named) = (0, 0);
    for (file, text) in &found {
        for line in text.lines() {
            let place = format!("{}: {line}", file.display());
            // A signal to all processes of the unit reaches the daemons, which end their sessions at it.
            if line.contains("systemctl kill") {
                assert!(line.contains("--kill-whom=main"), "{place}");
                signals += 1;
            }
            assert!(!line.contains("pkill") && !line.contains("killall"), "{place}");
            for command in line.split("systemctl ").skip(1) {
                let command = command.split(['`', '"', '#']).next().unwrap();
                let words = command.split_whitespace().map(|word| word.trim_matches(['\'', '.', ',', ';', ')']));
                for word in words.filter(|word| word.starts_with("postern")) {
                    let unit = word.trim_end_matches(".service");
                    assert!(units.contains(&unit) || unit == "postern-*", "no unit is called {unit}: {place}");
                    named += 1;
                }
            }
        }
    }
    assert!(signals > 1 && named > 3, "{signals} {named}");
}
