//! Messages, written.
//!
//! Read first: RFC 6618 s.5.5 to 5.8; readings: no white space, no folds, hex in
//! lower case, IPv6 addresses as eight groups, `auth` last, end-of-message as two CRLF.

use core::fmt::{Arguments, Write};
use core::net::Ipv6Addr;
use std::time::{Duration, UNIX_EPOCH};

use zeroize::Zeroizing;

use super::HeaderName;
use super::auth::{Side, authenticator};
use super::message::Message;
use crate::suite::Suite;

const CRLF: &[u8] = b"\r\n";
const END_OF_MESSAGE: &[u8] = b"\r\n\r\n";

/// The last second that an rfc1123-date with its four digits of year can name.
const LAST_SECOND: u64 = 253_402_300_799;

/// Octets of the longest header name, the colon and the CRLF.
const NAME_LEN: usize = "mip6-sa-validity-end:\r\n".len();
/// Octets of the longest value that is neither hex nor text of the peer's: an IPv6 prefix.
const SHORT_LEN: usize = "ffff:".len() * 8 + "/128".len();
/// Octets of 32 in hex.
const HEX_32_LEN: usize = 64;

impl Message {
    /// The content portion without `auth`, end-of-message included.
    #[must_use]
    pub fn encode_unsigned(&self) -> Zeroizing<Vec<u8>> {
        let mut encoder = self.encode_headers();
        encoder.put(END_OF_MESSAGE);
        encoder.0
    }

    /// The content portion with the `auth` of `side` as its last header, end-of-message included.
    #[must_use]
    pub fn encode_signed(&self, side: Side, key: &[u8], cb: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut encoder = self.encode_headers();
        let auth = authenticator(side, key, &encoder.0, cb);
        encoder.hex(HeaderName::Auth, &auth);
        encoder.put(END_OF_MESSAGE);
        encoder.0
    }

    fn encode_headers(&self) -> Encoder {
        let mut encoder = Encoder::new(self);
        self.encode_generic(&mut encoder);
        self.encode_sa(&mut encoder);
        self.encode_bootstrapping(&mut encoder);
        encoder
    }

    /// RFC 6618 s.5.5.
    fn encode_generic(&self, encoder: &mut Encoder) {
        if let Some(mn_id) = &self.mn_id {
            encoder.text(HeaderName::MnId, format_args!("{mn_id}"));
        }
        encoder.list(
            HeaderName::AuthMethod,
            self.auth_methods.iter().map(|method| method.name().to_owned()),
        );
        if let Some(status) = self.status {
            encoder.text(HeaderName::StatusCode, format_args!("{}", status.code()));
        }
        if let Some(time) = self.retry_after {
            encoder.date(HeaderName::RetryAfter, time);
        }
        if let Some(random) = &self.mn_rand {
            encoder.hex(HeaderName::MnRand, random);
        }
        if let Some(random) = &self.hac_rand {
            encoder.hex(HeaderName::HacRand, random);
        }
        if let Some(packet) = &self.eap_payload {
            encoder.hex(HeaderName::EapPayload, packet);
        }
    }

    /// RFC 6618 s.5.6.
    fn encode_sa(&self, encoder: &mut Encoder) {
        if let Some(scope) = self.scope {
            encoder.text(HeaderName::Scope, format_args!("{}", scope.digit()));
        }
        if let Some(suites) = &self.suite_list {
            encoder.list(HeaderName::SuiteList, suites.iter().map(|suite| csuite(*suite)));
        }
        if let Some(suite) = self.suite {
            encoder.text(HeaderName::Ciphersuite, format_args!("{}", csuite(suite)));
        }
        if let Some(spi) = self.spi {
            encoder.text(HeaderName::Spi, format_args!("{spi}"));
        }
        for (name, key) in [
            (HeaderName::MnToHaIkey, &self.mn_to_ha_ikey),
            (HeaderName::HaToMnIkey, &self.ha_to_mn_ikey),
            (HeaderName::MnToHaEkey, &self.mn_to_ha_ekey),
            (HeaderName::HaToMnEkey, &self.ha_to_mn_ekey),
        ] {
            if let Some(key) = key {
                encoder.hex(name, key);
            }
        }
        if let Some(time) = self.validity_end {
            encoder.date(HeaderName::ValidityEnd, time);
        }
    }

    /// RFC 6618 s.5.7.
    fn encode_bootstrapping(&self, encoder: &mut Encoder) {
        if let Some(address) = self.ha_ip6 {
            encoder.text(HeaderName::HaIp6, format_args!("{}", EightGroups(address)));
        }
        if let Some(address) = self.ha_ip4 {
            encoder.text(HeaderName::HaIp4, format_args!("{address}"));
        }
        if let Some(port) = self.port {
            encoder.text(HeaderName::Port, format_args!("{port}"));
        }
        if let Some(address) = self.hoa_ip6 {
            encoder.text(HeaderName::HoaIp6, format_args!("{}", EightGroups(address)));
        }
        if let Some(address) = self.hoa_ip4 {
            encoder.text(HeaderName::HoaIp4, format_args!("{address}"));
        }
        if let Some((prefix, len)) = self.hnp_ip6 {
            encoder.text(HeaderName::HnpIp6, format_args!("{}/{len}", EightGroups(prefix)));
        }
        if let Some((prefix, len)) = self.hnp_ip4 {
            encoder.text(HeaderName::HnpIp4, format_args!("{prefix}/{len}"));
        }
        for address in &self.dns_ip6 {
            encoder.text(HeaderName::DnsIp6, format_args!("{}", EightGroups(*address)));
        }
        for address in &self.dns_ip4 {
            encoder.text(HeaderName::DnsIp4, format_args!("{address}"));
        }
    }
}

/// `"{" HH "," HH "}"`, in upper case as RFC 6618 s.5.6.5 writes its literals.
fn csuite(suite: Suite) -> String {
    let [first, second] = suite.code();
    format!("{{{first:02X},{second:02X}}}")
}

/// `7( word ":" ) word`: the ABNF has no `::`.
struct EightGroups(Ipv6Addr);

impl core::fmt::Display for EightGroups {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [a, b, c, d, e, g, h, i] = self.0.segments();
        write!(f, "{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{g:x}:{h:x}:{i:x}")
    }
}

/// Headers being written. It never grows beyond its first allocation, so no copy of a key is left
/// behind.
struct Encoder(Zeroizing<Vec<u8>>);

impl Encoder {
    /// Room for the headers of `message` and `auth`, and little more: all of it is wiped at the end,
    /// octet by octet.
    fn new(message: &Message) -> Self {
        let short = [
            message.status.is_some(),
            message.retry_after.is_some(),
            message.scope.is_some(),
            message.suite.is_some(),
            message.spi.is_some(),
            message.validity_end.is_some(),
            message.ha_ip6.is_some(),
            message.ha_ip4.is_some(),
            message.port.is_some(),
            message.hoa_ip6.is_some(),
            message.hoa_ip4.is_some(),
            message.hnp_ip6.is_some(),
            message.hnp_ip4.is_some(),
        ];
        let short = short.into_iter().filter(|is_there| *is_there).count()
            + message.dns_ip6.len()
            + message.dns_ip4.len();
        let randoms = [message.mn_rand.is_some(), message.hac_rand.is_some(), true];
        let randoms = randoms.into_iter().filter(|is_there| *is_there).count();
        let hex = [
            &message.mn_to_ha_ikey,
            &message.ha_to_mn_ikey,
            &message.mn_to_ha_ekey,
            &message.ha_to_mn_ekey,
        ];
        let hex = hex.into_iter().flatten().map(|key| NAME_LEN + key.len() * 2).sum::<usize>()
            + message.eap_payload.as_ref().map_or(0, |packet| NAME_LEN + packet.len() * 2);
        let lists = NAME_LEN * 2
            + message.suite_list.as_ref().map_or(0, Vec::len) * "{00,00},".len()
            + message.auth_methods.len() * "psk,".len();
        let mn_id = message.mn_id.as_ref().map_or(0, |mn_id| NAME_LEN + mn_id.as_str().len());
        let room = short * (NAME_LEN + SHORT_LEN)
            + randoms * (NAME_LEN + HEX_32_LEN)
            + hex
            + lists
            + mn_id
            + END_OF_MESSAGE.len();
        Self(Zeroizing::new(Vec::with_capacity(room)))
    }

    fn put(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    fn name(&mut self, name: HeaderName) {
        self.put(name.name().as_bytes());
        self.put(b":");
    }

    fn text(&mut self, name: HeaderName, value: Arguments<'_>) {
        self.name(name);
        // Writing into a Vec does not fail.
        let _ = self.write_fmt(value);
        self.put(CRLF);
    }

    fn hex(&mut self, name: HeaderName, octets: &[u8]) {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or_default();
        self.name(name);
        self.0.extend(octets.iter().flat_map(|octet| [digit(octet >> 4), digit(octet & 0x0f)]));
        self.put(CRLF);
    }

    /// A list with commas; nothing where it is empty.
    fn list(&mut self, name: HeaderName, elements: impl Iterator<Item = String>) {
        let mut elements = elements.peekable();
        if elements.peek().is_none() {
            return;
        }
        self.name(name);
        while let Some(element) = elements.next() {
            self.put(element.as_bytes());
            self.put(if elements.peek().is_some() { b"," } else { CRLF });
        }
    }

    fn date(&mut self, name: HeaderName, seconds: u64) {
        let time = UNIX_EPOCH + Duration::from_secs(seconds.min(LAST_SECOND));
        self.text(name, format_args!("{}", httpdate::HttpDate::from(time)));
    }
}

impl Write for Encoder {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hac::{AuthMethod, StatusCode};
    use crate::{MobileNodeId, Scope, Spi};

    /// Every header at its longest.
    fn longest() -> Message {
        let key = |len| Some(Zeroizing::new(vec![0xff; len]));
        let ip6 = Ipv6Addr::from_bits(u128::MAX);
        let ip4 = core::net::Ipv4Addr::BROADCAST;
        Message {
            mn_id: MobileNodeId::new(&format!("{}@example.net", "m".repeat(60))).ok(),
            auth_methods: vec![AuthMethod::Psk, AuthMethod::Eap],
            eap_payload: Some(vec![0xff; 1500]),
            status: Some(StatusCode::ServiceUnavailable),
            retry_after: Some(u64::MAX),
            mn_rand: Some([0xff; 32]),
            hac_rand: Some([0xff; 32]),
            scope: Some(Scope::SignallingAndData),
            suite_list: Some(Suite::known().collect()),
            suite: Suite::known().next(),
            spi: Some(Spi::MAX),
            mn_to_ha_ikey: key(20),
            ha_to_mn_ikey: key(20),
            mn_to_ha_ekey: key(24),
            ha_to_mn_ekey: key(24),
            validity_end: Some(u64::MAX),
            ha_ip6: Some(ip6),
            ha_ip4: Some(ip4),
            port: Some(u16::MAX),
            hoa_ip6: Some(ip6),
            hoa_ip4: Some(ip4),
            hnp_ip6: Some((ip6, 128)),
            hnp_ip4: Some((ip4, 32)),
            dns_ip6: vec![ip6; 5],
            dns_ip4: vec![ip4; 5],
        }
    }

    /// What grows leaves a copy of its keys behind.
    #[test]
    fn nothing_grows_beyond_its_first_allocation() {
        let all = longest();
        let response = Message { eap_payload: None, suite_list: None, mn_id: None, ..longest() };
        let eap = Message { eap_payload: Some(vec![7; 4000]), ..Message::default() };
        let random = Message { mn_rand: Some([1; 32]), ..Message::default() };
        for message in [all, response, eap, random, Message::default()] {
            let room = Encoder::new(&message).0.capacity();
            let encoded = message.encode_signed(Side::Hac, &[1; 32], &[2; 32]);
            assert_eq!(encoded.capacity(), room, "{message:?}");
        }
    }
}
