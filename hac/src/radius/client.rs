//! Passes EAP through to the servers, in their order.
//!
//! Read first: RFC 3579 s.2.1, 2.6; readings.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tracing::debug;

use super::attribute::{
    CALLING_STATION_ID, EAP_MESSAGE, FRAMED_MTU, MAX_VALUE, NAS_IDENTIFIER, NAS_PORT_TYPE,
    SERVICE_TYPE, STATE, USER_NAME,
};
use super::counters::Counters;
use super::health::Standing;
use super::packet::{Code, Request, TooLong};
use super::server::{Answered, Server, ServerConfig, Unanswered, renew};
use super::{Authorisation, Relay, RelayError, RelayState, Relayed, mppe};

/// Service-Type Framed, as in the examples of RFC 3579 Appendix A.
const FRAMED: u32 = 2;
/// NAS-Port-Type Virtual: no port of ours is physical.
pub(super) const VIRTUAL: u32 = 5;
/// Octets of EAP-Requests that servers are asked not to exceed (RFC 3579 s.2.4): more than most of
/// them would send anyway, and all of it fits a packet of theirs.
const MTU: u32 = 1400;
/// EAP Code Response and Type Identity (RFC 3748 s.4.1, 5.1).
const RESPONSE_IDENTITY: (u8, u8) = (2, 1);

/// The servers that judge EAP.
pub struct Client {
    servers: RwLock<Servers>,
    nas_identifier: Box<str>,
}

#[derive(Default)]
struct Servers {
    current: Vec<Arc<Server>>,
    /// Those that the last reload has taken away: conversations with them go on.
    former: Vec<Arc<Server>>,
}

impl Client {
    /// A client of `servers`, the most wanted first; to be called within a tokio runtime.
    #[must_use]
    pub fn start(servers: Vec<ServerConfig>, nas_identifier: &str) -> Self {
        let current = renew(&[], servers, nas_identifier);
        let servers = RwLock::new(Servers { current, former: Vec::new() });
        Self { servers, nas_identifier: nas_identifier.into() }
    }

    /// Goes on with these servers. One that is as it was keeps its connections and what is known of it;
    /// what is on its way to another one is still answered, and conversations with it go on.
    pub fn reload(&self, servers: Vec<ServerConfig>) {
        let mut known = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        let current = renew(&known.current, servers, &self.nas_identifier);
        let former = std::mem::replace(&mut known.current, current);
        let addresses: Vec<_> = known.current.iter().map(|server| server.peer.address).collect();
        known.former =
            former.into_iter().filter(|it| !addresses.contains(&it.peer.address)).collect();
    }

    fn servers(&self) -> Vec<Arc<Server>> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).current.clone()
    }

    /// The server at `address`, also where it is none any more.
    fn at(&self, address: std::net::SocketAddr) -> Option<Arc<Server>> {
        let servers = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = servers.current.iter().chain(&servers.former);
        all.find(|server| server.peer.address == address).cloned()
    }

    /// What happened with each server, in their order.
    pub fn counters(&self) -> impl Iterator<Item = (std::net::SocketAddr, Arc<Counters>)> {
        self.servers().into_iter().map(|server| (server.peer.address, server.peer.counters.clone()))
    }

    /// How each server stands, in their order.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let now = Instant::now();
        self.servers().iter().map(|server| server.standing(now)).collect()
    }

    /// Has a server judge one EAP packet of the mobile node at `from`.
    ///
    /// # Errors
    /// [`RelayError`].
    pub async fn relay(&self, relay: Relay, from: IpAddr) -> Result<Relayed, RelayError> {
        let (user_name, state) = match relay.state {
            Some(RelayState { server, state, user_name }) => (user_name, Some((server, state))),
            None => (user_name(&relay.eap, relay.mn_id.as_str()), None),
        };
        let attributes = state.as_ref().map_or(&[][..], |(_, state)| state);
        let request = match self.request(&relay.eap, &user_name, attributes, from) {
            Ok(request) => request,
            // More than a RADIUS packet holds, and more than any server has asked for.
            Err(TooLong) => return Ok(reject(&relay.eap)),
        };
        let (server, answered) = match state {
            Some((address, _)) => {
                let server = self.at(address).ok_or(RelayError::Silent)?;
                let answered = server.exchange(&request).await;
                (server, answered.map_err(|Unanswered| RelayError::Silent)?)
            }
            None => self.first(&request).await?,
        };
        Ok(read(&relay.eap, user_name, &server, &answered))
    }

    /// Begins a conversation with the first server that answers.
    async fn first(&self, request: &Request) -> Result<(Arc<Server>, Answered), RelayError> {
        let now = Instant::now();
        let mut order: Vec<_> = self
            .servers()
            .into_iter()
            .enumerate()
            .map(|(index, server)| (server.standing(now), index, server))
            .filter(|(standing, ..)| *standing != Standing::Dead)
            .collect();
        if order.is_empty() {
            return Err(RelayError::AllDead { retry_after: self.until_retry(now) });
        }
        order.sort_by_key(|(standing, index, _)| (*standing, *index));
        for (_, _, server) in order {
            match server.exchange(request).await {
                Ok(answered) => return Ok((server, answered)),
                Err(Unanswered) => debug!(server = %server.peer.address, "no answer"),
            }
        }
        Err(RelayError::Silent)
    }

    /// Seconds until the first of the dead servers may be back.
    fn until_retry(&self, now: Instant) -> u64 {
        let servers = self.servers();
        let times = servers.iter().map(|server| server.until_retry(now));
        times.min().unwrap_or(Duration::ZERO).as_secs() + 1
    }

    fn request(
        &self,
        eap: &[u8],
        user_name: &[u8],
        state: &[Box<[u8]>],
        from: IpAddr,
    ) -> Result<Request, TooLong> {
        let mut request = Request::new(Code::AccessRequest);
        request.put(USER_NAME, user_name)?;
        request.put(NAS_IDENTIFIER, self.nas_identifier.as_bytes())?;
        request.put_number(NAS_PORT_TYPE, VIRTUAL)?;
        request.put_number(SERVICE_TYPE, FRAMED)?;
        request.put_number(FRAMED_MTU, MTU)?;
        request.put(CALLING_STATION_ID, from.to_canonical().to_string().as_bytes())?;
        request.put_split(EAP_MESSAGE, eap)?;
        state.iter().try_for_each(|state| request.put(STATE, state))?;
        Ok(request)
    }
}

/// What a conversation begins with: the Type-Data of its EAP-Response/Identity (RFC 3579 s.2.1), or
/// the mn-id where that says nothing.
fn user_name(eap: &[u8], mn_id: &str) -> Box<[u8]> {
    let identity = match eap {
        [code, _, _, _, kind, identity @ ..] if (*code, *kind) == RESPONSE_IDENTITY => identity,
        _ => &[],
    };
    // RFC 3748 s.5.1: what stands behind a NUL is no part of the identity.
    let identity = identity.split(|octet| *octet == 0).next().unwrap_or_default();
    let fits = (1..=MAX_VALUE).contains(&identity.len());
    if fits { identity.into() } else { mn_id.as_bytes().into() }
}

/// The EAP-Failure where the server sent none, or nothing that the mobile node could answer
/// (RFC 3579 s.2.6.3 forbids none of it).
fn reject(response: &[u8]) -> Relayed {
    let identifier = response.get(1).copied().unwrap_or_default();
    Relayed::Reject { eap: vec![4, identifier, 0, 4] }
}

/// What an answer means: its Code rules (RFC 3579 s.2.6.3).
fn read(eap: &[u8], user_name: Box<[u8]>, server: &Server, answered: &Answered) -> Relayed {
    let Answered { response, authenticator } = answered;
    let attributes = response.attributes();
    let message = attributes.joined(EAP_MESSAGE);
    match response.code {
        Code::AccessChallenge if !message.is_empty() => {
            let state = attributes.all(STATE).filter(|state| !state.is_empty()).map(Box::from);
            let state =
                RelayState { server: server.peer.address, state: state.collect(), user_name };
            Relayed::Challenge { eap: message, state }
        }
        Code::AccessAccept => {
            let name = attributes.single(USER_NAME).map(<[u8]>::to_vec);
            let name = name.and_then(|name| String::from_utf8(name).ok());
            Relayed::Accept {
                eap: message,
                //
                user_name: name.filter(|_| server.returns_authenticated_name),
                msk: mppe::keys(attributes, authenticator, &server.peer.secret),
                authorisation: Box::new(Authorisation {
                    unlisted: server.unlisted_subscribers,
                    ..Authorisation::read(attributes)
                }),
            }
        }
        Code::AccessReject if !message.is_empty() => Relayed::Reject { eap: message },
        _ => reject(eap),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_of_the_peer_is_the_user_name() {
        let eap = |identity: &[u8]| [&[2, 1, 0, 0, 1], identity].concat();
        assert_eq!(*user_name(&eap(b"anonymous@example.net"), "mn1"), *b"anonymous@example.net");
        assert_eq!(*user_name(&eap(b"mn\0networkid=x"), "mn1"), *b"mn");
        for eap in [eap(b""), eap(&[b'a'; 254]), eap(b"\0mn"), vec![2, 1, 0, 5, 3], vec![]] {
            assert_eq!(*user_name(&eap, "mn1@example.net"), *b"mn1@example.net");
        }
    }
}
