//! `capture`: protected packets in a pcap file, for Pktgen-DPDK and other generators that replay.
//!
//! Sequence numbers go up through the whole file, so that it is accepted once for an SA; a replay
//! of the file is a replay to the receiver, too.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use hearth_wire::Suite;

use crate::cli::suite;
use crate::fault::Fault;
use crate::frames::Direction;
use crate::generator::{Generator, Load, Plan, Sizes};
use crate::lab::Lab;
use crate::nic::Mac;

/// Of what the capture is.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The ciphersuite's name in RFC 6618.
    #[arg(long, default_value = "AES_128_CBC_SHA", value_parser = suite)]
    suite: Suite,
    /// Uplink: protected packets of mobile nodes. Downlink: what a correspondent sends them.
    #[arg(long, value_enum, default_value = "uplink")]
    direction: Direction,
    /// Octets of the inner packet (64 to 1400), imix or jumbo.
    #[arg(long, default_value = "imix")]
    inner: Sizes,
    /// SAs, addressed in turns.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sas: u32,
    /// Packets.
    #[arg(long, default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=0x100_0000))]
    packets: u32,
    /// The mobile nodes' Binding Updates instead of data: to be sent first.
    #[arg(long)]
    registrations: bool,
    /// The first sequence number: beyond those that were sent to the machine before.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    first_seq: u32,
    /// MAC address of the machine under test.
    #[arg(long, default_value = "02:00:00:00:00:01", value_name = "MAC")]
    dut_mac: Mac,
}

/// Writes the capture.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Fault> {
    let lab = Lab::start(&[])?;
    let mut generator = Generator::new(Plan {
        direction: options.direction,
        suite: options.suite,
        sas: options.sas,
        sizes: options.inner,
        packets: options.packets as usize,
        reorder: 0.0,
        loss: 0.0,
        first_seq: options.first_seq,
    })?;
    let pool = match options.inner {
        Sizes::Jumbo => crate::pipeline::jumbo_pool(&lab.eal)?,
        _ => lab.pool.clone(),
    };
    let mut load = Load::default();
    if options.registrations {
        generator.registrations(&pool, options.dut_mac.0, &mut load)?;
    } else {
        generator.load(&pool, options.dut_mac.0, &mut load)?;
    }
    if let Err(error) = write(&options.out, &load) {
        eprintln!("hearth-perf: --out {}: {error}", options.out.display());
        return Ok(ExitCode::FAILURE);
    }
    say!("{} packets written to {}", load.len(), options.out.display());
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, load: &Load) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    pcap(&mut file, load)?;
    file.flush()
}

/// The classic pcap format (libpcap's pcap-savefile(5)), Ethernet, a packet every microsecond.
fn pcap(out: &mut impl Write, load: &Load) -> io::Result<()> {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const SNAP_LEN: u32 = 65_535;
    const ETHERNET: u32 = 1;
    for word in [MAGIC, 4 << 16 | 2, 0, 0, SNAP_LEN, ETHERNET] {
        out.write_all(&word.to_le_bytes())?;
    }
    for (place, time) in (0..load.len()).zip(0_u32..) {
        let Some((packet, _)) = load.packet(place) else { break };
        let len = u32::try_from(packet.len()).map_err(io::Error::other)?;
        for word in [time / 1_000_000, time % 1_000_000, len, len] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(packet)?;
    }
    Ok(())
}
