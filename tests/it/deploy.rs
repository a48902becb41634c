//! Compares the files of deploy/ with each other and with the program, and runs their commands as far as that is
//! possible without systemd, Docker and Kubernetes.

mod alerts;
mod chart;
mod image;
mod tools;
mod units;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{
    CLIENT_SECRET, COURSE, Ended, Gateway, Process, REFRESH_TOKEN, RedisServer, Sandbox, call, get, until,
};

const CONFIG: &str = "/etc/zoho-gateway/gateway.toml";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn deploy(name: &str) -> String {
    fs::read_to_string(folder().join(name)).expect("a file of deploy/")
}

/// All texts in a value.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(table) => table.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

/// The values of a setting in the unit or the Dockerfile, without comments.
fn values<'t>(text: &'t str, begin: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(begin)).collect()
}

/// A machine with the unit's files, in a folder of its own.
struct Machine {
    root: tempfile::TempDir,
    zoho: Sandbox,
}

impl Machine {
    /// Has the configuration from the unit's comments, and the client's secret.
    fn new() -> Self {
        let machine = Self { root: tempfile::tempdir().expect("a folder"), zoho: Sandbox::boundless() };
        let unit = deploy("zoho-gateway.service");
        let shown: Vec<_> = values(&unit, "#   ").into_iter().take_while(|line| !line.starts_with("sudo ")).collect();
        let url = machine.zoho.url();
        let text = format!(
            "{}\n[proxy]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[accounts.main.endpoints]\n\
             accounts = \"{url}\"\npeople = \"{url}\"\ncalendar = \"{url}\"\n",
            shown.join("\n").replace("1000.ABC", "1000.SANDBOX")
        );
        fs::create_dir_all(machine.path("/etc/zoho-gateway/secrets")).expect("made");
        fs::create_dir_all(machine.path("/var/lib")).expect("made");
        fs::write(machine.path(CONFIG), machine.moved(&text)).expect("written");
        fs::write(machine.path("/etc/zoho-gateway/secrets/client_secret"), CLIENT_SECRET).expect("written");
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// A text whose paths lead into this folder.
    fn moved(&self, text: &str) -> String {
        let root = self.root.path().display();
        text.replace("/etc/zoho-gateway", &format!("{root}/etc/zoho-gateway"))
            .replace("/var/lib/zoho-gateway", &format!("{root}/var/lib/zoho-gateway"))
    }

    /// Runs one of the commands from the unit's comments as root would.
    fn root_runs(&self, command: &str, more: &[&str]) -> Ended {
        let unit = deploy("zoho-gateway.service");
        let shown = values(&unit, "#   sudo zoho-gateway ");
        let line = shown.into_iter().find(|line| line.starts_with(command)).expect("the command");
        let line = self.moved(line);
        Process::run(&[line.split(' ').collect::<Vec<_>>().as_slice(), more].concat(), &[])
    }

    /// The service's environment, after systemd has copied the credentials.
    fn environment(&self) -> Vec<(String, String)> {
        let unit = deploy("zoho-gateway.service");
        let handed_in = self.path("/run/credentials/zoho-gateway.service");
        fs::create_dir_all(&handed_in).expect("made");
        for credential in values(&unit, "LoadCredential=") {
            let (name, source) = credential.split_once(':').expect("NAME:PATH");
            fs::copy(self.path(source), handed_in.join(name)).expect("login has written it");
        }
        let variables = values(&unit, "Environment=").into_iter().map(|line| line.split_once('=').expect("NAME=VALUE"));
        variables
            .map(|(name, value)| (name.to_owned(), value.replace("%d", handed_in.to_str().expect("UTF-8"))))
            .collect()
    }
}

/// With the unit's own configuration `login` and `check` failed: the folder of its secrets exists only inside the
/// service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_can_log_in_and_check_with_the_units_configuration() {
    let machine = Machine::new();
    let code =
        call("POST", "/__sandbox/self-client-code?scope=ZOHOPEOPLE.training.ALL").send(machine.zoho.address()).await;
    let code = code.json()["code"].as_str().expect("a code").to_owned();
    let ended = machine.root_runs("login", &["--print", "--code", &code]);
    assert!(ended.code == Some(0) && ended.stdout.starts_with("1000.sandbox."), "{ended:?}");
    fs::write(machine.path("/etc/zoho-gateway/secrets/refresh_token"), REFRESH_TOKEN).expect("written");
    let ended = machine.root_runs("check", &[]);
    assert!(ended.code == Some(0) && ended.stdout.contains("granted an access token"), "{ended:?}");

    let code =
        call("POST", "/__sandbox/self-client-code?scope=ZOHOPEOPLE.training.ALL").send(machine.zoho.address()).await;
    let code = code.json()["code"].as_str().expect("a code").to_owned();
    let ended = machine.root_runs("login", &["--code", &code]);
    assert_eq!(ended.code, Some(0), "{ended:?}");

    // The service cannot read the originals, only the copies.
    let environment = machine.environment();
    fs::remove_dir_all(machine.path("/etc/zoho-gateway/secrets")).expect("removed");
    let environment: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let unit = deploy("zoho-gateway.service");
    let start = machine.moved(values(&unit, "ExecStart=zoho-gateway ")[0]);
    let mut service = Process::start(&start.split(' ').collect::<Vec<_>>(), &environment);
    let address = service.logged(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        (line["message"] == "the proxy listens").then(|| line["address"].as_str().map(str::to_owned)).flatten()
    });
    until("the service answers", async || get(COURSE).send(&address).await.status == 200).await;
    assert!(machine.path("/var/lib/zoho-gateway/ledger.redb").exists());
    service.terminate();
    assert_eq!(service.wait(), Some(0));
}

#[test]
fn a_path_that_only_the_service_has_is_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("gateway.toml");
    for name in ["client_secret", "tls.key"] {
        let path = format!("/run/credentials/zoho-gateway.service/{name}");
        let text = format!(
            "[accounts.main]\nclient_id = \"1000.A\"\nrefresh_token = \"1000.b\"\nclient_secret = {{ file = \"{path}\" }}\n"
        );
        fs::write(&config, text).expect("written");
        let ended = Process::run(&["check", "--config", config.to_str().expect("UTF-8")], &[]);
        assert!(ended.code == Some(2) && ended.stderr.contains(&path), "{ended:?}");
        assert!(
            ended.stderr.contains("only inside the service") && ended.stderr.contains("LoadCredential"),
            "{ended:?}"
        );
    }
}

#[test]
fn the_unit_restarts_after_every_end() {
    let unit = deploy("zoho-gateway.service");
    assert_eq!(values(&unit, "Restart="), ["always"]);
    assert_eq!(values(&unit, "RestartPreventExitStatus="), ["2"], "a wrong configuration stays wrong");
    // Each variable names a credential that systemd passes in.
    let text = unit.replace("\n#LoadCredential", "\nLoadCredential").replace("\n#Environment", "\nEnvironment");
    let names: Vec<_> =
        values(&text, "LoadCredential=").into_iter().filter_map(|line| line.split(':').next()).collect();
    let led: Vec<_> = values(&text, "Environment=").into_iter().filter_map(|line| line.split("%d/").nth(1)).collect();
    assert_eq!(names, led);
}

/// The image's environment overrode the manifest's `state.dir`, and their tags differed.
#[test]
fn image_and_manifest_agree() {
    let (image, manifest) = (deploy("Dockerfile"), deploy("kubernetes.yaml"));
    let version = env!("CARGO_PKG_VERSION");
    assert!(values(&image, "# docker build ")[0].contains(&format!("-t zoho-gateway:{version} ")));
    assert_eq!(values(&manifest, "image: zoho-gateway:"), [version]);

    // The image's environment overrides no key of the file.
    let variables = values(&image, "ENV ");
    assert!(variables.iter().all(|variable| !variable.starts_with("ZOHO_GATEWAY__")), "{variables:?}");
    let indented = manifest.split("gateway.toml: |\n").nth(1).expect("the configuration");
    let text: String = indented
        .lines()
        .map_while(|line| line.strip_prefix("    ").or(line.is_empty().then_some("")))
        .fold(String::new(), |text, line| text + line + "\n");
    let config: toml::Table = text.parse().expect("TOML");
    let dir = config["state"]["dir"].as_str().expect("state.dir");
    assert_eq!(variables, [format!("STATE_DIRECTORY={dir}")], "without a state.dir of its own it is the same");

    // The volume, and the user that writes to it.
    let volume = values(&image, "VOLUME ")[0];
    assert!(Path::new(dir).starts_with(volume) && values(&manifest, "mountPath: ").contains(&volume), "{volume}");
    let user = values(&image, "USER ")[0].split(':').next().expect("a number");
    for key in ["runAsUser: ", "runAsGroup: ", "fsGroup: "] {
        assert_eq!(values(&manifest, key), [user], "{key}");
    }
    assert!(image.contains(&format!("--chown={user}:{user}")));

    // The command, the probes and the path of the configuration.
    let command = format!("[\"run\", \"--config\", \"{CONFIG}\"]");
    assert_eq!((values(&image, "CMD ")[0], values(&manifest, "args: ")), (command.as_str(), vec![command.as_str()]));
    let folder = Path::new(CONFIG).parent().and_then(Path::to_str).expect("a folder");
    assert!(values(&manifest, "mountPath: ").contains(&folder));
    let program = values(&image, "ENTRYPOINT ")[0].trim_matches(['[', ']']);
    let probe = format!("[{program}, \"healthcheck\", \"--config\", \"{CONFIG}\"]");
    assert_eq!(values(&manifest, "command: "), [probe.as_str(); 2]);
    assert_eq!(values(&image, "CMD ")[1], probe);

    // The manifest's configuration is valid in the image's environment, apart from the secrets.
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().display();
    let moved = text.replace("/var/lib", &format!("{root}/lib")).replace("/run/secrets/zoho", &format!("{root}"));
    fs::write(folder.path().join("gateway.toml"), moved).expect("written");
    for secret in ["client_secret", "refresh_token"] {
        fs::write(folder.path().join(secret), "1000.c11e27").expect("written");
    }
    let config = folder.path().join("gateway.toml").display().to_string();
    let ended = Process::run(&["check", "--config", &config], &[("STATE_DIRECTORY", "/nowhere/else")]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.contains(&format!("state    {root}/lib/zoho-gateway/state")), "{ended:?}");
}

/// The variables of the patches start a gateway, and the server's user may do all that the gateway does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_pods_share_one_redis() {
    let (patches, redis) = (deploy("kustomization.yaml"), deploy("redis.yaml"));
    let folder = tempfile::tempdir().expect("a folder");
    let moved = |text: &str| text.replace("/run/secrets/redis", &folder.path().display().to_string());
    let user = redis.split("user.conf=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("the user");
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md")).expect("a page");
    assert!(page.contains(&format!("\n{}\n", user.replace("$password", "PASSWORD"))), "{user}");
    let settings: Vec<_> = redis.split("redis.conf: |\n").nth(1).expect("the settings").lines().collect();
    let settings = settings.into_iter().map_while(|line| line.strip_prefix("    ")).collect::<Vec<_>>().join("\n");
    for (name, text) in
        [("password", "pa55"), ("user.conf", &user.replace("$password", "pa55")), ("redis.conf", &moved(&settings))]
    {
        fs::write(folder.path().join(name), format!("{text}\n")).expect("written");
    }
    let settings = folder.path().join("redis.conf").display().to_string();
    let server = RedisServer::start(&["--include", &settings, "--user", "admin", "on", ">admin", "~*", "&*", "+@all"]);
    let admin = |command: &[&str]| {
        server.command(&[&["--no-auth-warning", "--user", "admin", "--pass", "admin"], command].concat())
    };
    let zoho = Sandbox::boundless();
    // A message calls the second gateway when the only slot comes free.
    let route = "people.lms.get-shared-users";
    let setup = Gateway::before(&zoho).set("state.when_empty", "fresh").set("upstream.timeout", "1s");
    let mut setup = setup.route(route, "requests", 1).route(route, "window", "500ms");
    let variables = values(&patches, "- name: ZOHO_GATEWAY__").into_iter().zip(values(&patches, "value: "));
    for (name, value) in variables {
        // The Service of redis.yaml.
        let value = value.replace("redis://zoho-redis:6379", &server.url());
        setup = setup.env(&format!("ZOHO_GATEWAY__{name}"), &moved(&value));
    }
    let gateways = [setup.start(), setup.start()];
    for gateway in &gateways {
        gateway.send(&get(COURSE)).await.is_zohos(200);
    }
    until("the gateways listen for messages", async || {
        admin(&["PUBSUB", "NUMSUB", "zoho-gateway:ledger"]).ends_with('2')
    })
    .await;
    assert_eq!(admin(&["ACL", "LOG"]), "", "nothing was denied");
    assert!(server.command(&["PING"]).contains("NOAUTH"), "the server lets nobody else in");
}

#[test]
fn a_supervisors_folder_is_the_default_for_state_dir() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("gateway.toml");
    let account = "[accounts.main]\nclient_id = \"1000.A\"\nclient_secret = \"c11e27\"\nrefresh_token = \"1000.b\"\n";
    let state = |text: &str, env: &[(&str, &str)]| {
        fs::write(&config, format!("{text}{account}")).expect("written");
        let ended = Process::run(&["check", "--config", config.to_str().expect("UTF-8")], env);
        let line = ended.stdout.lines().find_map(|line| line.strip_prefix("state    "));
        line.unwrap_or_else(|| panic!("{ended:?}")).to_owned()
    };
    let beside = folder.path().join("zoho-gateway-state").display().to_string();
    let given = folder.path().join("given").display().to_string();
    let own = folder.path().join("own").display().to_string();
    let (several, variable) = (format!("{given}:/var/lib/other"), ("STATE_DIRECTORY", given.as_str()));
    assert_eq!(state("", &[]), beside);
    assert_eq!(state("", &[variable]), given);
    assert_eq!(state("", &[("STATE_DIRECTORY", &several)]), given);
    assert_eq!(state("", &[("STATE_DIRECTORY", "relative")]), beside);
    assert_eq!(state("state.dir = \"own\"\n", &[variable]), own);
    assert_eq!(state("", &[variable, ("ZOHO_GATEWAY__STATE__DIR", &own)]), own);
}
