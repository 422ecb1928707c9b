//! The answer to `status 3`: who is connected, for a manager that was away.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::machine::TOO_LONG;
use super::{Cid, Reply};

/// One client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRow {
    /// Its number.
    pub cid: Cid,
    /// Its certificate's common name, or `UNDEF` while it connects.
    pub common_name: String,
    /// Where its packets come from.
    pub real_ip: IpAddr,
    /// The port there; OpenVPN 2.6 leaves it out for IPv6, 2.7 names it.
    pub real_port: Option<u16>,
    /// Its address in the tunnel; `None` for one that waits for an answer to CONNECT.
    pub address: Option<Ipv4Addr>,
    /// Bytes from the client.
    pub bytes_received: u64,
    /// Bytes to the client.
    pub bytes_sent: u64,
    /// When it connected, in seconds since 1970.
    pub since: i64,
}

/// Who is connected, as far as it can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The clients.
    pub clients: Vec<ClientRow>,
    /// Those of which nothing but the number can be read. They are connected, and policy cannot vouch for them.
    pub unreadable: Vec<UnreadableRow>,
}

/// A client whose row has not the form of OpenVPN's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRow {
    /// Its number.
    pub cid: Cid,
    /// The first column that cannot be read.
    pub column: &'static str,
}

/// The connected clients cannot be read, not even their ids: the daemon has to be ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// No header names the columns, or not the one with the numbers of clients.
    #[error("the status has no column {0:?}")]
    Column(&'static str),
    /// A client without a readable number.
    #[error("the status has an unreadable {CID:?} in row {row}")]
    Number {
        /// The row, from 0.
        row: usize,
    },
    /// Longer than what is kept of an answer.
    #[error("the status is too long")]
    TooLong,
}

const CID: &str = "Client ID";

impl Status {
    /// Reads the answer to [`Command::Status`](super::Command::Status); `None` if the daemon has no status yet, because
    /// it is on hold and has no clients.
    pub fn of(reply: Reply) -> Result<Option<Self>, StatusError> {
        match reply {
            Reply::Lines(lines) => Self::parse(&lines).map(Some),
            Reply::Error(text) if text == TOO_LONG => Err(StatusError::TooLong),
            Reply::Success(_) | Reply::Error(_) => Ok(None),
        }
    }

    /// Reads its lines. Columns are found by their names in the header, so that added ones do no harm.
    fn parse(lines: &[String]) -> Result<Self, StatusError> {
        let header: Vec<&str> = lines
            .iter()
            .find_map(|line| line.strip_prefix("HEADER\tCLIENT_LIST\t"))
            .map_or_else(|| Err(StatusError::Column("HEADER")), |line| Ok(line.split('\t').collect()))?;
        if !header.contains(&CID) {
            return Err(StatusError::Column(CID));
        }
        let mut status = Self::default();
        for (row, line) in lines.iter().filter_map(|line| line.strip_prefix("CLIENT_LIST\t")).enumerate() {
            let columns = Columns { header: &header, values: line.split('\t').collect() };
            let cid = Cid(columns.parsed(CID).or(Err(StatusError::Number { row }))?);
            match columns.client(cid) {
                Ok(client) => status.clients.push(client),
                Err(Unreadable(column)) => status.unreadable.push(UnreadableRow { cid, column }),
            }
        }
        Ok(status)
    }
}

/// The column that is missing or unreadable.
struct Unreadable(&'static str);

struct Columns<'a> {
    header: &'a [&'a str],
    values: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn client(&self, cid: Cid) -> Result<ClientRow, Unreadable> {
        const REAL: &str = "Real Address";
        let address = self.text("Virtual Address")?;
        let (real_ip, real_port) = real_address(self.text(REAL)?).ok_or(Unreadable(REAL))?;
        Ok(ClientRow {
            cid,
            common_name: self.text("Common Name")?.to_owned(),
            real_ip,
            real_port,
            address: if address.is_empty() { None } else { Some(self.parsed("Virtual Address")?) },
            bytes_received: self.parsed("Bytes Received")?,
            bytes_sent: self.parsed("Bytes Sent")?,
            since: self.parsed("Connected Since (time_t)")?,
        })
    }

    fn parsed<T: std::str::FromStr>(&self, column: &'static str) -> Result<T, Unreadable> {
        self.text(column)?.parse().ok().ok_or(Unreadable(column))
    }

    fn text(&self, column: &'static str) -> Result<&'a str, Unreadable> {
        let index = self.header.iter().position(|&name| name == column).ok_or(Unreadable(column))?;
        self.values.get(index).copied().ok_or(Unreadable(column))
    }
}

/// Reads the address of a client. OpenVPN 2.6 writes `IP:PORT` for IPv4 and the bare address for IPv6; 2.7 names the
/// socket that it came in by before it (`udp4:192.0.2.1:1000`, `tcp6-server:[2001:db8::1]:1000`).
fn real_address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let is_socket = |name: &str| name.starts_with("udp") || name.starts_with("tcp");
    let text = text.split_once(':').filter(|(name, _)| is_socket(name)).map_or(text, |(_, address)| address);
    let with_port = text.parse().ok().map(|address: SocketAddr| (address.ip(), Some(address.port())));
    let (ip, port) = with_port.or_else(|| Some((text.parse().ok()?, None)))?;
    Some((ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "HEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\tVirtual IPv6 Address\t\
        Bytes Received\tBytes Sent\tConnected Since\tConnected Since (time_t)\tUsername\tClient ID\tPeer ID\t\
        Data Channel Cipher";

    fn status(lines: &[&str]) -> Result<Status, StatusError> {
        Status::parse(&lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>())
    }

    fn row(real: &str, cid: &str) -> String {
        format!("CLIENT_LIST\talice\t{real}\t10.8.0.7\t\t10\t20\tx\t1795448706\tUNDEF\t{cid}\t0\tAES-256-GCM")
    }

    #[test]
    fn admitted_and_waiting_clients_are_told_apart() {
        let list = status(&[
            "TITLE\tOpenVPN",
            HEADER,
            &row("192.0.2.1:1000", "4"),
            "CLIENT_LIST\tbob\t2001:db8::1\t\t\t0\t0\tx\t1795448707\tUNDEF\t5\t1\t",
            "ROUTING_TABLE\t10.8.0.7\talice\t192.0.2.1:1000\tx\t1",
        ])
        .unwrap()
        .clients;
        assert_eq!(list[0].cid, Cid(4));
        assert_eq!(list[0].address, Some("10.8.0.7".parse().unwrap()));
        assert_eq!((list[0].bytes_received, list[0].bytes_sent, list[0].since), (10, 20, 1_795_448_706));
        assert_eq!(list[1].address, None);
    }

    #[test]
    fn every_form_of_a_real_address_is_read() {
        let forms = [
            ("192.0.2.1:1000", "192.0.2.1", Some(1000)),
            ("2001:db8::1", "2001:db8::1", None),
            ("::ffff:192.0.2.1", "192.0.2.1", None),
            ("udp4:192.0.2.1:1000", "192.0.2.1", Some(1000)),
            ("tcp4-server:192.0.2.1:1000", "192.0.2.1", Some(1000)),
            ("udp6:192.0.2.1:1000", "192.0.2.1", Some(1000)),
            ("udp6:[2001:db8::1]:1000", "2001:db8::1", Some(1000)),
            ("tcp6-server:[2001:db8::1]:1000", "2001:db8::1", Some(1000)),
            ("udp6:[fe80::1%2]:1000", "fe80::1", Some(1000)),
        ];
        for (text, ip, port) in forms {
            assert_eq!(real_address(text), Some((ip.parse().unwrap(), port)), "{text}");
        }
        for text in ["", "udp4:", "udp4:x:1", "vsock:3:1000", "alice"] {
            assert_eq!(real_address(text), None, "{text}");
        }
    }

    #[test]
    fn an_unreadable_row_leaves_a_number_and_the_others_readable() {
        let read = status(&[HEADER, &row("vsock:3:1000", "4"), &row("192.0.2.1:1000", "5")]).unwrap();
        assert_eq!(read.unreadable, [UnreadableRow { cid: Cid(4), column: "Real Address" }]);
        assert_eq!(read.clients.len(), 1);
        // A column that this Postern expects is not there at all.
        let renamed = HEADER.replace("Bytes Sent", "Sent");
        let read = status(&[&renamed, &row("192.0.2.1:1000", "4")]).unwrap();
        assert_eq!(read.unreadable, [UnreadableRow { cid: Cid(4), column: "Bytes Sent" }]);
    }

    #[test]
    fn clients_without_a_number_make_the_whole_status_an_error() {
        let short = status(&[HEADER, "CLIENT_LIST\talice\t192.0.2.1:1000\t10.8.0.7"]);
        assert_eq!(short, Err(StatusError::Number { row: 0 }));
        assert_eq!(status(&[HEADER, &row("192.0.2.1:1000", "x")]), Err(StatusError::Number { row: 0 }));
        assert_eq!(status(&[]), Err(StatusError::Column("HEADER")));
        assert_eq!(status(&[&HEADER.replace(CID, "Number")]), Err(StatusError::Column(CID)));
        assert_eq!(Status::of(Reply::Error(TOO_LONG.to_owned())), Err(StatusError::TooLong));
    }

    #[test]
    fn a_daemon_on_hold_has_no_status() {
        let text = "The 'status' command is not supported by the current daemon mode";
        assert_eq!(Status::of(Reply::Error(text.to_owned())), Ok(None));
    }
}
