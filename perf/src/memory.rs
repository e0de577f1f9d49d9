//! What memory this process occupies, and how much of it lies in huge pages.

/// Octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Memory {
    /// Without [`Self::shared`].
    pub(crate) resident: u64,
    /// Shared memory: without huge pages DPDK's own, with packet buffers and rings. Where it has
    /// huge pages the kernel counts none of it.
    pub(crate) shared: u64,
    /// Of those, in transparent huge pages.
    pub(crate) huge: u64,
}

/// What it is now; zeros where the kernel does not say.
pub(crate) fn now() -> Memory {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup");
    parse(&rollup.or_else(|_| std::fs::read_to_string("/proc/self/smaps")).unwrap_or_default())
}

/// Adds up over all mappings in the form of `/proc/PID/smaps`.
fn parse(smaps: &str) -> Memory {
    let sum = |name: &str| -> u64 {
        let lines = smaps.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let numbers = lines.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        numbers.sum::<u64>() * 1024
    };
    let huge = sum("AnonHugePages") + sum("ShmemPmdMapped") + sum("FilePmdMapped");
    let shared = sum("Pss_Shmem");
    Memory { resident: sum("Rss").saturating_sub(shared), shared, huge }
}

/// Says how much of what was built lies in huge pages.
pub(crate) fn share(huge: u64, octets: u64) -> String {
    let mib = |octets: u64| octets >> 20;
    format!("{} of {} MiB", mib(huge), mib(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_added_up() {
        let rollup = "55-56 ---p 0 00:00 0 [rollup]\nRss:   5000 kB\nPss_Anon:  4000 kB\n\
                      Pss_Shmem:   900 kB\n";
        let found = Memory { resident: 4100 << 10, shared: 900 << 10, huge: 0 };
        assert_eq!(parse(rollup), found);
        let smaps = "55-56 r-xp 0 00:00 0\nRss:      12 kB\nAnonHugePages:   2048 kB\n\
                     ShmemPmdMapped:        0 kB\n57-58 rw-p\nRss:    4096 kB\n\
                     AnonHugePages:     2048 kB\nShmemPmdMapped:  2048 kB\n";
        assert_eq!(parse(smaps), Memory { resident: 4108 << 10, shared: 0, huge: 6144 << 10 });
        assert_eq!(parse(""), Memory::default());
        assert_eq!(share(5 << 20, 7 << 20), "5 of 7 MiB");
    }

    #[test]
    fn memory_that_is_touched_is_resident() {
        let before = now();
        let touched = vec![1_u8; 64 << 20];
        let grown = now().resident.saturating_sub(before.resident);
        assert!(grown > 60 << 20, "{grown}");
        drop(touched);
    }
}
