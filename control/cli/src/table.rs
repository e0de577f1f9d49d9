//! Rows as a table for people.

use std::fmt;

use hearth_api::home_link::{HomeAgentRow, HomeLinkRow};
use hearth_api::operate::GroupRow;
use hearth_api::status::{StatusRow, TrafficRow};
use hearth_api::{BindingRow, CounterRow, DropRow, FlowRow, PortRow, SaRow, WorkerRow};
use time::OffsetDateTime;

/// What stands in a line of a table.
pub trait Row {
    /// Column heads.
    const HEADS: &'static [&'static str];

    /// What is said instead of a table where there are no rows.
    const NONE: Option<&'static str> = None;

    /// One text per column.
    fn cells(&self) -> Vec<String>;

    /// Puts rows that the daemon gives in no order into one.
    fn sort(_rows: &mut [Self])
    where
        Self: Sized,
    {
    }
}

/// A table: heads, then rows, columns as wide as their widest cell.
#[derive(Debug)]
pub struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    /// Lays out `rows`.
    #[must_use]
    pub fn of<R: Row>(rows: &[R]) -> Self {
        let heads = R::HEADS.iter().map(ToString::to_string).collect();
        Self { lines: std::iter::once(heads).chain(rows.iter().map(Row::cells)).collect() }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.lines.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.lines.iter().filter_map(|line| line.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        for line in &self.lines {
            let padded: Vec<String> =
                line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", padded.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// The home agent at a glance, a line for each fact.
#[must_use]
pub fn status_text(status: &StatusRow) -> String {
    let StatusRow { version, home_agent, bindings, bindings_max, sas, routes, .. } = status;
    let traffic = |row: &TrafficRow| format!("{} packets, {} octets", row.packets, row.octets);
    let mbufs = status.mbufs_in_use.saturating_add(status.mbufs_available);
    let draining = if status.draining { ", draining" } else { "" };
    let mut lines = vec![
        ("home agent", format!("{home_agent}, hearthd {version}{draining}")),
        ("up for", format!("{} s", status.uptime)),
        ("bindings", format!("{bindings} of {bindings_max}")),
        ("SAs", sas.to_string()),
        ("routes", routes.to_string()),
        ("mbufs", format!("{} of {mbufs}", status.mbufs_in_use)),
        ("uplink", traffic(&status.uplink)),
        ("downlink", traffic(&status.downlink)),
        ("forwarded", traffic(&status.forwarded)),
        ("signalling", format!("{} in, {} out", status.signalling_in, status.signalling_out)),
        ("dropped", status.dropped.to_string()),
    ];
    lines.extend(status.alarms.iter().map(|text| ("ALARM", text.clone())));
    lines.into_iter().map(|(name, text)| format!("{name:<12}{text}\n")).collect()
}

pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// Unix seconds as a date that people and programs read (RFC 3339).
pub(crate) fn date(unix: u64) -> String {
    let moment = i64::try_from(unix).ok();
    let moment = moment.and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
    moment.map_or_else(
        // Behind the year 9999.
        || unix.to_string(),
        |moment| {
            let (year, month, day) = moment.to_calendar_date();
            let (hour, minute, second) = moment.to_hms();
            let month = u8::from(month);
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
        },
    )
}

impl Row for BindingRow {
    const HEADS: &'static [&'static str] = &[
        "MN-ID",
        "HOME ADDRESS",
        "IPV4",
        "CARE-OF ADDRESS",
        "PORT",
        "NAT",
        "SPI",
        "SEQ",
        "LEFT",
        "PREFIXES",
        "FLOWS",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.mn_id.clone(),
            self.home_address.to_string(),
            or_dash(self.ipv4_home_address),
            care_of(self),
            self.care_of_port.to_string(),
            if self.nat { "yes" } else { "no" }.into(),
            self.spi.to_string(),
            self.sequence.to_string(),
            format!("{}/{} s", self.remaining, self.lifetime),
            list(self.prefixes.iter()),
            list(self.flows.iter().map(flow)),
        ]
    }

    fn sort(rows: &mut [Self]) {
        rows.sort_by_key(|row| row.home_address);
    }
}

/// The care-of address; of several, each behind its Binding ID, the preferred one first.
fn care_of(row: &BindingRow) -> String {
    if row.care_of_addresses.is_empty() {
        return row.care_of_address.to_string();
    }
    list(row.care_of_addresses.iter().map(|it| format!("{}={}", it.bid, it.care_of_address)))
}

/// A flow by its number, and where it goes; in brackets while none of that is registered.
fn flow(row: &FlowRow) -> String {
    let bids: Vec<_> = row.bids.iter().map(ToString::to_string).collect();
    let (id, bids) = (row.id, bids.join("+"));
    if row.active { format!("{id}>{bids}") } else { format!("({id}>{bids})") }
}

fn list(cells: impl Iterator<Item = impl ToString>) -> String {
    let cells: Vec<_> = cells.map(|cell| cell.to_string()).collect();
    if cells.is_empty() { "-".into() } else { cells.join(",") }
}

impl Row for SaRow {
    const HEADS: &'static [&'static str] =
        &["SPI", "MN-ID", "SUITE", "CRYPTO", "SAS", "STATE", "ENDS", "IN", "OUT", "NEXT SEQ"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.spi.to_string(),
            self.mn_id.clone(),
            self.suite.clone(),
            self.crypto.clone(),
            self.scope.to_string(),
            self.state.clone(),
            date(self.ends),
            self.packets_in.to_string(),
            self.packets_out.to_string(),
            self.next_sequence.to_string(),
        ]
    }

    fn sort(rows: &mut [Self]) {
        rows.sort_by_key(|row| row.spi);
    }
}

impl Row for PortRow {
    const HEADS: &'static [&'static str] = &[
        "PORT",
        "DEVICE",
        "MAC",
        "MTU",
        "CHECKSUM OFFLOAD",
        "RX PACKETS",
        "RX OCTETS",
        "TX PACKETS",
        "TX OCTETS",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.device.clone(),
            self.mac.clone(),
            self.mtu.to_string(),
            self.checksum_offload.clone(),
            self.rx_packets.to_string(),
            self.rx_octets.to_string(),
            self.tx_packets.to_string(),
            self.tx_octets.to_string(),
        ]
    }
}

impl Row for WorkerRow {
    const HEADS: &'static [&'static str] = &[
        "WORKER",
        "CORE",
        "BUSY 1 s",
        "BUSY",
        "CYCLES/PACKET 1 s",
        "STUCK",
        "RX PACKETS",
        "HANDED OVER",
        "LENT",
        "ASSISTED",
        "CRYPTO",
        "DEVICE PACKETS",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.worker.to_string(),
            self.core.to_string(),
            format!("{:.1} %", self.utilisation * 100.0),
            format!("{:.1} %", self.utilisation_since_start * 100.0),
            or_dash(self.cycles_per_packet.map(|cycles| format!("{cycles:.0}"))),
            self.stuck_ms.map_or_else(|| "no".into(), |ms| format!("yes, {ms} ms")),
            self.rx_packets.to_string(),
            self.handed_over.to_string(),
            self.lent.to_string(),
            self.assisted.to_string(),
            self.crypto.clone(),
            self.device_packets.to_string(),
        ]
    }
}

impl Row for GroupRow {
    const HEADS: &'static [&'static str] = &["GROUP", "HOME ADDRESS", "SOURCES", "LEFT"];
    const NONE: Option<&'static str> = Some("no mobile node listens to a multicast group");

    fn cells(&self) -> Vec<String> {
        let sources = self.sources.as_ref().map(|sources| {
            let sources: Vec<_> = sources.iter().map(ToString::to_string).collect();
            sources.join(",")
        });
        vec![
            self.group.to_string(),
            self.home_address.to_string(),
            sources.unwrap_or_else(|| "any".into()),
            format!("{} s", self.remaining),
        ]
    }
}

impl Row for HomeLinkRow {
    const HEADS: &'static [&'static str] = &["PREFIX", "PORT", "VALID", "PREFERRED"];

    fn cells(&self) -> Vec<String> {
        let seconds = |left: Option<u32>| {
            left.map_or_else(|| "infinite".into(), |seconds| format!("{seconds} s"))
        };
        vec![
            self.prefix.clone(),
            self.port.clone().unwrap_or_else(|| "routed".into()),
            seconds(self.valid_lifetime),
            seconds(self.preferred_lifetime),
        ]
    }
}

impl Row for HomeAgentRow {
    const HEADS: &'static [&'static str] =
        &["PORT", "LINK-LOCAL ADDRESS", "ADDRESSES", "PREFERENCE", "MOBILE ROUTERS", "LEFT"];
    const NONE: Option<&'static str> = Some("no other home agent was heard on a home link");

    fn cells(&self) -> Vec<String> {
        vec![
            self.port.clone(),
            self.link_local_address.to_string(),
            list(self.addresses.iter()),
            self.preference.to_string(),
            if self.mobile_routers { "yes" } else { "no" }.into(),
            format!("{} s", self.remaining),
        ]
    }
}

impl Row for CounterRow {
    const HEADS: &'static [&'static str] = &["COUNTER", "COUNT", "MEANING"];
    const NONE: Option<&'static str> = Some("all counters are 0; --all lists them");

    fn cells(&self) -> Vec<String> {
        vec![self.counter.clone(), self.count.to_string(), self.description.clone()]
    }
}

impl Row for DropRow {
    const HEADS: &'static [&'static str] = &["REASON", "PACKETS", "MEANING"];
    const NONE: Option<&'static str> =
        Some("no packet was dropped since hearthd started; --all lists the reasons there are");

    fn cells(&self) -> Vec<String> {
        vec![self.reason.clone(), self.packets.to_string(), self.description.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |reason: &str, packets, description: &str| DropRow {
            reason: reason.into(),
            packets,
            description: description.into(),
            cause: String::new(),
            remedy: String::new(),
        };
        let rows = [row("replay", 12_345_678, "late"), row("bad_icv", 1, "")];
        let expected = "REASON   PACKETS   MEANING\n\
                        replay   12345678  late\n\
                        bad_icv  1\n";
        assert_eq!(Table::of(&rows).to_string(), expected);
    }

    #[test]
    fn times_are_dates() {
        // `date -u -d @N +%FT%TZ`
        for (unix, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_795_353_605, "2026-11-22T13:20:05Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (u64::MAX, "18446744073709551615"),
        ] {
            assert_eq!(date(unix), expected);
        }
    }

    #[test]
    fn home_prefixes_say_where_they_are_and_how_long() {
        let row = |prefix: &str, port: Option<&str>, valid_lifetime| HomeLinkRow {
            prefix: prefix.into(),
            port: port.map(Into::into),
            valid_lifetime,
            preferred_lifetime: None,
        };
        let rows = [
            row("2001:db8:b:1::/64", Some("home"), Some(300)),
            row("203.0.113.128/25", None, None),
        ];
        let expected = "PREFIX             PORT    VALID     PREFERRED\n\
                        2001:db8:b:1::/64  home    300 s     infinite\n\
                        203.0.113.128/25   routed  infinite  infinite\n";
        assert_eq!(Table::of(&rows).to_string(), expected);
    }

    #[test]
    fn a_stuck_worker_stands_out() {
        let row = |worker, stuck_ms, cycles_per_packet| WorkerRow {
            worker,
            core: 1,
            utilisation: 0.125,
            utilisation_since_start: 0.5,
            cycles_per_packet,
            cycles_per_packet_since_start: None,
            stuck_ms,
            busy_turns: 1,
            idle_turns: 2,
            rx_packets: 3,
            handed_over: 4,
            lent: 5,
            assisted: 6,
            crypto: "cpu".into(),
            device_packets: 0,
        };
        let expected = "\
            WORKER  CORE  BUSY 1 s  BUSY    CYCLES/PACKET 1 s  STUCK        RX PACKETS  HANDED OVER  LENT  ASSISTED  CRYPTO  DEVICE PACKETS\n\
            0       1     12.5 %    50.0 %  1235               no           3           4            5     6         cpu     0\n\
            1       1     12.5 %    50.0 %  -                  yes, 730 ms  3           4            5     6         cpu     0\n";
        let rows = [row(0, None, Some(1234.6)), row(1, Some(730), None)];
        assert_eq!(Table::of(&rows).to_string(), expected);
    }
}
