//! A server that answers from a script, when a test says so.

use serde_json::Value;

use std::process::Command;

use super::ports::Port;
use super::{Server, glimpse};

/// The gates of a server's script (`glimpse::engine`, module `scripted`, lists them all).
pub struct ScriptControl {
    address: String,
    _port: Port,
}

impl ScriptControl {
    /// Starts `glimpse serve` with a script, whose gates are closed, and these further arguments.
    pub fn start(arguments: &[&str]) -> (Server, Self) {
        Self::start_as(glimpse(), arguments)
    }

    /// Starts the program as `program` has it.
    pub fn start_as(program: Command, arguments: &[&str]) -> (Server, Self) {
        let port = Port::reserve();
        let address = format!("127.0.0.1:{}", port.number);
        let script = ["--engine", "scripted", "--script-control", &address];
        let server = Server::start_as(program, "127.0.0.1", &[&script, arguments].concat());
        (server, Self { address, _port: port })
    }

    /// Moves a gate, as `release?tokens=2`; gives the state.
    pub fn post(&self, path: &str) -> Value {
        read(ureq::post(format!("http://{}/{path}", self.address)).send_empty())
    }

    /// Waits until the script is in this state, as `waiting=2&begun=1`; gives it.
    pub fn wait(&self, state: &str) -> Value {
        read(ureq::get(format!("http://{}/wait?{state}", self.address)).call())
    }

    /// Says what is answered to a question, token by token.
    pub fn answer(&self, question: &str, tokens: &[&str]) {
        let answers = serde_json::json!({ question: tokens });
        let request = ureq::post(format!("http://{}/answers", self.address));
        read(request.content_type("application/json").send(answers.to_string()));
    }
}

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Value {
    let text = answer.and_then(|mut answer| answer.body_mut().read_to_string());
    serde_json::from_str(&text.expect("the control answers in time")).expect("it is JSON")
}
