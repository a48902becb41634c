//! `upstream.proxy` and its keys, or the variables that replace them: `HTTPS_PROXY` and `NO_PROXY`.
//!
//! No message repeats a proxy's address: it may contain a password.

use super::{
    credential::{self, Surroundings},
    problem::Origin,
    reader::{Section, some_text},
};
use crate::{
    secret::Secret,
    upstream::{Egress, NoProxy, Proxy, Rule},
};

/// No proxy, even if the environment names one.
const NONE: &str = "none";

/// A proxy, and the key or the variable that names it.
struct Named {
    proxy: Proxy,
    source: String,
    origin: Origin,
}

/// Reads which proxy connections use.
pub(super) fn read(section: &mut Section<'_>, around: &Surroundings<'_>) -> Egress {
    let user = section.parsed("proxy_user", |text| match text.contains(':') {
        true => Err("expected a user's name without a colon"),
        false => some_text(text),
    });
    let password_at = section.whereabouts("proxy_password");
    let password = password_at.as_ref().and_then(|_| credential::read(section, "proxy_password", around));
    // An empty list ignores NO_PROXY.
    let without = match section.list("no_proxy", |text| text.parse::<Rule>()) {
        Some(rules) => rules.into_iter().map(|rule| rule.value).collect(),
        None => NoProxy::lenient(variable(around, ["NO_PROXY", "no_proxy"]).map_or("", |(_, value)| value)),
    };
    let configured = section.whereabouts("proxy").is_some();
    let named = if configured { of_key(section) } else { of_variable(section, around) };
    let Some(Named { mut proxy, source, origin }) = named else {
        if let Some(user) = user.filter(|_| !configured) {
            section.wrong("proxy_user", &user.origin, "is for a proxy, and neither proxy nor HTTPS_PROXY names one");
        }
        return Egress::direct();
    };
    match (user, password) {
        (Some(_), _) if proxy.has_credentials() => {
            section.wrong("proxy_user", &origin, "the proxy's address already has a user; leave one of the two out");
        }
        (Some(user), password) => {
            let password = password.map_or_else(|| Secret::from(""), |password| password.current());
            proxy = proxy.with_credentials(&user.value, &password);
        }
        (None, Some(_)) => {
            section.wrong("proxy_password", &password_at.unwrap_or(origin), "is for a user: set proxy_user too");
        }
        (None, None) => {}
    }
    Egress::through(proxy, without, source)
}

/// The proxy of the key; `None` for "none" and for a mistake.
fn of_key(section: &mut Section<'_>) -> Option<Named> {
    let parse = |text: &str| if text == NONE { Ok(None) } else { Proxy::parse(text).map(Some) };
    let found = section.parsed("proxy", parse)?;
    Some(Named { proxy: found.value?, source: "upstream.proxy".to_owned(), origin: found.origin })
}

/// The proxy of the environment.
fn of_variable(section: &mut Section<'_>, around: &Surroundings<'_>) -> Option<Named> {
    let (name, value) = variable(around, ["HTTPS_PROXY", "https_proxy"])?;
    let origin = Origin::Environment { variable: name.into() };
    match Proxy::parse(value) {
        Ok(proxy) => Some(Named { proxy, source: name.to_owned(), origin }),
        Err(error) => {
            let message = format!("{error}; upstream.proxy overrides the variable, and \"none\" turns the proxy off");
            section.wrong("proxy", &origin, message);
            None
        }
    }
}

/// The first of these variables that is not empty.
fn variable<'a>(around: &'a Surroundings<'_>, names: [&'static str; 2]) -> Option<(&'static str, &'a str)> {
    let value = |name: &'static str| Some((name, around.variables.value(name)?.to_str()?.trim()));
    names.into_iter().filter_map(value).find(|(_, value)| !value.is_empty())
}
