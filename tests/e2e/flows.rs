//! Three kinds of long connections through a tunnel: a question and its answer over TCP, again and again; a server that
//! keeps sending over TCP; and one that keeps sending over UDP after a single datagram, without another word from the
//! client. Every message says when it was sent: one that was under way while something changed arrives much later where
//! the client holds it back (OpenVPN pauses for a second when it opens its device anew).

use std::io;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use crate::netns::Namespace;
use crate::wait::wait_until;

const QUESTIONS: u16 = 7001;
const PUSH: u16 = 7002;
const DATAGRAMS: u16 = 7003;
/// Between two messages.
const PACE: Duration = Duration::from_millis(20);
/// How long a thread waits before it looks whether the test is over.
const TURN: Duration = Duration::from_millis(200);

/// What the times in messages count from.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A message as it is sent now: the nanoseconds since [`ORIGIN`].
fn message() -> [u8; 8] {
    u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap().to_be_bytes()
}

/// When a message was sent.
fn sent_at(message: [u8; 8]) -> Instant {
    *ORIGIN + Duration::from_nanos(u64::from_be_bytes(message))
}

/// The kinds, in the order of the numbers.
pub(crate) const KINDS: [&str; 3] = ["TCP request and response", "TCP push", "UDP push"];

/// The servers at the other end, until it is dropped.
pub(crate) struct Streams(Arc<AtomicBool>);

impl Streams {
    /// Serves on all addresses of a machine.
    pub(crate) fn serve(namespace: &Arc<Namespace>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let bind = |port| namespace.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        let (questions, push) = (bind(QUESTIONS), bind(PUSH));
        let datagrams = namespace.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, DATAGRAMS)).unwrap());
        accept(questions, &over, |mut stream, over| {
            let mut question = [0; 1];
            while !over.load(Ordering::SeqCst) && stream.read_exact(&mut question).is_ok() {
                if stream.write_all(&message()).is_err() {
                    return;
                }
            }
        });
        accept(push, &over, |mut stream, over| {
            while !over.load(Ordering::SeqCst) && stream.write_all(&message()).is_ok() {
                std::thread::sleep(PACE);
            }
        });
        let stop = Arc::clone(&over);
        std::thread::spawn(move || {
            datagrams.set_read_timeout(Some(PACE)).unwrap();
            let mut subscribers: Vec<SocketAddr> = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                if let Ok((_, from)) = datagrams.recv_from(&mut [0; 8]) {
                    subscribers.push(from);
                }
                for subscriber in &subscribers {
                    let _ = datagrams.send_to(&message(), subscriber);
                }
            }
        });
        Self(over)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn accept(listener: TcpListener, over: &Arc<AtomicBool>, serve: fn(TcpStream, &AtomicBool)) {
    listener.set_nonblocking(true).unwrap();
    let over = Arc::clone(over);
    std::thread::spawn(move || {
        while !over.load(Ordering::SeqCst) {
            if let Ok((stream, _)) = listener.accept() {
                let over = Arc::clone(&over);
                stream.set_nonblocking(false).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(Duration::from_mins(2))).unwrap();
                std::thread::spawn(move || serve(stream, &over));
            } else {
                std::thread::sleep(PACE);
            }
        }
    });
}

/// The messages in a stream, which arrive in pieces.
struct Messages {
    stream: TcpStream,
    begun: Vec<u8>,
}

impl Messages {
    /// The next one, unless none arrives in time.
    fn next(&mut self) -> io::Result<[u8; 8]> {
        loop {
            if let Some((first, _)) = self.begun.split_first_chunk() {
                let message = *first;
                self.begun.drain(..message.len());
                return Ok(message);
            }
            let mut piece = [0; 512];
            let length = self.stream.read(&mut piece)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.begun.extend_from_slice(&piece[..length]);
        }
    }
}

struct Arrival {
    sent: Instant,
    arrived: Instant,
}

/// One connection of each kind, and what arrived by it.
pub(crate) struct Flows {
    arrivals: [Arc<Mutex<Vec<Arrival>>>; 3],
    over: Arc<AtomicBool>,
}

impl Flows {
    /// Opens them from a machine, and waits until each has brought something.
    #[track_caller]
    pub(crate) fn open(namespace: &Arc<Namespace>, to: Ipv4Addr) -> Self {
        let flows = Self { arrivals: Default::default(), over: Arc::default() };
        let connect = |port| {
            let stream = namespace.enter(|| TcpStream::connect_timeout(&(to, port).into(), Duration::from_secs(5)));
            let stream = stream.unwrap_or_else(|error| panic!("{to}:{port} is out of reach: {error}"));
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(TURN)).unwrap();
            Messages { stream, begun: Vec::new() }
        };
        let (mut questions, mut push) = (connect(QUESTIONS), connect(PUSH));
        let datagrams = namespace.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
        datagrams.set_read_timeout(Some(TURN)).unwrap();
        datagrams.send_to(b"subscribe", (to, DATAGRAMS)).unwrap();
        let mut answered = true;
        flows.watch(0, move || {
            std::thread::sleep(PACE);
            if answered {
                questions.stream.write_all(b"?").ok()?;
            }
            let answer = questions.next().ok();
            answered = answer.is_some();
            answer
        });
        flows.watch(1, move || push.next().ok());
        flows.watch(2, move || {
            let mut message = [0; 8];
            datagrams.recv_from(&mut message).ok().map(|_| message)
        });
        wait_until("a message of each connection", Duration::from_secs(10), || {
            flows.arrivals.iter().all(|arrivals| arrivals.lock().unwrap().len() > 2)
        });
        flows
    }

    fn watch(&self, kind: usize, mut next: impl FnMut() -> Option<[u8; 8]> + Send + 'static) {
        let (arrivals, over) = (Arc::clone(&self.arrivals[kind]), Arc::clone(&self.over));
        std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                if let Some(message) = next() {
                    arrivals.lock().unwrap().push(Arrival { sent: sent_at(message), arrived: Instant::now() });
                } else {
                    std::thread::sleep(PACE);
                }
            }
        });
    }

    /// How many of the messages of each kind that were sent after `moment` arrived.
    pub(crate) fn since(&self, moment: Instant) -> [usize; 3] {
        self.arrivals
            .each_ref()
            .map(|arrivals| arrivals.lock().unwrap().iter().filter(|message| message.sent > moment).count())
    }

    /// The longest time since `moment` without a message of each kind.
    pub(crate) fn gaps(&self, moment: Instant) -> [Duration; 3] {
        self.arrivals.each_ref().map(|arrivals| {
            let arrivals = arrivals.lock().unwrap();
            let moments = arrivals.iter().map(|message| message.arrived).filter(|at| *at > moment);
            let all: Vec<_> = [moment].into_iter().chain(moments).chain([Instant::now()]).collect();
            all.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
        })
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}
