//! Three kinds of long connections through a tunnel: a question and its answer over TCP, again and again; a server that
//! keeps sending over TCP; and one that keeps sending over UDP after a single datagram, without another word from the
//! client.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{netns::Namespace, wait::wait_until};

const QUESTIONS: u16 = 7001;
const PUSH: u16 = 7002;
const DATAGRAMS: u16 = 7003;
/// Between two messages.
const PACE: Duration = Duration::from_millis(20);
/// How long a thread waits before it looks whether the test is over.
const TURN: Duration = Duration::from_millis(200);

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
                if stream.write_all(&question).is_err() {
                    return;
                }
            }
        });
        accept(push, &over, |mut stream, over| {
            while !over.load(Ordering::SeqCst) && stream.write_all(b"x").is_ok() {
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
                    let _ = datagrams.send_to(b"x", subscriber);
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

/// One connection of each kind, and when its messages arrived.
pub(crate) struct Flows {
    arrivals: [Arc<Mutex<Vec<Instant>>>; 3],
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
            stream
        };
        let (mut questions, mut push) = (connect(QUESTIONS), connect(PUSH));
        let datagrams = namespace.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
        datagrams.set_read_timeout(Some(TURN)).unwrap();
        datagrams.send_to(b"subscribe", (to, DATAGRAMS)).unwrap();
        let mut answered = true;
        flows.watch(0, move || {
            std::thread::sleep(PACE);
            if answered && questions.write_all(b"?").is_err() {
                return false;
            }
            answered = questions.read_exact(&mut [0; 1]).is_ok();
            answered
        });
        flows.watch(1, move || push.read_exact(&mut [0; 1]).is_ok());
        flows.watch(2, move || datagrams.recv_from(&mut [0; 8]).is_ok());
        wait_until("a message of each connection", Duration::from_secs(10), || {
            flows.arrivals.iter().all(|arrivals| arrivals.lock().unwrap().len() > 2)
        });
        flows
    }

    fn watch(&self, kind: usize, mut arrives: impl FnMut() -> bool + Send + 'static) {
        let (arrivals, over) = (Arc::clone(&self.arrivals[kind]), Arc::clone(&self.over));
        std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                if arrives() {
                    arrivals.lock().unwrap().push(Instant::now());
                } else {
                    std::thread::sleep(PACE);
                }
            }
        });
    }

    /// How many messages of each kind arrived after `moment`.
    pub(crate) fn since(&self, moment: Instant) -> [usize; 3] {
        self.arrivals.each_ref().map(|arrivals| arrivals.lock().unwrap().iter().filter(|at| **at > moment).count())
    }

    /// The longest time since `moment` without a message of each kind.
    pub(crate) fn gaps(&self, moment: Instant) -> [Duration; 3] {
        self.arrivals.each_ref().map(|arrivals| {
            let arrivals = arrivals.lock().unwrap();
            let moments = arrivals.iter().copied().filter(|at| *at > moment);
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
