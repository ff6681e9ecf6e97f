//! Where candle's operations compute, as on a GPU, a server answers once before it is ready. Here they
//! do so on the CPU.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::ports::Port;
use crate::support::{TinyCheckpoint, glimpse};

/// `glimpse serve` with this checkpoint, and what it logs.
fn serve(kernels: &str, checkpoint: &TinyCheckpoint, port: &Port) -> Command {
    let mut command = glimpse();
    command
        .env("GLIMPSE_KERNELS", kernels)
        .env("GLIMPSE_LOG", "info")
        .args(["serve", "--model", checkpoint.path()])
        .args(["--addr", &format!("127.0.0.1:{}", port.number)])
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// A process that is ended when it is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is logged until the server can be asked.
fn logged_before_ready(kernels: &str) -> Vec<String> {
    let (checkpoint, port) = (TinyCheckpoint::new(), Port::reserve());
    let mut process = serve(kernels, &checkpoint, &port).spawn().expect("the program starts");
    let log = BufReader::new(process.stderr.take().expect("it is piped"));
    let _process = Ended(process);
    let lines = log.lines().map_while(Result::ok);
    lines.take_while(|line| !line.contains("in a browser")).collect()
}

#[test]
fn candles_operations_have_answered_once_when_a_server_is_ready() {
    let answered = |kernels| {
        let log = logged_before_ready(kernels);
        assert!(log.iter().any(|line| line.contains("loaded in")), "{log:?}");
        log.iter().any(|line| line.contains("answered about a blank picture"))
    };
    assert!(answered("candle"));
    assert!(!answered("own"), "a start on the CPU takes no longer");
}

#[test]
fn a_model_that_cannot_answer_there_is_no_server() {
    let (checkpoint, port) = (TinyCheckpoint::new(), Port::reserve());
    checkpoint.save(|tensors| {
        let damaged = (&tensors["query_tokens"] * f64::NAN).expect("it has numbers");
        tensors.insert("query_tokens".into(), damaged);
    });
    let output = serve("candle", &checkpoint, &port)
        .output()
        .expect("the program starts");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    let sentence = "cannot answer there about a blank picture: The model's numbers are not finite";
    assert!(log.contains(sentence), "{log}");
}
