//! strongSwan at both ends with ESP in userspace: charon, kernel-libipsec, OpenSSL's cryptography.

use std::fs;
use std::path::{Path, PathBuf};

use hearth_lab::{Lab, LabError, Result, netns::Netns, program::Program};

use super::{GATEWAY, Peer, START, Way, carries, find, run_in, write};

/// Said where it is not here.
pub(super) const ABSENT: &str = "strongSwan with kernel-libipsec is not installed: scripts/deps.sh \
    bench (Debian packages charon-systemd, strongswan-swanctl, libcharon-extra-plugins, \
    libstrongswan-standard-plugins)";
/// The mobile node's address in the tunnel.
pub(super) const INSIDE: &str = "2001:db8:98::7";
/// The correspondent's.
pub(super) const CORRESPONDENT: &str = "2001:db8:99::2";
/// What is behind the gateway: it looks for an address of its own in there.
const BEYOND: &str = "2001:db8:99::/126";
/// The mobile node's care-of address.
const OUTSIDE: &str = "2001:db8:6::100";
const PLUGINS: &str = "/usr/lib/ipsec/plugins";

/// One end.
struct End {
    name: &'static str,
    folder: PathBuf,
}

/// Starts both ends and connects them; `None` where strongSwan is not installed.
pub(super) fn start(lab: &Lab, mn: &Netns) -> Result<Option<Peer>> {
    let (Some(charon), Some(swanctl)) = (find("charon-systemd"), find("swanctl")) else {
        return Ok(None);
    };
    let plugin = |name: &str| Path::new(PLUGINS).join(format!("libstrongswan-{name}.so")).is_file();
    if !plugin("kernel-libipsec") || !plugin("openssl") {
        return Ok(None);
    }
    mn.ip(&format!("address add {INSIDE}/128 dev lo"))?;
    let (mut programs, mut uris) = (Vec::new(), Vec::new());
    let sides = [
        ("mn", mn, [OUTSIDE, GATEWAY], [INSIDE, BEYOND], "gateway"),
        ("gateway", &lab.network.ha, [GATEWAY, OUTSIDE], [BEYOND, INSIDE], "mn"),
    ];
    for (name, namespace, addresses, inside, other) in sides {
        let end = End { name, folder: lab.options.files.dir.join(format!("strongswan-{name}")) };
        end.configure(addresses, inside, other)?;
        let uri = end.uri(&lab.options.files.run);
        let mut program = end.start(namespace, &charon, &uri)?;
        let socket = uri.trim_start_matches("unix://").to_owned();
        program.until("the socket of charon", START, |_| {
            Ok(std::os::unix::net::UnixStream::connect(&socket).is_ok().then_some(()))
        })?;
        let swanctl_dir = format!("SWANCTL_DIR={}", end.folder.display());
        let load = [&swanctl_dir, &*swanctl.to_string_lossy(), "--load-all", "--uri", &uri];
        run_in(namespace, Path::new("env"), &load)?;
        programs.push(program);
        uris.push(uri);
    }
    let uri = uris.first().map_or("", String::as_str);
    run_in(mn, &swanctl, &["--initiate", "--child", "net", "--timeout", "20", "--uri", uri])?;
    let pid = programs.first().map_or(0, Program::id);
    let way = Way { inside: INSIDE.into(), correspondent: CORRESPONDENT.into(), pid };
    carries(mn, &way, "strongSwan")?;
    Ok(Some(Peer { way, programs }))
}

impl End {
    fn uri(&self, run: &Path) -> String {
        format!("unix://{}", run.join(format!("charon-{}.vici", self.name)).display())
    }

    fn configure(
        &self,
        [local, remote]: [&str; 2],
        [inside, beyond]: [&str; 2],
        other: &str,
    ) -> Result<()> {
        let failed = |error| LabError::Wrong(format!("{}: {error}", self.folder.display()));
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let name = self.name;
        let text = format!(
            r"connections {{
  tunnel {{
    version = 2
    local_addrs = {local}
    remote_addrs = {remote}
    encap = yes
    mobike = no
    rekey_time = 0
    proposals = aes128-sha256-modp2048
    local {{
      auth = psk
      id = {name}
    }}
    remote {{
      auth = psk
      id = {other}
    }}
    children {{
      net {{
        local_ts = {inside}
        remote_ts = {beyond}
        esp_proposals = aes128-sha1
        rekey_time = 0
      }}
    }}
  }}
}}
secrets {{
  ike-both {{
    id-a = mn
    id-b = gateway
    secret = a key for a lab of namespaces
  }}
}}
"
        );
        write(&self.folder.join("swanctl.conf"), &text)
    }

    fn start(&self, namespace: &Netns, charon: &Path, uri: &str) -> Result<Program> {
        let log = self.folder.join("charon.log");
        let conf = self.folder.join("strongswan.conf");
        // The fastest cryptography that Debian's strongSwan has: OpenSSL's, with AES-NI and SHA-NI.
        let text = format!(
            r"charon-systemd {{
  load = random nonce openssl hmac kdf kernel-libipsec kernel-netlink socket-default vici
  journal {{
    default = -1
  }}
  filelog {{
    log {{
      path = {log}
      default = 1
    }}
  }}
  plugins {{
    vici {{
      socket = {uri}
    }}
  }}
}}
",
            log = log.display(),
        );
        write(&conf, &text)?;
        let conf = format!("STRONGSWAN_CONF={}", conf.display());
        let said = self.folder.join("said.log");
        Program::start(namespace, Path::new("env"), &[&conf, &charon.to_string_lossy()], &said)
    }
}
