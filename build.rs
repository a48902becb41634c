//! Tells the program its version (`build/version.rs`), and writes the catalogue as JSON, which the program reads several times
//! faster than TOML at each start.

#[path = "build/version.rs"]
mod version;

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    version::tell();
    let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let catalogue = Path::new(&root).join("config/catalogue");
    println!("cargo::rerun-if-changed={}", catalogue.display());
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default()).join("catalogue");
    // An image's build compiles the dependencies first, without any file of ours.
    if !catalogue.exists() {
        return;
    }
    if let Err(error) = write_as_json(&catalogue, &out) {
        println!("cargo::error={error}");
    }
}

/// Writes each TOML file of a folder, and of those in it, as JSON. The error names file and line.
fn write_as_json(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if path.is_dir() {
            write_as_json(&path, &to.join(name))?;
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let about = |error: toml::de::Error| format!("{}: {}", path.display(), error.to_string().replace('\n', " "));
        let table: toml::Table = toml::from_str(&text).map_err(about)?;
        fs::write(to.join(name).with_extension("json"), serde_json::to_string(&table)?)?;
    }
    Ok(())
}
