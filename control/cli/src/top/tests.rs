use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyCode;

use super::model::{Look, Model};
use super::view::{Page, Screen, amount, draw, duration};
use super::*;
use crate::client::Error;

/// What a daemon says that has been up for `uptime` seconds and has moved so many packets up.
fn look(uptime: u64, packets: u64) -> Look {
    let text = serde_json::json!({
        "status": {
            "version": "0.1.0", "home_agent": "ha1", "time_ms": uptime * 1000, "uptime": uptime,
            "bindings": 2, "bindings_max": 65536, "sas": 3, "routes": 12,
            "mbufs_in_use": 100, "mbufs_available": 900, "draining": true,
            "uplink": {"packets": packets, "octets": packets * 1000},
            "downlink": {"packets": 0, "octets": 0}, "forwarded": {"packets": 0, "octets": 0},
            "signalling_in": 0, "signalling_out": 0, "dropped": packets / 10,
            "alarms": ["worker 1 is stuck: it takes no turns"],
        },
    });
    let drops = serde_json::json!([
        {"reason": "replayed", "packets": packets / 10, "description": "was accepted before"},
        {"reason": "spi_unknown", "packets": 0, "description": "nobody's"},
    ]);
    let bindings = ["anna", "berta"].map(|name| {
        serde_json::json!({
            "mn_id": format!("{name}@example.net"), "home_address": "2001:db8:100::1",
            "ipv4_home_address": null, "care_of_address": "2001:db8:6::100",
            "care_of_port": 7872, "home_agent_address": "2001:db8:a::1", "nat": name == "berta",
            "spi": 1, "sequence": 1, "lifetime": 300, "remaining": 299,
        })
    });
    let worker = serde_json::json!({
        "worker": 0, "core": 2, "utilisation": 0.5, "utilisation_since_start": 0.1,
        "cycles_per_packet": 1234.4, "cycles_per_packet_since_start": null, "stuck_ms": null,
        "busy_turns": 0, "idle_turns": 0, "rx_packets": 7, "handed_over": 0, "lent": 0,
        "assisted": 0, "crypto": "cpu", "device_packets": 0,
    });
    let port = serde_json::json!({
        "name": "access", "device": "net_tap0", "mac": "02:00:00:00:00:01", "mtu": 1500,
        "checksum_offload": "none", "rx_packets": packets, "rx_octets": packets * 1200,
        "tx_packets": 0, "tx_octets": 0, "tx_checksums": 0,
    });
    fn read<T: serde::de::DeserializeOwned>(text: serde_json::Value) -> T {
        serde_json::from_value(text).unwrap()
    }
    Look {
        status: read(text["status"].clone()),
        workers: vec![read(worker)],
        ports: vec![read(port)],
        drops: read(drops),
        bindings: bindings.map(read).to_vec(),
    }
}

fn shown(model: &Model, screen: &Screen, (columns, lines): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| draw(frame, model, screen)).unwrap();
    terminal.backend().to_string()
}

fn two_looks() -> Model {
    let mut model = Model::default();
    model.take(Ok(look(100, 0)));
    model.take(Ok(look(102, 20_000)));
    model
}

#[test]
fn a_screen_of_80_by_24_shows_all_that_matters() {
    let text = shown(&two_looks(), &Screen::default(), (80, 24));
    for words in [
        "hearthd 0.1.0  ha1  up 1 min 42 s  draining",
        "bindings 2 of 65536   SAs 3   routes 12   mbufs 100 of 1000",
        "! worker 1 is stuck",
        // 20,000 packets of 1000 octets in two seconds.
        "uplink      10.00 k pkt/s  80.00 M bit/s",
        "1000  pkt/s  most replayed",
        "anna@example.net",
        "2001:db8:6::100",
        "q quit",
    ] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
}

#[test]
fn every_page_is_drawn_on_every_size() {
    let model = two_looks();
    for (page, words) in [
        (Page::Bindings, "berta@example.net"),
        (Page::Workers, "##########.........."),
        (Page::Ports, "10.00 k pkt/s"),
        (Page::Drops, "was accepted before"),
    ] {
        let screen = Screen { page, ..Screen::default() };
        let text = shown(&model, &screen, (100, 30));
        assert!(text.contains(words), "{words} in\n{text}");
        for size in [(1, 1), (10, 3), (80, 5), (400, 200)] {
            shown(&model, &screen, size);
            shown(&Model::default(), &screen, size);
        }
    }
}

#[test]
fn a_daemon_that_is_gone_is_said_and_what_was_stays() {
    let mut model = two_looks();
    model.take(Err(Error::Arguments("no daemon")));
    let text = shown(&model, &Screen::default(), (80, 24));
    assert!(text.contains("! no daemon; trying again") && text.contains("anna@example.net"));
    // It comes back and counts from 0: nothing is negative, nothing is a flood.
    model.take(Ok(look(1, 50)));
    assert_eq!(model.rates, model::Rates::default());
    assert!(!shown(&model, &Screen::default(), (80, 24)).contains("trying again"));
}

#[test]
fn keys_do_what_the_last_line_says() {
    let mut screen = Screen::default();
    let keys =
        |screen: &mut Screen, keys: &[KeyCode]| keys.iter().any(|key| press(screen, *key, false));
    for (key, page) in [('w', Page::Workers), ('p', Page::Ports), ('d', Page::Drops)] {
        screen.scroll = 5;
        assert!(!keys(&mut screen, &[KeyCode::Char(key)]));
        assert_eq!((screen.page, screen.scroll), (page, 0));
    }
    let search = "/qd".chars().map(KeyCode::Char).collect::<Vec<_>>();
    assert!(!keys(&mut screen, &search), "q is a letter of the search");
    assert_eq!((screen.page, screen.search.as_str()), (Page::Bindings, "qd"));
    keys(&mut screen, &[KeyCode::Backspace, KeyCode::Enter]);
    assert_eq!((screen.search.as_str(), screen.typing), ("q", false));
    keys(&mut screen, &[KeyCode::Char('/'), KeyCode::Esc]);
    assert_eq!((screen.search.as_str(), screen.typing), ("", false));
    keys(&mut screen, &[KeyCode::Down, KeyCode::PageDown, KeyCode::Up]);
    assert_eq!(screen.scroll, 10);
    assert!(keys(&mut screen, &[KeyCode::Char('q')]));
    assert!(press(&mut screen, KeyCode::Char('c'), true));
}

#[test]
fn numbers_have_units() {
    for (number, text) in
        [(0.0, "0 "), (9999.4, "9999 "), (10_000.0, "10.00 k"), (1.5e6, "1.50 M"), (2e9, "2.00 G")]
    {
        assert_eq!(amount(number), text);
    }
    for (seconds, text) in
        [(9, "9 s"), (75, "1 min 15 s"), (7260, "2 h 1 min"), (200_000, "2 d 7 h")]
    {
        assert_eq!(duration(seconds), text);
    }
}
