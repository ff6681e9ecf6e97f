//! What the page does, done over HTTP.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use super::{Server, png};

/// The secret of the visitor that these functions speak for, and of another one.
pub const VISITOR: &str = "00112233445566778899aabbccddeeff";
pub const STRANGER: &str = "ffeeddccbbaa99887766554433221100";

/// Carries a visitor's secret.
pub const VISITOR_HEADER: &str = "x-glimpse-visitor";

/// Status and body of an answer, refusals included.
pub fn send(request: ureq::RequestBuilder<ureq::typestate::WithBody>, body: &[u8]) -> (u16, Value) {
    send_as(VISITOR, request, body)
}

/// The same for a visitor with another secret.
pub fn send_as(visitor: &str, request: ureq::RequestBuilder<ureq::typestate::WithBody>, body: &[u8]) -> (u16, Value) {
    let mut response = request
        .header(VISITOR_HEADER, visitor)
        .config()
        .http_status_as_error(false)
        .build()
        .send(body)
        .expect("the server answers");
    let text = response.body_mut().read_to_string().expect("the answer is text");
    (
        response.status().as_u16(),
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

pub fn call(server: &Server, function: &str, arguments: &Value) -> (u16, Value) {
    call_as(VISITOR, server, function, arguments)
}

/// The same for a visitor with another secret.
pub fn call_as(visitor: &str, server: &Server, function: &str, arguments: &Value) -> (u16, Value) {
    let request = ureq::post(format!("{}/api/page/{function}", server.address)).content_type("application/json");
    send_as(visitor, request, arguments.to_string().as_bytes())
}

pub fn upload(server: &Server, file: &[u8]) -> (u16, Value) {
    let mut body = b"--edge\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"p\"\r\n\r\n".to_vec();
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--edge--\r\n");
    let request =
        ureq::post(format!("{}/api/page/upload", server.address)).content_type("multipart/form-data; boundary=edge");
    send(request, &body)
}

pub fn begin(server: &Server) -> String {
    let (status, conversation) = upload(server, &png([10, 200, 30]));
    assert_eq!(status, 200, "{conversation}");
    conversation["id"]
        .as_str()
        .expect("a conversation has an id")
        .to_string()
}

pub fn question(conversation: &str, tokens: usize) -> Value {
    json!({"request": {"conversation": conversation, "question": "hi", "max_new_tokens": tokens}})
}

pub fn get(server: &Server, path: &str) -> Value {
    let answer = ureq::get(format!("{}/{path}", server.address))
        .header("cookie", format!("glimpse-visitor={VISITOR}"))
        .call();
    let text = answer
        .and_then(|mut answer| answer.body_mut().read_to_string())
        .expect("it is there");
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// The stream of an answer, line by line; dropping it closes the connection.
pub fn ask(server: &Server, arguments: &Value) -> impl Iterator<Item = Value> + use<> {
    let response = ureq::post(format!("{}/api/page/ask", server.address))
        .header(VISITOR_HEADER, VISITOR)
        .content_type("application/json")
        .send(arguments.to_string())
        .expect("the question is accepted");
    let lines = BufReader::new(response.into_body().into_reader()).lines();
    lines.map(|line| serde_json::from_str(&line.expect("the stream holds")).expect("every line is JSON"))
}

/// Posts the page's form, fields being name, file name (empty for none) and value; gives
/// status and page.
pub fn post_form(server: &Server, fields: &[(&str, &str, &[u8])]) -> (u16, String) {
    let mut body = Vec::new();
    for (name, file, value) in fields {
        let file = if file.is_empty() {
            String::new()
        } else {
            format!("; filename=\"{file}\"")
        };
        body.extend(format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    let cookie = format!("glimpse-visitor={VISITOR}");
    let posted = ureq::post(format!("{}/ask", server.address))
        .header("cookie", &cookie)
        .content_type("multipart/form-data; boundary=edge")
        .config()
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .send(&body)
        .expect("the server answers");
    // As a browser does, with its cookie.
    let mut page = match posted.headers().get("location").and_then(|value| value.to_str().ok()) {
        Some(path) => ureq::get(format!("{}{path}", server.address))
            .header("cookie", &cookie)
            .config()
            .http_status_as_error(false)
            .build()
            .call()
            .expect("the server answers"),
        None => posted,
    };
    (
        page.status().as_u16(),
        page.body_mut().read_to_string().expect("it is a page"),
    )
}
