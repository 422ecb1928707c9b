//! One probe on the wire: a client's first packet goes out, and a daemon's answer is waited for.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Instant;

use domain::probe::ProbeTarget;
use domain::server::Protocol;
use domain::text::PublicAddress;
use openvpn::probe::{LONGEST, Probe};

/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(3);
/// How often a datagram is sent, in equal parts of that time.
const SENDINGS: u32 = 3;

/// Why a probe was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreached {
    /// Nothing came back.
    #[error("no answer within {} s", LIMIT.as_secs())]
    Silent,
    /// The machine is there, and nothing listens.
    #[error("connection refused")]
    Refused,
    /// Something answers, and it is no daemon of this server.
    #[error("an answer, but not by a daemon of this server")]
    OtherAnswer,
    /// No address has this name.
    #[error("the host's public name leads to no address")]
    Nameless,
    /// The operating system of the host that probes says why not.
    #[error("{0}")]
    Machine(io::ErrorKind),
}

impl From<io::Error> for Unreached {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::Silent,
            // It took the packet and hung up.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Self::OtherAnswer,
            other => Self::Machine(other),
        }
    }
}

/// Probes a target. Gives how long the answer took.
pub(super) async fn run(target: &ProbeTarget, probe: &Probe) -> Result<Duration, Unreached> {
    let began = Instant::now();
    let exchange = async {
        let address = resolve(&target.address, target.port.get()).await?;
        match target.protocol {
            Protocol::Udp => by_udp(address, probe).await,
            Protocol::Tcp => by_tcp(address, probe).await,
        }
    };
    tokio::time::timeout(LIMIT, exchange).await.unwrap_or(Err(Unreached::Silent))?;
    Ok(began.elapsed())
}

async fn resolve(address: &PublicAddress, port: u16) -> Result<SocketAddr, Unreached> {
    match address {
        PublicAddress::Ip(ip) => Ok(SocketAddr::new(*ip, port)),
        PublicAddress::Name(name) => {
            let mut found =
                tokio::net::lookup_host((name.as_str(), port)).await.map_err(|_unknown| Unreached::Nameless)?;
            found.next().ok_or(Unreached::Nameless)
        }
    }
}

async fn by_udp(address: SocketAddr, probe: &Probe) -> Result<(), Unreached> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    // Connected, it hears of nobody else, and of refusals.
    socket.connect(address).await?;
    let mut failure = Unreached::Silent;
    for turn in 1..=SENDINGS {
        let until = Instant::now() + LIMIT / SENDINGS;
        if let Err(error) = socket.send(probe.packet()).await {
            failure = error.into();
        }
        match tokio::time::timeout_at(until, receive(&socket, probe)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => failure = error,
            Err(_elapsed) => {}
        }
        if turn < SENDINGS {
            // A daemon that is being started anew may be there at the next turn.
            tokio::time::sleep_until(until).await;
        }
    }
    Err(failure)
}

/// Waits for the answer. Other datagrams prove only that a machine is there.
async fn receive(socket: &UdpSocket, probe: &Probe) -> Result<(), Unreached> {
    let mut packet = [0; LONGEST];
    let length = socket.recv(&mut packet).await?;
    let is_answer = packet.get(..length).is_some_and(|packet| probe.is_answered_by(packet));
    if is_answer { Ok(()) } else { Err(Unreached::OtherAnswer) }
}

async fn by_tcp(address: SocketAddr, probe: &Probe) -> Result<(), Unreached> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&probe.framed()).await?;
    let length = usize::from(stream.read_u16().await?);
    let mut packet = [0; LONGEST];
    let packet = packet.get_mut(..length).ok_or(Unreached::OtherAnswer)?;
    stream.read_exact(packet).await?;
    if probe.is_answered_by(packet) { Ok(()) } else { Err(Unreached::OtherAnswer) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;
    use crate::samples;

    fn target(port: u16, protocol: Protocol) -> ProbeTarget {
        let port = u32::from(port).try_into().unwrap();
        let address = "127.0.0.1".parse().unwrap();
        ProbeTarget { server_id: samples::server().id, host_id: samples::host(), address, port, protocol }
    }

    fn probe() -> Probe {
        Probe::new(&[7; 256], [1; 8], 0).unwrap()
    }

    #[tokio::test]
    async fn a_refusal_is_told_from_silence() {
        let [silent, closed] = [(); 2].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        let targets = [&silent, &closed].map(|socket| target(socket.local_addr().unwrap().port(), Protocol::Udp));
        drop(closed);
        let probe = &probe();
        let failure = tokio::join!(run(&targets[0], probe), run(&targets[1], probe));
        assert_eq!(failure, (Err(Unreached::Silent), Err(Unreached::Refused)));
    }

    #[tokio::test]
    async fn a_stranger_is_told_from_a_refusal() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let web = std::thread::spawn(move || {
            let (mut caller, _) = other.accept().unwrap();
            caller.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        assert_eq!(run(&target(port, Protocol::Tcp), &probe()).await, Err(Unreached::OtherAnswer));
        web.join().unwrap();
        assert_eq!(run(&target(port, Protocol::Tcp), &probe()).await, Err(Unreached::Refused));
    }

    #[test]
    fn what_was_seen_is_told_in_words() {
        assert_eq!(Unreached::Silent.to_string(), "no answer within 3 s");
        assert_eq!(Unreached::Machine(io::ErrorKind::NetworkUnreachable).to_string(), "network unreachable");
    }
}
