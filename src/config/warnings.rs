//! Warnings about a valid configuration.

use super::Config;

/// How many warnings are shown. People cannot use more at once.
const MOST: usize = 100;

impl Config {
    /// Settings that are probably not meant, in words for the operator.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let in_the_clear = self.proxy.listen.iter().filter(|address| self.proxy.tls.is_none() && !address.is_local());
        let in_the_clear =
            in_the_clear.map(|address| format!("API keys cross the network in the clear at {address}; set proxy.tls"));
        let admin_in_the_clear =
            !self.admin.keys.is_empty() && self.admin.tls.is_none() && !self.admin.listen.is_local();
        let admin_in_the_clear = admin_in_the_clear.then(|| {
            format!("the operators' key crosses the network in the clear at {}; set admin.tls", self.admin.listen)
        });
        let open = (self.callers.is_empty() && !self.issuers.is_empty()).then(|| {
            "there are issuers of tokens, and no caller: everybody on this machine may call; configure [callers.NAME]"
                .to_owned()
        });
        let redis = self.state.redis.as_ref().map(|shared| &shared.settings);
        let password_in_the_clear = redis.filter(|redis| {
            (redis.password.is_some() || redis.sentinel_password.is_some()) && !redis.topology.is_private()
        });
        let password_in_the_clear = password_in_the_clear.map(|redis| {
            format!("the password of Redis crosses the network in the clear at {}; use rediss://", redis.topology)
        });
        let doubtful = self.doubtful.iter().cloned();
        let mut warnings: Vec<String> = doubtful
            .chain(in_the_clear)
            .chain(admin_in_the_clear)
            .chain(open)
            .chain(password_in_the_clear)
            .chain([&self.proxy.tls, &self.admin.tls].into_iter().flatten().filter_map(|tls| tls.warning()))
            .chain(self.of_callers())
            .take(MOST + 1)
            .collect();
        if warnings.len() > MOST {
            warnings.truncate(MOST);
            warnings.push(format!("there are more than these {MOST} warnings"));
        }
        warnings
    }

    /// Permissions that allow nothing: a typo, or a forgotten key.
    fn of_callers(&self) -> impl Iterator<Item = String> {
        self.callers.callers().flat_map(move |caller| {
            let (name, own) = (caller.who.name(), &caller.permissions);
            let idle = (own.accounts.is_empty() || own.allow.is_empty())
                .then(|| format!("caller {name} may do nothing: callers.{name} needs accounts and allow"));
            let unmatched = own
                .allow
                .iter()
                .filter(move |glob| !self.catalogue.iter().any(|route| glob.matches(route.id.as_str())));
            let unmatched = unmatched.map(move |glob| {
                format!("callers.{name}.allow: \"{glob}\" matches no route; zoho-gateway routes lists them")
            });
            idle.into_iter().chain(unmatched)
        })
    }
}
