//! Routes and neighbours as tables.

use hearth_api::forwarding::{NeighbourRow, RouteRow};

use crate::table::{Row, or_dash};

impl Row for RouteRow {
    const HEADS: &'static [&'static str] = &["PREFIX", "PORT", "NEXT HOP"];
    const NONE: Option<&'static str> = Some("no such route");

    fn cells(&self) -> Vec<String> {
        // On the link: the destination is its own next hop.
        let on_link = if self.port.is_some() { "on link" } else { "-" };
        let gateway = self.gateway.map(|gateway| gateway.to_string());
        vec![
            self.prefix.clone(),
            self.port.clone().unwrap_or_else(|| "nowhere".into()),
            gateway.unwrap_or_else(|| on_link.into()),
        ]
    }
}

impl Row for NeighbourRow {
    const HEADS: &'static [&'static str] =
        &["PORT", "ADDRESS", "MAC", "STATE", "AGE", "USABLE", "WAITING"];
    const NONE: Option<&'static str> = Some("no such neighbour");

    fn cells(&self) -> Vec<String> {
        vec![
            self.port.clone(),
            self.address.to_string(),
            or_dash(self.mac.as_ref()),
            self.state.clone(),
            or_dash(self.age.map(|age| format!("{age} s"))),
            if self.usable { "yes" } else { "no" }.into(),
            self.waiting.to_string(),
        ]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::table::Table;

    #[test]
    fn a_route_says_where_it_leads() {
        let row = |prefix: &str, port: Option<&str>, gateway: Option<&str>| RouteRow {
            prefix: prefix.into(),
            port: port.map(Into::into),
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        };
        let rows = [
            row("0.0.0.0/0", Some("access"), Some("192.0.2.1")),
            row("198.51.100.0/24", Some("home"), None),
            row("203.0.113.0/24", None, None),
        ];
        let expected = "\
            PREFIX           PORT     NEXT HOP\n\
            0.0.0.0/0        access   192.0.2.1\n\
            198.51.100.0/24  home     on link\n\
            203.0.113.0/24   nowhere  -\n";
        assert_eq!(Table::of(&rows).to_string(), expected);
    }

    #[test]
    fn a_neighbour_that_is_looked_for_has_no_age() {
        let row = |mac: Option<&str>, state: &str, age, waiting| NeighbourRow {
            port: "home".into(),
            address: "192.0.2.7".parse().unwrap(),
            mac: mac.map(Into::into),
            state: state.into(),
            age,
            usable: mac.is_some(),
            waiting,
        };
        let rows = [
            row(Some("02:00:00:00:00:07"), "stale", Some(61), 0),
            row(None, "incomplete", None, 3),
        ];
        let expected = "\
            PORT  ADDRESS    MAC                STATE       AGE   USABLE  WAITING\n\
            home  192.0.2.7  02:00:00:00:00:07  stale       61 s  yes     0\n\
            home  192.0.2.7  -                  incomplete  -     no      3\n";
        assert_eq!(Table::of(&rows).to_string(), expected);
    }
}
