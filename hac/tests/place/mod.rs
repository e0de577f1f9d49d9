//! A HAC in this process with an admin socket, its operator, and a mobile node in Python.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Parser;
use hearth_cli::client::Daemon;
use hearth_cli::subscriber;
use hearth_hac::config::Config;
use hearth_hac::daemon::{Hac, StartError, system_clock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

pub(crate) const PSK: &str = "000102030405060708090a0b0c0d0e0f";

pub(crate) const TEXT: &str = "\
listen: ['127.0.0.1:0']
tls: {certificate: hac.pem, key: hac.key}
directory: {store: hac.redb, socket: directory.sock}
admin: {socket: admin.sock}
home_agents:
  - name: ha1
    ip6: 2001:db8:1::1
    spi_range: [1, 100000]
    home_prefix_ip6: '2001:db8:100::/64'
    pools: {ip6: ['2001:db8:100::1000', '2001:db8:100::ffff']}
subscribers:
  - {mn_id: yaml@example.net, psk: {hex: 000102030405060708090a0b0c0d0e0f}, home_address_ip6: '2001:db8:100::10'}
";

#[derive(Parser)]
struct Subscriber {
    #[command(subcommand)]
    command: subscriber::Command,
}

pub(crate) struct Place {
    pub(crate) hac: Hac,
    folder: tempfile::TempDir,
}

impl Place {
    /// A HAC whose YAML ends with `more`.
    pub(crate) fn start(more: &str) -> Self {
        Self::begin(Self::folder(), more).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A folder with a server certificate.
    pub(crate) fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let identity = rcgen::generate_simple_self_signed(["hac.example.net".to_owned()]).unwrap();
        fs::write(folder.path().join("hac.pem"), identity.cert.pem()).unwrap();
        fs::write(folder.path().join("hac.key"), identity.signing_key.serialize_pem()).unwrap();
        folder
    }

    /// One in `folder`, as somebody left it.
    pub(crate) fn begin(folder: tempfile::TempDir, more: &str) -> Result<Self, String> {
        Self::begin_or(folder, more).map_err(|(_, error)| error)
    }

    /// The same; the folder is given back with what is wrong.
    pub(crate) fn begin_or(
        folder: tempfile::TempDir,
        more: &str,
    ) -> Result<Self, (tempfile::TempDir, String)> {
        Self::begin_text(folder, &format!("{TEXT}{more}"))
    }

    /// One with this YAML.
    pub(crate) fn begin_with(folder: tempfile::TempDir, text: &str) -> Result<Self, String> {
        Self::begin_text(folder, text).map_err(|(_, error)| error)
    }

    fn begin_text(
        folder: tempfile::TempDir,
        text: &str,
    ) -> Result<Self, (tempfile::TempDir, String)> {
        let path = folder.path().join("hac.yaml");
        fs::write(&path, text).unwrap();
        let config = Config::load(&path, system_clock()()).map_err(|error| error.to_string());
        let hac = config.and_then(|config| {
            Hac::start(config, system_clock()).map_err(|error| error.to_string())
        });
        match hac {
            Ok(hac) => Ok(Self { hac, folder }),
            Err(error) => Err((folder, error)),
        }
    }

    /// A second HAC with the same admin socket.
    pub(crate) fn try_another(&self) -> Result<(), StartError> {
        let other = TEXT.replace("hac.redb", "other.redb").replace("directory.sock", "other.sock");
        let path = self.path("other.yaml");
        fs::write(&path, other).unwrap();
        Hac::start(Config::load(&path, system_clock()()).unwrap(), system_clock()).map(drop)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Stops it and gives its folder.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.hac.stop().await;
        self.folder
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> (u16, String) {
        self.ask("POST", path, body).await
    }

    /// One request to the admin socket: status and body of the answer.
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(self.path("admin.sock")).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: hac\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + body).as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// `hearth subscriber` with these arguments.
    pub(crate) async fn hearth(&self, arguments: &[&str]) -> Result<(), String> {
        let command = Subscriber::try_parse_from([&["subscriber"], arguments].concat())
            .map_err(|error| error.to_string())?
            .command;
        let patience = Duration::from_secs(120);
        let hac = Daemon { socket: self.path("admin.sock"), name: "hearth-hac", patience };
        let done = tokio::task::spawn_blocking(move || subscriber::run(&hac, command)).await;
        done.unwrap().map_err(|error| error.to_string())
    }

    /// The mobile node in Python: whether it got an SA, and what it printed.
    pub(crate) async fn bootstrap(&self, mn_id: &str, psk: &str) -> (bool, String) {
        let mut command = Command::new("python3");
        command
            .arg(hearth_peers::script("peer.py"))
            .args(["127.0.0.1", &self.hac.addresses()[0].port().to_string()])
            .arg(self.path("hac.pem"))
            .args(["hac.example.net", mn_id, psk])
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
    }
}
