//! The limits of connections and requests; those of what visitors have and ask for are the
//! [`service`](crate::service)'s. The flags that set them are in `commands::serve`.

use std::time::Duration;

use super::Pace;

/// What connections and requests may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time.
    pub connections: u32,
    /// Connections at the same time from one address that is not this machine.
    pub connections_per_address: u32,
    /// How fast the body of a request has to come.
    pub pace: Pace,
    /// How long the head of a request may take to arrive, waiting for a next request included.
    pub head_time: Duration,
    /// How long a connection may take nothing of what is written to it.
    pub write_time: Duration,
    /// How long answers may go on when the process was asked to end.
    pub drain_time: Duration,
}
