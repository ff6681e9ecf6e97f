//! A Glimpse that runs on this machine or elsewhere, asked over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Bytes of an answer that are looked at.
const MAX_ANSWER: u64 = 1 << 16;

/// Somebody listens there, and is connected.
pub struct RunningServer {
    pub address: SocketAddr,
    stream: TcpStream,
    patience: Duration,
}

impl RunningServer {
    /// The first of these addresses where somebody listens; one that stands for all addresses is asked here.
    ///
    /// # Errors
    /// Nobody listens: the last address, and why.
    pub fn find(addresses: &[SocketAddr], patience: Duration) -> Result<Self, String> {
        let mut reason = String::new();
        for address in addresses.iter().map(|address| reachable(*address)) {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => {
                    return Ok(Self {
                        address,
                        stream,
                        patience,
                    });
                }
                Err(error) => reason = format!("{address}: {error}"),
            }
        }
        Err(reason)
    }

    /// The status of the answer, none where it is not HTTP, and what follows its first line.
    ///
    /// # Errors
    /// It hangs up or takes too long.
    pub fn get(mut self, path: &str) -> std::io::Result<(Option<u16>, Vec<u8>)> {
        self.stream.set_read_timeout(Some(self.patience))?;
        self.stream.set_write_timeout(Some(self.patience))?;
        write!(
            self.stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
            self.address
        )?;
        let mut answer = BufReader::new(self.stream.take(MAX_ANSWER));
        let mut line = Vec::new();
        answer.read_until(b'\n', &mut line)?;
        let line = String::from_utf8_lossy(&line).into_owned();
        // Read to its end, so that the server does not log a visitor who hung up. What comes before it
        // breaks off counts.
        let mut rest = Vec::new();
        let _ = answer.read_to_end(&mut rest);
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
        Ok((status.and_then(|status| status.trim().parse().ok()), rest))
    }
}

/// Where a server that listens on every address is to be asked.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_everywhere_is_asked_here() {
        assert_eq!(reachable(([0, 0, 0, 0], 7860).into()), ([127, 0, 0, 1], 7860).into());
        assert_eq!(
            reachable((Ipv6Addr::UNSPECIFIED, 1).into()),
            (Ipv6Addr::LOCALHOST, 1).into()
        );
        assert_eq!(reachable(([10, 0, 0, 5], 1).into()), ([10, 0, 0, 5], 1).into());
    }
}
