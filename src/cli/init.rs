//! `init`: a minimal configuration file with comments.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::{Failure, config_file::IN_THIS_FOLDER, print, tell};

const TEXT: &str = include_str!("init.toml");

/// Only for its owner, because people write secrets into it.
const MODE: u32 = 0o600;

pub(super) fn init(file: &Path, to_stdout: bool) -> Result<(), Failure> {
    if to_stdout {
        return Ok(print(TEXT)?);
    }
    let shown = file.display();
    write_new(file).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::Usage(format!("{shown} exists already, and is never replaced; name another file, or use --stdout"))
        }
        _ => Failure::Run(format!("cannot write {shown}: {error}")),
    })?;
    let option = if file == Path::new(IN_THIS_FOLDER) { String::new() } else { format!(" --config {shown}") };
    tell(&format!(
        "wrote {shown}. Fill in the three credentials of [accounts.main], then:\n\
         zoho-gateway check --online{option}\n\
         zoho-gateway run{option}\n"
    ))?;
    Ok(())
}

fn write_new(file: &Path) -> io::Result<()> {
    let mut created = OpenOptions::new().write(true).create_new(true).mode(MODE).open(file)?;
    created.write_all(TEXT.as_bytes())?;
    created.sync_all()
}
