//! A traffic selector as an operator reads it.

use core::fmt;

use super::selector::{Addresses, Range, TrafficSelector};

impl fmt::Display for TrafficSelector {
    /// The IP version, and each field that is given: `ipv6 protocol 17 dport 5000-5999`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addresses {
            Addresses::V4 { source, destination } => {
                f.write_str("ipv4")?;
                field(f, "from", source)?;
                field(f, "to", destination)?;
            }
            Addresses::V6 { source, destination, flow_label } => {
                f.write_str("ipv6")?;
                field(f, "from", source)?;
                field(f, "to", destination)?;
                field(f, "label", flow_label)?;
            }
        }
        field(f, "protocol", self.protocol)?;
        field(f, "sport", self.source_port)?;
        field(f, "dport", self.destination_port)?;
        field(f, "dscp", self.dscp)?;
        field(f, "spi", self.spi)
    }
}

fn field<T: fmt::Display + PartialEq>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    range: Option<Range<T>>,
) -> fmt::Result {
    match range {
        None => Ok(()),
        Some(Range { first, last }) if first == last => write!(f, " {name} {first}"),
        Some(Range { first, last }) => write!(f, " {name} {first}-{last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_given() {
        assert_eq!(TrafficSelector::ANY_IPV4.to_string(), "ipv4");
        let addresses = Addresses::V6 {
            source: Some(Range::only("2001:db8::1".parse().unwrap())),
            destination: None,
            flow_label: Some(Range { first: 1, last: 2 }),
        };
        let selector = TrafficSelector {
            addresses,
            protocol: Some(Range::only(17)),
            destination_port: Some(Range { first: 5000, last: 5999 }),
            ..TrafficSelector::ANY_IPV6
        };
        let text = "ipv6 from 2001:db8::1 label 1-2 protocol 17 dport 5000-5999";
        assert_eq!(selector.to_string(), text);
    }
}
