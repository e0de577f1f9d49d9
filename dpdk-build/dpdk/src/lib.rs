//! The thin owning layer over DPDK and ipsec-mb.
//!
//! It says who owns what, and nothing else: an [`Mbuf`] is freed when it is dropped, a [`Burst`]
//! keeps what the NIC or a ring did not take, a queue has one owner, a table that workers read
//! frees its slots after they have passed a quiescent point ([`Qsbr`]), and a packet that lies in
//! a crypto lane belongs to the [`MultiBuffer`] until it comes back, one in a crypto device to its
//! [`CryptoQueue`], and a fragment that waits for others to the [`Reassembly`].
//!
//! Order of life: [`Eal`] first and last. Every object holds it; the EAL is cleaned up when the
//! last of them is gone and no mbuf is left outside its pool.

// DPDK and ipsec-mb are C: every call into them is unsafe, and each says why it is sound.
#![allow(unsafe_code)]

pub mod eal;
pub mod mb;

mod burst;
mod cryptodev;
mod cycles;
mod errno;
mod fib;
mod fragment;
mod hash;
mod heap;
mod mbuf;
mod mempool;
mod pcapng;
mod port;
mod port_config;
mod qsbr;
mod queue;
mod reassembly;
mod ring;

pub use burst::{BURST, Burst};
pub use cryptodev::{
    CryptoConfig, CryptoDevice, CryptoError, CryptoQueue, CryptoSession, CryptoSuite, DeviceOp, Way,
};
pub use cycles::{prefetch, sum_words, tsc};
pub use eal::{Eal, EalError, EalOptions, LogLevel, ThreadRegistration};
pub use errno::Errno;
pub use fib::{Fib4, Fib6, FibError, FibParameters, NextHopWidth};
pub use fragment::{FragmentError, FragmentPools, fragment4, fragment6};
pub use hash::{HashError, HashReader, HashWriter};
pub use heap::{HeapStats, PoolUse};
pub use mb::{
    Aes128DecryptKey, Aes128EncryptKey, Aes128GcmKey, Arch, Auth, Cipher, Completed, HmacSha1Key,
    KEPT_TAGS, MultiBuffer, MultiBufferError, Op, OpError, Rejected, STAGE, Submission, Tag,
    TripleDesKey, XcbcKey, burn_stack,
};
pub use mbuf::{HEADROOM, META_SIZE, Mbuf, RxChecksum};
pub use mempool::Mempool;
pub use pcapng::{CaptureDirection, Captured, PcapngError, PcapngWriter};
pub use port::{Port, Queues};
pub use port_config::{Link, Offloads, PortConfig, PortError, PortStats};
pub use qsbr::{Epoch, Qsbr, QsbrReader, Token};
pub use queue::{RxQueue, TxQueue};
pub use reassembly::{FragmentDrop, Reassembled, Reassembly};
pub use ring::{RingConsumer, RingProducer, SharedRingProducer, mpsc_ring, spsc_ring};
