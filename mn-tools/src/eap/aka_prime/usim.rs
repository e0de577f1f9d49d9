//! A USIM in software, for labs: K in a file, SQN in another.
//!
//! Read first: 3GPP TS 33.102 s.6.3.3, 6.3.5, annex C.2.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::milenage::Milenage;

/// AMF in what asks for resynchronisation (TS 33.102 s.6.3.3).
const AMF_STAR: [u8; 2] = [0, 0];
/// The bit of AMF that marks vectors for other than UMTS access (TS 33.102 annex H).
const SEPARATION: u8 = 0x80;

/// What the card makes of a challenge.
#[derive(ZeroizeOnDrop)]
pub(super) struct Vector {
    pub(super) res: [u8; 8],
    pub(super) ck: [u8; 16],
    pub(super) ik: [u8; 16],
    /// The first octets of AUTN: what CK' and IK' are bound to.
    pub(super) sqn_xor_ak: [u8; 6],
}

/// Why the card does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CardFault {
    /// AUTN is not by one who knows K, or not for this use.
    Mac,
    /// SQN was used; AUTS asks the network to go on from ours.
    Sync([u8; 14]),
    /// The file of SQN can't be read or written.
    State,
}

/// What the card remembers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// The highest that was accepted.
    sqn: u64,
    /// What the network knows us by the next time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pseudonym: Option<String>,
}

/// A USIM. Never printed.
pub struct Usim {
    milenage: Milenage,
    state: PathBuf,
}

/// K and OP or OPc.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Keys {
    /// K.
    pub k: [u8; 16],
    /// OP or OPc.
    pub operator: [u8; 16],
    /// Whether `operator` is OP.
    pub is_op: bool,
}

impl fmt::Debug for Usim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Usim").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Usim {
    /// A card with these keys, whose SQN is kept in the file at `state`.
    #[must_use]
    pub fn new(keys: &Keys, state: PathBuf) -> Self {
        let milenage = if keys.is_op {
            Milenage::with_op(&keys.k, &keys.operator)
        } else {
            Milenage::new(&keys.k, &keys.operator)
        };
        Self { milenage, state }
    }

    /// The file that SQN is kept in.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Judges AUTN and answers RAND. The new SQN is in the file before.
    pub(super) fn authenticate(
        &self,
        rand: &[u8; 16],
        autn: &[u8; 16],
    ) -> Result<Vector, CardFault> {
        let [a, b, c, d, e, f, amf @ .., m0, m1, m2, m3, m4, m5, m6, m7] = *autn;
        let (sqn_xor_ak, mac) = ([a, b, c, d, e, f], [m0, m1, m2, m3, m4, m5, m6, m7]);
        let outputs = self.milenage.outputs(rand);
        let sqn = xor(sqn_xor_ak, outputs.ak);
        let (mac_a, _) = self.milenage.f1(rand, &sqn, amf);
        // RFC 9048 s.3.3: the separation bit, as if AUTN were incorrect.
        let [high, _] = amf;
        if !bool::from(mac_a.ct_eq(&mac)) || high & SEPARATION == 0 {
            return Err(CardFault::Mac);
        }
        let mut state = self.load().map_err(|error| self.complain(&error))?;
        let number = number(sqn);
        if number <= state.sqn {
            return Err(CardFault::Sync(self.auts(rand, state.sqn)));
        }
        state.sqn = number;
        self.store(&state).map_err(|error| self.complain(&error))?;
        Ok(Vector { res: outputs.res, ck: outputs.ck, ik: outputs.ik, sqn_xor_ak })
    }

    fn complain(&self, error: &io::Error) -> CardFault {
        tracing::error!(file = %self.state.display(), %error, "the USIM's state file");
        CardFault::State
    }

    /// SQN_MS xor AK*, MAC-S.
    fn auts(&self, rand: &[u8; 16], sqn: u64) -> [u8; 14] {
        let [_, _, sqn @ ..] = sqn.to_be_bytes();
        let (_, mac_s) = self.milenage.f1(rand, &sqn, AMF_STAR);
        let [a, b, c, d, e, f] = xor(sqn, self.milenage.f5_star(rand));
        let [g, h, i, j, k, l, m, n] = mac_s;
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n]
    }

    /// The pseudonym for this run. Each is used once: where the network has forgotten it, the next
    /// run says the permanent identity.
    pub(crate) fn take_pseudonym(&self) -> io::Result<Option<String>> {
        let mut state = self.load()?;
        let pseudonym = state.pseudonym.take();
        if pseudonym.is_some() {
            self.store(&state)?;
        }
        Ok(pseudonym)
    }

    pub(super) fn keep_pseudonym(&self, pseudonym: String) -> io::Result<()> {
        let state = State { pseudonym: Some(pseudonym), ..self.load()? };
        self.store(&state)
    }

    /// Whether the file can be read; one that is not there is a new card's.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.load().map(drop)
    }

    fn load(&self) -> io::Result<State> {
        match fs::read(&self.state) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(error),
        }
    }

    /// As a whole: a SQN that was accepted is never accepted again.
    fn store(&self, state: &State) -> io::Result<()> {
        let mut draft = self.state.clone().into_os_string();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        let mut file = File::options();
        let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec(state)?)?;
        file.sync_all()?;
        fs::rename(&draft, &self.state)
    }
}

fn number([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

fn xor(one: [u8; 6], two: [u8; 6]) -> [u8; 6] {
    let mut out = one;
    for (to, from) in out.iter_mut().zip(two) {
        *to ^= from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAND: [u8; 16] = [0x23; 16];

    fn card(state: PathBuf) -> Usim {
        Usim::new(&Keys { k: [1; 16], operator: [2; 16], is_op: true }, state)
    }

    fn autn(card: &Usim, sqn: u64, amf: [u8; 2]) -> [u8; 16] {
        let [_, _, sqn @ ..] = sqn.to_be_bytes();
        let hidden = xor(sqn, card.milenage.outputs(&RAND).ak);
        let (mac, _) = card.milenage.f1(&RAND, &sqn, amf);
        [&hidden[..], &amf, &mac].concat().try_into().unwrap()
    }

    /// TS 33.102 s.6.3.3: each SQN once, across restarts.
    #[test]
    fn a_sequence_number_is_accepted_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("usim.json");
        let accept = |sqn, amf| {
            let card = card(state.clone());
            card.authenticate(&RAND, &autn(&card, sqn, amf)).map(drop)
        };
        assert_eq!(accept(32, [0x80, 0]), Ok(()));
        let Err(CardFault::Sync(auts)) = accept(32, [0x80, 0]) else { panic!("accepted twice") };
        // The network gets our SQN out of AUTS.
        let card = card(state.clone());
        let sqn = xor(auts[..6].try_into().unwrap(), card.milenage.f5_star(&RAND));
        assert_eq!(number(sqn), 32);
        assert_eq!(auts[6..], card.milenage.f1(&RAND, &sqn, [0, 0]).1);
        assert_eq!(accept(33, [0x80, 0]), Ok(()));
        // RFC 9048 s.3.3.
        assert_eq!(accept(64, [0x7f, 0xff]), Err(CardFault::Mac));
        let mut wrong = autn(&card, 64, [0x80, 0]);
        for at in 0..16 {
            wrong[at] ^= 1;
            assert_eq!(card.authenticate(&RAND, &wrong).map(drop), Err(CardFault::Mac), "{at}");
            wrong[at] ^= 1;
        }
        assert_eq!(accept(64, [0x80, 0]), Ok(()));
        fs::write(&state, "no JSON").unwrap();
        assert_eq!(accept(96, [0x80, 0]), Err(CardFault::State));
    }

    #[test]
    fn a_pseudonym_is_used_once() {
        let folder = tempfile::tempdir().unwrap();
        let card = card(folder.path().join("usim.json"));
        assert_eq!(card.take_pseudonym().unwrap(), None);
        card.keep_pseudonym("7abc".to_owned()).unwrap();
        assert_eq!(card.take_pseudonym().unwrap().as_deref(), Some("7abc"));
        assert_eq!(card.take_pseudonym().unwrap(), None);
    }
}
