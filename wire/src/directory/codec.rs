//! Frames of the SA directory's socket.
//!
//! A frame is the length of its body (4 octets), then the body: a tag and the fields of that tag in
//! the order of the type's declaration. Numbers are in network order; texts and keys have one octet
//! of length in front. A field that is added later gets a new tag, so that both ends notice; where
//! its absence has a meaning, it stands behind all others instead, as the services of a record do
//! ([`super::services`]): a record from before there were any has the defaults. The end of a replay
//! ([`Update::Synced`]) has no fields where the HAC does not say which SPIs are its own.
//!
//! ```text
//! +--------+--------+--------+--------+--------+------ ... ------+
//! |          length of the body       |  tag   |     fields      |
//! +--------+--------+--------+--------+--------+------ ... ------+
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zeroize::Zeroizing;

use super::{DirectionKeys, Request, SaRecord, Services, SpiRange, Update, Usage};
use crate::ids::{MobileNodeId, Spi};
use crate::suite::{Scope, Suite};

/// The longest frame in octets, length included; a record with the longest names and the most
/// prefixes takes less.
pub const MAX_FRAME: usize = 2048;

/// Octets of the length in front of a body.
const LENGTH_LEN: usize = 4;

mod tag {
    pub(super) const WATCH: u8 = 0x01;
    pub(super) const LOOKUP: u8 = 0x02;
    pub(super) const ALIVE: u8 = 0x03;
    pub(super) const USAGE: u8 = 0x04;
    pub(super) const ISSUED: u8 = 0x81;
    pub(super) const REVOKED: u8 = 0x82;
    pub(super) const SYNCED: u8 = 0x83;
    pub(super) const UNKNOWN: u8 = 0x84;
    pub(super) const USAGE_WANTED: u8 = 0x85;
}

/// Why a frame is refused. Unless it is a record ([`refused_record`]), the stream has no meaning
/// behind it: close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DirectoryError {
    /// The length is 0 or above [`MAX_FRAME`].
    Length,
    /// The tag is unknown, or belongs to the other direction.
    Tag,
    /// The fields need more octets than the body has.
    Truncated,
    /// Octets are left over behind the fields.
    Trailing,
    /// SPI 0 or above 28 bits.
    Spi,
    /// The mn-id is not a network access identifier.
    MobileNodeId,
    /// The home agent's name is not UTF-8.
    HomeAgent,
    /// The suite is neither one of RFC 6618 s.5.6.5 nor the extension of R-16; NULL integrity is
    /// none (ENC-21).
    Suite,
    /// The scope is neither 0 nor 1.
    Scope,
    /// A key does not have its suite's length (ENC-21).
    KeyLength,
    /// The octet that says whether an IPv4 home address follows, or whether an SA is over, is neither 0
    /// nor 1; the one that says which care-of address follows is not 0, 4 or 6.
    Presence,
    /// What the subscriber may does not make sense: an unknown flag, a number that is too high, a
    /// prefix with host bits or of no known family.
    Services,
    /// The last SPI of a range is below its first.
    Range,
}

impl core::fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Length => "frame is empty or longer than 2048 octets",
            Self::Tag => "unknown tag",
            Self::Truncated => "frame ends within a field",
            Self::Trailing => "octets behind the last field",
            Self::Spi => "SPI is not in 1 to 268435455",
            Self::MobileNodeId => "mn-id is not a network access identifier",
            Self::HomeAgent => "name of the home agent is not UTF-8",
            Self::Suite => "unknown ciphersuite",
            Self::Scope => "scope is neither 0 nor 1",
            Self::KeyLength => "key does not have the length of its suite",
            Self::Presence => "an octet of presence has no such value",
            Self::Services => "services are malformed or beyond what a subscriber can have",
            Self::Range => "a range of SPIs ends before it begins",
        })
    }
}

impl std::error::Error for DirectoryError {}

/// The body of the first frame in `buf` and the octets that the frame takes off `buf`; `None`
/// where more octets have to be read first.
///
/// # Errors
/// [`DirectoryError::Length`], as soon as the length is there.
pub fn deframe(buf: &[u8]) -> Result<Option<(&[u8], usize)>, DirectoryError> {
    let Some((length, rest)) = buf.split_first_chunk::<LENGTH_LEN>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length == 0 || length > MAX_FRAME - LENGTH_LEN {
        return Err(DirectoryError::Length);
    }
    Ok(rest.get(..length).map(|body| (body, LENGTH_LEN + length)))
}

/// The frame of `request`, length included; `None` where the home agent's name has more than 255
/// octets.
#[must_use]
pub fn encode_request(request: &Request) -> Option<Vec<u8>> {
    let mut body = Body::with_room(2 + usize::from(u8::MAX));
    match request {
        Request::Watch { home_agent } => {
            body.put(&[tag::WATCH]);
            body.put_short(home_agent.as_bytes())?;
        }
        Request::Lookup { spi } => body.put_spi(tag::LOOKUP, *spi),
        Request::Alive => body.put(&[tag::ALIVE]),
        Request::Usage(usage) => put_usage(&mut body, usage),
    }
    // A request holds no secret.
    body.finish().map(|mut frame| core::mem::take(&mut *frame))
}

/// The frame of `update`, length included; `None` where the home agent's name has more than 255
/// octets.
#[must_use]
pub fn encode_update(update: &Update) -> Option<Zeroizing<Vec<u8>>> {
    let mut body = Body::with_room(match update {
        Update::Issued(record) => most_octets(record),
        Update::Revoked(_) | Update::Unknown(_) | Update::UsageWanted(_) => 5,
        Update::Synced(_) => 9,
    });
    match update {
        Update::Issued(record) => put_record(&mut body, record)?,
        Update::Revoked(spi) => body.put_spi(tag::REVOKED, *spi),
        Update::Synced(spis) => {
            body.put(&[tag::SYNCED]);
            for spi in spis.iter().flat_map(|spis| [spis.first(), spis.last()]) {
                body.put(&spi.get().to_be_bytes());
            }
        }
        Update::Unknown(spi) => body.put_spi(tag::UNKNOWN, *spi),
        Update::UsageWanted(spi) => body.put_spi(tag::USAGE_WANTED, *spi),
    }
    body.finish()
}

/// What a record takes at the most.
fn most_octets(record: &SaRecord) -> usize {
    const FIXED: usize = 128;
    const PREFIX: usize = 18;
    let keys = [&record.mn_to_ha, &record.ha_to_mn];
    let keys = keys.map(|keys| keys.integrity().len() + keys.encryption().len());
    let names = record.mn_id.as_str().len() + record.home_agent.len();
    FIXED + names + keys.iter().sum::<usize>() + PREFIX * record.services.prefixes.len()
}

fn put_record(body: &mut Body, record: &SaRecord) -> Option<()> {
    body.put_spi(tag::ISSUED, record.spi);
    body.put_short(record.mn_id.as_str().as_bytes())?;
    body.put_short(record.home_agent.as_bytes())?;
    body.put(&record.suite.code());
    body.put(&[record.scope.digit()]);
    for keys in [&record.mn_to_ha, &record.ha_to_mn] {
        body.put_short(keys.integrity())?;
        body.put_short(keys.encryption())?;
    }
    body.put(&record.validity_end.to_be_bytes());
    body.put(&record.home_address.octets());
    match record.ipv4_home_address {
        Some(address) => {
            body.put(&[1]);
            body.put(&address.octets());
        }
        None => body.put(&[0]),
    }
    body.put(&record.ha_address.octets());
    body.put(&record.generation.to_be_bytes());
    record.services.put(|octets| body.put(octets))
}

fn put_usage(body: &mut Body, usage: &Usage) {
    body.put_spi(tag::USAGE, usage.spi);
    for number in [usage.packets_in, usage.octets_in, usage.packets_out, usage.octets_out] {
        body.put(&number.to_be_bytes());
    }
    body.put(&[u8::from(usage.is_over)]);
    match usage.care_of {
        None => body.put(&[0]),
        Some(IpAddr::V4(address)) => {
            body.put(&[4]);
            body.put(&address.octets());
        }
        Some(IpAddr::V6(address)) => {
            body.put(&[6]);
            body.put(&address.octets());
        }
    }
}

/// Reads the body of a request.
///
/// # Errors
/// [`DirectoryError`].
pub fn decode_request(body: &[u8]) -> Result<Request, DirectoryError> {
    let mut fields = Fields(body);
    let request = match fields.octet()? {
        tag::WATCH => Request::Watch { home_agent: fields.name()? },
        tag::LOOKUP => Request::Lookup { spi: fields.spi()? },
        tag::ALIVE => Request::Alive,
        tag::USAGE => Request::Usage(fields.usage()?),
        _ => return Err(DirectoryError::Tag),
    };
    fields.end()?;
    Ok(request)
}

/// Reads the body of an update.
///
/// # Errors
/// [`DirectoryError`].
pub fn decode_update(body: &[u8]) -> Result<Update, DirectoryError> {
    let mut fields = Fields(body);
    let update = match fields.octet()? {
        tag::ISSUED => Update::Issued(Box::new(fields.record()?)),
        tag::REVOKED => Update::Revoked(fields.spi()?),
        tag::SYNCED if fields.0.is_empty() => Update::Synced(None),
        tag::SYNCED => Update::Synced(Some(fields.spis()?)),
        tag::UNKNOWN => Update::Unknown(fields.spi()?),
        tag::USAGE_WANTED => Update::UsageWanted(fields.spi()?),
        _ => return Err(DirectoryError::Tag),
    };
    fields.end()?;
    Ok(update)
}

/// Whose record it is that [`decode_update`] refuses: its SPI, where `body` is a record and has one.
/// Its frame is whole, so the stream goes on behind it.
#[must_use]
pub fn refused_record(body: &[u8]) -> Option<Spi> {
    let mut fields = Fields(body);
    (fields.octet() == Ok(tag::ISSUED)).then(|| fields.spi().ok()).flatten()
}

/// A frame being written. It never grows beyond its first allocation, so no copy of a key is left
/// behind.
struct Body(Zeroizing<Vec<u8>>);

impl Body {
    /// Room for all that it will hold: it may not grow, or keys are left behind, and all of it is
    /// wiped at the end, which costs more than to fill it.
    fn with_room(octets: usize) -> Self {
        let mut frame = Vec::with_capacity(LENGTH_LEN + octets);
        frame.extend_from_slice(&[0; LENGTH_LEN]);
        Self(Zeroizing::new(frame))
    }

    fn put(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    fn put_spi(&mut self, tag: u8, spi: Spi) {
        self.put(&[tag]);
        self.put(&spi.get().to_be_bytes());
    }

    fn put_short(&mut self, octets: &[u8]) -> Option<()> {
        self.put(&[u8::try_from(octets.len()).ok()?]);
        self.put(octets);
        Some(())
    }

    fn finish(mut self) -> Option<Zeroizing<Vec<u8>>> {
        let (length, body) = self.0.split_first_chunk_mut::<LENGTH_LEN>()?;
        *length = u32::try_from(body.len()).ok()?.to_be_bytes();
        Some(self.0)
    }
}

/// The fields that are left to read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DirectoryError> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(DirectoryError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    fn octet(&mut self) -> Result<u8, DirectoryError> {
        self.array::<1>().map(|[octet]| octet)
    }

    fn short(&mut self) -> Result<&'a [u8], DirectoryError> {
        let len = usize::from(self.octet()?);
        let (octets, rest) = self.0.split_at_checked(len).ok_or(DirectoryError::Truncated)?;
        self.0 = rest;
        Ok(octets)
    }

    fn spi(&mut self) -> Result<Spi, DirectoryError> {
        Spi::new(u32::from_be_bytes(self.array()?)).map_err(|_| DirectoryError::Spi)
    }

    fn spis(&mut self) -> Result<SpiRange, DirectoryError> {
        let (first, last) = (self.spi()?, self.spi()?);
        SpiRange::new(first, last).ok_or(DirectoryError::Range)
    }

    fn name(&mut self) -> Result<Box<str>, DirectoryError> {
        str::from_utf8(self.short()?).map(Box::from).map_err(|_| DirectoryError::HomeAgent)
    }

    fn mn_id(&mut self) -> Result<MobileNodeId, DirectoryError> {
        str::from_utf8(self.short()?)
            .ok()
            .and_then(|text| MobileNodeId::new(text).ok())
            .ok_or(DirectoryError::MobileNodeId)
    }

    fn keys(&mut self, suite: Suite) -> Result<DirectionKeys, DirectoryError> {
        let (integrity, encryption) = (self.short()?, self.short()?);
        DirectionKeys::new(suite, integrity.into(), encryption.into())
            .ok_or(DirectoryError::KeyLength)
    }

    fn record(&mut self) -> Result<SaRecord, DirectoryError> {
        let spi = self.spi()?;
        let mn_id = self.mn_id()?;
        let home_agent = self.name()?;
        let suite = Suite::from_code(self.array()?).ok_or(DirectoryError::Suite)?;
        let scope = Scope::from_digit(self.octet()?).ok_or(DirectoryError::Scope)?;
        Ok(SaRecord {
            spi,
            mn_id,
            home_agent,
            suite,
            scope,
            mn_to_ha: self.keys(suite)?,
            ha_to_mn: self.keys(suite)?,
            validity_end: u64::from_be_bytes(self.array()?),
            home_address: Ipv6Addr::from(self.array::<16>()?),
            ipv4_home_address: match self.octet()? {
                0 => None,
                1 => Some(Ipv4Addr::from(self.array::<4>()?)),
                _ => return Err(DirectoryError::Presence),
            },
            ha_address: Ipv6Addr::from(self.array::<16>()?),
            generation: u64::from_be_bytes(self.array()?),
            services: if self.0.is_empty() { Services::default() } else { self.services()? },
        })
    }

    fn usage(&mut self) -> Result<Usage, DirectoryError> {
        let spi = self.spi()?;
        let mut number = || self.array().map(u64::from_be_bytes);
        let (packets_in, octets_in, packets_out, octets_out) =
            (number()?, number()?, number()?, number()?);
        let is_over = match self.octet()? {
            0 => false,
            1 => true,
            _ => return Err(DirectoryError::Presence),
        };
        let care_of = match self.octet()? {
            0 => None,
            4 => Some(IpAddr::from(self.array::<4>()?)),
            6 => Some(IpAddr::from(self.array::<16>()?)),
            _ => return Err(DirectoryError::Presence),
        };
        Ok(Usage { spi, packets_in, octets_in, packets_out, octets_out, care_of, is_over })
    }

    fn services(&mut self) -> Result<Services, DirectoryError> {
        Services::take(|len| {
            let (octets, rest) = self.0.split_at_checked(len).ok_or(DirectoryError::Truncated)?;
            self.0 = rest;
            Ok(octets)
        })
    }

    fn end(&self) -> Result<(), DirectoryError> {
        if self.0.is_empty() { Ok(()) } else { Err(DirectoryError::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(suite: Suite, fill: u8) -> DirectionKeys {
        let key = |len| vec![fill; len].into_boxed_slice();
        DirectionKeys::new(suite, key(suite.ikey_len()), key(suite.ekey_len())).unwrap()
    }

    fn record(suite: Suite, name_len: usize) -> SaRecord {
        SaRecord {
            spi: Spi::new(7).unwrap(),
            mn_id: MobileNodeId::new("mn1@example.net").unwrap(),
            home_agent: "h".repeat(name_len).into(),
            suite,
            scope: Scope::SignallingAndData,
            mn_to_ha: keys(suite, 0xa1),
            ha_to_mn: keys(suite, 0xb2),
            validity_end: 0x0102_0304_0506_0708,
            home_address: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10),
            ipv4_home_address: Some(Ipv4Addr::new(198, 51, 100, 16)),
            ha_address: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
            generation: 3,
            services: Services::default(),
        }
    }

    /// Octets of the services of a record with the defaults.
    const SERVICES_LEN: usize = 8;

    fn issued(record: SaRecord) -> Zeroizing<Vec<u8>> {
        encode_update(&Update::Issued(Box::new(record))).unwrap()
    }

    fn body(frame: &[u8]) -> &[u8] {
        let (body, taken) = deframe(frame).unwrap().unwrap();
        assert_eq!(taken, frame.len());
        body
    }

    #[test]
    fn record_stands_field_by_field() {
        let frame = issued(SaRecord { ipv4_home_address: None, ..record(Suite::NullSha256, 3) });
        let fields: [&[u8]; 18] = [
            &[0, 0, 0, 121, 0x81],
            &[0, 0, 0, 7],
            &[15],
            b"mn1@example.net",
            &[3],
            b"hhh",
            &[0x00, 0x3b, 1],
            &[16],
            &[0xa1; 16],
            &[0, 16],
            &[0xb2; 16],
            &[0],
            &[1, 2, 3, 4, 5, 6, 7, 8],
            &[0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10],
            &[0],
            &[0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 0, 3],
            &[0, 1, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(frame[..], fields.concat());
    }

    #[test]
    fn every_update_and_request_survives_the_wire() {
        let spi = Spi::MAX;
        for suite in Suite::known() {
            let expected = Update::Issued(Box::new(record(suite, 0)));
            assert_eq!(decode_update(body(&issued(record(suite, 0)))), Ok(expected));
        }
        let spis = SpiRange::new(Spi::new(1).unwrap(), spi);
        assert_eq!(encode_update(&Update::Synced(None)).unwrap()[..], [0, 0, 0, 1, 0x83]);
        let small = [Update::Revoked(spi), Update::Synced(None), Update::Unknown(spi)];
        for update in small.into_iter().chain([Update::UsageWanted(spi), Update::Synced(spis)]) {
            let frame = encode_update(&update).unwrap();
            assert_eq!(decode_update(body(&frame)), Ok(update));
        }
        let usage = |care_of, is_over| {
            let (packets_in, octets_in, packets_out, octets_out) = (1, 1 << 40, 3, u64::MAX);
            let usage =
                Usage { spi, packets_in, octets_in, packets_out, octets_out, care_of, is_over };
            Request::Usage(usage)
        };
        for request in [
            Request::Watch { home_agent: "ha1".into() },
            Request::Lookup { spi },
            Request::Alive,
            usage(None, true),
            usage(Some([192, 0, 2, 1].into()), false),
            usage(Some("2001:db8::7".parse().unwrap()), false),
        ] {
            let frame = encode_request(&request).unwrap();
            assert_eq!(decode_request(body(&frame)), Ok(request));
            assert_eq!(decode_update(body(&frame)), Err(DirectoryError::Tag));
        }
    }

    #[test]
    fn the_longest_record_fits_and_is_written_in_one_allocation() {
        let realm = "@example.net";
        let mn_id = format!("{}{realm}", "a".repeat(MobileNodeId::MAX_LEN - realm.len()));
        let mn_id = MobileNodeId::new(&mn_id).unwrap();
        let net = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 0).into();
        let services = Services {
            prefixes: (0..32).map(|n| ipnet::IpNet::new(net(n), 48).unwrap()).collect(),
            ..Services::default()
        };
        let longest = SaRecord { mn_id, services, ..record(Suite::TripleDesEdeCbcSha, 255) };
        for record in [longest, record(Suite::NullSha, 0), record(Suite::Aes128Gcm, 3)] {
            let room = LENGTH_LEN + most_octets(&record);
            let frame = issued(record);
            assert!(frame.len() <= MAX_FRAME);
            assert_eq!(frame.capacity(), room, "a second allocation would leave keys behind");
        }
        let too_long = Update::Issued(Box::new(record(Suite::NullSha, 256)));
        assert!(encode_update(&too_long).is_none());
        assert!(encode_request(&Request::Watch { home_agent: "h".repeat(256).into() }).is_none());
    }

    #[test]
    fn deframe_waits_for_the_whole_frame_and_bounds_it() {
        let frame = issued(record(Suite::Aes128CbcSha, 3));
        for len in 0..frame.len() {
            assert_eq!(deframe(&frame[..len]), Ok(None), "{len} octets");
        }
        let two = [&frame[..], &frame].concat();
        assert_eq!(deframe(&two).unwrap().unwrap().1, frame.len());
        for length in [0_u32, 2045, u32::MAX] {
            assert_eq!(deframe(&length.to_be_bytes()), Err(DirectoryError::Length), "{length}");
        }
        assert_eq!(deframe(&2044_u32.to_be_bytes()), Ok(None));
    }

    /// The record of `suite` with one octet of its body replaced.
    fn altered(suite: Suite, place: usize, value: u8) -> Result<Update, DirectoryError> {
        let mut frame = issued(record(suite, 3));
        frame[LENGTH_LEN + place] = value;
        decode_update(body(&frame))
    }

    #[test]
    fn null_integrity_and_foreign_suites_are_refused() {
        // ENC-21: the suite stands behind tag, SPI, mn-id (1+15) and name (1+3)
        let refused = Err(DirectoryError::Suite);
        assert_eq!(altered(Suite::NullSha, 26, 0x00), refused, "NULL_WITH_NULL_NULL");
        assert_eq!(altered(Suite::NullSha, 26, 0x01), refused, "NULL_MD5");
        assert_eq!(altered(Suite::NullSha, 26, 0x9d), refused, "AES_256_GCM_SHA384");
        assert_eq!(altered(Suite::NullSha, 25, 0xc0), refused);
    }

    #[test]
    fn keys_of_another_length_than_the_suites_are_refused() {
        // ENC-21: NULL_SHA has 20 octets of ikey, NULL_SHA256 has 16
        assert_eq!(altered(Suite::NullSha, 26, 0x3b), Err(DirectoryError::KeyLength));
        assert_eq!(altered(Suite::NullSha256, 26, 0x02), Err(DirectoryError::KeyLength));
        assert_eq!(altered(Suite::Aes128CbcSha, 26, 0x0a), Err(DirectoryError::KeyLength));
    }

    #[test]
    fn a_refused_record_says_whose_it_was() {
        let mut frame = issued(record(Suite::NullSha, 3));
        frame[LENGTH_LEN + 26] = 0;
        assert_eq!(refused_record(body(&frame)), Spi::new(7).ok());
        // Without an SPI, and what is no record.
        assert_eq!(refused_record(&body(&frame)[..4]), None);
        frame[LENGTH_LEN + 1] = 0x10;
        assert_eq!(refused_record(body(&frame)), None);
        for other in [&[][..], &[tag::REVOKED, 0, 0, 0, 7], &[0x99, 0, 0, 0, 7]] {
            assert_eq!(refused_record(other), None);
        }
    }

    #[test]
    fn other_wrong_fields_are_refused_by_name() {
        let suite = Suite::Aes128CbcSha;
        assert_eq!(altered(suite, 0, 0x99), Err(DirectoryError::Tag));
        assert_eq!(altered(suite, 1, 0x10), Err(DirectoryError::Spi));
        assert_eq!(altered(suite, 4, 0), Err(DirectoryError::Spi));
        assert_eq!(altered(suite, 6, b' '), Err(DirectoryError::MobileNodeId));
        assert_eq!(altered(suite, 22, 0xff), Err(DirectoryError::HomeAgent));
        assert_eq!(altered(suite, 27, 2), Err(DirectoryError::Scope));
        // presence: behind the keys (2 x (1+20+1+16)), validity (8) and HoA (16)
        assert_eq!(altered(suite, 28 + 76 + 24, 2), Err(DirectoryError::Presence));
        // services: behind presence (1+4), HA address (16) and generation (8)
        assert_eq!(altered(suite, 28 + 76 + 24 + 29, 8), Err(DirectoryError::Services));
        assert_eq!(altered(suite, 28 + 76 + 24 + 36, 1), Err(DirectoryError::Truncated));
        let mut longer = issued(record(suite, 3))[LENGTH_LEN..].to_vec();
        longer.push(0);
        assert_eq!(decode_update(&longer), Err(DirectoryError::Trailing));
    }

    #[test]
    fn a_body_cut_anywhere_is_refused() {
        let frame = issued(record(Suite::Aes128CbcSha, 3));
        let body = body(&frame);
        let before_services = body.len() - SERVICES_LEN;
        for len in (0..body.len()).filter(|len| *len != before_services) {
            assert_eq!(decode_update(&body[..len]), Err(DirectoryError::Truncated), "{len}");
        }
    }

    /// A record of a HAC that knew no services: its subscriber may what it always could.
    #[test]
    fn a_record_without_services_has_the_defaults() {
        let frame = issued(record(Suite::Aes128CbcSha, 3));
        let body = body(&frame);
        let old = decode_update(&body[..body.len() - SERVICES_LEN]);
        assert_eq!(old, Ok(Update::Issued(Box::new(record(Suite::Aes128CbcSha, 3)))));
        let services = Services { multicast: true, ..Services::default() };
        let new = Update::Issued(Box::new(SaRecord { services, ..record(Suite::NullSha, 0) }));
        let (frame, same) = (encode_update(&new).unwrap(), new);
        assert_eq!(decode_update(&frame[LENGTH_LEN..]), Ok(same));
    }

    #[test]
    fn debug_shows_no_key() {
        let text = format!("{:?}", record(Suite::Aes128CbcSha, 3));
        assert!(text.contains("DirectionKeys(..)") && !text.contains("161"), "{text}");
    }

    proptest! {
        #[test]
        fn decode_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), tag: bool) {
            let mut bytes = bytes;
            if let (Some(first), true) = (bytes.first_mut(), tag) {
                *first = tag::ISSUED;
            }
            let _ = deframe(&bytes);
            let _ = decode_request(&bytes);
            let _ = decode_update(&bytes);
        }
    }
}
