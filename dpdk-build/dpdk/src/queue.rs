//! The queues of a port, each with one owner.

use core::cell::Cell;
use core::marker::PhantomData;
use std::sync::Arc;

use hearth_dpdk_sys as sys;

use crate::burst::Burst;
use crate::port::PortInner;
use crate::port_config::Offloads;

/// A receive queue. It can move to another thread; the port stays open as long as it lives.
#[derive(Debug)]
pub struct RxQueue {
    port: Arc<PortInner>,
    queue: u16,
    _one_thread: PhantomData<Cell<()>>,
}

impl RxQueue {
    pub(crate) fn new(port: Arc<PortInner>, queue: u16) -> Self {
        Self { port, queue, _one_thread: PhantomData }
    }

    /// Takes what has arrived until the burst is full; returns how many packets came. Never
    /// waits.
    pub fn receive<const N: usize>(&mut self, burst: &mut Burst<N>) -> usize {
        burst.fill_with(|slots, room| {
            // SAFETY: the port is started and this is the queue's only user; `slots` has place
            // for `room` pointers, and what the driver writes there is ours.
            unsafe { sys::hearth_eth_rx_burst(self.port.id(), self.queue, slots, room) }
        })
    }

    /// The DPDK port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.id()
    }

    /// The queue's number at its port.
    #[must_use]
    pub const fn queue(&self) -> u16 {
        self.queue
    }
}

/// A transmit queue. It can move to another thread; the port stays open as long as it lives.
#[derive(Debug)]
pub struct TxQueue {
    port: Arc<PortInner>,
    queue: u16,
    fills_in_checksums: bool,
    _one_thread: PhantomData<Cell<()>>,
}

impl TxQueue {
    pub(crate) fn new(port: Arc<PortInner>, queue: u16, offloads: Offloads) -> Self {
        let fills_in_checksums = offloads.fills_in_checksums();
        Self { port, queue, fills_in_checksums, _one_thread: PhantomData }
    }

    /// Whether packets may ask for it ([`crate::Mbuf::request_tx_checksums`]).
    #[must_use]
    pub const fn fills_in_checksums(&self) -> bool {
        self.fills_in_checksums
    }

    /// Hands the first packets of the burst to the NIC, as many as it takes, and keeps the rest
    /// in it; returns how many went. Never waits.
    pub fn send<const N: usize>(&mut self, burst: &mut Burst<N>) -> usize {
        burst.offer_to(|mbufs, n| {
            // SAFETY: the port is started and this is the queue's only user; `mbufs` holds `n`
            // owned mbufs, and those counted are the driver's from here on.
            unsafe { sys::hearth_eth_tx_burst(self.port.id(), self.queue, mbufs, n) }
        })
    }

    /// The DPDK port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.id()
    }

    /// The queue's number at its port.
    #[must_use]
    pub const fn queue(&self) -> u16 {
        self.queue
    }
}
