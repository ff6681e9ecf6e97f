//! Who has asked enough for a minute, and how many conversations a network has.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::chat::{ConversationId, Error, Visitor, VisitorId};

const MINUTE: Duration = Duration::from_secs(60);

/// How many visitors share a network, such as a household or an office, before they share
/// its questions.
const VISITORS_OF_A_NETWORK: usize = 4;

/// Networks whose conversations are counted; beyond them the counting begins anew, which
/// takes as many addresses as only a large attacker has.
const MAX_NETWORKS: usize = 10_000;

/// The questions of the last minute, and the conversations that networks have begun since the
/// process did: whoever makes a new secret for each is one network still.
pub struct Quotas {
    limit: usize,
    conversations: usize,
    recent: Mutex<Recent>,
    begun: Mutex<HashMap<IpAddr, VecDeque<ConversationId>>>,
}

#[derive(Default)]
struct Recent {
    visitors: HashMap<VisitorId, VecDeque<Instant>>,
    networks: HashMap<IpAddr, VecDeque<Instant>>,
}

impl Quotas {
    /// `limit` questions a minute, and `conversations`, for a visitor.
    pub fn new(limit: usize, conversations: usize) -> Self {
        Self {
            limit,
            conversations,
            recent: Mutex::default(),
            begun: Mutex::default(),
        }
    }

    /// Counts a conversation that has begun, and gives those of the same network that are to
    /// make room for it, the oldest first.
    pub fn count_conversation(&self, visitor: &Visitor, begun: &ConversationId) -> Vec<ConversationId> {
        // A proxy on this machine speaks for all visitors.
        if visitor.network.is_loopback() {
            return Vec::new();
        }
        let mut networks = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if networks.len() >= MAX_NETWORKS && !networks.contains_key(&visitor.network) {
            networks.clear();
        }
        let own = networks.entry(visitor.network).or_default();
        own.push_back(begun.clone());
        let most = self.conversations.saturating_mul(VISITORS_OF_A_NETWORK);
        let too_many = own.len().saturating_sub(most);
        own.drain(..too_many).collect()
    }

    /// Counts a question.
    ///
    /// # Errors
    /// The visitor, or his network, has asked as many as may be within the last minute.
    pub fn count_question(&self, visitor: &Visitor) -> Result<(), Error> {
        self.count_at(visitor, Instant::now())
    }

    fn count_at(&self, visitor: &Visitor, now: Instant) -> Result<(), Error> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.forget_before(now);
        let network_limit = self.limit.saturating_mul(VISITORS_OF_A_NETWORK);
        // A proxy on this machine speaks for all visitors.
        let counted = Some(visitor.network).filter(|network| !network.is_loopback());
        let of_visitor = full_until(recent.visitors.get(&visitor.id), self.limit);
        let of_network = counted.and_then(|network| full_until(recent.networks.get(&network), network_limit));
        if let Some(until) = of_visitor.max(of_network) {
            return Err(Error::TooManyQuestions {
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
    use crate::chat::Secret;

    fn visitor(network: Ipv4Addr) -> Visitor {
        Visitor {
            id: Secret::random().visitor(),
            also: None,
            network: network.into(),
        }
    }

    const HOME: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    #[test]
    fn a_visitor_has_so_many_questions_a_minute_and_is_told_when_there_are_more() {
        let (quotas, now) = (Quotas::new(2, 9), Instant::now());
        let [me, other] = [(); 2].map(|()| visitor(HOME));
        assert_eq!(quotas.count_at(&me, now), Ok(()));
        let later = now + Duration::from_secs(20);
        assert_eq!(quotas.count_at(&me, later), Ok(()));
        let refused = Error::TooManyQuestions {
            limit: 2,
            retry_after_seconds: 41,
        };
        assert_eq!(quotas.count_at(&me, later), Err(refused));
        assert_eq!(quotas.count_at(&other, later), Ok(()), "another one has his own");
        assert_eq!(quotas.count_at(&me, now + MINUTE), Ok(()));
    }

    #[test]
    fn new_secrets_do_not_make_a_network_larger_than_it_is() {
        let (quotas, now) = (Quotas::new(1, 9), Instant::now());
        for _ in 0..VISITORS_OF_A_NETWORK {
            assert_eq!(quotas.count_at(&visitor(HOME), now), Ok(()));
        }
        assert!(quotas.count_at(&visitor(HOME), now).is_err());
        assert_eq!(quotas.count_at(&visitor(Ipv4Addr::new(192, 0, 2, 2)), now), Ok(()));
        for _ in 0..9 {
            assert_eq!(quotas.count_at(&visitor(Ipv4Addr::LOCALHOST), now), Ok(()), "a proxy's");
        }
    }

    #[test]
    fn a_networks_own_oldest_conversations_make_room() {
        let quotas = Quotas::new(9, 1);
        let begin = |network| {
            let id = ConversationId::random();
            let gone = quotas.count_conversation(&visitor(network), &id);
            (id, gone)
        };
        let (first, gone) = begin(HOME);
        assert_eq!(gone, []);
        for _ in 1..VISITORS_OF_A_NETWORK {
            assert_eq!(begin(HOME).1, []);
        }
        assert_eq!(begin(Ipv4Addr::new(192, 0, 2, 2)).1, [], "another network has its own");
        assert_eq!(begin(HOME).1, [first]);
        for _ in 0..9 {
            assert_eq!(begin(Ipv4Addr::LOCALHOST).1, [], "a proxy's");
        }
    }

    #[test]
    fn nobody_is_remembered_for_longer_than_he_counts() {
        let (quotas, now) = (Quotas::new(9, 9), Instant::now());
        assert_eq!(quotas.count_at(&visitor(HOME), now), Ok(()));
        let later = now + 2 * MINUTE;
        quotas.recent.lock().expect("no panic").forget_before(later);
        let recent = quotas.recent.lock().expect("no panic");
        assert!(recent.visitors.is_empty() && recent.networks.is_empty());
    }
}
