//! The URL that states a topology together with user, password and database.

use std::{net::Ipv6Addr, str::FromStr};

use percent_encoding::percent_decode_str;

use super::{Server, Topology};
use crate::secret::Secret;

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_PORT_OF_SENTINELS: u16 = 26379;

/// All that a URL states.
#[derive(Debug, Clone)]
pub struct ServerUrl {
    /// The address or addresses.
    pub topology: Topology,
    /// The user.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// The number of the database; 0 unless the URL has one.
    pub database: u32,
}

/// An unusable URL. The error does not repeat it, because it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoServerUrl {
    /// Some other text.
    #[error(
        "expected a URL such as \"redis://redis.example:6379/0\", \"rediss://USER:PASSWORD@redis.example\", \
         \"unix:/run/redis/redis.sock\", \"redis-sentinel://HOST:26379,HOST:26379,HOST:26379/MASTER\" or \
         \"redis-cluster://HOST:6379,HOST:6379\"; in a user's name or password, characters such as / : % are \
         percent-encoded"
    )]
    Malformed,
    /// The part after the host is not a number.
    #[error("expected the number of a database, such as 0, after the host or after ?db=")]
    Database,
    /// Several hosts of a single server.
    #[error("expected one host; several are for redis-sentinel:// and redis-cluster://")]
    Several,
    /// A user at more than one host.
    #[error(
        "expected one user and password, before the first host; in a password, write %40 for @ and %2C for a comma"
    )]
    Users,
    /// Sentinels without a master.
    #[error(
        "expected the Sentinels and the name of the master that they watch, such as \
         \"redis-sentinel://HOST:26379,HOST:26379,HOST:26379/mymaster\""
    )]
    Master,
    /// A database of a cluster.
    #[error("a cluster has no databases; expected nothing after the hosts")]
    ClusterDatabase,
}

/// The parts that every URL of the network has.
struct Network<'a> {
    user: Option<String>,
    password: Option<Secret>,
    /// What follows the user: `host[:port][,host[:port]]...[/...]`
    place: &'a str,
    tls: bool,
}

impl ServerUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`NoServerUrl`].
    pub fn parse(text: &str) -> Result<Self, NoServerUrl> {
        let (scheme, rest) = text.split_once(':').ok_or(NoServerUrl::Malformed)?;
        let tls = scheme.starts_with("rediss");
        match scheme {
            "redis" | "rediss" => Self::of_one(Network::read(rest, tls)?),
            "unix" | "redis+unix" => Self::of_socket(rest),
            "redis-sentinel" | "redis+sentinel" | "rediss-sentinel" | "rediss+sentinel" => {
                Self::of_sentinels(Network::read(rest, tls)?)
            }
            "redis-cluster" | "redis+cluster" | "rediss-cluster" | "rediss+cluster" => {
                Self::of_cluster(Network::read(rest, tls)?)
            }
            _ => Err(NoServerUrl::Malformed),
        }
    }

    /// `host[:port][/database]`
    fn of_one(network: Network<'_>) -> Result<Self, NoServerUrl> {
        let (address, path) = network.place.split_once('/').unwrap_or((network.place, ""));
        if address.contains(',') {
            return Err(NoServerUrl::Several);
        }
        let server = server(address, DEFAULT_PORT, network.tls)?;
        Ok(network.with(Topology::Single(server), database(path)?))
    }

    /// `host[:port],.../master[/database]`, or `host[:port],...[/database]` and then `#master` or
    /// `?sentinelMasterId=master`: both are in use.
    fn of_sentinels(network: Network<'_>) -> Result<Self, NoServerUrl> {
        let place = network.place;
        let named = place.split_once('#').or_else(|| place.split_once("?sentinelMasterId="));
        let (place, master) = named.map_or((place, None), |(place, master)| (place, Some(master)));
        let (addresses, path) = place.split_once('/').unwrap_or((place, ""));
        let (master, path) = match master {
            Some(master) => (master, path),
            None => path.split_once('/').unwrap_or((path, "")),
        };
        if master.is_empty() || !is_name(master) {
            return Err(NoServerUrl::Master);
        }
        let sentinels = network.servers(addresses, DEFAULT_PORT_OF_SENTINELS)?;
        Ok(network.with(Topology::Sentinel { sentinels, master: master.to_owned() }, database(path)?))
    }

    /// `host[:port],...`
    fn of_cluster(network: Network<'_>) -> Result<Self, NoServerUrl> {
        let (addresses, path) = network.place.split_once('/').unwrap_or((network.place, ""));
        let nodes = network.servers(addresses, DEFAULT_PORT)?;
        match database(path)? {
            0 => Ok(network.with(Topology::Cluster(nodes), 0)),
            _ => Err(NoServerUrl::ClusterDatabase),
        }
    }

    /// `PATH` or `//PATH`, then perhaps `?db=DATABASE`
    fn of_socket(rest: &str) -> Result<Self, NoServerUrl> {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (path, query) = rest.split_once('?').unwrap_or((rest, "db=0"));
        if !path.starts_with('/') {
            return Err(NoServerUrl::Malformed);
        }
        let digits = query.strip_prefix("db=").ok_or(NoServerUrl::Malformed)?;
        let database = number(digits).ok_or(NoServerUrl::Database)?;
        Ok(Self { topology: Topology::Single(Server::Unix(path.into())), user: None, password: None, database })
    }
}

impl<'a> Network<'a> {
    /// `//[user[:password]@]place`
    fn read(rest: &'a str, tls: bool) -> Result<Self, NoServerUrl> {
        let rest = rest.strip_prefix("//").ok_or(NoServerUrl::Malformed)?;
        let authority = rest.split('/').next().unwrap_or_default();
        let (userinfo, place) = match authority.rfind('@') {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => ("", rest),
        };
        // Otherwise the hosts up to the last user would be part of a password.
        if userinfo.split_once('@').is_some_and(|(_, more)| more.contains(',')) {
            return Err(NoServerUrl::Users);
        }
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        Ok(Self { user: decoded(user)?, password: decoded(password)?.map(Secret::new), place, tls })
    }

    fn servers(&self, addresses: &str, default_port: u16) -> Result<Vec<Server>, NoServerUrl> {
        addresses.split(',').map(|address| server(address, default_port, self.tls)).collect()
    }

    fn with(self, topology: Topology, database: u32) -> ServerUrl {
        ServerUrl { topology, user: self.user, password: self.password, database }
    }
}

/// `host[:port]`
fn server(text: &str, default_port: u16, tls: bool) -> Result<Server, NoServerUrl> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').filter(|(host, _)| host.parse::<Ipv6Addr>().is_ok()),
        None => Some(text.split_at(text.find(':').unwrap_or(text.len()))).filter(|(host, _)| is_name(host)),
    }
    .filter(|(host, _)| !host.is_empty())
    .ok_or(NoServerUrl::Malformed)?;
    let port = match rest.strip_prefix(':') {
        Some(digits) => number(digits).filter(|port| *port > 0),
        None => rest.is_empty().then_some(default_port),
    };
    Ok(Server::network(host.to_owned(), port.ok_or(NoServerUrl::Malformed)?, tls))
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

/// The number of the database; 0 without one.
fn database(text: &str) -> Result<u32, NoServerUrl> {
    if text.is_empty() { Ok(0) } else { number(text).ok_or(NoServerUrl::Database) }
}

/// A number in digits alone; `parse` would take a plus sign.
fn number<T: FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// A part of the user's name and password; `None` if it is empty.
fn decoded(text: &str) -> Result<Option<String>, NoServerUrl> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| NoServerUrl::Malformed)?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_url_and_never_prints_its_password() {
        for (text, printed, user, password, database) in [
            ("redis://localhost", "redis://localhost:6379", None, None, 0),
            ("redis://10.0.0.1:7000/", "redis://10.0.0.1:7000", None, None, 0),
            ("rediss://redis.example/15", "rediss://redis.example:6379", None, None, 15),
            ("redis://:se%40cret@h", "redis://h:6379", None, Some("se@cret"), 0),
            ("redis://joe:a@b:c@h:1/2", "redis://h:1", Some("joe"), Some("a@b:c"), 2),
            ("redis://:p#?s@h", "redis://h:6379", None, Some("p#?s"), 0),
            ("redis://joe@[2001:db8::1]", "redis://[2001:db8::1]:6379", Some("joe"), None, 0),
            ("redis://[::1]:7000", "redis://[::1]:7000", None, None, 0),
            ("unix:/run/redis.sock", "unix:/run/redis.sock", None, None, 0),
            ("unix:///run/redis.sock", "unix:/run/redis.sock", None, None, 0),
            ("redis+unix:///run/redis.sock?db=3", "unix:/run/redis.sock", None, None, 3),
        ] {
            let url = ServerUrl::parse(text).unwrap();
            assert_eq!(url.topology.to_string(), printed, "{text}");
            let read = (url.user.as_deref(), url.password.as_ref().map(Secret::expose), url.database);
            assert_eq!(read, (user, password, database), "{text}");
            assert!(!format!("{url:?}").contains("cret"), "{text}");
        }
    }

    #[test]
    fn refuses_other_urls_without_repeating_them() {
        for (text, expected) in [
            ("", NoServerUrl::Malformed),
            ("localhost:6379", NoServerUrl::Malformed),
            ("http://localhost:6379", NoServerUrl::Malformed),
            ("redis:localhost", NoServerUrl::Malformed),
            ("redis://", NoServerUrl::Malformed),
            ("redis://:6379", NoServerUrl::Malformed),
            ("redis://host:port", NoServerUrl::Malformed),
            ("redis://host:0", NoServerUrl::Malformed),
            ("redis://host:70000", NoServerUrl::Malformed),
            ("redis://host:+1", NoServerUrl::Malformed),
            ("redis://::1:6379", NoServerUrl::Malformed),
            ("redis://[host]", NoServerUrl::Malformed),
            ("redis://[::1]7000", NoServerUrl::Malformed),
            ("redis://ho st", NoServerUrl::Malformed),
            ("redis://joe:%ff@host", NoServerUrl::Malformed),
            ("redis://joe:12/34@host", NoServerUrl::Database),
            ("redis://host/0?x=1", NoServerUrl::Database),
            ("redis://host/one", NoServerUrl::Database),
            ("redis://host/-1", NoServerUrl::Database),
            ("unix:/run/redis.sock?db=", NoServerUrl::Database),
            ("unix:/run/redis.sock?database=1", NoServerUrl::Malformed),
            ("unix:redis.sock", NoServerUrl::Malformed),
            ("redis://h:7000,i:7000", NoServerUrl::Several),
            ("sentinel://h:26379/main", NoServerUrl::Malformed),
            ("redis-sentinel://h", NoServerUrl::Master),
            ("redis-sentinel://h:26379,i:26379/", NoServerUrl::Master),
            ("redis-sentinel://h/#", NoServerUrl::Master),
            ("redis-sentinel://h/the main", NoServerUrl::Master),
            ("redis-sentinel://h?master=main", NoServerUrl::Master),
            ("redis-sentinel://h,/main", NoServerUrl::Malformed),
            ("redis-sentinel:///main", NoServerUrl::Malformed),
            ("redis-sentinel://h:0/main", NoServerUrl::Malformed),
            ("redis-sentinel://h/main/x", NoServerUrl::Database),
            ("redis-sentinel://h/x#main", NoServerUrl::Database),
            ("redis-cluster://", NoServerUrl::Malformed),
            ("redis-cluster://h,", NoServerUrl::Malformed),
            ("redis-cluster://h/x", NoServerUrl::Database),
            ("redis-cluster://h,i/1", NoServerUrl::ClusterDatabase),
            ("redis-cluster://u:p@h,u:p@i", NoServerUrl::Users),
            ("redis-sentinel://:p@h,:p@i/main", NoServerUrl::Users),
        ] {
            assert_eq!(ServerUrl::parse(text).map(|url| url.topology), Err(expected), "{text}");
        }
    }

    #[test]
    fn reads_several_addresses() {
        let three = "redis-sentinel://h:26379,[::1]:26380,10.0.0.3:26379/main";
        for (text, printed, password, database) in [
            ("redis-sentinel://h,[::1]:26380,10.0.0.3/main", three, None, 0),
            ("redis+sentinel://:se%40cret@h:26379,[::1]:26380,10.0.0.3:26379/main/3", three, Some("se@cret"), 3),
            ("redis-sentinel://:se#c?ret@h,[::1]:26380,10.0.0.3/3#main", three, Some("se#c?ret"), 3),
            ("redis-sentinel://h,[::1]:26380,10.0.0.3#main", three, None, 0),
            ("redis-sentinel://h,[::1]:26380,10.0.0.3/2?sentinelMasterId=main", three, None, 2),
            ("rediss-sentinel://h/a.b_c-1", "rediss-sentinel://h:26379/a.b_c-1", None, 0),
            ("redis-cluster://h:7000,i", "redis-cluster://h:7000,i:6379", None, 0),
            ("redis+cluster://:secret@h/", "redis-cluster://h:6379", Some("secret"), 0),
            ("rediss+cluster://h,[::1]/0", "rediss-cluster://h:6379,[::1]:6379", None, 0),
        ] {
            let url = ServerUrl::parse(text).unwrap();
            assert_eq!(url.topology.to_string(), printed, "{text}");
            assert_eq!((url.password.as_ref().map(Secret::expose), url.database), (password, database), "{text}");
            assert!(!format!("{url:?}").contains("cret"), "{text}");
        }
    }

    #[test]
    fn only_tcp_to_another_machine_is_in_the_clear() {
        for (text, private) in [
            ("redis://localhost", true),
            ("redis://127.0.0.1", true),
            ("redis://[::1]", true),
            ("unix:/run/redis.sock", true),
            ("rediss://redis.example", true),
            ("redis://redis.example", false),
            ("redis-cluster://127.0.0.1,localhost", true),
            ("redis-cluster://127.0.0.1,redis.example", false),
            ("rediss-sentinel://redis.example/main", true),
        ] {
            assert_eq!(ServerUrl::parse(text).unwrap().topology.is_private(), private, "{text}");
        }
    }
}
