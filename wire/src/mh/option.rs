//! Mobility options: what RFC 6275 s.6.2, RFC 4283, RFC 5555 s.3 and the extensions put behind a
//! message.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Option Type  | Option Length |   Option Data...
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! | type | option | length | aligned to |
//! |---|---|---|---|
//! | 0 | Pad1 | none | |
//! | 1 | PadN | any | |
//! | 2 | Binding Refresh Advice | 2 | 2n |
//! | 3 | Alternate Care-of Address | 16 | 8n+6 |
//! | 4 | Nonce Indices | 4 | 2n |
//! | 5 | Binding Authorization Data | 12 | 8n+2, and last |
//! | 6 | Mobile Network Prefix | 18 | 8n+4 |
//! | 7 | Mobility Header Link-Layer Address | 1 and the address | |
//! | 8 | Mobile Node Identifier | 1 to 255 | |
//! | 28 | Restart Counter | 4 | 4n+2 |
//! | 29 | IPv4 home address | 6 | 4n |
//! | 30 | IPv4 address acknowledgement | 6 | 4n |
//! | 31 | NAT detection | 6 | 4n |
//! | 32 | IPv4 care-of address | 6 | 4n |
//! | 35 | Binding Identifier | 4, 8, 20 | 2n, with an address 8n+2 |
//! | 44 | Flow Summary | 2 and more | 2n |
//! | 45 | Flow Identification | 6 and more | 2n |
//!
//! A receiver does not insist on alignment: a misplaced option is as clear as one in its place.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::writer::Writer;
use super::{
    BaOptions, BuOptions, Ipv4Ack, Ipv4AckStatus, Ipv4HomeAddress, MhError, NatDetection,
    NonceIndices, Repeated,
};

/// Option Types (the DSMIPv6 ones by R-37).
pub mod option_type {
    /// Pad1.
    pub const PAD1: u8 = 0;
    /// PadN.
    pub const PAD_N: u8 = 1;
    /// Binding Refresh Advice.
    pub const REFRESH_ADVICE: u8 = 2;
    /// Alternate Care-of Address.
    pub const ALTERNATE_COA: u8 = 3;
    /// Nonce Indices.
    pub const NONCE_INDICES: u8 = 4;
    /// Binding Authorization Data.
    pub const AUTHORIZATION: u8 = 5;
    /// Mobile Network Prefix.
    pub const MOBILE_NETWORK_PREFIX: u8 = 6;
    /// Mobility Header Link-Layer Address.
    pub const LINK_LAYER_ADDRESS: u8 = 7;
    /// Mobile Node Identifier.
    pub const MN_ID: u8 = 8;
    /// Restart Counter.
    pub const RESTART_COUNTER: u8 = 28;
    /// IPv4 home address.
    pub const IPV4_HOA: u8 = 29;
    /// IPv4 address acknowledgement.
    pub const IPV4_ACK: u8 = 30;
    /// NAT detection.
    pub const NAT_DETECTION: u8 = 31;
    /// IPv4 care-of address.
    pub const IPV4_COA: u8 = 32;
    /// Binding Identifier.
    pub const BINDING_IDENTIFIER: u8 = 35;
    /// Flow Summary, by RFC 6089 s.4.2.2.
    pub const FLOW_SUMMARY: u8 = 44;
    /// Flow Identification, by RFC 6089 s.4.2.
    pub const FLOW_IDENTIFICATION: u8 = 45;
}

/// Subtype of a Mobile Node Identifier that is a network access identifier (RFC 4283 s.3.1).
pub const MN_ID_NAI: u8 = 1;

/// P of the IPv4 home address option, behind six bits of prefix length.
const PREFIX_REQUEST: u8 = 0x02;
/// Option-Code of a link-layer address that is the mobile node's (RFC 5568; RFC 5648 s.5.6).
const LINK_LAYER_OF_MN: u8 = 2;
/// F of the NAT detection option.
const FORCE_UDP: u8 = 0x80;

/// Splits one option off `options`: type and data. `None` at the end.
pub(super) fn next_option<'a>(options: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, MhError> {
    let [option_type, rest @ ..] = *options else {
        return Ok(None);
    };
    if *option_type == option_type::PAD1 {
        *options = rest;
        return Ok(Some((*option_type, &[])));
    }
    let (len, rest) = rest.split_first().ok_or(MhError::Option)?;
    let (data, rest) = rest.split_at_checked(usize::from(*len)).ok_or(MhError::Option)?;
    *options = rest;
    Ok(Some((*option_type, data)))
}

/// The data of an option that has one length only.
fn fixed<const N: usize>(data: &[u8]) -> Result<[u8; N], MhError> {
    data.try_into().map_err(|_| MhError::Option)
}

/// The data of the first option of type `wanted` (MHP-09); all options are walked.
pub(super) fn first<const N: usize>(
    mut options: &[u8],
    wanted: u8,
) -> Result<Option<[u8; N]>, MhError> {
    let mut first = None;
    while let Some((option_type, data)) = next_option(&mut options)? {
        if option_type == wanted {
            let data = fixed(data)?;
            first.get_or_insert(data);
        }
    }
    Ok(first)
}

/// Checks that every option ends where it says.
pub(super) fn walk(mut options: &[u8]) -> Result<(), MhError> {
    while next_option(&mut options)?.is_some() {}
    Ok(())
}

fn parse_mn_id(data: &[u8]) -> Result<(u8, &[u8]), MhError> {
    data.split_first().map(|(subtype, id)| (*subtype, id)).ok_or(MhError::Option)
}

impl<'a> BuOptions<'a> {
    /// Reads the options of a Binding Update; those of other messages and unknown ones are skipped
    /// (RFC 6275 s.6.2.1), and of a repeated one the first counts (MHP-09).
    ///
    /// # Errors
    /// [`MhError::Option`].
    pub fn parse(mut options: &'a [u8]) -> Result<Self, MhError> {
        let mut read = Self {
            prefixes: Repeated::Wire(options),
            bids: Repeated::Wire(options),
            flows: Repeated::Wire(options),
            flow_summaries: Repeated::Wire(options),
            ..Self::default()
        };
        while let Some((option_type, data)) = next_option(&mut options)? {
            match option_type {
                option_type::ALTERNATE_COA => {
                    let address = Ipv6Addr::from(fixed::<16>(data)?);
                    read.alternate_coa.get_or_insert(address);
                }
                option_type::NONCE_INDICES => {
                    let [a, b, c, d] = fixed::<4>(data)?;
                    let (home, care_of) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                    read.nonce_indices.get_or_insert(NonceIndices { home, care_of });
                }
                option_type::MN_ID => {
                    let mn_id = parse_mn_id(data)?;
                    read.mn_id.get_or_insert(mn_id);
                }
                option_type::IPV4_HOA => {
                    let ipv4_hoa = Ipv4HomeAddress::parse(fixed(data)?);
                    read.ipv4_hoa.get_or_insert(ipv4_hoa);
                }
                option_type::IPV4_COA => {
                    let [_, _, address @ ..] = fixed::<6>(data)?;
                    read.ipv4_coa.get_or_insert(Ipv4Addr::from(address));
                }
                option_type::LINK_LAYER_ADDRESS => {
                    let (code, address) = data.split_first().ok_or(MhError::Option)?;
                    if *code == LINK_LAYER_OF_MN {
                        read.link_layer.get_or_insert(address);
                    }
                }
                _ => {}
            }
        }
        Ok(read)
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        if let Some(address) = self.alternate_coa {
            writer.align(8, 6)?;
            writer.option(option_type::ALTERNATE_COA, &address.octets())?;
        }
        if let Some(hoa) = self.ipv4_hoa {
            hoa.emit(writer)?;
        }
        if let Some(address) = self.ipv4_coa {
            let [a, b, c, d] = address.octets();
            writer.align(4, 0)?;
            writer.option(option_type::IPV4_COA, &[0, 0, a, b, c, d])?;
        }
        if let Some(NonceIndices { home, care_of }) = self.nonce_indices {
            let ([a, b], [c, d]) = (home.to_be_bytes(), care_of.to_be_bytes());
            writer.align(2, 0)?;
            writer.option(option_type::NONCE_INDICES, &[a, b, c, d])?;
        }
        self.prefixes.emit(writer)?;
        // RFC 6089 s.5.3.1: Binding IDs are read in front of the flows that refer to them.
        self.bids.emit(writer)?;
        self.flows.emit(writer)?;
        self.flow_summaries.emit(writer)?;
        if let Some(address) = self.link_layer {
            let len = u8::try_from(address.len() + 1).ok()?;
            writer.put(&[option_type::LINK_LAYER_ADDRESS, len, LINK_LAYER_OF_MN])?;
            writer.put(address)?;
        }
        emit_mn_id(self.mn_id, writer)
    }
}

impl<'a> BaOptions<'a> {
    /// Reads the options of a Binding Acknowledgement; those of other messages and unknown ones
    /// are skipped (RFC 6275 s.6.2.1), and of a repeated one the first counts (MHP-09).
    ///
    /// # Errors
    /// [`MhError::Option`].
    pub fn parse(mut options: &'a [u8]) -> Result<Self, MhError> {
        let mut read = Self {
            bids: Repeated::Wire(options),
            flows: Repeated::Wire(options),
            ..Self::default()
        };
        while let Some((option_type, data)) = next_option(&mut options)? {
            match option_type {
                option_type::REFRESH_ADVICE => {
                    let interval = u16::from_be_bytes(fixed(data)?);
                    read.refresh_advice.get_or_insert(interval);
                }
                option_type::MN_ID => {
                    let mn_id = parse_mn_id(data)?;
                    read.mn_id.get_or_insert(mn_id);
                }
                option_type::IPV4_ACK => {
                    let [status, prefix_len, address @ ..] = fixed::<6>(data)?;
                    read.ipv4_ack.get_or_insert(Ipv4Ack {
                        status: Ipv4AckStatus(status),
                        prefix_len: prefix_len >> 2,
                        address: address.into(),
                    });
                }
                option_type::NAT_DETECTION => {
                    let [flags, _, refresh_time @ ..] = fixed::<6>(data)?;
                    read.nat_detection.get_or_insert(NatDetection {
                        force_udp: flags & FORCE_UDP != 0,
                        refresh_time: u32::from_be_bytes(refresh_time),
                    });
                }
                _ => {}
            }
        }
        Ok(read)
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        emit_refresh_advice(self.refresh_advice, writer)?;
        if let Some(ack) = self.ipv4_ack {
            if ack.prefix_len > 63 {
                return None;
            }
            let [a, b, c, d] = ack.address.octets();
            writer.align(4, 0)?;
            writer
                .option(option_type::IPV4_ACK, &[ack.status.0, ack.prefix_len << 2, a, b, c, d])?;
        }
        if let Some(nat) = self.nat_detection {
            let [a, b, c, d] = nat.refresh_time.to_be_bytes();
            let flags = if nat.force_udp { FORCE_UDP } else { 0 };
            writer.align(4, 0)?;
            writer.option(option_type::NAT_DETECTION, &[flags, 0, a, b, c, d])?;
        }
        // RFC 5648 s.8.2: behind the IPv4 address acknowledgement.
        self.bids.emit(writer)?;
        self.flows.emit(writer)?;
        emit_mn_id(self.mn_id, writer)
    }
}

impl Ipv4HomeAddress {
    pub(super) fn parse([flags, _, address @ ..]: [u8; 6]) -> Self {
        Self {
            prefix_len: flags >> 2,
            prefix_request: flags & PREFIX_REQUEST != 0,
            address: address.into(),
        }
    }

    pub(super) fn emit(self, writer: &mut Writer<'_>) -> Option<()> {
        if self.prefix_len > 63 {
            return None;
        }
        let flags = self.prefix_len << 2 | if self.prefix_request { PREFIX_REQUEST } else { 0 };
        let [a, b, c, d] = self.address.octets();
        writer.align(4, 0)?;
        writer.option(option_type::IPV4_HOA, &[flags, 0, a, b, c, d])
    }
}

/// Writes a Binding Refresh Advice.
pub(super) fn emit_refresh_advice(interval: Option<u16>, writer: &mut Writer<'_>) -> Option<()> {
    let Some(interval) = interval else { return Some(()) };
    writer.align(2, 0)?;
    writer.option(option_type::REFRESH_ADVICE, &interval.to_be_bytes())
}

fn emit_mn_id(mn_id: Option<(u8, &[u8])>, writer: &mut Writer<'_>) -> Option<()> {
    let Some((subtype, id)) = mn_id else {
        return Some(());
    };
    let len = u8::try_from(id.len() + 1).ok()?;
    writer.put(&[option_type::MN_ID, len, subtype])?;
    writer.put(id)
}
