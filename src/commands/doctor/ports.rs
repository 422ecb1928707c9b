//! Which ports of this machine are free, and who holds the others.
//!
//! A port is tried by binding it, for a moment. Who holds a taken one is found in `/proc`: the socket's inode in the
//! tables of proc(5) `net/tcp` and `net/udp`, and the process that has it open. Sockets of other users are seen by
//! root only.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::{fs, io};

/// Over which protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// How a port is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// It can be had.
    Free,
    /// A program has it; its name and process, where they can be seen.
    Held(Option<Holder>),
    /// This machine does not have the address.
    NoSuchAddress,
    /// Not for this user.
    Forbidden,
    /// Something else, in the words of the operating system.
    Failed(String),
}

/// Who has a port.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// The name of the program, as `ps` shows it.
    pub program: String,
    /// Its process.
    pub pid: u32,
}

/// Looks at a port.
pub(super) fn look(transport: Transport, address: SocketAddr) -> Port {
    let tried = match transport {
        Transport::Tcp => TcpListener::bind(address).map(drop),
        Transport::Udp => UdpSocket::bind(address).map(drop),
    };
    match tried.map_err(|error| (error.kind(), error)) {
        Ok(()) => Port::Free,
        Err((io::ErrorKind::AddrInUse, _)) => Port::Held(holder(transport, address.port())),
        Err((io::ErrorKind::AddrNotAvailable, _)) => Port::NoSuchAddress,
        Err((io::ErrorKind::PermissionDenied, _)) => Port::Forbidden,
        Err((_, error)) => Port::Failed(error.to_string()),
    }
}

fn holder(transport: Transport, port: u16) -> Option<Holder> {
    let tables = match transport {
        Transport::Tcp => ["/proc/self/net/tcp", "/proc/self/net/tcp6"],
        Transport::Udp => ["/proc/self/net/udp", "/proc/self/net/udp6"],
    };
    let text = tables.map(|table| fs::read_to_string(table).unwrap_or_default()).concat();
    let sockets: Vec<String> = inodes(transport, port, &text).map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let open = fs::read_dir(process.path().join("fd")).ok()?;
        let holds = |file: fs::DirEntry| {
            fs::read_link(file.path()).is_ok_and(|target| sockets.iter().any(|socket| target == Path::new(socket)))
        };
        open.flatten().any(holds).then(|| Holder { program: name(&process.path()), pid })
    })
}

fn name(process: &Path) -> String {
    fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned()
}

/// The inodes of the sockets that wait on `port`, from tables of `/proc/net`.
fn inodes(transport: Transport, port: u16, tables: &str) -> impl Iterator<Item = &str> {
    // The states of the kernel: TCP_LISTEN, and TCP_CLOSE for an unconnected UDP socket.
    let waiting = if transport == Transport::Tcp { "0A" } else { "07" };
    tables.lines().filter_map(move |line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        let same = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()? == port;
        (same && state == waiting).then_some(inode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_free_and_one_of_ours_is_held_by_this_program() {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let listener = TcpListener::bind(loopback(0)).unwrap();
        let socket = UdpSocket::bind(loopback(0)).unwrap();
        for (transport, taken) in [
            (Transport::Tcp, listener.local_addr().unwrap().port()),
            (Transport::Udp, socket.local_addr().unwrap().port()),
        ] {
            let Port::Held(Some(holder)) = look(transport, loopback(taken)) else { panic!("it is ours") };
            assert_eq!(holder.pid, std::process::id());
        }
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert_eq!(look(Transport::Tcp, loopback(port)), Port::Free);
    }

    #[test]
    fn an_address_of_another_machine_is_none_of_ours() {
        assert_eq!(look(Transport::Tcp, SocketAddr::from(([192, 0, 2, 1], 9443))), Port::NoSuchAddress);
    }

    #[test]
    fn only_waiting_sockets_of_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:24E3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0000000000000000\n\
            1: 0100007F:24E3 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0000000000000000\n\
            2: 0100007F:24E4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0000000000000000\n";
        assert_eq!(inodes(Transport::Tcp, 0x24E3, table).collect::<Vec<_>>(), ["111"]);
    }
}
