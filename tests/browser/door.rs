//! A door: what comes to one address goes to another, in whatever namespaces the two are.
//!
//! It plays two parts. One is the company's load balancer, which ends TLS and sends everybody to a host that answers;
//! a test may choose the host, and so send each step of one sign-in to another. The other is the way to the identity
//! provider, which listens on this machine's loopback and is to be found on the loopback of each machine of the
//! laboratory.

use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, rustls};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::netns::Namespace;

/// An open door. Closed, with all that goes through it, when dropped.
pub(crate) struct Door {
    targets: watch::Sender<Vec<SocketAddr>>,
    stop: Option<DropGuard>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    /// Leads from `listen` on the machine `outside` to the first of `targets` that answers the machine `inside`. A name
    /// makes it speak TLS, with a certificate for that name by nobody in particular.
    pub(crate) fn open(
        outside: Option<&Arc<Namespace>>,
        listen: SocketAddr,
        name: Option<&str>,
        inside: Option<&Arc<Namespace>>,
        targets: Vec<SocketAddr>,
    ) -> Self {
        let bind = || std::net::TcpListener::bind(listen).unwrap_or_else(|error| panic!("{listen}: {error}"));
        let listener = outside.map_or_else(bind, |namespace| namespace.enter(bind));
        listener.set_nonblocking(true).unwrap();
        let acceptor = name.map(acceptor);
        let inside = inside.cloned();
        let (targets, chosen) = watch::channel(targets);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let serve = async {
                let listener = TcpListener::from_std(listener).unwrap();
                let mut visits = JoinSet::new();
                while let Ok((visitor, _)) = listener.accept().await {
                    visits.spawn(visit(visitor, acceptor.clone(), inside.clone(), chosen.clone()));
                    while visits.try_join_next().is_some() {}
                }
            };
            runtime.block_on(stopped.run_until_cancelled(serve));
        });
        Self { targets, stop: Some(stop.drop_guard()), thread: Some(thread) }
    }

    /// From now on the door leads elsewhere; what goes through it is cut off, as by a balancer that lost a host.
    pub(crate) fn lead_to(&self, targets: Vec<SocketAddr>) {
        self.targets.send_replace(targets);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn visit(
    visitor: TcpStream,
    acceptor: Option<TlsAcceptor>,
    inside: Option<Arc<Namespace>>,
    mut chosen: watch::Receiver<Vec<SocketAddr>>,
) {
    let targets = chosen.borrow_and_update().clone();
    let passage = async {
        let host = tokio::task::spawn_blocking(move || reach(inside.as_deref(), &targets)).await.ok()??;
        let host = TcpStream::from_std(host).ok()?;
        match acceptor {
            Some(acceptor) => pass(acceptor.accept(visitor).await.ok()?, host).await,
            None => pass(visitor, host).await,
        }
        Some(())
    };
    tokio::select! {
        _ = passage => {}
        _ = chosen.changed() => {}
    }
}

/// A connection to the first that takes one.
fn reach(inside: Option<&Namespace>, targets: &[SocketAddr]) -> Option<StdStream> {
    let connect = |target: &SocketAddr| StdStream::connect_timeout(target, Duration::from_secs(2)).ok();
    let first = || targets.iter().find_map(connect);
    let host = inside.map_or_else(first, |namespace| namespace.enter(first))?;
    host.set_nonblocking(true).ok()?;
    Some(host)
}

async fn pass(mut visitor: impl AsyncRead + AsyncWrite + Unpin, mut host: TcpStream) {
    let _ = copy_bidirectional(&mut visitor, &mut host).await;
}

fn acceptor(name: &str) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
