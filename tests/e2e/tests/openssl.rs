//! `openssl s_client` and the HAC: TLS 1.2 and 1.3 and nothing older, no renegotiation (R-1).
//!
//! ```text
//!  hearth-mn: openssl --[visit6]-- hearth-net6 --[access]-- hearth-ha: hearth-hac behind the TAP
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use hearth_e2e::TestLab;
use hearth_lab::plan::{HAC_NAME, HAC_PORT, Visited};

/// Runs `openssl s_client` with the name check of a mobile node; `input` is typed to it.
fn s_client(lab: &TestLab, visited: Visited, options: &[&str], input: &str) -> Output {
    let mut openssl = lab.network.mobile_nodes[0].command("openssl");
    let to = match visited.home_agent() {
        std::net::IpAddr::V6(address) => format!("[{address}]:{HAC_PORT}"),
        std::net::IpAddr::V4(address) => format!("{address}:{HAC_PORT}"),
    };
    openssl.args([
        "s_client",
        "-connect",
        &to,
        "-verify_return_error",
        "-verify_hostname",
        HAC_NAME,
    ]);
    openssl.arg("-CAfile").arg(lab.options.files.ca()).args(options);
    typed(&mut openssl, input)
}

fn typed(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Where the handshake fails nobody reads this.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn openssl_gets_tls_1_2_and_1_3_and_is_refused_older_ones_and_renegotiation() {
    let lab = TestLab::up("openssl");
    for visited in Visited::ALL {
        lab.network.attach(0, visited).unwrap();
        lab.hac_reachable(0, visited.home_agent()).unwrap();
        for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let output = s_client(&lab, visited, &[option, "-brief"], "");
            let text = said(&output);
            assert!(output.status.success(), "{version}: {text}");
            assert!(text.contains(&format!("Protocol version: {version}")), "{text}");
            assert!(text.contains("Verification: OK"), "{text}");
        }
    }
    let visited = Visited::Net6;
    for option in ["-tls1_1", "-tls1"] {
        // Security level 0, or openssl would not even ask.
        let cipher = ["-cipher", "ALL:@SECLEVEL=0"];
        let output = s_client(&lab, visited, &[&[option][..], &cipher[..]].concat(), "");
        assert!(!output.status.success(), "{option} was accepted: {}", said(&output));
        let text = said(&output);
        let alerts = ["alert protocol version", "alert handshake failure"];
        assert!(alerts.iter().any(|alert| text.contains(alert)), "{text}");
    }
    for cipher in ["ADH:@SECLEVEL=0", "AECDH:@SECLEVEL=0"] {
        let output = s_client(&lab, visited, &["-tls1_2", "-cipher", cipher], "");
        assert!(!output.status.success(), "anonymous {cipher} was accepted");
    }
    // "R" asks openssl to renegotiate.
    let output = s_client(&lab, visited, &["-tls1_2"], "R\n");
    let text = said(&output);
    assert!(text.contains("RENEGOTIATING"), "{text}");
    assert!(text.contains("no renegotiation"), "{text}");
    assert!(!output.status.success(), "renegotiation was accepted: {text}");
}
