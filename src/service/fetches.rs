//! Pictures that are being fetched from addresses: how many at a time, and how many for one asker.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use crate::chat::{Error, Visitor, VisitorId};

/// How many pictures are fetched at the same time, at most: each holds a thread.
const FETCHES: u64 = 16;

/// The places of those that are fetched at the same time. One network has at most half of them,
/// so that slow addresses of one asker leave room for everybody else.
pub struct Fetches {
    all: Arc<Semaphore>,
    most_of_one: usize,
    taken: Arc<Mutex<HashMap<Asker, usize>>>,
}

/// Who shares places: a network, or a visitor where a proxy on this machine speaks for all.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Asker {
    Network(IpAddr),
    Visitor(VisitorId),
}

/// One place, until it is dropped.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    asker: Asker,
    taken: Arc<Mutex<HashMap<Asker, usize>>>,
}

impl Fetches {
    /// As many as leave room for other bodies, each holding as much as a picture may have.
    pub fn new(limits: &Limits) -> Self {
        let fit = limits.picture_memory / 4 / (limits.picture.max_bytes as u64).max(1);
        // Not more than the constant.
        Self::with_places(fit.clamp(1, FETCHES) as usize)
    }

    pub(super) fn with_places(places: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(places)),
            most_of_one: (places / 2).max(1),
            taken: Arc::default(),
        }
    }

    /// Takes a place for this visitor.
    ///
    /// # Errors
    /// All are taken, or those that he may have.
    pub fn begin(&self, visitor: &Visitor) -> Result<Place, Error> {
        let own = Asker::Visitor(visitor.id);
        let asker = visitor.shared_network().map_or(own, Asker::Network);
        let mut taken = lock(&self.taken);
        let own = taken.get(&asker).copied().unwrap_or_default();
        if own >= self.most_of_one {
            return Err(Error::FetchesFull);
        }
        let permit = Arc::clone(&self.all).try_acquire_owned();
        let permit = permit.map_err(|_| Error::FetchesFull)?;
        taken.insert(asker, own + 1);
        Ok(Place {
            _permit: permit,
            asker,
            taken: Arc::clone(&self.taken),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        match taken.get_mut(&self.asker) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.asker)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is a single step, so that a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn one_network_leaves_half_of_the_places_to_others() {
        let fetches = Fetches::with_places(4);
        let [home, elsewhere] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
        let mut held = [home, home, elsewhere].map(|network| fetches.begin(&Visitor::from_network(network)).ok());
        assert!(held.iter().all(Option::is_some));
        assert_eq!(
            fetches.begin(&Visitor::from_network(home)).map(drop),
            Err(Error::FetchesFull)
        );
        let last = fetches.begin(&Visitor::from_network(elsewhere));
        assert!(last.is_ok(), "there is one more place");
        let another = Visitor::from_network(Ipv4Addr::new(192, 0, 2, 3));
        assert_eq!(
            fetches.begin(&another).map(drop),
            Err(Error::FetchesFull),
            "all are taken"
        );
        held[0] = None;
        assert!(
            fetches.begin(&Visitor::from_network(home)).is_ok(),
            "his own is free again"
        );
        drop((held, last));
        assert!(lock(&fetches.taken).is_empty(), "nobody is remembered");
    }

    #[test]
    fn behind_a_proxy_on_this_machine_each_visitor_has_places_of_his_own() {
        let fetches = Fetches::with_places(4);
        let [one, other] = [(); 2].map(|()| Visitor::from_network(Ipv4Addr::LOCALHOST));
        let _held = [&one, &one].map(|visitor| fetches.begin(visitor).map_err(drop).expect("it is free"));
        assert!(fetches.begin(&one).is_err());
        assert!(fetches.begin(&other).is_ok());
    }
}
