//! Who has asked, or had fetched, enough for a minute, and how many conversations and bytes a network
//! keeps.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Limits;
use crate::chat::{ConversationId, Error, Visitor, VisitorId};
use crate::engine::CLIENTS_OF_A_NETWORK;

const MINUTE: Duration = Duration::from_secs(60);

/// Networks whose conversations are counted; beyond them the counting begins anew, which
/// takes as many addresses as only a large attacker has.
const MAX_NETWORKS: usize = 10_000;

/// The questions and the fetches of the last minute, and the conversations that networks have begun
/// since the process did: whoever makes a new secret for each is one network still.
pub struct Quotas {
    questions: Rate,
    fetches: Rate,
    conversations: usize,
    bytes: u64,
    begun: Mutex<HashMap<IpAddr, VecDeque<(ConversationId, u64)>>>,
}

/// How often something may be done within a minute.
struct Rate {
    limit: usize,
    recent: Mutex<Recent>,
}

/// It was done as often as it may.
#[derive(Debug, PartialEq)]
struct Exceeded {
    limit: usize,
    retry_after_seconds: u64,
}

/// When it was done within the last minute.
#[derive(Default)]
struct Recent {
    visitors: HashMap<VisitorId, VecDeque<Instant>>,
    networks: HashMap<IpAddr, VecDeque<Instant>>,
}

impl Quotas {
    pub fn new(limits: &Limits) -> Self {
        Self {
            questions: Rate::new(limits.questions_per_minute),
            fetches: Rate::new(limits.fetches_per_minute),
            conversations: limits.store.conversations_per_visitor,
            bytes: limits.store.bytes_per_visitor,
            begun: Mutex::default(),
        }
    }

    /// Counts a conversation that has begun about a picture of so many bytes, and gives those of the same network that are to
    /// make room for it, the oldest first.
    pub fn count_conversation(&self, visitor: &Visitor, begun: &ConversationId, bytes: u64) -> Vec<ConversationId> {
        let Some(network) = visitor.shared_network() else {
            return Vec::new();
        };
        let mut networks = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if networks.len() >= MAX_NETWORKS && !networks.contains_key(&network) {
            networks.clear();
        }
        let own = networks.entry(network).or_default();
        own.push_back((begun.clone(), bytes));
        let most = self.conversations.saturating_mul(CLIENTS_OF_A_NETWORK);
        let most_bytes = self.bytes.saturating_mul(CLIENTS_OF_A_NETWORK as u64);
        let mut all_bytes: u64 = own.iter().map(|(_, bytes)| bytes).sum();
        let mut gone = Vec::new();
        // The one that has just begun stays: a visitor may keep it.
        while (own.len() > most || all_bytes > most_bytes)
            && own.len() > 1
            && let Some((oldest, bytes)) = own.pop_front()
        {
            all_bytes -= bytes;
            gone.push(oldest);
        }
        gone
    }

    /// Counts a question.
    ///
    /// # Errors
    /// The visitor, or his network, has asked as many as may be within the last minute.
    pub fn count_question(&self, visitor: &Visitor) -> Result<(), Error> {
        let counted = self.questions.count(visitor, Instant::now());
        counted.map_err(|exceeded| Error::TooManyQuestions {
            limit: exceeded.limit,
            retry_after_seconds: exceeded.retry_after_seconds,
        })
    }

    /// Counts a picture that is to be fetched from an address.
    ///
    /// # Errors
    /// As many were fetched for the visitor, or his network, as may be within the last minute.
    pub fn count_fetch(&self, visitor: &Visitor) -> Result<(), Error> {
        let counted = self.fetches.count(visitor, Instant::now());
        counted.map_err(|exceeded| Error::TooManyFetches {
            limit: exceeded.limit,
            retry_after_seconds: exceeded.retry_after_seconds,
        })
    }
}

impl Rate {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            recent: Mutex::default(),
        }
    }

    fn count(&self, visitor: &Visitor, now: Instant) -> Result<(), Exceeded> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.forget_before(now);
        let network_limit = self.limit.saturating_mul(CLIENTS_OF_A_NETWORK);
        let counted = visitor.shared_network();
        let of_visitor = full_until(recent.visitors.get(&visitor.id), self.limit);
        let of_network = counted.and_then(|network| full_until(recent.networks.get(&network), network_limit));
        if let Some(until) = of_visitor.max(of_network) {
            return Err(Exceeded {
                limit: if of_visitor.is_some() {
                    self.limit
                } else {
                    network_limit
                },
                retry_after_seconds: until.saturating_duration_since(now).as_secs() + 1,
            });
        }
        recent.visitors.entry(visitor.id).or_default().push_back(now);
        if let Some(network) = counted {
            recent.networks.entry(network).or_default().push_back(now);
        }
        Ok(())
    }
}

impl Recent {
    fn forget_before(&mut self, now: Instant) {
        forget_old(&mut self.visitors, now);
        forget_old(&mut self.networks, now);
    }
}

/// Forgets what is older than a minute, and whoever has asked nothing since.
fn forget_old<K: Eq + Hash>(times: &mut HashMap<K, VecDeque<Instant>>, now: Instant) {
    times.retain(|_, times| {
        while times
            .front()
            .is_some_and(|time| now.saturating_duration_since(*time) >= MINUTE)
        {
            times.pop_front();
        }
        !times.is_empty()
    });
}

/// Until when no more may be asked, where that is so.
fn full_until(times: Option<&VecDeque<Instant>>, limit: usize) -> Option<Instant> {
    let times = times.filter(|times| times.len() >= limit)?;
    times.front().map(|first| *first + MINUTE)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HOME: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    #[test]
    fn a_visitor_has_so_many_questions_a_minute_and_is_told_when_there_are_more() {
        let (rate, now) = (Rate::new(2), Instant::now());
        let [me, other] = [(); 2].map(|()| Visitor::from_network(HOME));
        assert_eq!(rate.count(&me, now), Ok(()));
        let later = now + Duration::from_secs(20);
        assert_eq!(rate.count(&me, later), Ok(()));
        let refused = Exceeded {
            limit: 2,
            retry_after_seconds: 41,
        };
        assert_eq!(rate.count(&me, later), Err(refused));
        assert_eq!(rate.count(&other, later), Ok(()), "another one has his own");
        assert_eq!(rate.count(&me, now + MINUTE), Ok(()));
    }

    #[test]
    fn new_secrets_do_not_make_a_network_larger_than_it_is() {
        let (rate, now) = (Rate::new(1), Instant::now());
        for _ in 0..CLIENTS_OF_A_NETWORK {
            assert_eq!(rate.count(&Visitor::from_network(HOME), now), Ok(()));
        }
        assert!(rate.count(&Visitor::from_network(HOME), now).is_err());
        assert_eq!(
            rate.count(&Visitor::from_network(Ipv4Addr::new(192, 0, 2, 2)), now),
            Ok(())
        );
        for _ in 0..9 {
            assert_eq!(
                rate.count(&Visitor::from_network(Ipv4Addr::LOCALHOST), now),
                Ok(()),
                "a proxy's"
            );
        }
    }

    fn with_room_for(conversations: usize, bytes: u64) -> Quotas {
        Quotas {
            questions: Rate::new(9),
            fetches: Rate::new(9),
            conversations,
            bytes,
            begun: Mutex::default(),
        }
    }

    #[test]
    fn a_networks_own_oldest_conversations_make_room() {
        let quotas = with_room_for(1, 9);
        let begin = |network| {
            let id = ConversationId::random();
            let gone = quotas.count_conversation(&Visitor::from_network(network), &id, 1);
            (id, gone)
        };
        let (first, gone) = begin(HOME);
        assert_eq!(gone, []);
        for _ in 1..CLIENTS_OF_A_NETWORK {
            assert_eq!(begin(HOME).1, []);
        }
        assert_eq!(begin(Ipv4Addr::new(192, 0, 2, 2)).1, [], "another network has its own");
        assert_eq!(begin(HOME).1, [first]);
        for _ in 0..9 {
            assert_eq!(begin(Ipv4Addr::LOCALHOST).1, [], "a proxy's");
        }
    }

    #[test]
    fn new_secrets_do_not_give_a_network_more_bytes() {
        let quotas = with_room_for(9, 10);
        let begin = |network, bytes| {
            let id = ConversationId::random();
            let gone = quotas.count_conversation(&Visitor::from_network(network), &id, bytes);
            (id, gone)
        };
        let first: Vec<_> = (0..CLIENTS_OF_A_NETWORK).map(|_| begin(HOME, 10)).collect();
        assert!(first.iter().all(|(_, gone)| gone.is_empty()));
        assert_eq!(
            begin(Ipv4Addr::new(192, 0, 2, 2), 10).1,
            [],
            "another network has its own"
        );
        let both = [first[0].0.clone(), first[1].0.clone()];
        assert_eq!(begin(HOME, 11).1, both, "as many as make room");
        assert_eq!(begin(Ipv4Addr::LOCALHOST, 999).1, [], "a proxy's");
    }

    #[test]
    fn nobody_is_remembered_for_longer_than_he_counts() {
        let (rate, now) = (Rate::new(9), Instant::now());
        assert_eq!(rate.count(&Visitor::from_network(HOME), now), Ok(()));
        let later = now + 2 * MINUTE;
        rate.recent.lock().expect("no panic").forget_before(later);
        let recent = rate.recent.lock().expect("no panic");
        assert!(recent.visitors.is_empty() && recent.networks.is_empty());
    }
}
