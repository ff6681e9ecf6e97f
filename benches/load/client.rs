//! A visitor's browser: the calls of the page, over HTTP.

use std::io::{BufRead, BufReader, Lines};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Agent, Body, BodyReader};

use crate::AnyResult;

/// As long as a request may take, its stream included: a server that says nothing any more is at fault.
const PATIENCE: Duration = Duration::from_secs(660);

/// Connections are kept for less long than the server keeps them.
const KEEP: Duration = Duration::from_secs(4);

pub struct Client {
    agent: Agent,
    address: String,
    secret: String,
    pub requests: AtomicUsize,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// With a status, and a code that says why.
    #[error("refused with status {status}: {code}")]
    Refused { status: u16, code: String },
    /// What should not be.
    #[error("{0}")]
    Broken(String),
}

pub type Result<T> = std::result::Result<T, Trouble>;

/// The lines of an answer; dropping it closes the connection.
pub struct Stream(Lines<BufReader<BodyReader<'static>>>);

impl Iterator for Stream {
    type Item = Result<Value>;

    fn next(&mut self) -> Option<Result<Value>> {
        let line = self.0.next()?;
        let broken = |error: &dyn std::fmt::Display| Trouble::Broken(format!("a stream broke: {error}"));
        Some(match line {
            Ok(line) => serde_json::from_str(&line).map_err(|error| broken(&error)),
            Err(error) => Err(broken(&error)),
        })
    }
}

impl Client {
    /// Of the visitor with this number.
    pub fn new(address: &str, number: u64) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .max_idle_age(KEEP)
            .build();
        Self {
            agent: config.into(),
            address: address.to_owned(),
            // Digits that belong to him; they have to be unlike others', not secret.
            secret: format!(
                "{:032x}",
                u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            ),
            requests: AtomicUsize::new(0),
        }
    }

    /// Puts a picture in; gives the conversation about it.
    pub fn upload(&self, file: &[u8]) -> Result<Value> {
        let mut body = b"--edge\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"p\"\r\n\r\n".to_vec();
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n--edge--\r\n");
        read(self.post("upload", "multipart/form-data; boundary=edge", &body)?)
    }

    pub fn ask(&self, conversation: &str, question: Option<&str>, settings: &Value) -> Result<Stream> {
        let mut request = json!({"conversation": conversation, "question": question});
        if let (Some(request), Some(settings)) = (request.as_object_mut(), settings.as_object()) {
            request.extend(settings.clone());
        }
        self.stream("ask", &json!({"request": request}))
    }

    /// Takes an answer up behind this event.
    pub fn follow(&self, conversation: &str, answer: Option<&str>, after: u64) -> Result<Stream> {
        let arguments = json!({"conversation": conversation, "answer": answer, "after": after});
        self.stream("follow", &arguments)
    }

    pub fn cancel(&self, conversation: &str) -> Result<()> {
        self.call("cancel", &json!({"conversation": conversation})).map(drop)
    }

    /// A conversation as it is kept; null where it is not this visitor's.
    pub fn conversation(&self, id: &str) -> Result<Value> {
        let mut state = self.call("state", &json!({"conversation": id}))?;
        Ok(state["conversation"].take())
    }

    /// What answers: name, device and dtype.
    pub fn model(&self) -> AnyResult<Value> {
        let mut state = self.call("state", &json!({"conversation": null}))?;
        Ok(state["model"].take())
    }

    /// Loads something as a browser does.
    pub fn get(&self, path: &str) -> Result<Vec<u8>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let request = self.agent.get(format!("{}{path}", self.address));
        let cookie = format!("glimpse-visitor={}", self.secret);
        let answer = request
            .header("cookie", cookie)
            .header("accept", "text/html,image/*")
            .call();
        let mut answer = answer.map_err(|error| Trouble::Broken(format!("GET {path}: {error}")))?;
        let bytes = answer.body_mut().read_to_vec();
        let bytes = bytes.map_err(|error| Trouble::Broken(format!("GET {path}: {error}")))?;
        match answer.status().as_u16() {
            200 => Ok(bytes),
            status => Err(Trouble::Refused {
                status,
                code: "page".into(),
            }),
        }
    }

    fn call(&self, function: &str, arguments: &Value) -> Result<Value> {
        read(self.post(function, "application/json", arguments.to_string().as_bytes())?)
    }

    fn stream(&self, function: &str, arguments: &Value) -> Result<Stream> {
        let answer = self.post(function, "application/json", arguments.to_string().as_bytes())?;
        if answer.status() != 200 {
            return Err(refusal(answer));
        }
        Ok(Stream(BufReader::new(answer.into_body().into_reader()).lines()))
    }

    fn post(&self, function: &str, content_type: &str, body: &[u8]) -> Result<Response<Body>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let request = self.agent.post(format!("{}/api/page/{function}", self.address));
        let request = request
            .header("x-glimpse-visitor", &self.secret)
            .content_type(content_type);
        request
            .send(body)
            .map_err(|error| Trouble::Broken(format!("{function}: {error}")))
    }
}

fn read(mut answer: Response<Body>) -> Result<Value> {
    if answer.status() != 200 {
        return Err(refusal(answer));
    }
    let text = answer.body_mut().read_to_string();
    let text = text.map_err(|error| Trouble::Broken(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| Trouble::Broken(format!("{error}: {text}")))
}

fn refusal(mut answer: Response<Body>) -> Trouble {
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string().unwrap_or_default();
    let error: Value = serde_json::from_str(&text).unwrap_or_default();
    let code = error["code"].as_str().map_or(text.clone(), str::to_owned);
    Trouble::Refused { status, code }
}
