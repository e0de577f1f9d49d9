//! A device, opened and started.

use core::ptr::{self, NonNull};
use std::sync::Arc;

use hearth_dpdk_sys as sys;
use thiserror::Error;

use super::queue::CryptoQueue;
use super::session::{CryptoSession, CryptoSuite, Way};
use crate::eal::{Eal, c_name};
use crate::errno::Errno;

/// How a device is set up.
#[derive(Debug, Clone, Copy)]
pub struct CryptoConfig {
    /// Queue pairs: one per worker.
    pub queues: u16,
    /// Operations that a queue holds, about; rounded up to a power of two from 64 to 8192.
    pub descriptors: u32,
    /// Sessions that there can be at the same time: two per SA and worker. Their memory, 1 to
    /// 3 KiB each, is taken from DPDK's heap at once.
    pub sessions: u32,
}

impl Default for CryptoConfig {
    fn default() -> Self {
        Self { queues: 1, descriptors: 1024, sessions: 1024 }
    }
}

/// Why a device could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CryptoError {
    /// The name holds a NUL octet.
    #[error("the device name holds a NUL octet")]
    BadName,
    /// DPDK could not make the device.
    #[error("the crypto device could not be added: {0}")]
    Attach(Errno),
    /// DPDK knows no crypto device of this name.
    #[error("no such crypto device")]
    NoSuchDevice,
    /// Somebody in this process has it open.
    #[error("the crypto device is open already")]
    AlreadyOpen,
    /// It knows no symmetric cryptography.
    #[error("the device knows no symmetric cryptography")]
    NotSymmetric,
    /// Fewer queues than asked for, or none were asked for.
    #[error("the crypto device has {max} queues at most, and needs one")]
    Queues {
        /// How many it has at most.
        max: u32,
    },
    /// It could not be set up or started.
    #[error("the crypto device could not be set up: {0}")]
    Setup(Errno),
    /// No memory for sessions or operations.
    #[error("no memory for sessions or operations: {0}")]
    Memory(Errno),
    /// It does not know the suite's algorithms.
    #[error("the crypto device does not know this suite")]
    Suite,
    /// A key is not as long as the suite wants it.
    #[error("a key is not as long as the suite wants it")]
    KeyLength,
    /// The device has no queue of this number.
    #[error("the crypto device has no such queue")]
    NoSuchQueue,
    /// The device refused the session, or there are too many.
    #[error("no session: {0}")]
    Session(Errno),
}

/// A started device. It is stopped and closed when this, its queues and its sessions are gone.
#[derive(Debug, Clone)]
pub struct CryptoDevice {
    inner: Arc<DeviceInner>,
}

#[derive(Debug)]
pub(super) struct DeviceInner {
    id: u8,
    queues: u16,
    started: bool,
    /// Whether this device was made here and is to be removed, not only closed.
    made_here: bool,
    sessions: Option<NonNull<sys::rte_mempool>>,
    ops: Vec<NonNull<sys::rte_mempool>>,
    eal: Eal,
}

// SAFETY: the pools are used through DPDK, from any thread.
unsafe impl Send for DeviceInner {}
// SAFETY: as above; nothing is changed through a shared reference.
unsafe impl Sync for DeviceInner {}

impl DeviceInner {
    pub(super) const fn id(&self) -> u8 {
        self.id
    }

    fn info(&self) -> Result<sys::hearth_crypto_info, Errno> {
        let mut info = sys::hearth_crypto_info {
            driver: ptr::null(),
            device: ptr::null_mut(),
            max_queues: 0,
            symmetric: 0,
        };
        // SAFETY: `info` is valid for writing; the id is checked.
        Errno::check(unsafe { sys::hearth_crypto_info(self.id, &raw mut info) })?;
        Ok(info)
    }
}

impl Drop for DeviceInner {
    fn drop(&mut self) {
        let device = self.info().map_or(ptr::null_mut(), |info| info.device);
        // SAFETY: the device was claimed by us alone; its last queue and session are gone with
        // `self`, so that every operation and session is back in its pool.
        unsafe {
            sys::hearth_crypto_close(self.id, self.started.into());
            for pool in self.ops.drain(..).chain(self.sessions.take()) {
                sys::rte_mempool_free(pool.as_ptr());
            }
            if self.made_here && !device.is_null() {
                sys::rte_dev_remove(device);
            }
        }
        self.eal.release_crypto_device(self.id);
    }
}

impl CryptoDevice {
    /// Opens and starts the device of this name: the first word of an option in
    /// [`crate::EalOptions::vdevs`], a PCI address, or what the driver of a PCI device calls it
    /// (`0000:3d:01.0_qat_sym`).
    ///
    /// # Errors
    /// [`CryptoError`]; the device is closed again then.
    pub fn open<'k>(
        eal: &Eal,
        name: &str,
        config: &CryptoConfig,
    ) -> Result<(Self, Vec<CryptoQueue<'k>>), CryptoError> {
        let device = device_by_name(name).or_else(|_| device_on_bus(name))?;
        Self::start(eal, device, config, false)
    }

    /// Makes a device by an option string as in [`crate::EalOptions::vdevs`]
    /// (`crypto_aesni_mb0`, `crypto_openssl0`), then opens and starts it. It goes again when it
    /// is closed.
    ///
    /// # Errors
    /// [`CryptoError`].
    pub fn attach<'k>(
        eal: &Eal,
        device: &str,
        config: &CryptoConfig,
    ) -> Result<(Self, Vec<CryptoQueue<'k>>), CryptoError> {
        let name = device.split(',').next().unwrap_or(device);
        if device_by_name(name).is_ok() {
            return Err(CryptoError::AlreadyOpen);
        }
        let c_device = c_name(device).map_err(|_| CryptoError::BadName)?;
        // SAFETY: the EAL runs; the string outlives the call, which copies it.
        let probed = unsafe { sys::rte_dev_probe(c_device.as_ptr()) };
        Errno::check(probed).map_err(CryptoError::Attach)?;
        Self::start(eal, device_by_name(name)?, config, true)
    }

    fn start<'k>(
        eal: &Eal,
        id: u8,
        config: &CryptoConfig,
        made_here: bool,
    ) -> Result<(Self, Vec<CryptoQueue<'k>>), CryptoError> {
        if !eal.claim_crypto_device(id) {
            return Err(CryptoError::AlreadyOpen);
        }
        // From here on dropping `inner` closes it.
        let mut inner = DeviceInner {
            id,
            queues: config.queues,
            started: false,
            made_here,
            sessions: None,
            ops: Vec::new(),
            eal: eal.clone(),
        };
        let info = inner.info().map_err(CryptoError::Setup)?;
        if info.symmetric == 0 {
            return Err(CryptoError::NotSymmetric);
        }
        if config.queues == 0 || u32::from(config.queues) > info.max_queues {
            return Err(CryptoError::Queues { max: info.max_queues });
        }
        let descriptors = config.descriptors.clamp(64, 8192).next_power_of_two();
        // SAFETY: the device is ours.
        let code = unsafe { sys::hearth_crypto_setup(id, config.queues, descriptors) };
        Errno::check(code).map_err(CryptoError::Setup)?;
        inner.started = true;
        // SAFETY: the device is ours and set up; null is checked.
        let pool = unsafe { sys::hearth_crypto_session_pool(id, config.sessions) };
        inner.sessions = Some(NonNull::new(pool).ok_or_else(memory)?);
        // The rings of software devices hold one less than they are large.
        let slots = u16::try_from(descriptors - 1).unwrap_or(u16::MAX);
        for queue in 0..config.queues {
            // SAFETY: as above.
            let pool = unsafe { sys::hearth_crypto_op_pool(id, queue, slots.into()) };
            inner.ops.push(NonNull::new(pool).ok_or_else(memory)?);
        }
        let inner = Arc::new(inner);
        let queue = |(number, pool): (u16, &NonNull<_>)| {
            CryptoQueue::new(Arc::clone(&inner), number, *pool, slots)
        };
        let queues = (0..).zip(&inner.ops).map(queue).collect::<Result<_, _>>();
        let queues = queues.map_err(CryptoError::Memory)?;
        Ok((Self { inner }, queues))
    }

    /// Whether the device knows the suite's algorithms with their lengths of key, IV and tag.
    #[must_use]
    pub fn supports(&self, suite: CryptoSuite) -> bool {
        // SAFETY: the device lives as long as `self`.
        unsafe { sys::hearth_crypto_supports(self.inner.id, suite.number()) != 0 }
    }

    /// Gives the device the keys of a suite, for one way and one queue: `cipher_key` is empty for
    /// NULL and 16 octets, without the salt, for AES-GCM; `auth_key` is empty for AES-GCM.
    ///
    /// # Errors
    /// [`CryptoError::Suite`], [`CryptoError::KeyLength`], [`CryptoError::NoSuchQueue`],
    /// [`CryptoError::Session`].
    pub fn session(
        &self,
        queue: u16,
        suite: CryptoSuite,
        way: Way,
        cipher_key: &[u8],
        auth_key: &[u8],
    ) -> Result<CryptoSession, CryptoError> {
        if queue >= self.inner.queues {
            return Err(CryptoError::NoSuchQueue);
        }
        if !self.supports(suite) {
            return Err(CryptoError::Suite);
        }
        if (cipher_key.len(), auth_key.len()) != suite.key_lens() {
            return Err(CryptoError::KeyLength);
        }
        let Some(pool) = self.inner.sessions else {
            return Err(CryptoError::Session(Errno::NO_MEMORY));
        };
        // SAFETY: the device and the pool live; the keys are as long as the suite's, and are
        // copied by the call.
        let raw = unsafe {
            sys::hearth_crypto_session(
                self.inner.id,
                pool.as_ptr(),
                suite.number(),
                (way == Way::Encrypt).into(),
                cipher_key.as_ptr(),
                auth_key.as_ptr(),
            )
        };
        let raw = NonNull::new(raw).ok_or_else(|| CryptoError::Session(Errno::last()))?;
        Ok(CryptoSession::new(Arc::clone(&self.inner), raw.cast(), queue, suite, way))
    }
}

fn memory() -> CryptoError {
    CryptoError::Memory(Errno::last())
}

/// What a bus calls a device is not what its driver does.
fn device_on_bus(name: &str) -> Result<u8, CryptoError> {
    let name = c_name(name).map_err(|_| CryptoError::BadName)?;
    // SAFETY: the name is NUL-terminated.
    let id = unsafe { sys::hearth_crypto_by_bus(name.as_ptr()) };
    u8::try_from(id).map_err(|_| CryptoError::NoSuchDevice)
}

fn device_by_name(name: &str) -> Result<u8, CryptoError> {
    let name = c_name(name).map_err(|_| CryptoError::BadName)?;
    // SAFETY: the name is NUL-terminated.
    let id = unsafe { sys::rte_cryptodev_get_dev_id(name.as_ptr()) };
    u8::try_from(id).map_err(|_| CryptoError::NoSuchDevice)
}
