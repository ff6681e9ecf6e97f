//! `glimpse check`: whether a running server is ready, for a container's health check.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::CommandResult;
use super::addr::Listen;
use super::running_server::RunningServer;

/// A server on this machine answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Args)]
pub struct CheckArgs {
    /// Where the server listens, as `glimpse serve` has it; 0.0.0.0 is asked on 127.0.0.1
    #[arg(
        long,
        env = "GLIMPSE_ADDR",
        default_value = "localhost:7860",
        value_name = "ADDRESS:PORT"
    )]
    addr: Listen,
}

/// What a Glimpse that is ready says of itself, among other things.
const READY: &[u8] = br#""status":"ready""#;

pub fn run(args: &CheckArgs) -> CommandResult {
    ready(args.addr.addresses(), PATIENCE).map_err(Into::into)
}

/// Asks the first of these addresses where somebody listens.
fn ready(addresses: &[SocketAddr], patience: Duration) -> Result<(), String> {
    let server = RunningServer::find(addresses, patience).map_err(|reason| {
        format!("No server answers at {reason}. Start one with `glimpse serve`, or name its address with --addr.")
    })?;
    let address = server.address;
    let broken = |error: std::io::Error| match error.kind() {
        // The one on Unix, the other on Windows.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!(
            "The server at {address} did not answer within {} seconds. Look at its log.",
            patience.as_secs()
        ),
        _ => format!("The server at {address} does not answer: {error}. Look at its log."),
    };
    let (status, said) = server.get("/readyz").map_err(broken)?;
    match status {
        Some(200) if said.windows(READY.len()).any(|part| part == READY) => Ok(()),
        Some(200) => Err(format!(
            "What listens at {address} answers, but is no Glimpse. Name another one with --addr."
        )),
        Some(503) => Err(format!(
            "The server at {address} is not ready. Look at its log, or wait."
        )),
        Some(status) => Err(format!(
            "The server at {address} answers {status} to /readyz. Look at its log, or name another with --addr."
        )),
        None => Err(format!(
            "What listens at {address} is no Glimpse. Name another one with --addr."
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    /// What is said of a server that answers just this.
    fn said(answer: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody comes");
            let lines = BufReader::new(stream.try_clone().expect("it is open"))
                .lines()
                .map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            stream.write_all(answer.as_bytes()).expect("it is open");
            head.join("\n")
        });
        let said = ready(&[address], PATIENCE);
        let asked = server.join().expect("nothing goes wrong there");
        assert!(asked.starts_with("GET /readyz HTTP/1.1\nHost: 127.0.0.1:"), "{asked}");
        said
    }

    #[test]
    fn a_server_is_ready_when_it_says_so() {
        let glimpses = "HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n{\"status\":\"ready\",\"model\":\"mine\"}";
        assert_eq!(said(glimpses), Ok(()));
        let others = said("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}");
        assert!(others.is_err_and(|said| said.contains("no Glimpse")));
        let not_ready = said("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
        assert!(not_ready.is_err_and(|said| said.contains("not ready")));
        let other = said("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        assert!(other.is_err_and(|said| said.contains("404")));
        assert!(said("SSH-2.0-OpenSSH\r\n").is_err_and(|said| said.contains("no Glimpse")));
    }

    #[test]
    fn a_listener_that_never_answers_is_not_waited_for_for_ever() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let said = ready(&[address], Duration::from_secs(1)).expect_err("it is silent");
        assert!(said.contains("did not answer within 1 seconds"), "{said}");
    }

    #[test]
    fn nobody_listening_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        drop(listener);
        let said = ready(&[address], PATIENCE).expect_err("nobody listens");
        assert!(said.contains(&address.to_string()) && said.contains("--addr"), "{said}");
    }
}
