//! Ports: NICs and DPDK's virtual devices.

use core::ptr;
use std::sync::Arc;

use hearth_dpdk_sys as sys;

use crate::eal::{Eal, c_name};
use crate::errno::Errno;
use crate::mempool::Mempool;
use crate::port_config::{Link, Offloads, PortConfig, PortError, PortStats, checked, offloads};
use crate::queue::{RxQueue, TxQueue};
use crate::ring::{RingConsumer, RingInner, RingProducer};

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
        info(self.id)
    }
}

fn info(id: u16) -> Result<sys::hearth_eth_info, Errno> {
    let mut info = EMPTY_INFO;
    // SAFETY: `info` is valid for writing; the port id is checked by DPDK.
    Errno::check(unsafe { sys::hearth_eth_info(id, &raw mut info) })?;
    Ok(info)
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

    /// How many receive and transmit queues the port of this name has at most.
    ///
    /// # Errors
    /// [`PortError::NoSuchPort`], [`PortError::BadName`], [`PortError::Info`].
    pub fn queue_limits(_eal: &Eal, name: &str) -> Result<(u32, u32), PortError> {
        let info = info(port_by_name(name)?).map_err(PortError::Info)?;
        Ok((info.max_rx_queues, info.max_tx_queues))
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
        // A router answers questions that go to any solicited-node group (RFC 4291 s.2.7.1).
        // SAFETY: the port is ours and started.
        let code = unsafe { sys::hearth_eth_all_multicast(inner.id) };
        Errno::check(code).map_err(PortError::AllMulticast)?;
        let inner = Arc::new(inner);
        let rx = (0..config.rx_queues).map(|q| RxQueue::new(Arc::clone(&inner), q)).collect();
        let offloads = offloads(&conf);
        let tx = (0..config.tx_queues).map(|q| TxQueue::new(Arc::clone(&inner), q, offloads));
        let tx = tx.collect();
        Ok((Self { inner, offloads }, Queues { rx, tx }))
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
    min_rx_room: 0,
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
