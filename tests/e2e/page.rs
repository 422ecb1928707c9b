//! The private page and the probe that fetches it: what a VPN is for, and how long it was missing.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::netns::Namespace;
use crate::wait::{assert_stays, wait_for, wait_until};

const PORT: u16 = 80;
/// A fetch that takes longer is a failed one.
const PATIENCE: Duration = Duration::from_millis(300);
/// The pause between the starts of two fetches.
const PERIOD: Duration = Duration::from_millis(100);

/// A page in a namespace that tells every visitor the address he came from, which is how a test knows the host that
/// masqueraded him.
pub(crate) struct Page {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    wake: SocketAddr,
    namespace: Arc<Namespace>,
}

impl Page {
    /// Serves on port 80 of all addresses of `namespace`, of both families.
    pub(crate) fn serve(namespace: &Arc<Namespace>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let listener = namespace.enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).unwrap());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while let Ok((visitor, from)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // Not waited for: a visitor whose tunnel is gone would keep the others waiting.
                std::thread::spawn(move || answer(visitor, from.ip()));
            }
        });
        Self { stop, thread: Some(thread), wake: (Ipv4Addr::LOCALHOST, PORT).into(), namespace: Arc::clone(namespace) }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.namespace.enter(|| TcpStream::connect(self.wake));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut visitor: TcpStream, from: IpAddr) {
    let _ = visitor.set_read_timeout(Some(Duration::from_secs(2)));
    let mut lines = BufReader::new(&visitor).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let body = from.to_canonical().to_string();
    let _ = write!(visitor, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}

/// Fetches the page once from inside `namespace`: the address it saw us come from, or nothing.
pub(crate) fn fetch(namespace: &Namespace, page: Ipv4Addr) -> Option<IpAddr> {
    namespace.enter(|| fetch_here(page))
}

fn fetch_here(page: Ipv4Addr) -> Option<IpAddr> {
    let agent = ureq::Agent::config_builder().proxy(None).timeout_global(Some(PATIENCE)).build().new_agent();
    agent.get(format!("http://{page}/")).call().ok()?.body_mut().read_to_string().ok()?.parse().ok()
}

/// What comes of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knock {
    /// It is there.
    Open,
    /// The machine says no, so it is within reach.
    Refused,
    /// Nobody answers, or there is no way.
    Silent,
}

/// Tries a TCP connection from inside `namespace`.
pub(crate) fn knock(namespace: &Namespace, to: SocketAddr) -> Knock {
    match namespace.enter(|| TcpStream::connect_timeout(&to, Duration::from_secs(1))) {
        Ok(_) => Knock::Open,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Knock::Refused,
        Err(_) => Knock::Silent,
    }
}

/// One fetch.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// When it was started.
    at: Instant,
    /// By way of which host it reached the page, if it did.
    via: Option<IpAddr>,
}

/// Fetches the page over and over, each time on a connection and a thread of its own, and remembers.
pub(crate) struct Probe {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Probe {
    /// Starts fetching `page` from inside `namespace`.
    pub(crate) fn start(namespace: &Arc<Namespace>, page: Ipv4Addr) -> Self {
        let samples = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = sync_channel::<()>(1);
        let shared = Arc::clone(&samples);
        let inside = Arc::clone(namespace);
        let thread = std::thread::spawn(move || {
            inside.move_this_thread();
            let mut fetches: Vec<JoinHandle<()>> = Vec::new();
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                let samples = Arc::clone(&shared);
                fetches.retain(|fetch| !fetch.is_finished());
                fetches.push(std::thread::spawn(move || {
                    let at = Instant::now();
                    let via = fetch_here(page);
                    samples.lock().unwrap().push(Sample { at, via });
                }));
            }
            for fetch in fetches {
                let _ = fetch.join();
            }
        });
        Self { samples, stop: Some(stop), thread: Some(thread) }
    }

    fn after(&self, moment: Instant) -> Vec<Sample> {
        let mut samples: Vec<_> = self.samples.lock().unwrap().iter().copied().filter(|s| s.at >= moment).collect();
        samples.sort_by_key(|sample| sample.at);
        samples
    }

    /// Waits for a fetch, started after `moment`, that reached the page by way of `host`.
    #[track_caller]
    pub(crate) fn wait_via(&self, host: Ipv4Addr, moment: Instant, deadline: Duration) {
        wait_until(&format!("the page by way of {host}"), deadline, || {
            self.after(moment).iter().any(|sample| sample.via == Some(host.into()))
        });
    }

    /// Waits for a fetch, started after `moment`, that reached the page; returns the host.
    #[track_caller]
    pub(crate) fn wait_up(&self, moment: Instant, deadline: Duration) -> IpAddr {
        wait_for("the page, by any host", deadline, || self.after(moment).iter().find_map(|sample| sample.via))
    }

    /// Waits until the page is gone: three fetches in a row in vain. Returns how long after `moment` the first of them
    /// started.
    #[track_caller]
    pub(crate) fn wait_gone(&self, moment: Instant, deadline: Duration) -> Duration {
        wait_for("the page to be gone", deadline, || {
            let samples = self.after(moment);
            let gone = samples.windows(3).find(|three| three.iter().all(|sample| sample.via.is_none()))?;
            Some(gone[0].at - moment)
        })
    }

    /// Checks that no fetch reaches the page for a while.
    #[track_caller]
    pub(crate) fn assert_stays_gone(&self, during: Duration) {
        let from = Instant::now();
        assert_stays("the page is out of reach", during, || self.after(from).iter().all(|s| s.via.is_none()));
        assert!(!self.after(from).is_empty(), "the probe runs");
    }

    /// The longest time since `moment` without a fetch that reached the page. About a tenth of a second when nothing is
    /// wrong; a machine that is busy makes it a few tenths.
    pub(crate) fn longest_gap(&self, moment: Instant) -> Duration {
        let reached = self.after(moment).into_iter().filter(|s| s.via.is_some()).map(|s| s.at);
        let moments: Vec<_> = [moment].into_iter().chain(reached).chain([Instant::now()]).collect();
        moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// How many fetches since `moment` failed.
    pub(crate) fn failures(&self, moment: Instant) -> usize {
        self.after(moment).iter().filter(|sample| sample.via.is_none()).count()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
