//! Ports: NICs and DPDK's virtual devices.

use core::ptr;
use std::sync::Arc;

use hearth_dpdk_sys as sys;
use thiserror::Error;

use crate::eal::{Eal, c_name};
use crate::errno::Errno;
use crate::mempool::Mempool;
use crate::queue::{RxQueue, TxQueue};
use crate::ring::{RingConsumer, RingInner, RingProducer};

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
    /// Largest IP packet in octets; the driver's own default if not given.
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
    /// The port or a queue could not be set up.
    #[error("the port could not be set up: {0}")]
    Setup(Errno),
    /// The port did not start.
    #[error("the port did not start: {0}")]
    Start(Errno),
    /// The port could not be made promiscuous.
    #[error("the port could not be made promiscuous: {0}")]
    Promiscuous(Errno),
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
    /// It takes packets in several segments.
    pub tx_segments: bool,
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

/// The queues of a port that was just opened, by number.
#[derive(Debug)]
pub struct Queues {
    /// Receive queues.
    pub rx: Vec<RxQueue>,
    /// Transmit queues.
    pub tx: Vec<TxQueue>,
}

/// A started port. It is stopped and closed when this and all its queues are gone.
#[derive(Debug)]
pub struct Port {
    inner: Arc<PortInner>,
    offloads: Offloads,
}

#[derive(Debug)]
pub(crate) struct PortInner {
    id: u16,
    started: bool,
    /// Whether this port was made here and is to be removed, not only closed.
    made_here: bool,
    _pool: Option<Mempool>,
    _rings: Vec<Arc<RingInner>>,
    eal: Eal,
}

impl PortInner {
    pub(crate) const fn id(&self) -> u16 {
        self.id
    }

    fn claim(eal: &Eal, id: u16, made_here: bool) -> Result<Self, PortError> {
        if !eal.claim_port(id) {
            return Err(PortError::AlreadyOpen);
        }
        let eal = eal.clone();
        Ok(Self { id, started: false, made_here, _pool: None, _rings: Vec::new(), eal })
    }

    fn info(&self) -> Result<sys::hearth_eth_info, Errno> {
        let mut info = EMPTY_INFO;
        // SAFETY: `info` is valid for writing; the port id is checked by DPDK.
        Errno::check(unsafe { sys::hearth_eth_info(self.id, &raw mut info) })?;
        Ok(info)
    }
}

impl Drop for PortInner {
    fn drop(&mut self) {
        let device = self.info().map_or(ptr::null_mut(), |info| info.device);
        // SAFETY: the port was claimed by us alone, and its last queue is gone with `self`. The
        // device outlives its port; rte_dev_remove copes with a port that is closed.
        unsafe {
            if self.started {
                sys::rte_eth_dev_stop(self.id);
            }
            sys::rte_eth_dev_close(self.id);
            if self.made_here && !device.is_null() {
                sys::rte_dev_remove(device);
            }
        }
        self.eal.release_port(self.id);
    }
}

impl Port {
    /// Opens and starts the port of this name: a PCI address, or the first word of an option in
    /// [`crate::EalOptions::vdevs`]. Received packets come from `pool`.
    ///
    /// # Errors
    /// [`PortError`]; the port is closed again then.
    pub fn open(
        eal: &Eal,
        name: &str,
        config: &PortConfig,
        pool: &Mempool,
    ) -> Result<(Self, Queues), PortError> {
        let inner = PortInner::claim(eal, port_by_name(name)?, false)?;
        Self::start(inner, config, pool)
    }

    /// Makes a device by an option string as in [`crate::EalOptions::vdevs`], or takes a PCI
    /// device by its address, then opens and starts its port. It goes again when the port is
    /// closed.
    ///
    /// # Errors
    /// [`PortError`].
    pub fn attach(
        eal: &Eal,
        device: &str,
        config: &PortConfig,
        pool: &Mempool,
    ) -> Result<(Self, Queues), PortError> {
        let name = device.split(',').next().unwrap_or(device);
        if port_by_name(name).is_ok() {
            return Err(PortError::AlreadyOpen);
        }
        let c_device = c_name(device).map_err(|_| PortError::BadName)?;
        // SAFETY: the EAL runs; the string outlives the call, which copies it.
        let probed = unsafe { sys::rte_dev_probe(c_device.as_ptr()) };
        Errno::check(probed).map_err(PortError::Attach)?;
        let inner = PortInner::claim(eal, port_by_name(name)?, true)?;
        Self::start(inner, config, pool)
    }

    /// Makes a port out of rings: it receives from the consumers' rings, one queue each, and
    /// sends into the producers'. For tests and for handing packets between programs' parts as
    /// if by a wire. The name is unique among ports made so.
    ///
    /// # Errors
    /// [`PortError`].
    pub fn from_rings(
        eal: &Eal,
        name: &str,
        rx: Vec<RingConsumer>,
        tx: Vec<RingProducer>,
        pool: &Mempool,
    ) -> Result<(Self, Queues), PortError> {
        let rx: Vec<_> = rx.into_iter().map(RingConsumer::into_inner).collect();
        let tx: Vec<_> = tx.into_iter().map(RingProducer::into_inner).collect();
        let pointers = |rings: &[Arc<RingInner>]| -> Vec<_> {
            rings.iter().map(|ring| ring.as_ptr()).collect()
        };
        let (rx_raw, tx_raw) = (pointers(&rx), pointers(&tx));
        let (Ok(rx_queues), Ok(tx_queues)) = (rx.len().try_into(), tx.len().try_into()) else {
            return Err(PortError::Queues { rx: u16::MAX.into(), tx: u16::MAX.into() });
        };
        let config = PortConfig { rx_queues, tx_queues, ..PortConfig::default() };
        let c_name = c_name(name).map_err(|_| PortError::BadName)?;
        // SAFETY: the arrays hold as many live rings as said; the port keeps them alive, and
        // takes the places of their only producer and consumer.
        let id = unsafe {
            sys::rte_eth_from_rings(
                c_name.as_ptr(),
                rx_raw.as_ptr(),
                rx_queues.into(),
                tx_raw.as_ptr(),
                tx_queues.into(),
                0,
            )
        };
        let Ok(id) = u16::try_from(id) else { return Err(PortError::Attach(Errno::last())) };
        let mut inner = PortInner::claim(eal, id, true)?;
        inner._rings = rx.into_iter().chain(tx).collect();
        Self::start(inner, &config, pool)
    }

    fn start(
        mut inner: PortInner,
        config: &PortConfig,
        pool: &Mempool,
    ) -> Result<(Self, Queues), PortError> {
        let info = inner.info().map_err(PortError::Info)?;
        let mut conf = checked(&info, config, pool)?;
        inner._pool = Some(pool.clone());
        // SAFETY: the port is ours; `conf` is valid, and the pool lives as long as the port.
        let code = unsafe { sys::hearth_eth_setup(inner.id, &raw mut conf, pool.as_ptr()) };
        Errno::check(code).map_err(PortError::Setup)?;
        // SAFETY: the port is ours and set up.
        let code = unsafe { sys::rte_eth_dev_start(inner.id) };
        Errno::check(code).map_err(PortError::Start)?;
        inner.started = true;
        if config.promiscuous {
            // SAFETY: the port is ours and started.
            let code = unsafe { sys::hearth_eth_promiscuous(inner.id) };
            Errno::check(code).map_err(PortError::Promiscuous)?;
        }
        let inner = Arc::new(inner);
        let rx = (0..config.rx_queues).map(|q| RxQueue::new(Arc::clone(&inner), q)).collect();
        let tx = (0..config.tx_queues).map(|q| TxQueue::new(Arc::clone(&inner), q)).collect();
        Ok((Self { inner, offloads: offloads(&conf) }, Queues { rx, tx }))
    }

    /// DPDK's number of the port, as in [`crate::Mbuf::port`].
    #[must_use]
    pub fn id(&self) -> u16 {
        self.inner.id
    }

    /// The port's MAC address.
    ///
    /// # Errors
    /// DPDK's error number.
    pub fn mac(&self) -> Result<[u8; 6], Errno> {
        let mut mac = [0; 6];
        // SAFETY: `mac` takes 6 octets.
        Errno::check(unsafe { sys::hearth_eth_mac(self.inner.id, mac.as_mut_ptr()) })?;
        Ok(mac)
    }

    /// Largest IP packet in octets.
    ///
    /// # Errors
    /// DPDK's error number.
    pub fn mtu(&self) -> Result<u16, Errno> {
        let mut mtu = 0;
        // SAFETY: `mtu` is valid for writing.
        Errno::check(unsafe { sys::hearth_eth_mtu(self.inner.id, &raw mut mtu) })?;
        Ok(mtu)
    }

    /// State of the link, as far as known at once.
    ///
    /// # Errors
    /// DPDK's error number.
    pub fn link(&self) -> Result<Link, Errno> {
        let mut link = sys::hearth_eth_link { mbps: 0, up: 0, full_duplex: 0 };
        // SAFETY: `link` is valid for writing.
        Errno::check(unsafe { sys::hearth_eth_link(self.inner.id, &raw mut link) })?;
        Ok(Link { up: link.up != 0, mbps: link.mbps, full_duplex: link.full_duplex != 0 })
    }

    /// The port's counters.
    ///
    /// # Errors
    /// DPDK's error number.
    pub fn stats(&self) -> Result<PortStats, Errno> {
        let mut s = EMPTY_STATS;
        // SAFETY: `s` is valid for writing.
        Errno::check(unsafe { sys::hearth_eth_stats(self.inner.id, &raw mut s) })?;
        Ok(PortStats {
            rx_packets: s.rx_packets,
            rx_bytes: s.rx_bytes,
            rx_missed: s.rx_missed,
            rx_errors: s.rx_errors,
            rx_no_mbuf: s.rx_no_mbuf,
            tx_packets: s.tx_packets,
            tx_bytes: s.tx_bytes,
            tx_errors: s.tx_errors,
        })
    }

    /// What the NIC does for us, as switched on.
    #[must_use]
    pub const fn offloads(&self) -> Offloads {
        self.offloads
    }
}

fn port_by_name(name: &str) -> Result<u16, PortError> {
    let name = c_name(name).map_err(|_| PortError::BadName)?;
    let mut id = 0;
    // SAFETY: the name is NUL-terminated, `id` is valid for writing.
    match unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &raw mut id) } {
        0 => Ok(id),
        _ => Err(PortError::NoSuchPort),
    }
}

/// The configuration for DPDK, within what the port can do.
fn checked(
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
    if usize::from(pool.data_room()) < crate::HEADROOM + frame {
        rx |= sys::HEARTH_OFFLOAD_RX_SCATTER;
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

fn offloads(conf: &sys::hearth_eth_conf) -> Offloads {
    Offloads {
        rx_ip_checksum: conf.rx_offloads & sys::HEARTH_OFFLOAD_RX_IPV4_CKSUM != 0,
        rx_udp_checksum: conf.rx_offloads & sys::HEARTH_OFFLOAD_RX_UDP_CKSUM != 0,
        tx_ip_checksum: conf.tx_offloads & sys::HEARTH_OFFLOAD_TX_IPV4_CKSUM != 0,
        tx_udp_checksum: conf.tx_offloads & sys::HEARTH_OFFLOAD_TX_UDP_CKSUM != 0,
        rss: conf.rss_types != 0 && conf.rx_offloads & sys::HEARTH_OFFLOAD_RX_RSS_HASH != 0,
        tx_segments: conf.tx_offloads & sys::HEARTH_OFFLOAD_TX_MULTI_SEGS != 0,
    }
}

const EMPTY_INFO: sys::hearth_eth_info = sys::hearth_eth_info {
    driver: ptr::null(),
    device: ptr::null_mut(),
    rx_offloads: 0,
    tx_offloads: 0,
    rss_types: 0,
    max_rx_queues: 0,
    max_tx_queues: 0,
    min_mtu: 0,
    max_mtu: 0,
};

const EMPTY_STATS: sys::hearth_eth_stats = sys::hearth_eth_stats {
    rx_packets: 0,
    rx_bytes: 0,
    rx_missed: 0,
    rx_errors: 0,
    rx_no_mbuf: 0,
    tx_packets: 0,
    tx_bytes: 0,
    tx_errors: 0,
};
