//! The commands in the documentation run.
//!
//! Every `sh`, `python` and `js` block of a page runs, from the top of the page to its end, in one folder. A block that
//! needs more than a bare machine has a comment on the line before it, `<!-- not run: WHY -->`; of such a block only the
//! lines with `zoho-gateway` are checked, for commands and options that exist. Where a `text` block follows, its first
//! line is the first line of the output, apart from numbers.
//!
//! A page that calls a gateway before it has started one means that of `zoho-gateway run --sandbox`.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::support::{free_port, shell};

const PROGRAM: &str = env!("CARGO_BIN_EXE_zoho-gateway");

/// The configuration that a reader has: with credentials, which nothing here uses.
const READERS_CONFIG: &str =
    "[accounts.main]\nclient_id = \"1000.ABC\"\nclient_secret = \"secret\"\nrefresh_token = \"1000.token\"\n";

/// More time than any command takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_command_of_the_documentation_runs() {
    let mut failures = Vec::new();
    let mut run = 0;
    for page in pages() {
        let mut machine = Machine::new();
        let mut before = String::new();
        for mut block in blocks(&fs::read_to_string(&page).expect("a page")) {
            if block.language == "python" && !block.text.contains("import ") {
                // It continues the program above.
                block.text = format!("{before}\n{}", block.text);
            }
            before.clone_from(&block.text);
            let outcome = if block.excused { known_commands(&block.text) } else { machine.run(&block) };
            run += usize::from(!block.excused);
            if let Err(reason) = outcome {
                failures.push(format!("{}:{}: {reason}\n{}", page.display(), block.line, block.text));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(run > 10, "only {run} blocks");
}

/// A block of commands in a page.
struct Block {
    language: String,
    text: String,
    line: usize,
    excused: bool,
    /// The first line of the `text` block that follows.
    output: Option<String>,
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = fs::read_dir(root.join("docs")).expect("docs/").map(|entry| entry.expect("an entry").path());
    let in_root = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root.join(name));
    let mut pages: Vec<_> = folder.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.extend(in_root);
    pages.sort();
    pages
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    // A block in a list is indented.
    let mut lines = page.lines().enumerate().map(|(at, line)| (at, line.strip_prefix("   ").unwrap_or(line)));
    let mut before = "";
    while let Some((at, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            before = if line.is_empty() { before } else { line };
            continue;
        };
        let text: Vec<_> = lines.by_ref().map(|(_, line)| line).take_while(|line| !line.starts_with("```")).collect();
        match language {
            "sh" | "python" | "js" => found.push(Block {
                language: language.to_owned(),
                text: text.join("\n"),
                line: at + 1,
                excused: before.starts_with("<!-- not run: "),
                output: None,
            }),
            // Only right behind the commands; any text between them says what else happens.
            "text" if before == "```" => {
                if let Some(block) = found.last_mut() {
                    block.output = text.first().map(|line| (*line).to_owned());
                }
            }
            _ => {}
        }
        before = "```";
    }
    found
}

/// Whether the program has the commands and options of these lines.
fn known_commands(text: &str) -> Result<(), String> {
    for line in text.replace("\\\n", " ").lines() {
        let line = line.trim_start_matches("sudo ");
        let Some(arguments) = line.strip_prefix("zoho-gateway ") else { continue };
        let arguments = arguments.split(['|', '>', '<', '#', '&']).next().unwrap_or_default();
        let output = Command::new(PROGRAM).args(arguments.split_whitespace()).arg("--help").output().expect("runs");
        if !output.status.success() {
            return Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    Ok(())
}

/// A newcomer's machine: a folder with the program on the path, and the servers that a page has started.
struct Machine {
    folder: tempfile::TempDir,
    proxy: u16,
    admin: u16,
    sandbox: u16,
    servers: Vec<Server>,
}

/// A server, with all its processes.
struct Server(Child);

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).expect("made");
        std::os::unix::fs::symlink(PROGRAM, bin.join("zoho-gateway")).expect("linked");
        // `cargo run -- ARGUMENTS` builds the program that is already there.
        fs::write(
            bin.join("cargo"),
            "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec zoho-gateway \"$@\"\n",
        )
        .expect("written");
        shell(&format!("chmod +x {}", bin.join("cargo").display()));
        fs::write(folder.path().join("gateway.toml"), READERS_CONFIG).expect("written");
        Self { folder, proxy: free_port(), admin: free_port(), sandbox: free_port(), servers: Vec::new() }
    }

    fn run(&mut self, block: &Block) -> Result<(), String> {
        let starts = |command: &str| block.text.lines().any(|line| line.contains(command) && !line.contains(" | "));
        let is_server = starts("zoho-gateway run") || starts("zoho-gateway sandbox") || starts("-- run --sandbox");
        if !is_server
            && self.servers.is_empty()
            && ["127.0.0.1:8080", "127.0.0.1:9090"].iter().any(|url| block.text.contains(url))
        {
            self.serve("zoho-gateway run --sandbox")?;
        }
        if !is_server && self.servers.is_empty() && block.text.contains("127.0.0.1:9300") {
            self.serve("zoho-gateway sandbox")?;
        }
        match block.language.as_str() {
            _ if is_server => self.serve(&block.text),
            "sh" => self.execute("bash", &["-euo", "pipefail", "-c"], block),
            "python" => self.execute(python(), &["-c"], block),
            _ => self.execute("node", &["--input-type=module", "--eval"], block),
        }
    }

    /// Starts a server and waits until it listens. It replaces the server before it.
    fn serve(&mut self, text: &str) -> Result<(), String> {
        self.servers.clear();
        let mut text = self.moved(text);
        if text.contains("zoho-gateway sandbox") {
            text = format!("{} --listen 127.0.0.1:{}", text.trim_end(), self.sandbox);
        }
        let mut command = self.command("bash", &["-euc", &text]);
        let mut server = Server(command.process_group(0).spawn().map_err(|error| error.to_string())?);
        let (sender, lines) = mpsc::channel();
        for stream in [server.stdout(), server.stderr()] {
            let sender = sender.clone();
            thread::spawn(move || {
                BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
            });
        }
        drop(sender);
        let mut printed = String::new();
        while let Ok(line) = lines.recv_timeout(PATIENCE) {
            if line.contains("listens") {
                self.servers.push(server);
                return Ok(());
            }
            printed = printed + &line + "\n";
        }
        Err(format!("it does not listen: {printed}"))
    }

    fn execute(&self, program: &str, before: &[&str], block: &Block) -> Result<(), String> {
        let text = self.moved(&block.text);
        let limit = PATIENCE.as_secs().to_string();
        let child = self.command("timeout", &[&[limit.as_str(), program], before, &[&text]].concat()).spawn();
        let output = child.and_then(Child::wait_with_output).map_err(|error| error.to_string())?;
        let (printed, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            return Err(format!("{}: {printed}{log}", output.status));
        }
        match &block.output {
            Some(expected) => {
                let first = printed.lines().chain(log.lines()).next().unwrap_or_default();
                let is_so = alike(expected) == alike(first);
                is_so
                    .then_some(())
                    .ok_or_else(|| format!("the page shows {expected:?}, and the first line is {first:?}"))
            }
            None => Ok(()),
        }
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path());
        command.env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()));
        command.env("HOME", self.folder.path());
        command.env("ZOHO_GATEWAY__PROXY__LISTEN", format!("127.0.0.1:{}", self.proxy));
        command.env("ZOHO_GATEWAY__ADMIN__LISTEN", format!("127.0.0.1:{}", self.admin));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The text with free ports instead of the usual ones, which other tests or programs may use.
    fn moved(&self, text: &str) -> String {
        let at = |port: u16| format!("127.0.0.1:{port}");
        text.replace("127.0.0.1:8080", &at(self.proxy))
            .replace("127.0.0.1:9090", &at(self.admin))
            .replace("127.0.0.1:9300", &at(self.sandbox))
    }
}

impl Server {
    fn stdout(&mut self) -> Box<dyn Read + Send> {
        Box::new(self.0.stdout.take().expect("stdout is piped"))
    }

    fn stderr(&mut self) -> Box<dyn Read + Send> {
        Box::new(self.0.stderr.take().expect("stderr is piped"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        shell(&format!("kill -9 -{} 2>/dev/null || true", self.0.id()));
        let _ = self.0.wait();
    }
}

/// A Python that can import requests.
fn python() -> &'static str {
    let imports = |python: &&str| {
        let output = Command::new(python).args(["-c", "import requests"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(imports).expect("python3 with requests, see tests/run")
}

/// A line without what differs from run to run: numbers, and spaces around them.
fn alike(line: &str) -> String {
    line.chars().filter(|sign| !sign.is_ascii_digit() && !sign.is_whitespace()).collect()
}
