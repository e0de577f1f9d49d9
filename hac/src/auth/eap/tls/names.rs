//! Whose a client certificate is: its subjectAltNames.
//!
//! Read first: RFC 5216 s.5.2; RFC 5280 s.4.2.1.6; reading R-11.

use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::{Any, Class, Tag, Utf8String};
use x509_parser::der_parser::oid;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// A kind of subjectAltName that can be an mn-id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// rfc822Name.
    Email,
    /// otherName with a userPrincipalName (1.3.6.1.4.1.311.20.2.3).
    Upn,
    /// dNSName.
    Dns,
}

impl NameKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Email, Self::Upn, Self::Dns];

    /// Its name in YAML.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Upn => "upn",
            Self::Dns => "dns",
        }
    }

    fn of(name: &GeneralName<'_>) -> Option<(Self, String)> {
        match name {
            GeneralName::RFC822Name(name) => Some((Self::Email, (*name).to_owned())),
            GeneralName::DNSName(name) => Some((Self::Dns, (*name).to_owned())),
            GeneralName::OtherName(oid, value) if *oid == oid!(1.3.6.1.4.1.311.20.2.3) => {
                Some((Self::Upn, utf8(value)?))
            }
            _ => None,
        }
    }
}

/// The value of an otherName: `[0] EXPLICIT UTF8String`.
fn utf8(der: &[u8]) -> Option<String> {
    let (rest, tagged) = Any::from_der(der).ok()?;
    if !rest.is_empty() || tagged.class() != Class::ContextSpecific || tagged.tag() != Tag(0) {
        return None;
    }
    let (rest, text) = Utf8String::from_der(tagged.data).ok()?;
    rest.is_empty().then(|| text.string())
}

/// The names of these kinds that the DER certificate says are its owner's.
#[must_use]
pub fn of_certificate(der: &[u8], kinds: &[NameKind]) -> Vec<Box<str>> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = names.value.general_names.iter().filter_map(NameKind::of);
    names.filter(|(kind, _)| kinds.contains(kind)).map(|(_, name)| name.into()).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, OtherNameValue, SanType};

    use super::*;

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn upn(name: &str) -> SanType {
        let value = OtherNameValue::Utf8String(name.to_owned());
        SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], value))
    }

    fn names(der: &[u8], kinds: &[NameKind]) -> Vec<String> {
        of_certificate(der, kinds).into_iter().map(String::from).collect()
    }

    /// only the kinds that the deployment names, and never the CN.
    #[test]
    fn names_are_of_the_kinds_asked_for() {
        let der = certificate(vec![
            SanType::Rfc822Name("mn1@example.net".try_into().unwrap()),
            upn("mn2@example.net"),
            SanType::DnsName("mn3.example.net".try_into().unwrap()),
            SanType::URI("urn:mn4".try_into().unwrap()),
            SanType::Rfc822Name("mn5@example.net".try_into().unwrap()),
        ]);
        assert_eq!(names(&der, &[NameKind::Email]), ["mn1@example.net", "mn5@example.net"]);
        assert_eq!(names(&der, &[NameKind::Upn]), ["mn2@example.net"]);
        assert_eq!(names(&der, &[NameKind::Dns]), ["mn3.example.net"]);
        assert_eq!(names(&der, &NameKind::ALL).len(), 4);
        assert!(names(&certificate(vec![]), &NameKind::ALL).is_empty());
        assert!(names(b"no certificate", &NameKind::ALL).is_empty());
    }

    #[test]
    fn other_other_names_are_no_upn() {
        let value = OtherNameValue::Utf8String("mn1@example.net".to_owned());
        let name = SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 4], value));
        assert!(names(&certificate(vec![name]), &NameKind::ALL).is_empty());
        // [1] where [0] has to be; an IA5String; something behind it.
        for der in
            [&[0xa1, 3, 0x0c, 1, 0x61][..], &[0xa0, 3, 0x16, 1, 0x61], &[0xa0, 3, 0x0c, 1, 0x61, 0]]
        {
            assert_eq!(utf8(der), None, "{der:02x?}");
        }
        assert_eq!(utf8(&[0xa0, 3, 0x0c, 1, 0x61]), Some("a".to_owned()));
    }
}
