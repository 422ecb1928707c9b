//! One look at a door: a greeting goes out, and a daemon's answer is waited for.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Instant;

use domain::look::Door;
use domain::server::Protocol;
use domain::text::PublicAddress;
use openvpn::greeting::{Greeting, LONGEST};

/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(3);
/// How often a datagram is sent, in equal parts of that time.
const SENDINGS: u32 = 3;

/// What was seen instead of an answer.
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
    Stranger,
    /// No address has this name.
    #[error("the host's public name leads to no address")]
    Nameless,
    /// The operating system of the host that looks says why not.
    #[error("{0}")]
    Machine(io::ErrorKind),
}

impl From<io::Error> for Unreached {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::Silent,
            // It took the greeting and hung up.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Self::Stranger,
            other => Self::Machine(other),
        }
    }
}

/// Greets whoever is behind a door. Answers how long the answer took.
pub(super) async fn look(door: &Door, greeting: &Greeting) -> Result<Duration, Unreached> {
    let began = Instant::now();
    let looking = async {
        let address = resolve(&door.address, door.port.get()).await?;
        match door.protocol {
            Protocol::Udp => by_udp(address, greeting).await,
            Protocol::Tcp => by_tcp(address, greeting).await,
        }
    };
    tokio::time::timeout(LIMIT, looking).await.unwrap_or(Err(Unreached::Silent))?;
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

async fn by_udp(address: SocketAddr, greeting: &Greeting) -> Result<(), Unreached> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    // Connected, it hears of nobody else, and of refusals.
    socket.connect(address).await?;
    let mut seen = Unreached::Silent;
    for turn in 1..=SENDINGS {
        let until = Instant::now() + LIMIT / SENDINGS;
        if let Err(error) = socket.send(greeting.packet()).await {
            seen = error.into();
        }
        match tokio::time::timeout_at(until, heard(&socket, greeting)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => seen = error,
            Err(_elapsed) => {}
        }
        if turn < SENDINGS {
            // A daemon that is being started anew may be there at the next turn.
            tokio::time::sleep_until(until).await;
        }
    }
    Err(seen)
}

/// Waits for the answer. Other datagrams prove nothing, but that somebody is there.
async fn heard(socket: &UdpSocket, greeting: &Greeting) -> Result<(), Unreached> {
    let mut packet = [0; LONGEST];
    let length = socket.recv(&mut packet).await?;
    let is_answer = packet.get(..length).is_some_and(|packet| greeting.is_answered_by(packet));
    if is_answer { Ok(()) } else { Err(Unreached::Stranger) }
}

async fn by_tcp(address: SocketAddr, greeting: &Greeting) -> Result<(), Unreached> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&greeting.framed()).await?;
    let length = usize::from(stream.read_u16().await?);
    let mut packet = [0; LONGEST];
    let packet = packet.get_mut(..length).ok_or(Unreached::Stranger)?;
    stream.read_exact(packet).await?;
    if greeting.is_answered_by(packet) { Ok(()) } else { Err(Unreached::Stranger) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;
    use crate::samples;

    fn door(port: u16, protocol: Protocol) -> Door {
        let port = u32::from(port).try_into().unwrap();
        let address = "127.0.0.1".parse().unwrap();
        Door { server_id: samples::server().id, host_id: samples::host(), address, port, protocol }
    }

    fn greeting() -> Greeting {
        Greeting::new(&[7; 256], [1; 8], 0).unwrap()
    }

    #[tokio::test]
    async fn a_refusal_is_told_from_silence() {
        let [silent, closed] = [(); 2].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        let doors = [&silent, &closed].map(|socket| door(socket.local_addr().unwrap().port(), Protocol::Udp));
        drop(closed);
        let greeting = &greeting();
        let seen = tokio::join!(look(&doors[0], greeting), look(&doors[1], greeting));
        assert_eq!(seen, (Err(Unreached::Silent), Err(Unreached::Refused)));
    }

    #[tokio::test]
    async fn a_stranger_is_told_from_a_refusal() {
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = stranger.local_addr().unwrap().port();
        let web = std::thread::spawn(move || {
            let (mut caller, _) = stranger.accept().unwrap();
            caller.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        assert_eq!(look(&door(port, Protocol::Tcp), &greeting()).await, Err(Unreached::Stranger));
        web.join().unwrap();
        assert_eq!(look(&door(port, Protocol::Tcp), &greeting()).await, Err(Unreached::Refused));
    }

    #[test]
    fn what_was_seen_is_told_in_words() {
        assert_eq!(Unreached::Silent.to_string(), "no answer within 3 s");
        assert_eq!(Unreached::Machine(io::ErrorKind::NetworkUnreachable).to_string(), "network unreachable");
    }
}
