//! What a thread does while it is watched: allocations, locks, system calls.

use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU8, Ordering};
use std::alloc::{GlobalAlloc, Layout, System};

/// What was seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    /// Memory taken, resized or given back.
    pub allocations: u64,
    /// pthread mutexes, read-write locks and spin locks taken.
    pub locks: u64,
    /// The first system call, by number; it was not made.
    pub system_call: Option<i32>,
}

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LOCKS: Cell<u64> = const { Cell::new(0) };
    static SYSTEM_CALL: Cell<i32> = const { Cell::new(NONE) };
    /// Read by the kernel on every system call of the thread.
    static SELECTOR: AtomicU8 = const { AtomicU8::new(ALLOW) };
}

const NONE: i32 = -1;
// linux/prctl.h; libc does not have them yet.
const PR_SET_SYSCALL_USER_DISPATCH: c_int = 59;
const PR_SYS_DISPATCH_OFF: usize = 0;
const PR_SYS_DISPATCH_ON: usize = 1;
const ALLOW: u8 = 0;
const BLOCK: u8 = 1;

/// The watch of this thread, which ends with it.
pub struct Watch;

impl Watch {
    /// Asks the kernel to look at [`SELECTOR`] on every system call of this thread.
    pub fn set_up() -> Self {
        // SAFETY: all zeros are a valid sigaction.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = refused;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        let selector = SELECTOR.with(AtomicU8::as_ptr);
        // SAFETY: the handler touches thread-local numbers only. The selector lives as long as the
        // thread, and `drop` ends the kernel's interest in it before.
        unsafe {
            assert_eq!(libc::sigaction(libc::SIGSYS, &raw const action, core::ptr::null_mut()), 0);
            let on = libc::prctl(
                PR_SET_SYSCALL_USER_DISPATCH,
                PR_SYS_DISPATCH_ON,
                0_usize,
                0_usize,
                selector,
            );
            assert_eq!(on, 0, "Linux 5.11 or later: {}", std::io::Error::last_os_error());
        }
        Self
    }

    /// Runs `what`, and says what it did.
    pub fn over<T>(what: impl FnOnce() -> T) -> (T, Witness) {
        ALLOCATIONS.set(0);
        LOCKS.set(0);
        SYSTEM_CALL.set(NONE);
        WATCHED.set(true);
        SELECTOR.with(|selector| selector.store(BLOCK, Ordering::SeqCst));
        let result = what();
        SELECTOR.with(|selector| selector.store(ALLOW, Ordering::SeqCst));
        WATCHED.set(false);
        let system_call = Some(SYSTEM_CALL.get()).filter(|number| *number != NONE);
        (result, Witness { allocations: ALLOCATIONS.get(), locks: LOCKS.get(), system_call })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let none = core::ptr::null_mut::<u8>();
        // SAFETY: switches off what `set_up` switched on.
        unsafe {
            libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0_usize, 0_usize, none)
        };
    }
}

/// SIGSYS instead of a system call. The rest of the watch goes without, so that the handler can
/// return.
extern "C" fn refused(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    /// `siginfo_t` of SIGSYS.
    #[repr(C)]
    struct Refusal {
        signal: c_int,
        errno: c_int,
        code: c_int,
        call_address: *mut c_void,
        call: c_int,
    }
    SELECTOR.with(|selector| selector.store(ALLOW, Ordering::SeqCst));
    // SAFETY: the kernel fills this part of the union for SIGSYS.
    SYSTEM_CALL.set(unsafe { (*info.cast::<Refusal>()).call });
}

fn count(what: &'static std::thread::LocalKey<Cell<u64>>) {
    if WATCHED.get() {
        what.set(what.get() + 1);
    }
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: hands everything on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(&ALLOCATIONS);
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(&ALLOCATIONS);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(&ALLOCATIONS);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

unsafe extern "C" {
    // glibc's own names for what is interposed here.
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(memory: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_free(memory: *mut c_void);
}

/// C's allocator, for DPDK and ipsec-mb.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    count(&ALLOCATIONS);
    // SAFETY: as malloc.
    unsafe { __libc_malloc(size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(number: usize, size: usize) -> *mut c_void {
    count(&ALLOCATIONS);
    // SAFETY: as calloc.
    unsafe { __libc_calloc(number, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(memory: *mut c_void, size: usize) -> *mut c_void {
    count(&ALLOCATIONS);
    // SAFETY: as realloc.
    unsafe { __libc_realloc(memory, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(memory: *mut c_void) {
    count(&ALLOCATIONS);
    // SAFETY: as free.
    unsafe { __libc_free(memory) }
}

/// A pthread lock that counts, then does what the library's does.
macro_rules! lock {
    ($name:ident, $lock:ty) => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(lock: *mut $lock) -> c_int {
            count(&LOCKS);
            type Lock = unsafe extern "C" fn(*mut $lock) -> c_int;
            let name = concat!(stringify!($name), "\0");
            // SAFETY: the next definition of this name is the library's, of this type; the lock is
            // the caller's.
            unsafe {
                let next = libc::dlsym(libc::RTLD_NEXT, name.as_ptr().cast());
                core::mem::transmute::<*mut c_void, Lock>(next)(lock)
            }
        }
    };
}

lock!(pthread_mutex_lock, libc::pthread_mutex_t);
lock!(pthread_mutex_trylock, libc::pthread_mutex_t);
lock!(pthread_rwlock_rdlock, libc::pthread_rwlock_t);
lock!(pthread_rwlock_wrlock, libc::pthread_rwlock_t);
