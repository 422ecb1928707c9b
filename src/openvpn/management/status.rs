//! The answer to `status 3`: who is connected, for a manager that was away.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Cid;

/// One client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRow {
    /// Its number.
    pub cid: Cid,
    /// Its certificate's common name, or `UNDEF` while it connects.
    pub common_name: String,
    /// Where its packets come from.
    pub real_ip: IpAddr,
    /// The port there; OpenVPN 2.6 leaves it out for IPv6.
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

/// The answer is not what OpenVPN 2.6 sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// No header names the columns.
    #[error("the status has no column {0:?}")]
    Column(&'static str),
    /// A value is missing or unreadable.
    #[error("the status has an unreadable {column:?} in row {row}")]
    Value {
        /// The column.
        column: &'static str,
        /// The row, from 0.
        row: usize,
    },
}

/// Reads the lines of the answer. Columns are found by their names in the header, so that added ones do no harm.
pub fn parse_status(lines: &[String]) -> Result<Vec<ClientRow>, StatusError> {
    let header: Vec<&str> = lines
        .iter()
        .find_map(|line| line.strip_prefix("HEADER\tCLIENT_LIST\t"))
        .map_or_else(|| Err(StatusError::Column("HEADER")), |line| Ok(line.split('\t').collect()))?;
    lines
        .iter()
        .filter_map(|line| line.strip_prefix("CLIENT_LIST\t"))
        .enumerate()
        .map(|(row, line)| Columns { header: &header, values: line.split('\t').collect(), row }.client())
        .collect()
}

struct Columns<'a> {
    header: &'a [&'a str],
    values: Vec<&'a str>,
    row: usize,
}

impl<'a> Columns<'a> {
    fn client(&self) -> Result<ClientRow, StatusError> {
        let address = self.text("Virtual Address")?;
        let (real_ip, real_port) = self.real_address()?;
        Ok(ClientRow {
            cid: Cid(self.parsed("Client ID")?),
            common_name: self.text("Common Name")?.to_owned(),
            real_ip,
            real_port,
            address: if address.is_empty() { None } else { Some(self.parsed("Virtual Address")?) },
            bytes_received: self.parsed("Bytes Received")?,
            bytes_sent: self.parsed("Bytes Sent")?,
            since: self.parsed("Connected Since (time_t)")?,
        })
    }

    /// `IP:PORT` for IPv4, the bare address for IPv6.
    fn real_address(&self) -> Result<(IpAddr, Option<u16>), StatusError> {
        const COLUMN: &str = "Real Address";
        let text = self.text(COLUMN)?;
        let with_port = text.parse().ok().map(|address: SocketAddr| (address.ip(), Some(address.port())));
        let (ip, port) = with_port
            .or_else(|| Some((text.parse().ok()?, None)))
            .ok_or(StatusError::Value { column: COLUMN, row: self.row })?;
        Ok((ip.to_canonical(), port))
    }

    fn parsed<T: std::str::FromStr>(&self, column: &'static str) -> Result<T, StatusError> {
        self.text(column)?.parse().ok().ok_or(StatusError::Value { column, row: self.row })
    }

    fn text(&self, column: &'static str) -> Result<&'a str, StatusError> {
        let index = self.header.iter().position(|&name| name == column).ok_or(StatusError::Column(column))?;
        self.values.get(index).copied().ok_or(StatusError::Value { column, row: self.row })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "HEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\tVirtual IPv6 Address\t\
        Bytes Received\tBytes Sent\tConnected Since\tConnected Since (time_t)\tUsername\tClient ID\tPeer ID\t\
        Data Channel Cipher";

    fn rows(lines: &[&str]) -> Result<Vec<ClientRow>, StatusError> {
        parse_status(&lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn admitted_and_waiting_clients_are_told_apart() {
        let list = rows(&[
            "TITLE\tOpenVPN",
            HEADER,
            "CLIENT_LIST\talice\t192.0.2.1:1000\t10.8.0.7\t\t10\t20\tx\t1795448706\tUNDEF\t4\t0\tAES-256-GCM",
            "CLIENT_LIST\tbob\t2001:db8::1\t\t\t0\t0\tx\t1795448707\tUNDEF\t5\t1\t",
            "ROUTING_TABLE\t10.8.0.7\talice\t192.0.2.1:1000\tx\t1",
        ])
        .unwrap();
        assert_eq!(list[0].cid, Cid(4));
        assert_eq!(list[0].address, Some("10.8.0.7".parse().unwrap()));
        assert_eq!((list[0].bytes_received, list[0].bytes_sent, list[0].since), (10, 20, 1_795_448_706));
        assert_eq!(list[1].address, None);
        assert_eq!((list[0].real_ip, list[0].real_port), ("192.0.2.1".parse().unwrap(), Some(1000)));
        assert_eq!((list[1].real_ip, list[1].real_port), ("2001:db8::1".parse().unwrap(), None));
    }

    #[test]
    fn a_row_without_an_id_is_an_error() {
        let short = rows(&[HEADER, "CLIENT_LIST\talice\t192.0.2.1:1000\t10.8.0.7"]);
        assert_eq!(short, Err(StatusError::Value { column: "Client ID", row: 0 }));
        assert_eq!(rows(&[]), Err(StatusError::Column("HEADER")));
    }
}
