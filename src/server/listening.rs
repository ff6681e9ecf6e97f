//! The addresses that a server listens on: often one, and two where a name stands for both
//! families.

use std::io::ErrorKind;
use std::net::SocketAddr;

use futures::future::select_all;
use tokio::net::{TcpListener, TcpStream};

/// Listens on at least one address.
pub struct Listeners {
    first: TcpListener,
    others: Vec<TcpListener>,
}

impl Listeners {
    /// Binds all of the addresses; one of a family that this machine does not have is left out,
    /// where there are others.
    ///
    /// # Errors
    /// In one sentence, with the address.
    pub async fn bind(addresses: &[SocketAddr]) -> Result<Self, String> {
        let mut bound: Vec<TcpListener> = Vec::new();
        let mut without_family = None;
        for address in addresses {
            let mut address = *address;
            // A port that the system chooses is the same one for all.
            if let (0, Some(Ok(chosen))) = (address.port(), bound.first().map(TcpListener::local_addr)) {
                address.set_port(chosen.port());
            }
            match TcpListener::bind(address).await {
                Ok(listener) => bound.push(listener),
                Err(error) if has_no_family(&error) => without_family = Some(sentence(address, &error)),
                Err(error) => return Err(sentence(address, &error)),
            }
        }
        if bound.is_empty() {
            return Err(
                without_family.unwrap_or_else(|| "There is no address to listen on. Name one with --addr.".into())
            );
        }
        Ok(Self {
            first: bound.remove(0),
            others: bound,
        })
    }

    /// The first of the addresses.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.first.local_addr()
    }

    /// The next connection to any of them. Nothing is lost where it is dropped before.
    pub async fn accept(&self) -> std::io::Result<(TcpStream, SocketAddr)> {
        if self.others.is_empty() {
            return self.first.accept().await;
        }
        let all = std::iter::once(&self.first).chain(&self.others);
        let (accepted, _, _) = select_all(all.map(|listener| Box::pin(listener.accept()))).await;
        accepted
    }
}

/// Whether the machine has no such address at all, as one without IPv6.
fn has_no_family(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Unsupported)
        // EAFNOSUPPORT, which has no kind of its own.
        || (cfg!(target_os = "linux") && error.raw_os_error() == Some(97))
}

fn sentence(address: SocketAddr, error: &std::io::Error) -> String {
    format!("{address} cannot be listened on: {error}. Name another one with --addr.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime starts").block_on(test)
    }

    #[test]
    fn a_name_for_both_families_is_listened_on_in_both() {
        run(async {
            let both = [([127, 0, 0, 1], 0).into(), (std::net::Ipv6Addr::LOCALHOST, 0).into()];
            let listeners = Listeners::bind(&both).await.expect("loopback has free ports");
            let all = std::iter::once(&listeners.first).chain(&listeners.others);
            let places: Vec<SocketAddr> = all.flat_map(TcpListener::local_addr).collect();
            assert!(
                places.iter().all(|place| place.port() == places[0].port()),
                "{places:?}"
            );
            for place in places {
                let visitor = TcpStream::connect(place).await.expect("it listens");
                let (_, from) = listeners.accept().await.expect("somebody came");
                assert_eq!(Ok(from), visitor.local_addr().map_err(|error| error.to_string()));
            }
        });
    }

    #[test]
    fn a_family_that_is_not_there_is_left_out_and_a_taken_port_is_told() {
        run(async {
            // An address for documentation, which no machine has.
            let elsewhere: SocketAddr = ([192, 0, 2, 1], 0).into();
            let here: SocketAddr = ([127, 0, 0, 1], 0).into();
            let listeners = Listeners::bind(&[here, elsewhere]).await.expect("one of them is here");
            assert!(listeners.others.is_empty());
            assert!(Listeners::bind(&[elsewhere]).await.is_err());
            let taken = listeners.local_addr().expect("it is bound");
            let error = Listeners::bind(&[taken]).await.err().unwrap_or_default();
            assert!(
                error.contains(&taken.to_string()) && error.contains("--addr"),
                "{error}"
            );
        });
    }
}
