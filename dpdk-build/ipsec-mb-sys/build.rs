//! Generates the bindings from `intel-ipsec-mb.h` and compiles `shim.c`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HEADER: &str = "intel-ipsec-mb.h";

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=shim.c");
    println!("cargo:rerun-if-changed=shim.h");
    println!("cargo:rerun-if-env-changed=IPSEC_MB_INCLUDE_DIR");
    println!("cargo:rerun-if-env-changed=IPSEC_MB_LIB_DIR");
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("hearth-ipsec-mb-sys: {why}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let include = include_dir()?;
    if let Some(dir) = std::env::var_os("IPSEC_MB_LIB_DIR") {
        println!("cargo:rustc-link-search=native={}", Path::new(&dir).display());
    }

    let mut shim = cc::Build::new();
    shim.file("shim.c").opt_level(3).std("gnu11").warnings(true).extra_warnings(true);
    shim.flag("-isystem").flag(&include);
    shim.try_compile("hearth_ipsec_mb_shim").map_err(|e| e.to_string())?;
    println!("cargo:rustc-link-lib=dylib=IPSec_MB");

    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?).join("bindings.rs");
    bindgen::Builder::default()
        .header("shim.h")
        .clang_arg(format!("-I{}", include.display()))
        .use_core()
        .prepend_enum_name(false)
        // Only ever seen behind a pointer.
        .allowlist_recursively(false)
        .raw_line("#[repr(C)] pub struct IMB_JOB { _opaque: [u8; 0] }")
        .raw_line("#[repr(C)] pub struct IMB_MGR { _opaque: [u8; 0] }")
        .allowlist_type("hearth_.*")
        .allowlist_function("hearth_.*")
        .allowlist_function("alloc_mb_mgr|free_mb_mgr|imb_get_version_str|imb_get_strerror")
        .allowlist_var("HEARTH_.*")
        .generate_comments(false)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
        .generate()
        .map_err(|e| format!("bindgen (Debian's package is libclang-dev): {e}"))?
        .write_to_file(out)
        .map_err(|e| e.to_string())
}

/// Where the header is. ipsec-mb 1.3 has no pkg-config file, newer ones do.
fn include_dir() -> Result<PathBuf, String> {
    if let Some(dir) = std::env::var_os("IPSEC_MB_INCLUDE_DIR") {
        return Ok(dir.into());
    }
    let by_name = pkg_config::Config::new().cargo_metadata(false).probe("libipsec-mb");
    let named = by_name.map(|library| library.include_paths).unwrap_or_default();
    named
        .into_iter()
        .chain(["/usr/include", "/usr/local/include"].map(PathBuf::from))
        .find(|dir| dir.join(HEADER).is_file())
        .ok_or_else(|| {
            format!(
                "{HEADER} not found: install Debian's package libipsec-mb-dev, or name its \
                 folder in IPSEC_MB_INCLUDE_DIR (and the library's in IPSEC_MB_LIB_DIR)"
            )
        })
}
