//! One MHAuth exchange with pre-shared keys, without I/O: Content in, Content out.
//!
//! Read first: RFC 6618 s.5.3, 5.5 to 5.8; readings R-5 to R-9, R-14.
//!
//! ```text
//!         Request/MHAuth-Init            Request/MHAuth-Done
//!  Init ------------------------> Done ------------------------> Issuing --> Closed
//!    |   Response: mn-rand,        |   mip6-sas, mip6-suitelist,    |  Response: SA, bootstrapping
//!    |   hac-rand, auth            |   auth                         |  data, status-code 200, auth
//!    +-- refusal --> Closed        +-- refusal --> Closed           +-- refusal --> Closed
//! ```

use std::sync::Arc;

use hearth_wire::directory::SaRecord;
use hearth_wire::hac::message;
use hearth_wire::hac::{AuthMethod, Message, Parsed, Side, StatusCode};
use hearth_wire::{MobileNodeId, Spi};
use zeroize::Zeroizing;

use crate::auth::psk::Psk;
use crate::cert::ChannelBinding;
use crate::config::{Realm, Subscriber};
use crate::directory::{IssueError, IssueRequest};
use crate::keys::{Entropy, direction_keys};

/// What a session wants after a request.
#[derive(Debug)]
pub enum Step {
    /// Send this.
    Respond(Reply),
    /// Have this issued, then hand the result to [`Session::issued`].
    Issue(Box<IssueRequest>),
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    /// The Content portion of the response's container.
    pub content: Zeroizing<Vec<u8>>,
    /// What it means; all but [`Outcome::Challenged`] end the session.
    pub outcome: Outcome,
}

/// What a response means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Response/MHAuth-Init: go on.
    Challenged,
    /// Response/MHAuth-Done with a new SA.
    Issued(Spi),
    /// Any other status-code.
    Refused(StatusCode),
}

impl Outcome {
    /// Whether the response ends the session (RFC 6618 s.5.3).
    #[must_use]
    pub const fn ends(self) -> bool {
        !matches!(self, Self::Challenged)
    }
}

/// The exchange between its two round trips.
struct Exchange {
    mn_id: MobileNodeId,
    mn_rand: [u8; 32],
    hac_rand: [u8; 32],
    /// Stands in for the PSK of an mn-id that nobody has (R-8).
    stand_in: Psk,
}

enum State {
    Init,
    Done(Exchange),
    Issuing(Exchange),
    Closed,
}

/// An MHAuth exchange. Time and randomness are parameters.
pub struct Session {
    realm: Arc<Realm>,
    binding: ChannelBinding,
    retry_after: u64,
    state: State,
    mn_id: Option<MobileNodeId>,
}

impl Session {
    /// A session that nothing was received in; `binding` is that of the TLS connection's server
    /// certificate, `retry_after` the seconds that a 503 asks to wait.
    #[must_use]
    pub const fn new(realm: Arc<Realm>, binding: ChannelBinding, retry_after: u64) -> Self {
        Self { realm, binding, retry_after, state: State::Init, mn_id: None }
    }

    /// Who the mobile node says it is, once it has said so; not proved before
    /// [`Outcome::Issued`].
    #[must_use]
    pub const fn mn_id(&self) -> Option<&MobileNodeId> {
        self.mn_id.as_ref()
    }

    /// Takes the Content of a request that arrived at `now` (unix seconds).
    pub fn request(&mut self, content: &[u8], now: u64, entropy: &mut dyn Entropy) -> Step {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Init => Step::Respond(self.init(content, entropy)),
            State::Done(exchange) => match self.done(&exchange, content, now, entropy) {
                Ok(request) => {
                    self.state = State::Issuing(exchange);
                    Step::Issue(Box::new(request))
                }
                Err(status) => Step::Respond(self.refuse(&exchange, status, now)),
            },
            State::Issuing(_) | State::Closed => {
                Step::Respond(refuse_unkeyed(StatusCode::BadRequest, None))
            }
        }
    }

    /// Takes what became of [`Step::Issue`].
    pub fn issued(&mut self, result: Result<Box<SaRecord>, IssueError>, now: u64) -> Reply {
        let State::Issuing(exchange) = std::mem::replace(&mut self.state, State::Closed) else {
            return refuse_unkeyed(StatusCode::InternalServerError, None);
        };
        // R-9: 503 where coming back later helps, 500 for an own fault.
        let refusal = match result {
            Ok(record) => match self.success(&exchange, &record) {
                Some(content) => {
                    return Reply { content, outcome: Outcome::Issued(record.spi) };
                }
                None => StatusCode::InternalServerError,
            },
            Err(IssueError::NoSpi | IssueError::NoHomeAddress | IssueError::Busy) => {
                StatusCode::ServiceUnavailable
            }
            Err(IssueError::Store) => StatusCode::InternalServerError,
        };
        self.refuse(&exchange, refusal, now)
    }

    /// Request/MHAuth-Init -> Response/MHAuth-Init (RFC 6618 s.5.8, messages 1 and 2).
    fn init(&mut self, content: &[u8], entropy: &mut dyn Entropy) -> Reply {
        let exchange = match self.begin(content, entropy) {
            Ok(exchange) => exchange,
            Err(reply) => return reply,
        };
        // R-7: hac-rand here, the ciphersuite in Response/Done. R-5: no status-code.
        let response = Message {
            mn_rand: Some(exchange.mn_rand),
            hac_rand: Some(exchange.hac_rand),
            auth_methods: vec![AuthMethod::Psk],
            ..Message::default()
        };
        let content = self.sign(&exchange, &response);
        self.mn_id = Some(exchange.mn_id.clone());
        self.state = State::Done(exchange);
        Reply { content, outcome: Outcome::Challenged }
    }

    fn begin(&self, content: &[u8], entropy: &mut dyn Entropy) -> Result<Exchange, Reply> {
        let bad = || refuse_unkeyed(StatusCode::BadRequest, None);
        let Parsed { message, .. } = message::parse(content).map_err(|_| bad())?;
        let (Some(mn_id), Some(_)) = (message.mn_id, message.auth_methods.first()) else {
            return Err(bad());
        };
        // RFC 6618 s.5.5.2: the HAC selects exactly one method or returns an error.
        if !message.auth_methods.contains(&AuthMethod::Psk) {
            // R-8: no method, no key. The "1" of R-10 keys responses under EAP, which this is not.
            return Err(refuse_unkeyed(StatusCode::NotImplemented, None));
        }
        let mn_rand = message.mn_rand.ok_or_else(bad)?;
        let fault = |_| refuse_unkeyed(StatusCode::InternalServerError, None);
        let mut hac_rand = [0; 32];
        entropy.fill(&mut hac_rand).map_err(fault)?;
        // Drawn for everybody, so that an unknown mn-id takes no longer than a known one (R-8).
        let stand_in = Psk::unknown(entropy).map_err(fault)?;
        Ok(Exchange { mn_id, mn_rand, hac_rand, stand_in })
    }

    /// Request/MHAuth-Done (RFC 6618 s.5.8, message 3): what is to be issued, or the refusal.
    fn done(
        &self,
        exchange: &Exchange,
        content: &[u8],
        now: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<IssueRequest, StatusCode> {
        let parsed = message::parse(content).map_err(|_| StatusCode::BadRequest)?;
        if parsed.auth.is_none() {
            return Err(StatusCode::BadRequest);
        }
        // Nothing in the message counts before this: what fails from here on was sent by the MN.
        let key = self.key(exchange).octets();
        if !message::verify(content, &parsed, Side::Mn, key, self.binding.octets()) {
            return Err(StatusCode::Unauthorized);
        }
        let message = parsed.message;
        // R-5: under PSK the second request can only be Done, and Done has all of these.
        let (Some(mn_rand), Some(hac_rand), Some(proposed), Some(offered)) =
            (message.mn_rand, message.hac_rand, message.scope, message.suite_list)
        else {
            return Err(StatusCode::BadRequest);
        };
        // RFC 6618 s.5.8: the consistency of identities and nonces with MHAuth-Init.
        let same_node = message.mn_id.is_none_or(|mn_id| mn_id == exchange.mn_id);
        if mn_rand != exchange.mn_rand || hac_rand != exchange.hac_rand || !same_node {
            return Err(StatusCode::Unauthorized);
        }
        let subscriber = self.subscriber(exchange).ok_or(StatusCode::Unauthorized)?;
        let policy = &subscriber.policy;
        let suite = policy.choose_suite(&offered).ok_or(StatusCode::NotImplemented)?;
        let mut keys =
            || direction_keys(suite, entropy).map_err(|_| StatusCode::InternalServerError);
        Ok(IssueRequest {
            mn_id: exchange.mn_id.clone(),
            suite,
            scope: policy.choose_scope(proposed),
            mn_to_ha: keys()?,
            ha_to_mn: keys()?,
            validity_end: now.saturating_add(policy.sa_validity),
        })
    }

    /// Response/MHAuth-Done (RFC 6618 s.5.8, message 4) with the SA and the bootstrapping data.
    fn success(&self, exchange: &Exchange, record: &SaRecord) -> Option<Zeroizing<Vec<u8>>> {
        let agent = self.realm.home_agent(self.subscriber(exchange)?)?;
        let (to_ha, to_mn) = (&record.mn_to_ha, &record.ha_to_mn);
        let response = Message {
            status: Some(StatusCode::Ok),
            mn_rand: Some(exchange.mn_rand),
            hac_rand: Some(exchange.hac_rand),
            scope: Some(record.scope),
            suite: Some(record.suite),
            spi: Some(record.spi),
            mn_to_ha_ikey: key_header(to_ha.integrity()),
            ha_to_mn_ikey: key_header(to_mn.integrity()),
            mn_to_ha_ekey: key_header(to_ha.encryption()),
            ha_to_mn_ekey: key_header(to_mn.encryption()),
            validity_end: Some(record.validity_end),
            ha_ip6: Some(record.ha_address),
            ha_ip4: agent.ip4,
            port: Some(agent.port),
            hoa_ip6: Some(record.home_address),
            hoa_ip4: record.ipv4_home_address,
            hnp_ip6: Some((agent.prefix_ip6.network(), agent.prefix_ip6.prefix_len())),
            hnp_ip4: agent.prefix_ip4.map(|prefix| (prefix.network(), prefix.prefix_len())),
            dns_ip6: self.realm.dns_ip6.clone(),
            dns_ip4: self.realm.dns_ip4.clone(),
            ..Message::default()
        };
        Some(self.sign(exchange, &response))
    }

    /// A refusal to a mobile node whose key is at hand, or stands in for one (R-8).
    fn refuse(&self, exchange: &Exchange, status: StatusCode, now: u64) -> Reply {
        let retry_after = (status == StatusCode::ServiceUnavailable)
            .then(|| now.saturating_add(self.retry_after));
        let response = Message {
            status: Some(status),
            retry_after,
            mn_rand: Some(exchange.mn_rand),
            hac_rand: Some(exchange.hac_rand),
            ..Message::default()
        };
        Reply { content: self.sign(exchange, &response), outcome: Outcome::Refused(status) }
    }

    fn sign(&self, exchange: &Exchange, response: &Message) -> Zeroizing<Vec<u8>> {
        response.encode_signed(Side::Hac, self.key(exchange).octets(), self.binding.octets())
    }

    fn subscriber(&self, exchange: &Exchange) -> Option<&Subscriber> {
        self.realm.subscribers.get(&exchange.mn_id)
    }

    fn key<'a>(&'a self, exchange: &'a Exchange) -> &'a Psk {
        self.subscriber(exchange).map_or(&exchange.stand_in, |subscriber| &subscriber.psk)
    }
}

/// A refusal that can't be keyed: `status-code` alone (R-8), and when to come back.
#[must_use]
pub fn refuse_unkeyed(status: StatusCode, retry_after: Option<u64>) -> Reply {
    let response = Message { status: Some(status), retry_after, ..Message::default() };
    Reply { content: response.encode_unsigned(), outcome: Outcome::Refused(status) }
}

/// No ekey header under NULL (R-13), no ikey header under a combined algorithm (R-16).
fn key_header(key: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    (!key.is_empty()).then(|| Zeroizing::new(key.to_vec()))
}
