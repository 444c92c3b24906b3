//! Makes httpd's C API callable: bindings from the installed headers, and the shim for what headers only offer as macros.
//!
//! Asks `apxs` (variable `APXS`) where the headers are. Touches no network and writes to `OUT_DIR` only.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const HOW_TO_GET_APXS: &str = "install httpd's development files (Debian, Ubuntu: apache2-dev; Fedora, RHEL: httpd-devel; \
     Arch: apache), or set the variable APXS to the path of apxs";
const HOW_TO_GET_LIBCLANG: &str = "the bindings need libclang (Debian, Ubuntu: libclang-dev; Fedora, RHEL: clang-devel; \
     Arch: clang); if it is in an unusual place set the variable LIBCLANG_PATH to its directory";

fn main() {
    println!("cargo::rerun-if-env-changed=APXS");
    println!("cargo::rerun-if-env-changed=LIBCLANG_PATH");
    println!("cargo::rerun-if-changed=build.rs");
    for file in ["wrapper.h", "shim.h", "shim.c"] {
        println!("cargo::rerun-if-changed=src/httpd/{file}");
    }
    // Our own references must reach our own module records even when another module exports the same name.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");

    let headers = Headers::ask_apxs().unwrap_or_else(|why| stop(&why));
    bindings(&headers).unwrap_or_else(|why| stop(&why));
    shim(&headers);
}

/// Where httpd's and APR's headers are and how they want to be compiled.
struct Headers {
    httpd: PathBuf,
    apr: PathBuf,
    flags: Vec<String>,
}

impl Headers {
    fn ask_apxs() -> Result<Self, String> {
        let apxs = match env::var("APXS") {
            Ok(path) => path,
            Err(_) => ["apxs", "apxs2"]
                .into_iter()
                .find(|name| Command::new(name).args(["-q", "INCLUDEDIR"]).output().is_ok())
                .ok_or_else(|| format!("apxs was not found in PATH: {HOW_TO_GET_APXS}"))?
                .to_owned(),
        };
        let httpd = PathBuf::from(run(&apxs, &["-q", "INCLUDEDIR"])?);
        let apr_config = run(&apxs, &["-q", "APR_CONFIG"])?;
        let apu_config = run(&apxs, &["-q", "APU_CONFIG"])?;
        let apr = PathBuf::from(run(&apr_config, &["--includedir"])?);
        for (directory, header) in [(&httpd, "httpd.h"), (&apr, "apr.h")] {
            if !directory.join(header).is_file() {
                return Err(format!(
                    "{} has no {header}: {HOW_TO_GET_APXS}",
                    directory.display()
                ));
            }
            println!("cargo::rerun-if-changed={}", directory.join(header).display());
        }
        let mut flags = vec![format!("-I{}", httpd.display())];
        for text in [
            run(&apr_config, &["--cppflags", "--includes"])?,
            run(&apu_config, &["--includes"])?,
        ] {
            flags.extend(text.split_whitespace().map(str::to_owned));
        }
        Ok(Self { httpd, apr, flags })
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|why| format!("cannot run {program} ({why}): {HOW_TO_GET_APXS}"))?;
    if !output.status.success() {
        return Err(format!(
            "{program} {} failed: {HOW_TO_GET_APXS}",
            arguments.join(" ")
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn bindings(headers: &Headers) -> Result<(), String> {
    let below = |directory: &Path| format!("{}/.*", directory.display());
    bindgen::Builder::default()
        .header("src/httpd/wrapper.h")
        .clang_args(&headers.flags)
        .allowlist_file(below(&headers.httpd))
        .allowlist_file(below(&headers.apr))
        .allowlist_file("(.*/)?src/httpd/.*")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .use_core()
        .derive_debug(false)
        .derive_default(false)
        .generate_comments(false)
        .layout_tests(true)
        .rust_target(manifest_rust_target())
        .generate()
        .map_err(|why| format!("bindgen failed ({why}): {HOW_TO_GET_LIBCLANG}"))?
        .write_to_file(out_dir().join("bindings.rs"))
        .map_err(|why| format!("cannot write the bindings: {why}"))
}

fn shim(headers: &Headers) {
    let mut build = cc::Build::new();
    build
        .file("src/httpd/shim.c")
        .warnings(true)
        .extra_warnings(true)
        .warnings_into_errors(true);
    // httpd's headers are not ours to judge.
    for flag in &headers.flags {
        match flag.strip_prefix("-I") {
            Some(directory) => build.flag("-isystem").flag(directory),
            None => build.flag(flag),
        };
    }
    build.compile("rwsgi_shim");
}

/// The oldest Rust that the manifest promises to build with.
fn manifest_rust_target() -> bindgen::RustTarget {
    let version = env::var("CARGO_PKG_RUST_VERSION").unwrap_or_default();
    let minor = version
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse().ok())
        .unwrap_or(85);
    bindgen::RustTarget::stable(minor, 0).unwrap_or_default()
}

fn out_dir() -> PathBuf {
    PathBuf::from(env::var_os("OUT_DIR").unwrap_or_else(|| stop("cargo did not set OUT_DIR")))
}

fn stop(why: &str) -> ! {
    println!("cargo::error={why}");
    std::process::exit(1)
}
