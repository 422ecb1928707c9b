//! What is chosen to attach a host to a server, on the page of either.

use crate::ui::Field;
use crate::ui::form::form;
use domain::ids::{HostId, ServerId};

form! {
    /// Which host, on the page of a server.
    HostChoice {
        host_id: Field::select("Attach another host").subject("The host is").missing("Choose a host first");
    } fields => HostId { Some(host_id) }
}

form! {
    /// Which server, on the page of a host.
    ServerChoice {
        server_id: Field::select("Another server").subject("The server is").missing("Choose a server");
    } fields => ServerId { Some(server_id) }
}
