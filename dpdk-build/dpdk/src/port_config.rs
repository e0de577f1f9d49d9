//! What a port is asked to be, what it can do, and what it says.

use hearth_dpdk_sys as sys;
use thiserror::Error;

use crate::errno::Errno;
use crate::mempool::Mempool;

/// How a port is set up.
#[derive(Debug, Clone, Copy)]
pub struct PortConfig {
    /// Receive queues, 1 or more. With several the NIC spreads packets by addresses and ports.
    pub rx_queues: u16,
    /// Transmit queues, 1 or more.
    pub tx_queues: u16,
    /// Descriptors of a receive queue; rounded to what the driver allows.
    pub rx_descriptors: u16,
    /// Descriptors of a transmit queue; rounded to what the driver allows.
    pub tx_descriptors: u16,
    /// Largest IP packet in octets; the driver's own default if not given. Packets that are larger
    /// than the pool's mbufs come in several segments ([`crate::Mbuf::linearize`]), where the port
    /// can do that; jumbo frames need it, or a pool of [`crate::Mempool::JUMBO`].
    pub mtu: Option<u16>,
    /// Whether to receive packets for other MAC addresses.
    pub promiscuous: bool,
    /// Whether to let the NIC verify and fill in IPv4 and UDP checksums, where it can.
    pub checksum_offload: bool,
}

impl Default for PortConfig {
    fn default() -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            mtu: None,
            promiscuous: false,
            checksum_offload: true,
        }
    }
}

/// Why a port could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PortError {
    /// The name holds a NUL octet.
    #[error("the device name holds a NUL octet")]
    BadName,
    /// DPDK could not make the device.
    #[error("the device could not be added: {0}")]
    Attach(Errno),
    /// DPDK knows no port of this name.
    #[error("no such port")]
    NoSuchPort,
    /// Somebody in this process has it open.
    #[error("the port is open already")]
    AlreadyOpen,
    /// DPDK does not say what the port can do.
    #[error("the port's capabilities could not be read: {0}")]
    Info(Errno),
    /// Fewer queues than asked for, or none were asked for.
    #[error("the port has {rx} receive and {tx} transmit queues at most, and needs one of each")]
    Queues {
        /// Receive queues that it has at most.
        rx: u32,
        /// Transmit queues that it has at most.
        tx: u32,
    },
    /// The MTU is out of the device's range.
    #[error("the port's MTU may be {min} to {max}")]
    Mtu {
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// The pool's mbufs are smaller than the driver takes.
    #[error("the port needs mbufs with {needs} octets for data; those of its pool have {has}")]
    Buffers {
        /// Octets that the driver wants.
        needs: u32,
        /// Octets that there are.
        has: u32,
    },
    /// The port or a queue could not be set up.
    #[error("the port could not be set up: {0}")]
    Setup(Errno),
    /// The port did not start.
    #[error("the port did not start: {0}")]
    Start(Errno),
    /// The port could not be made promiscuous.
    #[error("the port could not be made promiscuous: {0}")]
    Promiscuous(Errno),
    /// The port could not be made to receive what is sent to groups.
    #[error("the port could not be made to receive multicast: {0}")]
    AllMulticast(Errno),
}

/// What the NIC does for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offloads {
    /// It verifies IPv4 header checksums ([`crate::Mbuf::rx_ip_checksum`]).
    pub rx_ip_checksum: bool,
    /// It verifies UDP checksums ([`crate::Mbuf::rx_l4_checksum`]).
    pub rx_udp_checksum: bool,
    /// It can fill in IPv4 header checksums.
    pub tx_ip_checksum: bool,
    /// It can fill in UDP checksums ([`crate::Mbuf::request_tx_checksums`]).
    pub tx_udp_checksum: bool,
    /// It spreads packets over the receive queues and says by which hash.
    pub rss: bool,
    /// It was asked to give packets that are larger than an mbuf in several segments. (net_pcap and
    /// net_memif do so unasked.)
    pub rx_segments: bool,
    /// It takes packets in several segments. Without it those have to be put together before
    /// ([`crate::Mbuf::linearize`]).
    pub tx_segments: bool,
}

impl Offloads {
    /// Whether it fills in all that UDP over IP needs: the UDP checksum, and the header's under IPv4.
    #[must_use]
    pub const fn fills_in_checksums(&self) -> bool {
        self.tx_ip_checksum && self.tx_udp_checksum
    }
}

/// State of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Whether it is up.
    pub up: bool,
    /// Megabits a second; u32::MAX where the driver does not know.
    pub mbps: u32,
    /// Whether both ends may send at once.
    pub full_duplex: bool,
}

/// A port's counters since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Octets received.
    pub rx_bytes: u64,
    /// Packets lost because the receive queue was full.
    pub rx_missed: u64,
    /// Packets with errors.
    pub rx_errors: u64,
    /// Times that the mempool was empty.
    pub rx_no_mbuf: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Octets sent.
    pub tx_bytes: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
}

/// The configuration for DPDK, within what the port can do.
pub(crate) fn checked(
    info: &sys::hearth_eth_info,
    config: &PortConfig,
    pool: &Mempool,
) -> Result<sys::hearth_eth_conf, PortError> {
    let fits = |wanted: u16, max: u32| wanted > 0 && u32::from(wanted) <= max;
    if !fits(config.rx_queues, info.max_rx_queues) || !fits(config.tx_queues, info.max_tx_queues) {
        return Err(PortError::Queues { rx: info.max_rx_queues, tx: info.max_tx_queues });
    }
    let mtu = u32::from(config.mtu.unwrap_or(0));
    let (min, max) = (info.min_mtu, if info.max_mtu == 0 { u32::MAX } else { info.max_mtu });
    if mtu != 0 && !(min..=max).contains(&mtu) {
        return Err(PortError::Mtu { min, max });
    }
    let mut rx = 0;
    let mut tx = sys::HEARTH_OFFLOAD_TX_MULTI_SEGS;
    if config.checksum_offload {
        rx |= sys::HEARTH_OFFLOAD_RX_IPV4_CKSUM | sys::HEARTH_OFFLOAD_RX_UDP_CKSUM;
        tx |= sys::HEARTH_OFFLOAD_TX_IPV4_CKSUM | sys::HEARTH_OFFLOAD_TX_UDP_CKSUM;
    }
    // Ethernet header, a VLAN tag and the frame check sequence around the largest packet.
    let frame = mtu.max(1500) as usize + 22;
    let room = usize::from(pool.data_room()).saturating_sub(crate::HEADROOM);
    if room < frame {
        rx |= sys::HEARTH_OFFLOAD_RX_SCATTER;
    }
    let has = u32::try_from(room).unwrap_or(u32::MAX);
    if has < info.min_rx_room {
        return Err(PortError::Buffers { needs: info.min_rx_room, has });
    }
    let rss = config.rx_queues > 1;
    if rss {
        rx |= sys::HEARTH_OFFLOAD_RX_RSS_HASH;
    }
    Ok(sys::hearth_eth_conf {
        rx_offloads: rx & info.rx_offloads,
        tx_offloads: tx & info.tx_offloads,
        rss_types: if rss { sys::HEARTH_RSS_WANTED & info.rss_types } else { 0 },
        mtu,
        rx_queues: config.rx_queues,
        tx_queues: config.tx_queues,
        rx_descriptors: config.rx_descriptors,
        tx_descriptors: config.tx_descriptors,
    })
}

pub(crate) fn offloads(conf: &sys::hearth_eth_conf) -> Offloads {
    Offloads {
        rx_ip_checksum: conf.rx_offloads & sys::HEARTH_OFFLOAD_RX_IPV4_CKSUM != 0,
        rx_udp_checksum: conf.rx_offloads & sys::HEARTH_OFFLOAD_RX_UDP_CKSUM != 0,
        tx_ip_checksum: conf.tx_offloads & sys::HEARTH_OFFLOAD_TX_IPV4_CKSUM != 0,
        tx_udp_checksum: conf.tx_offloads & sys::HEARTH_OFFLOAD_TX_UDP_CKSUM != 0,
        rss: conf.rss_types != 0 && conf.rx_offloads & sys::HEARTH_OFFLOAD_RX_RSS_HASH != 0,
        rx_segments: conf.rx_offloads & sys::HEARTH_OFFLOAD_RX_SCATTER != 0,
        tx_segments: conf.tx_offloads & sys::HEARTH_OFFLOAD_TX_MULTI_SEGS != 0,
    }
}
