//! Status and events as a person reads them, out of the JSON of [`crate::status`].

use std::fmt::Write as _;

use serde_json::Value;

/// The status of one node. `now` is in Unix milliseconds.
#[must_use]
pub fn status(status: &Value, now: u64) -> String {
    let mut out = String::new();
    let mut line = |key: &str, text: String| {
        if !text.is_empty() {
            let _ = writeln!(out, "  {key}: {text}");
        }
    };
    line("home addresses", homes(status));
    line("care-of address", care_of(status));
    for each in list(status, "care_of_addresses") {
        line("network", one_of_several(each, now));
    }
    for each in list(status, "correspondents") {
        line("correspondent", correspondent(each, now));
    }
    line("home agent", text(status, "home_agent").to_owned());
    line("NAT keepalive", keepalive(status));
    line("binding", binding(status, now));
    line("security association", association(status, now));
    line("round trip", round_trip(status));
    line("DNS servers", dns(status));
    line("transfer", transfer(status));
    line("handovers", handovers(status, now));
    if let Some(error) = status.get("last_error").filter(|error| !error.is_null()) {
        line("last error", format!("{}: {}", ago(error, "at_ms", now), text(error, "text")));
    }
    let (name, mn_id) = (text(status, "name"), text(status, "mn_id"));
    format!("{name} ({mn_id}): {}\n{out}", words(text(status, "state")))
}

/// An event of `hearth-mn monitor`, without its end of line.
#[must_use]
pub fn event(event: &Value) -> String {
    let what = match text(event, "event") {
        "state" => words(text(event, "state")),
        "bootstrap" => format!(
            "bootstrapped in {}: SPI {}, {}",
            milliseconds(event, "duration_ms"),
            number(event, "spi"),
            text(event, "suite")
        ),
        "addresses" => format!("home addresses {}", homes(event)),
        "registration" => format!(
            "{} at {} (status {}) in {}, {} sent{}",
            words(text(event, "kind")),
            text(event, "care_of_address"),
            number(event, "status"),
            milliseconds(event, "round_trip_ms"),
            number(event, "tries"),
            nat(event)
        ),
        "handover" => format!("moved from {} to {}", text(event, "from"), moved(event)),
        "error" => format!("trouble: {}", text(event, "text")),
        other => other.to_owned(),
    };
    format!("{} {what}", moment(number(event, "at_ms")))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `no_network` is `no network` to a person.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn milliseconds(value: &Value, key: &str) -> String {
    format!("{:.1} ms", value.get(key).and_then(Value::as_f64).unwrap_or_default())
}

fn homes(status: &Value) -> String {
    let homes = [text(status, "home_address_ip6"), text(status, "home_address_ip4")];
    homes.into_iter().filter(|home| !home.is_empty()).collect::<Vec<_>>().join(", ")
}

fn nat(value: &Value) -> &'static str {
    match value.get("nat").and_then(Value::as_bool) {
        Some(true) => ", behind a NAT",
        Some(false) => ", no NAT",
        None => "",
    }
}

fn keepalive(status: &Value) -> String {
    let Some(seconds) = status.get("nat_keepalive_s").and_then(Value::as_f64) else {
        return String::new();
    };
    let why = match text(status, "nat_keepalive_why") {
        "home_agent" => "as the home agent asks",
        "growing" => "growing as long as the NAT bears it",
        "nat_forgot" => "the NAT forgets sooner than the home agent asks for",
        "not_tested" => "as the home agent asks, untested",
        other => other,
    };
    format!("every {seconds:.0} s, {why}")
}

fn care_of(status: &Value) -> String {
    match text(status, "care_of_address") {
        "" => String::new(),
        care_of => format!("{care_of} on {}{}", text(status, "interface"), nat(status)),
    }
}

fn one_of_several(each: &Value, now: u64) -> String {
    format!(
        "BID {}, priority {}: {} on {}{}, {}",
        number(each, "bid"),
        number(each, "priority"),
        text(each, "care_of_address"),
        text(each, "interface"),
        nat(each),
        left(number(each, "expires_ms"), now)
    )
}

fn correspondent(each: &Value, now: u64) -> String {
    let address = text(each, "correspondent");
    match text(each, "state") {
        "optimised" => {
            let left = left(number(each, "expires_ms"), now);
            format!("{address}, directly from and to {}, {left}", text(each, "care_of_address"))
        }
        "left_alone" => {
            let why = match text(each, "why") {
                "refused" => format!("refused (status {})", number(each, "status")),
                why => words(why),
            };
            let again = span(number(each, "retry_ms").saturating_sub(now));
            format!("{address}, by the tunnel: {why}; asked again after {again}")
        }
        state => format!("{address}, by the tunnel: {}", words(state)),
    }
}

fn binding(status: &Value, now: u64) -> String {
    match number(status, "binding_lifetime_s") {
        0 => String::new(),
        lifetime => {
            let left = left(number(status, "binding_expires_ms"), now);
            format!("for {}, {left}", span(lifetime * 1000))
        }
    }
}

fn association(status: &Value, now: u64) -> String {
    if number(status, "spi") == 0 {
        return String::new();
    }
    let scope = if number(status, "scope") == 1 { "protects data" } else { "signalling only" };
    format!(
        "SPI {}, {}, {scope}, {} old, {}",
        number(status, "spi"),
        text(status, "suite"),
        span(now.saturating_sub(number(status, "sa_issued") * 1000)),
        left(number(status, "sa_validity_end") * 1000, now)
    )
}

fn round_trip(status: &Value) -> String {
    let percent = |key: &str| status.get(key).and_then(Value::as_f64).map(|part| part * 100.0);
    let Some(updates) = percent("loss") else { return String::new() };
    let round_trip = milliseconds(status, "round_trip_ms");
    let packets = percent("downlink_loss")
        .map(|packets| format!(" and {packets:.1} % of packets from the home agent"));
    format!("{round_trip}; lost: {updates:.0} % of Binding Updates{}", packets.unwrap_or_default())
}

fn dns(status: &Value) -> String {
    let servers: Vec<&str> = list(status, "dns").iter().filter_map(Value::as_str).collect();
    servers.join(", ")
}

fn transfer(status: &Value) -> String {
    let Some(counters) = status.get("counters") else { return String::new() };
    let mut out = format!(
        "{} received, {} sent",
        octets(number(counters, "rx_octets")),
        octets(number(counters, "tx_octets"))
    );
    let direct = (number(counters, "direct_rx_octets"), number(counters, "direct_tx_octets"));
    if direct != (0, 0) {
        let (received, sent) = (octets(direct.0), octets(direct.1));
        let _ = write!(out, "; directly {received} received, {sent} sent");
    }
    let dropped = counters.get("dropped").and_then(Value::as_object);
    for (reason, count) in dropped.into_iter().flatten() {
        let _ = write!(out, ", {count} dropped ({reason})");
    }
    out
}

fn handovers(status: &Value, now: u64) -> String {
    let all = list(status, "handovers");
    let Some(last) = all.last() else { return String::new() };
    let ago = ago(last, "completed_ms", now);
    format!("{}; the last {ago} from {} to {}", all.len(), text(last, "from"), moved(last))
}

fn moved(handover: &Value) -> String {
    format!("{}, a gap of {}", text(handover, "to"), milliseconds(handover, "duration_ms"))
}

fn ago(value: &Value, key: &str, now: u64) -> String {
    format!("{} ago", span(now.saturating_sub(number(value, key))))
}

fn left(end: u64, now: u64) -> String {
    match end.saturating_sub(now) {
        0 => "ended".to_owned(),
        left => format!("{} left", span(left)),
    }
}

/// A length of time in its two largest units.
fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let two = |large: u64, of: &str, small: u64, unit: &str| match small {
        0 => format!("{large} {of}"),
        _ => format!("{large} {of} {small} {unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

fn octets(count: u64) -> String {
    let mut rest = count;
    let mut below = 0;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if rest < 1024 {
            return tenths(rest, below, unit);
        }
        below = rest % 1024;
        rest /= 1024;
    }
    tenths(rest, below, "TiB")
}

fn tenths(whole: u64, below: u64, unit: &str) -> String {
    if unit == "B" { format!("{whole} B") } else { format!("{whole}.{} {unit}", below * 10 / 1024) }
}

/// A moment in UTC, as RFC 3339 has it.
fn moment(unix_ms: u64) -> String {
    let (seconds, milliseconds) = (unix_ms / 1000, unix_ms % 1000);
    second_of(seconds).map_or_else(|| "?".to_owned(), |it| format!("{it}.{milliseconds:03}Z"))
}

/// A second in UTC, as RFC 3339 has it.
pub(crate) fn second(unix: u64) -> String {
    second_of(unix).map_or_else(|| "?".to_owned(), |it| format!("{it}Z"))
}

fn second_of(unix: u64) -> Option<String> {
    let moment = time::OffsetDateTime::from_unix_timestamp(i64::try_from(unix).ok()?).ok()?;
    let (hour, minute, second) = moment.time().as_hms();
    Some(format!("{}T{hour:02}:{minute:02}:{second:02}", moment.date()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_says_what_people_ask_for() {
        let now = 1_800_000_000_000;
        let said = status(
            &json!({
                "name": "mn", "mn_id": "mn1@example.net", "state": "registered",
                "home_address_ip6": "2001:db8::7", "home_address_ip4": "203.0.113.7",
                "care_of_address": "192.0.2.7", "interface": "wlan0", "nat": true,
                "home_agent": "198.51.100.10:7872", "spi": 7, "suite": "AES_128_CBC_SHA256",
                "scope": 1, "sa_issued": 1_799_999_940, "sa_validity_end": 1_800_003_600,
                "round_trip_ms": 12.34, "loss": 0.25, "downlink_loss": 0.001, "binding_lifetime_s": 600,
                "binding_expires_ms": now + 590_000, "dns": ["2001:db8::53"],
                "counters": {"rx_octets": 1_572_864, "tx_octets": 12, "dropped": {"replayed": 3}},
                "handovers": [{"completed_ms": now - 3_600_000, "from": "2001:db8:1::7",
                    "to": "192.0.2.7", "duration_ms": 23.44}],
                "last_error": {"at_ms": now - 90_000, "text": "the home agent is silent"},
            }),
            now,
        );
        let expected = "\
mn (mn1@example.net): registered
  home addresses: 2001:db8::7, 203.0.113.7
  care-of address: 192.0.2.7 on wlan0, behind a NAT
  home agent: 198.51.100.10:7872
  binding: for 10 min, 9 min 50 s left
  security association: SPI 7, AES_128_CBC_SHA256, protects data, 1 min old, 1 h left
  round trip: 12.3 ms; lost: 25 % of Binding Updates and 0.1 % of packets from the home agent
  DNS servers: 2001:db8::53
  transfer: 1.5 MiB received, 12 B sent, 3 dropped (replayed)
  handovers: 1; the last 1 h ago from 2001:db8:1::7 to 192.0.2.7, a gap of 23.4 ms
  last error: 1 min 30 s ago: the home agent is silent
";
        assert_eq!(said, expected);
    }

    #[test]
    fn correspondents_are_a_line_each() {
        let now = 4_000_000_000_000_u64;
        let said = status(
            &json!({"name": "a", "mn_id": "b@c", "state": "registered", "correspondents": [
                {"correspondent": "2001:db8:c::1", "state": "asked"},
                {"correspondent": "2001:db8:c::2", "state": "optimised",
                    "care_of_address": "2001:db8:6::7", "expires_ms": now + 400_000},
                {"correspondent": "2001:db8:c::3", "state": "left_alone",
                    "why": "not_supported", "retry_ms": now + 540_000},
                {"correspondent": "2001:db8:c::4", "state": "left_alone",
                    "why": "refused", "status": 129, "retry_ms": now + 60_000},
            ]}),
            now,
        );
        let expected = "\
a (b@c): registered
  correspondent: 2001:db8:c::1, by the tunnel: asked
  correspondent: 2001:db8:c::2, directly from and to 2001:db8:6::7, 6 min 40 s left
  correspondent: 2001:db8:c::3, by the tunnel: not supported; asked again after 9 min
  correspondent: 2001:db8:c::4, by the tunnel: refused (status 129); asked again after 1 min
";
        assert_eq!(said, expected);
    }

    #[test]
    fn a_node_without_anything_yet_says_no_more_than_that() {
        let said = status(&json!({"name": "a", "mn_id": "b@c", "state": "no_network"}), 0);
        assert_eq!(said, "a (b@c): no network\n");
    }

    #[test]
    fn events_are_a_line_each() {
        let said = event(&json!({"event": "state", "at_ms": 1_000, "state": "no_network"}));
        assert_eq!(said, "1970-01-01T00:00:01.000Z no network");
        let said = event(&json!({"event": "handover", "at_ms": 86_400_000, "from": "192.0.2.1",
            "to": "2001:db8::1", "duration_ms": 1.0}));
        assert_eq!(
            said,
            "1970-01-02T00:00:00.000Z moved from 192.0.2.1 to 2001:db8::1, a gap of 1.0 ms"
        );
    }

    #[test]
    fn spans_and_sizes() {
        assert_eq!(span(999), "0 s");
        assert_eq!(span(3_661_000), "1 h 1 min");
        assert_eq!(span(90_000_000), "1 d 1 h");
        assert_eq!((octets(1023), octets(1024)), ("1023 B".into(), "1.0 KiB".into()));
        assert_eq!(octets(5 << 40), "5.0 TiB");
    }
}
