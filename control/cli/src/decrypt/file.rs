//! Reads captures, writes pcapng.
//!
//! Read first: draft-ietf-opsawg-pcapng s.3, 4.

use std::borrow::Cow;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::SectionHeaderBlock;
use pcap_file::pcapng::{Block, PcapNgReader, PcapNgWriter};

use super::Tally;
use super::keys::Keys;
use super::open::{Verdict, open};
use crate::new_file;

/// What a file begins with that is pcapng.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Octets of the largest block or packet.
const LARGEST: usize = 16 << 20;

/// Why the work was not done to its end.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The capture can't be read.
    Reading(io::Error),
    /// The file can't be written.
    Writing(io::Error),
}

/// How it is to be done.
pub(super) struct Work<'a> {
    pub(super) keys: &'a Keys,
    pub(super) port: u16,
    /// Only what was inside of envelopes.
    pub(super) inner: bool,
}

/// A packet to write, if one is to be.
struct Packet<'a> {
    octets: Cow<'a, [u8]>,
    comment: Option<String>,
    /// It is another one than was captured.
    is_new: bool,
}

impl Work<'_> {
    /// What stands in the file for what was captured.
    fn packet<'a>(&self, link: DataLink, frame: &'a [u8], tally: &mut Tally) -> Option<Packet<'a>> {
        let verdict = open(self.keys, self.port, link, frame);
        tally.count(&verdict);
        let as_it_was = Packet { octets: frame.into(), comment: None, is_new: false };
        match verdict {
            Verdict::Opened(opened) => {
                let comment = Some(format!("decrypted: SPI {}, {}", opened.spi, opened.mn_id));
                let octets = if self.inner { opened.inner } else { opened.frame };
                Some(Packet { octets: octets.into(), comment, is_new: true })
            }
            Verdict::Clear(Some(inner)) if self.inner => {
                Some(Packet { octets: inner.into(), comment: None, is_new: true })
            }
            _ if self.inner => None,
            Verdict::Closed(why) => {
                Some(Packet { comment: Some(format!("not decrypted: {why}")), ..as_it_was })
            }
            Verdict::Clear(_) | Verdict::Other => Some(as_it_was),
        }
    }

    /// The link type of what is written.
    const fn link(&self, link: DataLink) -> DataLink {
        if self.inner { DataLink::RAW } else { link }
    }
}

/// A reader of the capture.
pub(super) fn source(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).map_err(|error| new_file::named(path, &error))?;
    Ok(Box::new(BufReader::new(file)))
}

/// Reads a capture to its end and writes what it becomes.
pub(super) fn convert(
    mut source: impl BufRead,
    out: impl Write,
    work: &Work<'_>,
    tally: &mut Tally,
) -> Result<(), Stopped> {
    let is_pcapng = source.fill_buf().map_err(Stopped::Reading)?.starts_with(&SECTION_HEADER);
    let mut out = BufWriter::new(out);
    if is_pcapng {
        of_pcapng(source, &mut out, work, tally)?;
    } else {
        of_pcap(source, &mut out, work, tally)?;
    }
    out.flush().map_err(Stopped::Writing)
}

fn of_pcapng(
    source: impl Read,
    out: impl Write,
    work: &Work<'_>,
    tally: &mut Tally,
) -> Result<(), Stopped> {
    let mut reader = PcapNgReader::with_capacity(source, LARGEST).map_err(no_capture)?;
    let mut writer = PcapNgWriter::with_section_header(out, unmeasured(reader.section().clone()))
        .map_err(unwritten)?;
    while let Some(block) = reader.next_block() {
        let (block, state) = block.map_err(broken)?;
        let written = match block {
            Block::SectionHeader(section) => {
                writer.write_block(&Block::SectionHeader(unmeasured(section)))
            }
            Block::InterfaceDescription(interface) => {
                let linktype = work.link(interface.linktype);
                let interface = InterfaceDescriptionBlock { linktype, snaplen: 0, ..interface };
                writer.write_block(&Block::InterfaceDescription(interface))
            }
            Block::EnhancedPacket(captured) => {
                let interface = usize::try_from(captured.interface_id).unwrap_or(usize::MAX);
                // The reader has refused a packet of an interface that there is not.
                let Some(interface) = state.interfaces().get(interface) else { continue };
                let Some(packet) = work.packet(interface.linktype, &captured.data, tally) else {
                    continue;
                };
                writer.write_block(&Block::EnhancedPacket(replaced(&captured, packet)))
            }
            // They have no time, and nothing tells their length from that of what was captured.
            Block::SimplePacket(_) | Block::Packet(_) if work.inner => continue,
            other => writer.write_block(&other),
        };
        written.map_err(unwritten)?;
    }
    Ok(())
}

/// A section whose length is not said: it becomes another.
fn unmeasured(section: SectionHeaderBlock<'_>) -> SectionHeaderBlock<'_> {
    SectionHeaderBlock { section_length: -1, ..section }
}

fn replaced<'a>(captured: &EnhancedPacketBlock<'a>, packet: Packet<'a>) -> EnhancedPacketBlock<'a> {
    let Packet { octets, comment, is_new } = packet;
    let mut options = captured.options.clone();
    // A hash is one of what was captured.
    options.retain(|option| !is_new || !matches!(option, EnhancedPacketOption::Hash(_)));
    let comment = comment.map(|text| CommonOption::Comment(text.into()));
    options.extend(comment.map(EnhancedPacketOption::Common));
    let original_len = if is_new { length(&octets) } else { captured.original_len };
    EnhancedPacketBlock {
        interface_id: captured.interface_id,
        timestamp: captured.timestamp,
        original_len,
        data: octets,
        options,
    }
}

fn length(octets: &[u8]) -> u32 {
    u32::try_from(octets.len()).unwrap_or(u32::MAX)
}

fn of_pcap(
    source: impl Read,
    out: impl Write,
    work: &Work<'_>,
    tally: &mut Tally,
) -> Result<(), Stopped> {
    let mut reader = PcapReader::with_capacity(source, LARGEST).map_err(no_capture)?;
    let link = reader.header().datalink;
    let mut writer = PcapNgWriter::new(out).map_err(unwritten)?;
    let options = vec![InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO)];
    let interface = InterfaceDescriptionBlock { linktype: work.link(link), snaplen: 0, options };
    writer.write_block(&Block::InterfaceDescription(interface)).map_err(unwritten)?;
    while let Some(captured) = reader.next_packet() {
        let captured = captured.map_err(broken)?;
        let Some(packet) = work.packet(link, captured.data(), tally) else { continue };
        let captured = EnhancedPacketBlock {
            timestamp: captured.timestamp(),
            original_len: captured.orig_len(),
            ..EnhancedPacketBlock::default()
        };
        let block = Block::EnhancedPacket(replaced(&captured, packet));
        writer.write_block(&block).map_err(unwritten)?;
    }
    Ok(())
}

fn no_capture(error: impl Error) -> Stopped {
    let text = format!("is no capture, neither pcap nor pcapng: {error}");
    Stopped::Reading(io::Error::new(io::ErrorKind::InvalidData, text))
}

fn broken(error: impl Error) -> Stopped {
    let text = format!("breaks off or is damaged; what was before that is written: {error}");
    Stopped::Reading(io::Error::new(io::ErrorKind::InvalidData, text))
}

fn unwritten(error: impl Error) -> Stopped {
    Stopped::Writing(io::Error::other(error.to_string()))
}
