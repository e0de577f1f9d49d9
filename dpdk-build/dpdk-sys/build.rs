//! Generates the bindings from the headers that pkg-config names, and compiles the shims.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// DPDK's own functions that are called without a shim. Everything inline, everything whose
/// signature or structs changed between releases, goes through `hearth_*` in the shims.
const FUNCTIONS: &[&str] = &[
    "hearth_.*",
    "rte_cryptodev_get_dev_id",
    "rte_dev_probe",
    "rte_dev_remove",
    "rte_eal_cleanup",
    "rte_eal_get_runtime_dir",
    "rte_eal_init",
    "rte_eth_dev_close",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_from_rings",
    "rte_fib_add",
    "rte_fib_delete",
    "rte_fib_free",
    "rte_fib_lookup_bulk",
    "rte_fib6_free",
    "rte_get_tsc_hz",
    "rte_hash_add_key_data",
    "rte_hash_del_key",
    "rte_hash_free",
    "rte_hash_lookup_data",
    "rte_mempool_avail_count",
    "rte_mempool_free",
    "rte_mempool_in_use_count",
    "rte_pktmbuf_free_bulk",
    "rte_pktmbuf_pool_create",
    "rte_rcu_qsbr_synchronize",
    "rte_rcu_qsbr_thread_register",
    "rte_rcu_qsbr_thread_unregister",
    "rte_ring_create",
    "rte_ring_free",
    "rte_strerror",
    "rte_thread_register",
    "rte_thread_unregister",
    "rte_version",
];

/// The bodies of what `shim.h` declares.
const SHIMS: &[&str] = &["shim.c", "checksum.c", "ip_frag.c", "pcapng.c", "cryptodev.c"];

/// What is only ever seen behind a pointer; its layout is DPDK's own affair.
const HANDLES: &[&str] = &[
    "rte_crypto_op",
    "rte_device",
    "rte_fib",
    "rte_fib6",
    "rte_hash",
    "rte_mbuf",
    "rte_mempool",
    "rte_rcu_qsbr",
    "rte_ring",
];

fn main() -> ExitCode {
    for file in ["shim.h"].iter().chain(SHIMS) {
        println!("cargo:rerun-if-changed={file}");
    }
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("hearth-dpdk-sys: {why}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let library = pkg_config::Config::new()
        .atleast_version("22.11")
        .cargo_metadata(false)
        .probe("libdpdk")
        .map_err(|e| {
            format!("no DPDK >= 22.11; Debian's packages are libdpdk-dev and pkg-config\n{e}")
        })?;
    let cflags = cflags()?;

    let mut shim = cc::Build::new();
    shim.files(SHIMS).opt_level(3).std("gnu11").warnings(true).extra_warnings(true);
    // DPDK's own headers are not held to our warnings.
    for dir in &library.include_paths {
        shim.flag("-isystem").flag(dir);
    }
    for flag in cflags.iter().filter(|flag| !flag.starts_with("-I")) {
        shim.flag(flag);
    }
    // rte_ip_frag's expiry, the whole of rte_pcapng: the library calls them experimental, but they
    // have been the same since 22.11 or differ as the shims say.
    shim.define("ALLOW_EXPERIMENTAL_API", None);
    shim.try_compile("hearth_dpdk_shim").map_err(|e| e.to_string())?;

    // All libraries of libdpdk.pc are offered; the linker's --as-needed (rustc's default) keeps
    // those that are used. Drivers are plugins that the EAL loads, but rte_eth_from_rings is
    // called by name and stands in a driver, which libdpdk.pc does not list.
    for dir in &library.link_paths {
        println!("cargo:rustc-link-search=native={}", dir.display());
    }
    for name in library.libs.iter().map(String::as_str).chain(["rte_net_ring"]) {
        println!("cargo:rustc-link-lib=dylib={name}");
    }

    let mut bindings = bindgen::Builder::default()
        .header("shim.h")
        .clang_args(&cflags)
        .use_core()
        .prepend_enum_name(false)
        .allowlist_type("hearth_.*")
        .allowlist_var("HEARTH_.*")
        .allowlist_recursively(false)
        .generate_comments(false)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()));
    for name in FUNCTIONS {
        bindings = bindings.allowlist_function(name);
    }
    for name in HANDLES {
        let opaque = format!("#[repr(C)] pub struct {name} {{ _opaque: [u8; 0] }}");
        bindings = bindings.raw_line(opaque);
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?).join("bindings.rs");
    bindings
        .generate()
        .map_err(|e| format!("bindgen (Debian's package is libclang-dev): {e}"))?
        .write_to_file(out)
        .map_err(|e| e.to_string())
}

/// The flags of libdpdk.pc, as they stand: the pkg-config crate keeps neither `-march`, which
/// the inline functions need (SSE4.2), nor `-include rte_config.h`.
fn cflags() -> Result<Vec<String>, String> {
    let program = std::env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let output = Command::new(&program)
        .args(["--cflags", "libdpdk"])
        .output()
        .map_err(|e| format!("{program}: {e}"))?;
    let text = String::from_utf8(output.stdout).map_err(|e| e.to_string())?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}
