//! Why an address gives no picture.

/// Each is a sentence for whoever gave the address. What was found out about names of the
/// server's own network is not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    #[error("This is not an http or https address ({reason}). Copy it from the browser again.")]
    NotAnAddress { reason: String },
    #[error("The address has {bytes} characters, and at most {max_bytes} are accepted. Give a shorter one.")]
    TooLong { bytes: usize, max_bytes: usize },
    #[error(
        "The address carries a name or password, which is not sent anywhere. Leave it out, or download the picture."
    )]
    Credentials,
    #[error("The address names port {0}, where no web server is. Download the picture and choose the file.")]
    Port(u16),
    #[error(
        "The address leads to {what}, from where nothing is fetched here. Download the picture and choose the file."
    )]
    Private { what: &'static str },
    #[error("The address's host {host} was not found. Check the address.")]
    HostNotFound { host: String },
    /// Not found, or found at a private address: which of them is not for strangers to know.
    #[error(
        "The host {host} was not found among public servers. Check the address, or download the picture and choose the file."
    )]
    NoPublicHost { host: String },
    #[error("The address leads on more than {0} times. Give the one where it ends.")]
    TooManyRedirects(usize),
    #[error("The address leads on to one that cannot be fetched ({reason}). Download the picture and choose the file.")]
    BadRedirect { reason: String },
    #[error("{host} could not be connected to ({reason}). Check the address, or try again later.")]
    NoConnection { host: String, reason: String },
    #[error("{host} could not be connected to within {}. Check the address, or try again later.", span(*.seconds))]
    ConnectTime { host: String, seconds: u64 },
    #[error("{host} did not send the picture within {}. Download the picture and choose the file.", span(*.seconds))]
    Time { host: String, seconds: u64 },
    #[error("{host} answered {status} instead of a picture. Check the address.")]
    Status { host: String, status: String },
    #[error("The address leads to a web page, not to a picture. Copy the address of the picture itself.")]
    WebPage,
    #[error(
        "The address leads to an SVG drawing, which cannot be read here. Save it as JPEG or PNG and choose that file."
    )]
    Drawing,
    #[error("The address leads to something of the type {0}, not to a picture. Copy the address of a picture.")]
    NotAPicture(String),
    #[error(
        "The address leads to something compressed ({0}), which was not asked for. Download the picture and choose the file."
    )]
    Compressed(String),
    #[error("The picture at this address has more than the {max_bytes} bytes that are accepted. Choose a smaller one.")]
    TooManyBytes { max_bytes: usize },
    #[error("The connection to {host} broke off ({reason}). Try again.")]
    BrokeOff { host: String, reason: String },
}

fn span(seconds: u64) -> String {
    match seconds {
        1 => "1 second".into(),
        _ => format!("{seconds} seconds"),
    }
}
