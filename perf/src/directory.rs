//! `directory`: gives a hearthd under test the SAs of the generator's mobile nodes.
//!
//! It takes the place of the HAC in a lab of two machines. The keys are the generator's own,
//! which everybody can compute: nothing but a measurement may use them.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use hearth_wire::directory::{
    MAX_FRAME, Request, SaRecord, Services, Update, decode_request, deframe, encode_update,
};
use hearth_wire::{MobileNodeId, Scope, Spi, Suite};

use crate::cli::suite;
use crate::fault::Fault;
use crate::frames::{Direction, HOME_AGENT, SPI_BASE, Station};
use crate::keys::direction_keys;

/// How long the SAs live.
const VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// Which SAs, and where.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The socket that hearthd's YAML names as `sa_directory.socket`.
    #[arg(long, default_value = "/run/hearth/directory.sock", value_name = "SOCKET")]
    socket: PathBuf,
    /// The ciphersuite's name in RFC 6618.
    #[arg(long, default_value = "AES_128_CBC_SHA", value_parser = suite)]
    suite: Suite,
    /// SAs.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sas: u32,
}

/// Serves until it is ended.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Fault> {
    let file = |error: io::Error| Fault::File(error.kind());
    let listener = match listen(&options.socket) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("hearth-perf: --socket {}: {error}", options.socket.display());
            return Ok(ExitCode::FAILURE);
        }
    };
    let last = SPI_BASE.saturating_add(options.sas - 1);
    say!(
        "{} SAs of {}, SPI {SPI_BASE} to {last}, at {}. Their keys are no secret: for \
         measurements only.",
        options.sas,
        options.suite.name(),
        options.socket.display(),
    );
    std::thread::scope(|scope| {
        for stream in listener.incoming() {
            let stream = stream.map_err(file)?;
            scope.spawn(move || {
                if let Err(error) = serve(&stream, options.suite, options.sas, VALIDITY) {
                    eprintln!("a home agent has gone: {error}");
                }
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Listens at `path`, where a socket that an earlier run left is taken away.
fn listen(path: &Path) -> io::Result<UnixListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
        && UnixStream::connect(path).is_err()
    {
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

/// Answers one home agent until it goes.
pub(crate) fn serve(
    mut stream: &UnixStream,
    suite: Suite,
    sas: u32,
    validity: Duration,
) -> io::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let end = (now + validity).as_secs();
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let (mut buffered, mut name) = (Vec::new(), Box::<str>::default());
    let mut chunk = [0; MAX_FRAME];
    loop {
        let len = stream.read(&mut chunk)?;
        if len == 0 {
            return Ok(());
        }
        buffered.extend_from_slice(chunk.get(..len).unwrap_or_default());
        while let Some((body, used)) = deframe(&buffered).map_err(|_| malformed())? {
            let request = decode_request(body).map_err(|_| malformed())?;
            buffered.drain(..used);
            match request {
                Request::Watch { home_agent } => {
                    for number in 0..sas {
                        send(&mut stream, &issued(number, suite, &home_agent, end)?)?;
                    }
                    send(&mut stream, &Update::Synced(None))?;
                    say!("{home_agent} has all SAs");
                    name = home_agent;
                }
                Request::Alive | Request::Usage(_) => {}
                Request::Lookup { spi } => {
                    send(&mut stream, &looked_up(spi, (suite, end), sas, &name)?)?;
                }
            }
        }
    }
}

fn send(stream: &mut &UnixStream, update: &Update) -> io::Result<()> {
    let octets = encode_update(update).ok_or(io::ErrorKind::InvalidInput)?;
    stream.write_all(&octets)
}

/// The answer to a home agent that watches as `home_agent`.
fn looked_up(
    spi: Spi,
    (suite, end): (Suite, u64),
    sas: u32,
    home_agent: &str,
) -> io::Result<Update> {
    match spi.get().checked_sub(SPI_BASE).filter(|number| *number < sas) {
        Some(number) => issued(number, suite, home_agent, end),
        None => Ok(Update::Unknown(spi)),
    }
}

fn issued(number: u32, suite: Suite, home_agent: &str, end: u64) -> io::Result<Update> {
    let wrong = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let station = Station::new(number, suite).map_err(wrong)?;
    let keys = |direction| direction_keys(&station, direction).map_err(wrong);
    let mn_id = MobileNodeId::new(&format!("mn{number}@perf.example"));
    Ok(Update::Issued(Box::new(SaRecord {
        spi: station.spi,
        mn_id: mn_id.map_err(|_| io::ErrorKind::InvalidInput)?,
        home_agent: home_agent.into(),
        suite,
        scope: Scope::SignallingAndData,
        mn_to_ha: keys(Direction::Uplink)?,
        ha_to_mn: keys(Direction::Downlink)?,
        validity_end: end,
        home_address: station.home,
        ipv4_home_address: None,
        ha_address: HOME_AGENT,
        generation: 1,
        services: Services::default(),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_wire::directory::{decode_update, encode_request};

    #[test]
    fn a_home_agent_gets_the_generators_sas() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || serve(&far, Suite::Aes128CbcSha, 3, VALIDITY));
        let ask = |request: &Request| encode_request(request).unwrap();
        near.write_all(&ask(&Request::Watch { home_agent: "ha1".into() })).unwrap();
        for spi in [SPI_BASE + 3, SPI_BASE + 2] {
            near.write_all(&ask(&Request::Lookup { spi: Spi::new(spi).unwrap() })).unwrap();
        }
        near.shutdown(Shutdown::Write).unwrap();
        let mut octets = Vec::new();
        near.read_to_end(&mut octets).unwrap();
        server.join().unwrap().unwrap();
        let mut updates = Vec::new();
        let mut rest = &octets[..];
        while let Some((body, used)) = deframe(rest).unwrap() {
            updates.push(decode_update(body).unwrap());
            rest = &rest[used..];
        }
        assert_eq!(updates.len(), 6);
        for (number, update) in (0..).zip(&updates[..3]) {
            let Update::Issued(record) = update else { panic!("{update:?}") };
            let station = Station::new(number, Suite::Aes128CbcSha).unwrap();
            assert_eq!((record.spi, record.home_address), (station.spi, station.home));
            assert!(record.mn_to_ha == direction_keys(&station, Direction::Uplink).unwrap());
        }
        assert_eq!(updates[3], Update::Synced(None));
        assert_eq!(updates[4], Update::Unknown(Spi::new(SPI_BASE + 3).unwrap()));
        let Update::Issued(record) = &updates[5] else { panic!("{:?}", updates[5]) };
        assert_eq!((record.spi.get(), &*record.home_agent), (SPI_BASE + 2, "ha1"));
    }
}
