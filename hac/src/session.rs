//! One MHAuth exchange, without I/O: Content in, Content out.
//!
//! Read first: RFC 6618 s.5.3, 5.5 to 5.9; readings R-5 to R-11, R-14.
//!
//! ```text
//!         Request/MHAuth-Init
//!  Init ----------------------> Psk ------ Done ------+
//!    |                                                v
//!    +------------------------> Eap ------ Done --> Issuing --> Closed
//!    |                         ^   ^  Mid |              |  Response: SA, bootstrapping
//!    |                         +---+------+              |  data, status-code 200, auth
//!    |                           ^ v                     |
//!    |                         Relaying (AAA server)     |
//!    +-- refusal --> Closed                              +-- refusal --> Closed
//! ```

mod eap;
mod grant;
mod psk;

use std::sync::Arc;

use hearth_wire::directory::SaRecord;
use hearth_wire::hac::message;
use hearth_wire::hac::{AuthMethod, Message, Parsed, Side, StatusCode};
use hearth_wire::{MobileNodeId, Spi};
use zeroize::Zeroizing;

use crate::cert::ChannelBinding;
use crate::config::{Realm, Subscriber};
use crate::directory::{IssueError, IssueRequest};
use crate::keys::{Entropy, direction_keys};
use crate::methods::Method;
use crate::radius::{Authorisation, Relay, RelayError, Relayed};

pub use grant::Misfit;
use grant::{Granted, Refusal};

/// What a session wants after a request.
#[derive(Debug)]
pub enum Step {
    /// Send this.
    Respond(Reply),
    /// Have this issued, then hand the result to [`Session::issued`].
    Issue(Box<IssueRequest>),
    /// Have the AAA server judge this, then hand the result to [`Session::relayed`].
    Relay(Box<Relay>),
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
    /// Response/MHAuth-Init or Response/MHAuth-Mid: go on.
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

/// Who a final response is for and what signs it.
enum Signer {
    Psk(psk::Exchange),
    Eap(eap::Signer),
}

enum State {
    Init,
    Psk(psk::Exchange),
    Eap(Box<eap::Run>),
    Relaying(Box<eap::Run>, eap::Asked),
    Issuing(Signer),
    Closed,
}

/// An MHAuth exchange. Time and randomness are parameters.
pub struct Session {
    realm: Arc<Realm>,
    binding: ChannelBinding,
    retry_after: u64,
    state: State,
    mn_id: Option<MobileNodeId>,
    misfit: Option<Misfit>,
    method: Method,
}

impl Session {
    /// A session that nothing was received in; `binding` is that of the TLS connection's server
    /// certificate, `retry_after` the seconds that a 503 asks to wait.
    #[must_use]
    pub const fn new(realm: Arc<Realm>, binding: ChannelBinding, retry_after: u64) -> Self {
        Self {
            realm,
            binding,
            retry_after,
            state: State::Init,
            mn_id: None,
            misfit: None,
            method: Method::None,
        }
    }

    /// Who the mobile node says it is, once it has said so; not proved before
    /// [`Outcome::Issued`].
    #[must_use]
    pub const fn mn_id(&self) -> Option<&MobileNodeId> {
        self.mn_id.as_ref()
    }

    /// How the mobile node authenticates.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// What an AAA server has said that led to the 500, where that did.
    #[must_use]
    pub const fn misfit(&self) -> Option<&Misfit> {
        self.misfit.as_ref()
    }

    /// Takes the Content of a request that arrived at `now` (unix seconds).
    pub fn request(&mut self, content: &[u8], now: u64, entropy: &mut dyn Entropy) -> Step {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Init => Step::Respond(self.init(content, entropy)),
            State::Psk(exchange) => match self.psk_done(&exchange, content, now, entropy) {
                Ok(request) => self.issue(request, Signer::Psk(exchange)),
                Err(status) => Step::Respond(self.refuse(&Signer::Psk(exchange), status, now)),
            },
            State::Eap(run) => self.eap_request(run, content, now, entropy),
            State::Relaying(..) | State::Issuing(_) | State::Closed => {
                Step::Respond(refuse_unkeyed(StatusCode::BadRequest, None))
            }
        }
    }

    /// Takes what became of [`Step::Relay`].
    pub fn relayed(
        &mut self,
        result: Result<Relayed, RelayError>,
        now: u64,
        entropy: &mut dyn Entropy,
    ) -> Step {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Relaying(run, asked) => self.eap_relayed(run, asked, result, now, entropy),
            _ => Step::Respond(refuse_unkeyed(StatusCode::InternalServerError, None)),
        }
    }

    /// Takes what became of [`Step::Issue`].
    pub fn issued(&mut self, result: Result<Box<SaRecord>, IssueError>, now: u64) -> Reply {
        let State::Issuing(signer) = std::mem::replace(&mut self.state, State::Closed) else {
            return refuse_unkeyed(StatusCode::InternalServerError, None);
        };
        // R-9: 503 where coming back later helps, 500 for an own fault.
        let refusal = match result {
            Ok(record) => match self.success(&signer, &record) {
                Some(content) => {
                    return Reply { content, outcome: Outcome::Issued(record.spi) };
                }
                None => StatusCode::InternalServerError,
            },
            Err(error) if error.will_pass() => StatusCode::ServiceUnavailable,
            Err(_) => StatusCode::InternalServerError,
        };
        self.refuse(&signer, refusal, now)
    }

    /// Request/MHAuth-Init -> Response/MHAuth-Init (RFC 6618 s.5.8, 5.9, messages 1 and 2).
    fn init(&mut self, content: &[u8], entropy: &mut dyn Entropy) -> Reply {
        let bad = || refuse_unkeyed(StatusCode::BadRequest, None);
        let Ok(Parsed { message, .. }) = message::parse(content) else {
            return bad();
        };
        let (Some(mn_id), Some(mn_rand)) = (message.mn_id, message.mn_rand) else {
            return bad();
        };
        if message.auth_methods.is_empty() {
            return bad();
        }
        // RFC 6618 s.5.5.2: the HAC selects exactly one method or returns an error. By the realm
        // alone, so that it tells nothing about the mn-id (R-8).
        let wanted = &self.realm.auth.choice(&mn_id).methods;
        let chosen = wanted.iter().find(|method| message.auth_methods.contains(method)).copied();
        self.mn_id = Some(mn_id.clone());
        match chosen {
            Some(AuthMethod::Psk) => {
                self.method = Method::Psk;
                self.psk_init(mn_id, mn_rand, entropy)
            }
            Some(AuthMethod::Eap) => {
                self.method = Method::Eap;
                self.eap_init(mn_id, mn_rand)
            }
            // R-8: no method, no key. The "1" of R-10 keys responses under EAP, which this is not.
            None => refuse_unkeyed(StatusCode::NotImplemented, None),
        }
    }

    fn issue(&mut self, request: IssueRequest, signer: Signer) -> Step {
        self.state = State::Issuing(signer);
        Step::Issue(Box::new(request))
    }

    /// What an authenticated Request/MHAuth-Done asks for, by the policy for `mn_id` and what an AAA
    /// server says of it.
    fn issue_request(
        &mut self,
        mn_id: &MobileNodeId,
        done: &Message,
        authorisation: Option<&Authorisation>,
        now: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<IssueRequest, StatusCode> {
        // R-5: Done has both.
        let (Some(proposed), Some(offered)) = (done.scope, &done.suite_list) else {
            return Err(StatusCode::BadRequest);
        };
        let granted = self.granted(mn_id, authorisation);
        let Granted { policy, validity, grant } = granted.map_err(|refusal| {
            let status = refusal.status();
            if let Refusal::Misfit(misfit) = refusal {
                self.misfit = Some(misfit);
            }
            status
        })?;
        let suite = policy.choose_suite(offered).ok_or(StatusCode::NotImplemented)?;
        let mut keys =
            || direction_keys(suite, entropy).map_err(|_| StatusCode::InternalServerError);
        Ok(IssueRequest {
            mn_id: mn_id.clone(),
            suite,
            scope: policy.choose_scope(proposed),
            mn_to_ha: keys()?,
            ha_to_mn: keys()?,
            validity_end: now.saturating_add(validity),
            grant,
            account: None,
        })
    }

    /// Response/MHAuth-Done with the SA and the bootstrapping data (RFC 6618 s.5.6, 5.7).
    fn success(&self, signer: &Signer, record: &SaRecord) -> Option<Zeroizing<Vec<u8>>> {
        let agent = self.realm.home_agent(&record.home_agent)?;
        let (to_ha, to_mn) = (&record.mn_to_ha, &record.ha_to_mn);
        let response = Message {
            status: Some(StatusCode::Ok),
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
            hnp_ip6: Some(agent.home_prefix_of(record.home_address)),
            hnp_ip4: agent.prefix_ip4.map(|prefix| (prefix.network(), prefix.prefix_len())),
            dns_ip6: self.realm.dns_ip6.clone(),
            dns_ip4: self.realm.dns_ip4.clone(),
            ..signer.headers()
        };
        Some(self.sign(signer, &response))
    }

    /// A refusal to a mobile node whose key is at hand, or stands in for one (R-8).
    fn refuse(&self, signer: &Signer, status: StatusCode, now: u64) -> Reply {
        self.refuse_until(signer, status, now.saturating_add(self.retry_after))
    }

    /// A refusal; a 503 asks to come back at `retry_after` (unix seconds).
    fn refuse_until(&self, signer: &Signer, status: StatusCode, retry_after: u64) -> Reply {
        let retry_after = (status == StatusCode::ServiceUnavailable).then_some(retry_after);
        let response = Message { status: Some(status), retry_after, ..signer.headers() };
        Reply { content: self.sign(signer, &response), outcome: Outcome::Refused(status) }
    }

    fn sign(&self, signer: &Signer, response: &Message) -> Zeroizing<Vec<u8>> {
        let key = match signer {
            Signer::Psk(exchange) => exchange.psk().octets(),
            Signer::Eap(signer) => signer.key(),
        };
        response.encode_signed(Side::Hac, key, self.binding.octets())
    }

    fn subscriber(&self, mn_id: &MobileNodeId) -> Option<Arc<Subscriber>> {
        self.realm.subscribers.find(mn_id)
    }
}

impl Signer {
    /// The headers that a final response repeats or ends the method with.
    fn headers(&self) -> Message {
        match self {
            Self::Psk(exchange) => exchange.headers(),
            Self::Eap(signer) => signer.headers(),
        }
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
