//! EAP-AKA', with a USIM in software.
//!
//! Read first: RFC 9048 s.3; RFC 4187 s.4, 6, 9; reading R-10.
//!
//! | module | what |
//! |---|---|
//! | [`usim`], `milenage` | the card: sequence numbers, AUTN, and the functions behind them |
//! | `attribute`, `keys` | what messages are made of, and what protects them |
//!
//! ```text
//!  Identity --> AT_IDENTITY, as often as it is asked for
//!  Challenge, another KDF first --> AT_KDF: ours
//!  Challenge --> AT_RES, AT_MAC: the last      (SQN used: AT_AUTS; AUTN wrong: Reject)
//! ```
//!
//! There is no fast re-authentication: each bootstrap asks the card. Pseudonyms are used where the
//! server hands them out.

use hearth_wire::eap::{Code, EapType, encode};
use sha2::{Digest, Sha256};

use self::attribute::{
    AT_ANY_ID_REQ, AT_AUTN, AT_AUTS, AT_CHECKCODE, AT_CLIENT_ERROR_CODE, AT_ENCR_DATA,
    AT_FULLAUTH_ID_REQ, AT_IDENTITY, AT_IV, AT_KDF, AT_KDF_INPUT, AT_MAC, AT_NEXT_PSEUDONYM,
    AT_NOTIFICATION, AT_PERMANENT_ID_REQ, AT_RAND, AT_RES, Attributes, HEADER_LEN, Subtype,
    message, put, put_counted,
};
use self::keys::Keys;
use self::usim::CardFault;
use super::{EapFault, Method, Request, Step};

mod attribute;
mod keys;
mod milenage;
pub mod usim;

pub use usim::Usim;

/// The only function there is (RFC 9048 s.3.3).
const KDF: u16 = 1;
/// Octets of an EAP packet before the attributes.
const BEFORE: usize = 5 + HEADER_LEN;
/// Requests for the identity in one run at most (RFC 4187 s.4.1.4).
const MAX_IDENTITIES: u8 = 3;
/// Octets of the longest pseudonym that is kept.
const MAX_PSEUDONYM: usize = 200;
/// RFC 4187 s.10.19: a notification that comes before the challenge, and is not protected.
const BEFORE_CHALLENGE: u16 = 0x4000;

/// What EAP-AKA' needs.
pub struct AkaCredentials<'a> {
    /// The card.
    pub usim: &'a Usim,
    /// What EAP-Response/Identity says: a pseudonym where there is one.
    pub identity: String,
    /// Who we are (RFC 9048 s.5.3.2.1): said where the server asks for it.
    pub permanent: String,
    /// The access network's name, if the server must say this one.
    pub network: Option<String>,
    /// Whether pseudonyms are kept.
    pub pseudonyms: bool,
}

/// One run.
pub(super) struct AkaPrime<'a> {
    credentials: &'a AkaCredentials<'a>,
    /// What was said last.
    identity: &'a str,
    identities: u8,
    /// Over the Identity messages, for AT_CHECKCODE.
    checked: Sha256,
    /// What AT_KDF offered, once another function was asked for.
    offered: Option<Vec<u16>>,
}

impl<'a> AkaPrime<'a> {
    pub(super) fn new(credentials: &'a AkaCredentials<'a>) -> Self {
        Self {
            credentials,
            identity: &credentials.identity,
            identities: 0,
            checked: Sha256::new(),
            offered: None,
        }
    }

    /// RFC 4187 s.4.1: who we are, the pseudonym only as long as it will do.
    fn identity(&mut self, request: Request<'_>, attributes: &Attributes<'_>) -> Step {
        self.identities = self.identities.saturating_add(1);
        let asked = [AT_ANY_ID_REQ, AT_FULLAUTH_ID_REQ, AT_PERMANENT_ID_REQ];
        let asked = asked.into_iter().filter(|kind| attributes.has(*kind)).collect::<Vec<_>>();
        self.identity = match asked.as_slice() {
            _ if self.identities > MAX_IDENTITIES => return client_error(),
            [AT_PERMANENT_ID_REQ] => &self.credentials.permanent,
            [_] => &self.credentials.identity,
            _ => return client_error(),
        };
        let mut data = message(Subtype::Identity);
        let octets = self.identity.as_bytes();
        let length = u16::try_from(octets.len()).unwrap_or(u16::MAX);
        put_counted(&mut data, AT_IDENTITY, length, octets);
        self.checked.update(request.octets);
        let response = encode(Code::Response, request.identifier, EapType::AKA_PRIME, &data);
        self.checked.update(response.unwrap_or_default());
        Step::Response(data)
    }

    fn challenge(&mut self, request: Request<'_>, attributes: &Attributes<'_>) -> Step {
        match self.kdf(attributes) {
            Ok(()) => {}
            Err(step) => return step,
        }
        let network = attributes.counted(AT_KDF_INPUT).filter(|network| !network.is_empty());
        let (Some(network), Some(rand), Some(autn)) =
            (network, attributes.sixteen(AT_RAND), attributes.sixteen(AT_AUTN))
        else {
            return reject(EapFault::Network);
        };
        if self.credentials.network.as_ref().is_some_and(|name| name.as_bytes() != network) {
            return reject(EapFault::Network);
        }
        let vector = match self.credentials.usim.authenticate(rand, autn) {
            Ok(vector) => vector,
            Err(CardFault::Mac) => return reject(EapFault::Network),
            Err(CardFault::Sync(auts)) => return synchronise(&auts, attributes),
            Err(CardFault::State) => return give_up(EapFault::CardState),
        };
        let keys = Keys::derive(&vector, network, self.identity.as_bytes());
        let mac = attributes.0.iter().find(|attribute| attribute.kind == AT_MAC);
        let authentic = mac.is_some_and(|mac| {
            mac.value.len() == 18 && keys.verify(request.octets, BEFORE + mac.at + 2)
        });
        if !authentic || !self.is_checked(attributes) {
            return give_up(EapFault::Network);
        }
        if self.credentials.pseudonyms {
            self.keep_pseudonym(&keys, attributes);
        }
        let mut data = message(Subtype::Challenge);
        put_counted(&mut data, AT_RES, 64, &vector.res);
        if let Some(checkcode) = attributes.one(AT_CHECKCODE) {
            put(&mut data, AT_CHECKCODE, checkcode);
        }
        put(&mut data, AT_MAC, &[0; 18]);
        let response = encode(Code::Response, request.identifier, EapType::AKA_PRIME, &data);
        let mac = keys.mac(&response.unwrap_or_default());
        let len = data.len();
        if let Some(value) = data.get_mut(len - mac.len()..) {
            value.copy_from_slice(&mac);
        }
        Step::Last(data, keys.msk())
    }

    /// RFC 9048 s.3.2: the choice of a function; `Err`: what to say instead of an answer.
    fn kdf(&mut self, attributes: &Attributes<'_>) -> Result<(), Step> {
        let offers = attributes.kdfs().unwrap_or_default();
        if let Some(before) = &self.offered {
            // The requested change, and only that.
            let changed = matches!(offers.split_first(), Some((&KDF, rest)) if rest == before);
            return if changed { Ok(()) } else { Err(give_up(EapFault::Network)) };
        }
        let twice = |(at, offer): (usize, &u16)| offers.iter().take(at).any(|o| o == offer);
        if offers.iter().enumerate().any(twice) || !offers.contains(&KDF) {
            return Err(reject(EapFault::Network));
        }
        if offers.first() == Some(&KDF) {
            return Ok(());
        }
        self.offered = Some(offers);
        let mut data = message(Subtype::Challenge);
        put(&mut data, AT_KDF, &KDF.to_be_bytes());
        Err(Step::Response(data))
    }

    /// RFC 4187 s.10.13: the server saw the Identity messages that we saw. Empty where there were
    /// none.
    fn is_checked(&self, attributes: &Attributes<'_>) -> bool {
        if !attributes.has(AT_CHECKCODE) {
            return true;
        }
        let Some((_reserved, said)) =
            attributes.one(AT_CHECKCODE).and_then(|value| value.split_first_chunk::<2>())
        else {
            return false;
        };
        match self.identities {
            0 => said.is_empty(),
            _ => said == self.checked.clone().finalize().as_slice(),
        }
    }

    /// RFC 4187 s.4.1.1.4. What can't be read or kept is done without.
    fn keep_pseudonym(&self, keys: &Keys, attributes: &Attributes<'_>) {
        let (Some(iv), Some(data)) = (attributes.sixteen(AT_IV), attributes.one(AT_ENCR_DATA))
        else {
            return;
        };
        let Some(clear) = data.get(2..).and_then(|data| keys.decrypt(iv, data)) else { return };
        let pseudonym = Attributes::parse(&clear)
            .and_then(|inner| inner.counted(AT_NEXT_PSEUDONYM).map(<[u8]>::to_vec))
            .and_then(|octets| String::from_utf8(octets).ok())
            .filter(|name| !name.is_empty() && name.len() <= MAX_PSEUDONYM);
        if let Some(pseudonym) = pseudonym
            && let Err(error) = self.credentials.usim.keep_pseudonym(pseudonym)
        {
            let state = self.credentials.usim.state().display();
            tracing::warn!(%error, %state, "a pseudonym can't be kept");
        }
    }
}

/// RFC 4187 s.9.8: error code 0, unable to process packet.
fn give_up(fault: EapFault) -> Step {
    let mut data = message(Subtype::ClientError);
    put(&mut data, AT_CLIENT_ERROR_CODE, &[0, 0]);
    Step::GiveUp(data, fault)
}

fn client_error() -> Step {
    give_up(EapFault::Malformed)
}

/// RFC 4187 s.6.3.1: AUTN is not right.
fn reject(fault: EapFault) -> Step {
    Step::GiveUp(message(Subtype::AuthenticationReject), fault)
}

/// RFC 4187 s.9.6; RFC 9048 s.3.2: with a copy of every AT_KDF.
fn synchronise(auts: &[u8; 14], attributes: &Attributes<'_>) -> Step {
    let mut data = message(Subtype::SynchronizationFailure);
    put(&mut data, AT_AUTS, auts);
    for kdf in attributes.kdfs().unwrap_or_default() {
        put(&mut data, AT_KDF, &kdf.to_be_bytes());
    }
    Step::Response(data)
}

/// RFC 4187 s.6.1: before the challenge nothing protects it, and it is never of success.
fn notification(attributes: &Attributes<'_>) -> Step {
    let code = attributes.one(AT_NOTIFICATION).and_then(|value| value.try_into().ok());
    match code.map(u16::from_be_bytes) {
        Some(code) if code & BEFORE_CHALLENGE != 0 && code & 0x8000 == 0 => {
            Step::GiveUp(message(Subtype::Notification), EapFault::Notified(code))
        }
        _ => client_error(),
    }
}

impl Method for AkaPrime<'_> {
    fn request(&mut self, request: Request<'_>) -> Result<Step, EapFault> {
        let Some((&[subtype, ..], octets)) = request.data.split_first_chunk::<HEADER_LEN>() else {
            return Ok(client_error());
        };
        let Some(attributes) = Attributes::parse(octets) else { return Ok(client_error()) };
        Ok(match subtype {
            _ if subtype == Subtype::Identity as u8 => self.identity(request, &attributes),
            _ if subtype == Subtype::Challenge as u8 => self.challenge(request, &attributes),
            _ if subtype == Subtype::Notification as u8 => notification(&attributes),
            _ => client_error(),
        })
    }
}

/// The permanent identity of an IMSI in its home network (RFC 9048 s.5.3.2.1; TS 23.003 s.19.3.2):
/// 6, the IMSI, and the realm of its MCC and MNC of `mnc_digits` digits.
#[must_use]
pub fn permanent_identity(imsi: &str, mnc_digits: usize) -> (String, String) {
    let (mcc, rest) = imsi.split_at_checked(3).unwrap_or((imsi, ""));
    let mnc = rest.get(..mnc_digits).unwrap_or(rest);
    let realm = format!("wlan.mnc{mnc:0>3}.mcc{mcc}.3gppnetwork.org");
    (format!("6{imsi}@{realm}"), realm)
}

#[cfg(test)]
mod tests;
