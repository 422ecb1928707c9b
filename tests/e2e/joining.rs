//! `postern join` on the third machine of the laboratory.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::host::Host;
use crate::lab::Machine;

/// A token for the third machine, and what came with it.
pub(crate) fn invite(cluster: &Cluster) -> Value {
    cluster.api(0).post("/join-tokens", &json!({ "host_name": "h3", "server_ids": [cluster.server] }))
}

/// `postern join` on the third machine, not yet started. It reads the token from its standard input.
pub(crate) struct Joining<'a> {
    cluster: &'a Cluster,
    machine: &'a Machine,
    token: String,
    pub(crate) url: String,
}

impl<'a> Joining<'a> {
    pub(crate) fn new(cluster: &'a Cluster, issued: &Value) -> Self {
        let machine = &cluster.lab.machines()[2];
        let url = format!("http://{}:9443", cluster.lab.machines()[0].core);
        assert!(
            issued["command"].as_str().unwrap().ends_with(&format!("| postern join {url} --token-file -")),
            "{issued}"
        );
        Self { cluster, machine, token: issued["token"].as_str().unwrap().to_owned(), url }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.cluster.lab.folder().join("h3")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder().join("postern.toml")
    }

    pub(crate) fn start(&self, more: &[&str]) -> Child {
        let mut command = self.machine.namespace.command(env!("CARGO_BIN_EXE_postern"));
        command.args(["join", &self.url, "--token-file", "-", "--public-address", &self.machine.inet.to_string()]);
        command.arg("--config").arg(self.config()).arg("--data-dir").arg(self.folder().join("data")).args(more);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ip runs");
        child.stdin.take().unwrap().write_all(self.token.as_bytes()).unwrap();
        child
    }

    pub(crate) fn run(&self, more: &[&str]) -> Output {
        self.start(more).wait_with_output().unwrap()
    }

    /// Runs it; it must succeed.
    #[track_caller]
    pub(crate) fn finish(&self) -> Value {
        let output = self.run(&["--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Makes the third machine a host, by a token, and starts it as its service does. Its server runs when this returns.
pub(crate) fn join_third(cluster: &Cluster) -> Host {
    let joining = Joining::new(cluster, &invite(cluster));
    joining.finish();
    let mut third = Host::joined(&cluster.lab, joining.machine, joining.config());
    third.confine(&cluster.lab);
    third.start();
    third.wait_ready();
    cluster.wait_running(&third);
    third
}
