//! What the process of this machine says of itself at its ops listener.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use crate::domain::task::TaskState;

/// It is on this machine, so it answers soon or not at all.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Deserialize)]
struct Tasks {
    items: Vec<TaskState>,
}

/// The recurring tasks of the process whose ops listener is here; nothing if none answers.
pub(in crate::commands) fn tasks(listener: SocketAddr) -> Option<Vec<TaskState>> {
    let agent = ureq::Agent::config_builder().proxy(None).timeout_global(Some(PATIENCE)).build().new_agent();
    let mut answer = agent.get(format!("http://{}/tasks", reached(listener))).call().ok()?;
    let body = answer.body_mut().read_to_vec().ok()?;
    serde_json::from_slice(&body).ok().map(|Tasks { items }| items)
}

/// The address at which a listener of this machine is reached from it.
fn reached(listener: SocketAddr) -> SocketAddr {
    let ip = match listener {
        SocketAddr::V4(address) if address.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address.ip(),
    };
    SocketAddr::new(ip, listener.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_at_loopback() {
        for (listener, address) in
            [("0.0.0.0:9600", "127.0.0.1:9600"), ("[::]:9600", "[::1]:9600"), ("192.0.2.1:9600", "192.0.2.1:9600")]
        {
            assert_eq!(reached(listener.parse().unwrap()), address.parse().unwrap());
        }
    }
}
