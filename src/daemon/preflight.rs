//! What this machine lacks for daemons, told at the start rather than at the first attempt.

use std::path::Path;

use rustix::thread::{CapabilitySet, capabilities};

use super::failure_reason;
use firewall::Firewall;
use openvpn::process::OpenVpn;
use runtime::causes::chain;

/// One sentence for each thing that is missing, with what to do about it; none if daemons can run here.
pub async fn preflight(openvpn: &Path) -> Vec<String> {
    let mut missing = Vec::new();
    if capabilities(None).is_ok_and(|ours| !ours.effective.contains(CapabilitySet::NET_ADMIN)) {
        missing.push("Postern may not make network devices: start it as root, or with CAP_NET_ADMIN".to_owned());
    } else if let Err(error) = firewall().await {
        missing.push(error);
    }
    missing.extend(failure_reason::missing());
    if let Err(error) = OpenVpn::at(openvpn).await {
        missing.push(chain(&error));
    }
    missing
}

async fn firewall() -> Result<(), String> {
    let firewall = Firewall::find().map_err(|error| chain(&error))?;
    firewall.check().await.map_err(|error| chain(&error))
}
