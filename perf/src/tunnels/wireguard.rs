//! boringtun-cli at both ends: WireGuard in userspace, with a TUN at each.

use std::path::{Path, PathBuf};

use hearth_lab::{Lab, LabError, Result, netns::Netns, program::Program};

use super::{GATEWAY, Peer, START, Way, carries, find, run_in, write};

/// Said where it is not here.
pub(super) const ABSENT: &str = "boringtun-cli or wireguard-tools is not installed: \
    scripts/deps.sh bench (cargo install --locked boringtun-cli --root target/peers; Debian \
    package wireguard-tools)";
/// The mobile node's address in the tunnel.
pub(super) const INSIDE: &str = "2001:db8:97::7";
/// The correspondent's.
pub(super) const CORRESPONDENT: &str = "2001:db8:99::5";
const PROGRAM: &str = "boringtun-cli";
/// The UDP port of the end at the home agent's side.
const PORT: u16 = 51820;

/// boringtun-cli in the `PATH`, else where `make bench` puts it.
fn program() -> Option<PathBuf> {
    let built = || std::fs::canonicalize(format!("target/peers/bin/{PROGRAM}")).ok();
    find(PROGRAM).or_else(built)
}

/// Starts both ends and waits until they carry; `None` where boringtun is not installed.
pub(super) fn start(lab: &Lab, mn: &Netns) -> Result<Option<Peer>> {
    let (Some(boringtun), Some(wg)) = (program(), find("wg")) else { return Ok(None) };
    let ha = &lab.network.ha;
    let keys = |namespace| -> Result<(String, String)> {
        let private = run_in(namespace, &wg, &["genkey"])?.trim().to_owned();
        let public = public_key(&wg, &private)?;
        Ok((private, public))
    };
    let (mobile, gateway) = (keys(mn)?, keys(ha)?);
    let to_gateway = format!(
        "[Interface]\nPrivateKey = {}\n[Peer]\nPublicKey = {}\nEndpoint = [{GATEWAY}]:{PORT}\n\
         AllowedIPs = {CORRESPONDENT}/128\n",
        mobile.0, gateway.1
    );
    let to_mobile = format!(
        "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n[Peer]\nPublicKey = {}\n\
         AllowedIPs = {INSIDE}/128\n",
        gateway.0, mobile.1
    );
    let mut programs = Vec::new();
    for (namespace, link, text, beyond) in
        [(mn, "hperf-mn", to_gateway, CORRESPONDENT), (ha, "hperf-ha", to_mobile, INSIDE)]
    {
        let folder = &lab.options.files.dir;
        let arguments = ["--foreground", "--disable-drop-privileges", link];
        let log = folder.join(format!("boringtun-{link}.log"));
        let mut program = Program::start(namespace, &boringtun, &arguments, &log)?;
        program.until("boringtun's device", START, |_| {
            Ok(run_in(namespace, &wg, &["show", link]).is_ok().then_some(()))
        })?;
        let conf = folder.join(format!("{link}.conf"));
        write(&conf, &text)?;
        run_in(namespace, &wg, &["setconf", link, &conf.to_string_lossy()])?;
        namespace.ip(&format!("link set {link} mtu 1420 up"))?;
        if link == "hperf-mn" {
            namespace.ip(&format!("address add {INSIDE}/128 dev {link} nodad"))?;
        }
        namespace.ip(&format!("-6 route add {beyond}/128 dev {link}"))?;
        programs.push(program);
    }
    let pid = programs.first().map_or(0, Program::id);
    let way = Way { inside: INSIDE.into(), correspondent: CORRESPONDENT.into(), pid };
    carries(mn, &way, "boringtun")?;
    Ok(Some(Peer { way, programs }))
}

/// `wg pubkey` reads the private key from its standard input.
fn public_key(wg: &Path, private: &str) -> Result<String> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let failed = |error: std::io::Error| LabError::Wrong(format!("wg pubkey: {error}"));
    let child = Command::new(wg).arg("pubkey").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(private.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
