//! A caller of the API that keeps its connection, as a program that calls often would.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;

/// Use it inside the namespace of the host that it calls.
pub(crate) struct Caller {
    agent: ureq::Agent,
    base: String,
    authorization: String,
}

impl Caller {
    /// A caller of the API of a host.
    pub(crate) fn new(cluster: &Cluster, host: usize, token: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .new_agent();
        let base = format!("http://{}:9443/api/v1", cluster.hosts[host].machine().core);
        Self { agent, base, authorization: format!("Bearer {token}") }
    }

    /// Disables or enables a user; returns how long the answer took.
    pub(crate) fn set_disabled(&self, user: &str, disabled: bool) -> Duration {
        let from = Instant::now();
        let request =
            self.agent.patch(format!("{}/users/{user}", self.base)).header("authorization", &self.authorization);
        let mut answer = request.send_json(serde_json::json!({ "disabled": disabled })).unwrap();
        let body = answer.body_mut().read_to_string().unwrap();
        let took = from.elapsed();
        assert_eq!(answer.status(), 200, "{body}");
        took
    }

    /// Issues a profile; returns how long the answer took, and the file.
    pub(crate) fn issue(&self, user: &str, server: &str) -> (Duration, String) {
        let from = Instant::now();
        let mut answer = self
            .agent
            .post(format!("{}/users/{user}/profiles", self.base))
            .header("authorization", &self.authorization)
            .header("accept", "application/x-openvpn-profile")
            .send_json(serde_json::json!({ "server_id": server, "name": "laptop" }))
            .unwrap();
        let body = answer.body_mut().read_to_string().unwrap();
        let took = from.elapsed();
        assert_eq!(answer.status(), 201, "{body}");
        (took, body)
    }
}

/// A token for all of the API.
pub(crate) fn token(cluster: &Cluster) -> String {
    cluster.hosts[0].run(&["token", "create", "--name", "bench", "--role", "owner"]).trim().to_owned()
}
