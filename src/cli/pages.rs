//! `completions` and `man`: pages that are written from the definition of the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure, print};

const PROGRAM: &str = "zoho-gateway";

pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), PROGRAM, &mut script);
    Ok(print(&String::from_utf8_lossy(&script))?)
}

pub(super) fn manual(command: Option<&str>) -> Result<(), Failure> {
    let mut program = Cli::command();
    // Gives the commands their whole names.
    program.build();
    let page = match command {
        None => program,
        Some(name) => program.find_subcommand(name).cloned().ok_or_else(|| {
            let known: Vec<_> = program.get_subcommands().map(clap::Command::get_name).collect();
            Failure::Usage(format!("there is no command {name:?}; expected one of {}", known.join(", ")))
        })?,
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    Ok(print(&String::from_utf8_lossy(&text))?)
}
