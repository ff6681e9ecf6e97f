//! Fetching by way of a proxy.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;

use crate::support::glimpse;

#[test]
fn an_address_is_fetched_by_way_of_the_proxy_that_the_environment_names() {
    let proxy = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let place = proxy.local_addr().expect("it is bound");
    let asked = std::thread::spawn(move || {
        let (stream, _) = proxy.accept().expect("somebody comes");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("it is text");
        line
    });
    let output = glimpse()
        .args(["ask", "http://pictures.invalid/cat.png"])
        .env("http_proxy", format!("http://{place}"))
        .env_remove("no_proxy")
        .env_remove("NO_PROXY")
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(1), "the proxy hung up");
    assert!(asked.join().expect("it heard something").contains("pictures.invalid"));
}
