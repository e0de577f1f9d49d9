//! The machine and the source that a report is about.

use std::process::Command;

use hearth_dpdk::{Arch, Eal, MultiBuffer};
use serde::Serialize;

use crate::cycles;
use crate::fault::Fault;

/// What the figures were taken on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) avx512: bool,
    pub(crate) vaes: bool,
    pub(crate) sha_ni: bool,
    /// The instruction set that ipsec-mb chose.
    pub(crate) ipsec_mb_arch: &'static str,
    pub(crate) dpdk: String,
    /// Packet memory in huge pages.
    pub(crate) huge_pages: bool,
    /// Ticks of the time stamp counter, which all cycles here are, in a microsecond.
    pub(crate) tsc_mhz: f64,
}

impl Machine {
    pub(crate) fn read(eal: &Eal, huge_pages: bool) -> Result<Self, Fault> {
        let arch = match MultiBuffer::new()?.arch() {
            Arch::Sse => "SSE",
            Arch::Avx => "AVX",
            Arch::Avx2 => "AVX2",
            Arch::Avx512 => "AVX-512",
            Arch::Other => "other",
        };
        Ok(Self {
            cpu: cpu_model(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            avx512: std::is_x86_feature_detected!("avx512f"),
            vaes: std::is_x86_feature_detected!("vaes"),
            sha_ni: std::is_x86_feature_detected!("sha"),
            ipsec_mb_arch: arch,
            dpdk: eal.version(),
            huge_pages,
            tsc_mhz: cycles::per_microsecond().round(),
        })
    }
}

fn cpu_model(cpuinfo: &str) -> String {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':'))
        .map_or("unknown", |(_, model)| model.trim())
        .to_owned()
}

/// Whether `megabytes` of huge pages are free.
pub(crate) fn has_huge_pages(megabytes: u32) -> bool {
    free_huge_kilobytes(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default())
        >= u64::from(megabytes) * 1024
}

fn free_huge_kilobytes(meminfo: &str) -> u64 {
    let field = |name: &str| -> u64 {
        let value = meminfo.lines().find_map(|line| line.strip_prefix(name));
        let number =
            value.and_then(|value| value.trim_start_matches(':').split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    field("HugePages_Free") * field("Hugepagesize")
}

/// The commit that is checked out here.
pub(crate) fn commit() -> String {
    said_by("git", &["rev-parse", "HEAD"])
}

/// Now, in UTC.
pub(crate) fn date() -> String {
    said_by("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let said = output.ok().filter(|output| output.status.success());
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.filter(|said| !said.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: AMD EPYC\n"), "AMD EPYC");
        assert_eq!(cpu_model(""), "unknown");
        let meminfo =
            "HugePages_Total:     300\nHugePages_Free:      256\nHugepagesize:    2048 kB\n";
        assert_eq!(free_huge_kilobytes(meminfo), 256 * 2048);
        assert_eq!(free_huge_kilobytes(""), 0);
    }

    #[test]
    fn a_program_that_fails_says_unknown() {
        assert_eq!(said_by("false", &[]), "unknown");
        assert_eq!(said_by("no-such-program-at-all", &[]), "unknown");
        assert_eq!(said_by("echo", &["x"]), "x");
    }
}
