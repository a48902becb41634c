//! What is built for each configuration: the stack, and the parts of it that the next configuration may keep.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tokio::task::JoinSet;

use super::{
    admin::{Admin, reload::Reloads},
    kept::{self, Kept},
    stack::{Stack, StackDeps, stack},
};
use crate::{
    call::prefer::WaitLimits,
    config::{self, Config, Proxy, ScopeCheck, UnknownRoute},
    listener::ListenAddress,
    middleware::{
        browser_guard::KnownHosts,
        cache::{Cache, LinkedRead},
        caller::{self, Issuers, KeySource},
        route::{AmbiguousRoutes, Matcher, Router},
        token::{self, Grants, Source, TokenLedger, Turns},
    },
    problem::respond,
    telemetry::KnownLabels,
    upstream::{self, Client},
    zoho::{
        account::{Account, AccountName},
        catalogue::Route,
    },
};

/// Bodies that are being read may hold this part of the bytes that waiting calls may hold, in addition to those.
const READING_PART: u64 = 4;

/// One configuration, and what was built for it.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) config: Config,
    accounts: BTreeMap<AccountName, Arc<Account>>,
    matcher: Arc<Matcher>,
    client: Client,
    pub(super) sources: Arc<HashMap<AccountName, Arc<Source>>>,
    issuers: Issuers,
    cache: Arc<Cache>,
    /// Follow the files of credentials, callers and issuers; they end when this is dropped.
    _followers: JoinSet<()>,
}

/// The configuration before, and the keys that have changed since.
pub(super) struct Before<'a> {
    pub(super) configured: &'a Configured,
    pub(super) changed: &'a [String],
}

impl Configured {
    /// Builds the parts. Keeps those of the configuration before that no changed key concerns. Must be called inside a
    /// runtime.
    ///
    /// # Errors
    /// The catalogue has ambiguous routes; then nothing has changed.
    pub(super) fn new(kept: &Kept, config: Config, before: Option<&Before<'_>>) -> Result<Self, AmbiguousRoutes> {
        let matcher = Arc::new(Matcher::new(&config.catalogue)?);
        kept.metrics.create_series(&known_labels(&config));
        let unless = |keys: &[&str]| {
            let concerned = |before: &&Before<'_>| !keys.iter().any(|key| config::concern(before.changed, key));
            before.filter(|before| concerned(before)).map(|before| before.configured)
        };
        let config::Upstream { connect_timeout, extra_roots, egress, timeout } = &config.upstream;
        let client = unless(&["upstream"]).map_or_else(
            || upstream::client(upstream::tls(extra_roots), egress, *connect_timeout),
            |before| before.client.clone(),
        );
        let grants = Grants::new(client.clone(), *timeout);
        let mut accounts = kept::accounts(&config);
        let sources = accounts.iter_mut().map(|(name, account)| {
            let same = unless(&["upstream", "token", &format!("accounts.{name}")]);
            if let Some((same, source)) =
                same.and_then(|before| before.accounts.get(name).zip(before.sources.get(name)))
            {
                *account = Arc::clone(same);
                return (name.clone(), Arc::clone(source));
            }
            let former = before.and_then(|before| before.configured.sources.get(name)?.kept());
            let token = former.or_else(|| kept.tokens.lock().remove(name.as_str()));
            let ledger = TokenLedger::new(&kept.limiters, account, config.token);
            let turns = kept.redis.clone().map(|redis| Turns::new(redis, name.as_str()));
            let (account, journal, metrics) = (Arc::clone(account), kept.journal.clone(), Arc::clone(&kept.metrics));
            (name.clone(), Source::new(account, grants.clone(), ledger, journal, token.as_ref(), turns, metrics))
        });
        let sources: Arc<HashMap<_, _>> = Arc::new(sources.collect());
        let issuers = unless(&["upstream", "issuers"]).map_or_else(
            || Issuers::new(config.issuers.clone(), egress, &kept.metrics),
            |before| before.issuers.clone(),
        );
        let is_cached = config.catalogue.iter().any(|route| !route.cache.is_zero());
        let same_cache = unless(&["upstream.timeout", "cache", "accounts", "extra_routes"]);
        let same_cache =
            same_cache.filter(|_| before.is_none_or(|before| !before.changed.iter().any(|key| is_of_the_cache(key))));
        let cache = same_cache.map_or_else(
            || {
                let redis = kept.redis.as_ref().filter(|_| is_cached);
                // The other gateways may cache other calls than this one.
                let is_stored = |route: &&Route| route.reads && (redis.is_some() || !route.cache.is_zero());
                let reads = config.catalogue.iter().filter(is_stored).map(LinkedRead::from).collect();
                Cache::new(config.cache.max_bytes, *timeout, reads, redis, Arc::clone(&kept.metrics))
            },
            |before| Arc::clone(&before.cache),
        );
        let mut followers = JoinSet::new();
        followers.spawn(token::follow_files(Arc::clone(&sources), kept.shutdown.clone()));
        let callers = config.callers.clone();
        followers.spawn(caller::follow_files(callers, issuers.clone(), kept.shutdown.clone()));
        followers.spawn(caller::fetch_keys(issuers.clone(), kept.shutdown.clone()));
        Ok(Self { config, accounts, matcher, client, sources, issuers, cache, _followers: followers })
    }

    /// Windows, queues and jobs follow this configuration from now on.
    pub(super) fn apply(&self, kept: &Kept) {
        kept.change(&self.config, &self.accounts);
        kept.observations.follow(&self.config.catalogue);
    }

    /// The path of its requests.
    pub(super) fn stack(&self, kept: &Kept) -> Stack {
        let Config { proxy, queue, upstream, routing, .. } = &self.config;
        let deny_unknown = routing.unknown == UnknownRoute::Deny;
        stack(StackDeps {
            hosts: self.hosts(),
            callers: self.config.callers.clone(),
            caller_limiters: Arc::clone(&kept.caller_limiters),
            issuers: self.issuers.clone(),
            router: Router { accounts: self.accounts.clone(), matcher: Arc::clone(&self.matcher), deny_unknown },
            limiters: Arc::clone(&kept.limiters),
            jobs: Some(Arc::clone(&kept.jobs)),
            check_scopes: routing.scopes == ScopeCheck::Check,
            sources: Arc::clone(&self.sources),
            client: self.client.clone(),
            wait: WaitLimits { usual: queue.max_wait, preferred: queue.max_preferred_wait },
            timeout: upstream.timeout,
            max_body: proxy.max_body,
            max_form: proxy.max_form,
            max_held: queue.limits.bytes as u64 / READING_PART,
            cache: Arc::clone(&self.cache),
            audit_required: self.config.audit.required,
            shutdown: kept.shutdown.clone(),
            metrics: Arc::clone(&kept.metrics),
            refusals: Arc::clone(&kept.refusals),
            traces: kept.traces.clone(),
        })
    }

    /// The pages for operators.
    pub(super) fn admin(&self, kept: &Kept, reloads: &Reloads) -> Admin {
        Admin {
            metrics: Arc::clone(&kept.metrics),
            limiters: Arc::clone(&kept.limiters),
            sources: Arc::clone(&self.sources),
            issuers: self.issuers.clone(),
            jobs: Some(Arc::clone(&kept.jobs)),
            callers: self.config.callers.clone(),
            routes: self.config.catalogue.iter().map(|route| route.id.clone()).collect(),
            keys: self.config.admin.keys.clone(),
            quitquitquit: self.config.admin.quitquitquit,
            refusals: Arc::clone(&kept.refusals),
            observations: Arc::clone(&kept.observations),
            started: kept.started,
            streams: Arc::clone(&kept.streams),
            audit_required: self.config.audit.required,
            shutdown: kept.shutdown.clone(),
            hosts: self.hosts(),
            reloads: reloads.clone(),
        }
    }

    /// The names that requests may have in `Host`: Zoho's, those of the listen addresses, and those from the configuration.
    fn hosts(&self) -> KnownHosts {
        let Proxy { listen, hosts, .. } = &self.config.proxy;
        let zohos = self.accounts.values().flat_map(|account| account.hosts());
        let own = listen.iter().filter_map(ListenAddress::host).map(str::to_owned);
        KnownHosts::new(zohos.chain(own).chain(hosts.iter().cloned()))
    }
}

/// Whether a key of a route decides how long answers are kept. Answers keep the life that they began with.
fn is_of_the_cache(key: &str) -> bool {
    key.starts_with("routes.") && [".cache", ".stale_if_error", ".reads"].iter().any(|field| key.ends_with(field))
}

/// The labels that the metrics can have.
fn known_labels(config: &Config) -> KnownLabels<'static> {
    let accounts: Vec<_> = config.accounts.iter().map(|account| account.name.clone()).collect();
    let calls = accounts
        .iter()
        .flat_map(|account| config.throttled_routes_of(account).map(|route| (account.clone(), route.id.clone())));
    let calls = calls.collect();
    // Only issuers whose keys are fetched.
    let issuers = config.issuers.iter().filter(|issuer| matches!(issuer.keys, KeySource::Url { .. }));
    KnownLabels {
        problems: respond::NAMES,
        issuers: issuers.map(|issuer| issuer.name.clone()).collect(),
        accounts,
        calls,
    }
}
