//! What one peer may take of a listener: so many connections, and so long for taking what it asked for.

use std::collections::HashMap;
use std::future::Future as _;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// So many connections of one address are held at once, a quarter of what a listener has: enough for an office of two
/// hundred behind one address, with a page each that is kept up to date, and for a proxy that nobody named. Of IPv6 as many
/// for a network of 64 bits, which is one household, and twice as many for one of 48, which is one site.
const OF_ONE: usize = 512;

/// A peer that takes nothing for this long, although there is something for it, is hung up on.
const WRITE_TIME: Duration = Duration::from_secs(20);

/// A network, by its bits and how many of them count.
type Network = (u128, u8);

/// How many connections each network has.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    taken: Arc<Mutex<HashMap<Network, usize>>>,
    /// Proxies, behind which there are many.
    trusted: Arc<[IpNet]>,
}

/// A place of a connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    taken: Arc<Mutex<HashMap<Network, usize>>>,
    networks: Vec<Network>,
}

impl Places {
    pub(crate) fn new(trusted: Arc<[IpNet]>) -> Self {
        Self { taken: Arc::default(), trusted }
    }

    /// A place for a connection of this peer; none if its network has as many as it may.
    pub(crate) fn take(&self, peer: IpAddr) -> Option<Place> {
        let peer = peer.to_canonical();
        let is_trusted = self.trusted.iter().any(|network| network.contains(&peer));
        let networks = if is_trusted { Vec::new() } else { networks(peer) };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = |(network, most): &(Network, usize)| taken.get(network).is_none_or(|count| count < most);
        if !networks.iter().all(is_free) {
            return None;
        }
        let networks: Vec<Network> = networks.into_iter().map(|(network, _)| network).collect();
        for network in &networks {
            *taken.entry(*network).or_default() += 1;
        }
        Some(Place { taken: Arc::clone(&self.taken), networks })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for network in &self.networks {
            if let Some(count) = taken.get_mut(network) {
                *count -= 1;
                if *count == 0 {
                    taken.remove(network);
                }
            }
        }
    }
}

/// The networks that an address counts for, and how many connections each may have.
fn networks(peer: IpAddr) -> Vec<(Network, usize)> {
    match peer {
        IpAddr::V4(peer) => vec![((peer.to_ipv6_mapped().to_bits(), 128), OF_ONE)],
        IpAddr::V6(peer) => {
            let of = |length: u8| (Ipv6Addr::to_bits(peer) & (u128::MAX << (128 - length)), length);
            vec![(of(64), OF_ONE), (of(48), 2 * OF_ONE)]
        }
    }
}

/// A stream whose peer has a limited time to take what is written.
#[derive(Debug)]
pub(crate) struct Timed<S> {
    stream: S,
    time: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, time: WRITE_TIME, waiting: None }
    }
}

impl<S: Unpin> Timed<S> {
    /// What a write came to; an error once it has waited for too long.
    fn judge<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waiting = None;
            return polled;
        }
        let time = self.time;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.judge(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn v6(site: u16, household: u16, host: u16) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, site, household, 0, 0, 0, host).into()
    }

    /// SEC-NET-05: connections of one address are bounded, and those of others do not notice.
    #[test]
    fn one_address_has_so_many_connections_and_the_others_have_theirs() {
        let places = Places::new(Arc::from(["10.0.0.0/8".parse().unwrap()]));
        let [one, other] = [1, 2].map(|last| IpAddr::from(Ipv4Addr::new(203, 0, 113, last)));
        let mut held: Vec<Place> = (0..OF_ONE).map(|_| places.take(one).unwrap()).collect();
        assert!(places.take(one).is_none() && places.take(other).is_some());
        held.pop();
        assert!(places.take(one).is_some(), "a place is free again when its connection ends");
        let proxy = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
        assert!((0..2 * OF_ONE).map(|_| places.take(proxy)).collect::<Vec<_>>().iter().all(Option::is_some));
        let mapped: IpAddr = "::ffff:203.0.113.1".parse().unwrap();
        held.push(places.take(one).unwrap());
        assert!(places.take(mapped).is_none(), "an address of IPv4 is one in both notations");
    }

    /// SEC-NET-05: whoever has a network of IPv6 has many addresses and no more connections.
    #[test]
    fn a_household_and_a_site_of_ipv6_count_as_one() {
        let places = Places::new(Arc::default());
        let mut held = Vec::new();
        for household in 0..2 {
            held.extend((0..OF_ONE).map(|host| places.take(v6(1, household, u16::try_from(host).unwrap())).unwrap()));
            assert!(places.take(v6(1, household, 9999)).is_none());
        }
        assert!(places.take(v6(1, 5, 1)).is_none(), "the site is full");
        assert!(places.take(v6(2, 1, 1)).is_some());
        drop(held);
        assert!(places.taken.lock().unwrap().is_empty(), "nothing is remembered of who has left");
    }

    /// SEC-NET-05: a peer that does not read its answer is hung up on, one that does is not.
    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_hung_up_on() {
        let timed = |stream| Timed { time: Duration::from_millis(50), ..Timed::new(stream) };
        let (ours, _theirs) = tokio::io::duplex(16);
        let error = timed(ours).write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut taken = [0; 6400];
        let mut ours = Timed::new(ours);
        let (written, read) = tokio::join!(ours.write_all(&[0; 6400]), theirs.read_exact(&mut taken));
        assert!(written.is_ok() && read.is_ok());
    }
}
