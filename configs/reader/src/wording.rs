//! What serde says of a value, in words that say what would be right.
//!
//! None of them repeats a value: where a pre-shared key stands in the wrong place, it would go to
//! the log.

use serde_saphyr::Error as YamlError;

/// What is wrong, and what would be right; nothing about where.
pub(crate) fn message(error: &YamlError) -> String {
    match error.without_snippet() {
        YamlError::InvalidScalar { ty, .. } => not_a(ty),
        YamlError::Unexpected { expected, .. } => unexpected(expected),
        YamlError::NullIntoString { .. } => "empty; a text is wanted".into(),
        YamlError::SerdeInvalidLength { len, expected, .. } => wrong_count(*len, expected),
        YamlError::SerdeInvalidType { expected, .. }
        | YamlError::SerdeInvalidValue { expected, .. } => format!("{expected} is wanted"),
        YamlError::SerdeUnknownVariant { expected, .. } => {
            format!("unknown; one of {} is wanted", expected.join(", "))
        }
        YamlError::SerdeUnknownField { field, expected, .. } => {
            format!("unknown key `{field}`; one of {} is wanted", expected.join(", "))
        }
        YamlError::SerdeMissingField { field, .. } => {
            format!("missing key `{field}`, which has no default")
        }
        YamlError::ExpectedStringKeyForExternallyTaggedEnum { .. } => {
            "empty; a section with one key is wanted".into()
        }
        YamlError::ExpectedMappingEndAfterEnumVariantValue { .. } => {
            "more than one key; give one of them only".into()
        }
        YamlError::DuplicateMappingKey { key: Some(key), .. } => {
            format!("`{key}` stands twice; remove one of them")
        }
        other => of_a_type(&first_line(other)),
    }
}

/// `ty` is serde-saphyr's name of a scalar.
fn not_a(ty: &str) -> String {
    let most = match ty {
        "boolean" => return "not a boolean; true or false".into(),
        "floating point" => return "not a number; digits, as in 2 or 0.5".into(),
        "u8" => u8::MAX.into(),
        "u16" => u16::MAX.into(),
        "u32" => u32::MAX.into(),
        "u64" => u64::MAX,
        _ => return format!("not a valid {ty}"),
    };
    format!("not a whole number, or out of range; 0 to {most}")
}

fn unexpected(expected: &str) -> String {
    match expected {
        "string scalar" => "a list or a section; a single value is wanted".into(),
        "sequence start" => "not a list; values in brackets are wanted, as in [a, b]".into(),
        "mapping start" => "not a section; keys with values are wanted".into(),
        other => format!("{other} is wanted"),
    }
}

/// `expected` is serde's "a tuple of size 2" or "an array of length 2".
fn wrong_count(len: usize, expected: &str) -> String {
    let wanted = expected.rsplit(' ').next().unwrap_or(expected);
    format!("{len} values; {wanted} are wanted, as in [a, b]")
}

/// What the types of the values themselves say: the standard library's addresses, and ipnet's.
fn of_a_type(text: &str) -> String {
    match text {
        "invalid IPv4 address syntax" => "not an IPv4 address; as in 192.0.2.1".into(),
        "invalid IPv6 address syntax" => "not an IPv6 address; as in \"2001:db8::1\"".into(),
        "invalid IP address syntax" => {
            "not an IP address, or its prefix length is missing or wrong; as in 192.0.2.1 or \
             \"2001:db8::1\", and as in \"2001:db8::/64\" where a prefix is wanted"
                .into()
        }
        "invalid socket address syntax" => {
            "not an IP address with a port; as in \"[2001:db8::1]:7873\" or \"192.0.2.1:7873\""
                .into()
        }
        other => other.to_owned(),
    }
}

/// The reader's message, without its own line number.
fn first_line(error: &YamlError) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let cut = first.rfind(" at line ").unwrap_or(first.len());
    first.get(..cut).unwrap_or(first).trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::path::Path;

    use serde::Deserialize;

    use crate::{Spanned, parse};

    #[derive(Debug, Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Root {
        flag: bool,
        octet: Option<Spanned<u8>>,
        port: u16,
        number: Option<u32>,
        large: Option<Spanned<u64>>,
        seconds: Option<Spanned<f64>>,
        text: String,
        v4: Option<Spanned<Ipv4Addr>>,
        v6: Option<Ipv6Addr>,
        ip: Option<Spanned<IpAddr>>,
        listen: Vec<Spanned<SocketAddr>>,
        pair: Option<Spanned<(u32, u32)>>,
        range: Option<[u32; 2]>,
        section: Option<Section>,
        psk: Option<Psk>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by serde only")]
    struct Section {
        key: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "lowercase")]
    #[expect(dead_code, reason = "read by serde only")]
    enum Psk {
        Hex(String),
        Text(String),
    }

    fn complaint(text: &str) -> String {
        parse::<Root>(Path::new("a.yaml"), text).unwrap_err().to_string()
    }

    #[test]
    fn every_kind_of_value_says_what_would_be_right() {
        let no_list = "a list or a section; a single value is wanted";
        let range = |most: &str| format!("not a whole number, or out of range; 0 to {most}");
        for (text, place, words) in [
            ("flag: 7", "1: flag", "not a boolean; true or false".into()),
            ("flag:", "1: flag", "not a boolean; true or false".into()),
            ("port: 1\nflag: [true]", "2: flag", no_list.into()),
            ("octet: 256", "1: octet", range("255")),
            ("octet: -1", "1: octet", range("255")),
            ("port: 78720", "1: port", range("65535")),
            ("port: many", "1: port", range("65535")),
            ("number: 1.5", "1: number", range("4294967295")),
            ("large: 0x", "1: large", range("18446744073709551615")),
            ("seconds: long", "1: seconds", "not a number; digits, as in 2 or 0.5".into()),
            ("text: ~", "1: text", "empty; a text is wanted".into()),
            ("text: [a]", "1: text", no_list.into()),
            ("v4: 1.2.3", "1: v4", "not an IPv4 address; as in 192.0.2.1".into()),
            ("v6: 1.2.3.4", "1: v6", "not an IPv6 address; as in \"2001:db8::1\"".into()),
            ("pair: [1]", "1: pair", "1 values; 2 are wanted, as in [a, b]".into()),
            ("range: [1, 2, 3]", "1: range", "3 values; 2 are wanted, as in [a, b]".into()),
            ("section: 7", "1: section", "not a section; keys with values are wanted".into()),
            ("section: {}", "1: section", "missing key `key`, which has no default".into()),
            (
                "section: { kye: 1 }",
                "1: section.kye",
                "unknown key `kye`; one of key is wanted".into(),
            ),
            ("port: 1\nport: 2", "2", "`port` stands twice; remove one of them".into()),
            ("psk: {}", "1: psk", "empty; a section with one key is wanted".into()),
            (
                "psk: { hex: a, text: b }",
                "1: psk.hex",
                "more than one key; give one of them only".into(),
            ),
        ] {
            let expected: String = format!("a.yaml:{place}: {words}");
            assert_eq!(complaint(text), expected, "{text}");
        }
        for (text, place, example) in [
            ("ip: here", "1: ip", "2001:db8::1"),
            ("listen: [\"7873\"]", "1: listen[0]", "[2001:db8::1]:7873"),
            ("listen: 7873", "1: listen", "not a list; values in brackets are wanted"),
        ] {
            let complaint = complaint(text);
            assert!(complaint.starts_with(&format!("a.yaml:{place}: not ")), "{complaint}");
            assert!(complaint.contains(example), "{complaint}");
        }
    }

    #[test]
    fn a_key_in_the_wrong_place_is_not_repeated() {
        for text in ["psk: s3cret", "psk: [s3cret]", "port: s3cret", "v4: s3cret"] {
            let complaint = complaint(text);
            assert!(!complaint.contains("s3cret"), "{complaint}");
        }
        assert!(complaint("psk: s3cret").ends_with("unknown; one of hex, text is wanted"));
    }
}
