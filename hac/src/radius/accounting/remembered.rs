//! What accounting has to know of an SA after a restart: kept beside its record in the directory's
//! store, as attributes.

use std::net::IpAddr;

use super::ledger::Authorised;
use crate::radius::attribute::{
    ACCT_INTERIM_INTERVAL, ACCT_STATUS_TYPE, Attributes, CALLING_STATION_ID, CLASS, EVENT_TIMESTAMP,
};

/// The value of Acct-Status-Type (RFC 2866 s.5.1).
const STOP: [u8; 4] = 2_u32.to_be_bytes();

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// When the SA was issued, in unix seconds.
    pub begun: u64,
    /// What an AAA server said then; `None`: the HAC authenticated the mobile node itself.
    pub authorised: Option<Authorised>,
    /// A server has taken its Stop, though the directory still has it.
    pub is_stopped: bool,
}

impl Remembered {
    /// As it is kept.
    #[must_use]
    pub fn encode(&self) -> Box<[u8]> {
        let mut octets = Vec::new();
        let mut put = |kind, value: &[u8]| {
            // Nothing here is longer than an attribute can be: it has come in attributes.
            if let Ok(len) = u8::try_from(value.len() + 2) {
                octets.extend_from_slice(&[kind, len]);
                octets.extend_from_slice(value);
            }
        };
        put(EVENT_TIMESTAMP, &self.begun.to_be_bytes());
        if self.is_stopped {
            put(ACCT_STATUS_TYPE, &STOP);
        }
        if let Some(Authorised { class, interim_interval, from }) = &self.authorised {
            put(CALLING_STATION_ID, from.to_string().as_bytes());
            if let Some(seconds) = interim_interval {
                put(ACCT_INTERIM_INTERVAL, &seconds.to_be_bytes());
            }
            class.iter().for_each(|class| put(CLASS, class));
        }
        octets.into()
    }

    /// Reads it; `None` where it is none.
    #[must_use]
    pub fn decode(octets: &[u8]) -> Option<Self> {
        let attributes = Attributes::checked(octets)?;
        let begun = u64::from_be_bytes(attributes.single(EVENT_TIMESTAMP)?.try_into().ok()?);
        let from = attributes.single(CALLING_STATION_ID);
        let from = from.and_then(|text| str::from_utf8(text).ok()?.parse::<IpAddr>().ok());
        let interval = attributes.single(ACCT_INTERIM_INTERVAL);
        let authorised = from.map(|from| Authorised {
            class: attributes.all(CLASS).map(Box::from).collect(),
            interim_interval: interval.and_then(|it| it.try_into().ok().map(u32::from_be_bytes)),
            from,
        });
        let is_stopped = attributes.single(ACCT_STATUS_TYPE) == Some(&STOP);
        Some(Self { begun, authorised, is_stopped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again() {
        let begun = 1_800_000_000;
        let mut remembered = Remembered { begun, authorised: None, is_stopped: false };
        assert_eq!(Remembered::decode(&remembered.encode()), Some(remembered.clone()));
        remembered.authorised = Some(Authorised {
            class: vec![[0xff; 253].into(), [1].into()],
            interim_interval: Some(600),
            from: "2001:db8::7".parse().unwrap(),
        });
        assert_eq!(Remembered::decode(&remembered.encode()), Some(remembered.clone()));
        remembered.is_stopped = true;
        assert_eq!(Remembered::decode(&remembered.encode()), Some(remembered));
        assert_eq!(Remembered::decode(&[]), None);
        assert_eq!(Remembered::decode(&[EVENT_TIMESTAMP, 3, 1]), None);
    }
}
