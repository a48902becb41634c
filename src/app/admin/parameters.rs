//! The parameters of an action, in the query.

use std::{collections::BTreeMap, time::Duration};

use percent_encoding::percent_decode_str;

/// The parameters, by name. Each is taken once, and those that are left are unknown.
#[derive(Debug)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads a query.
    ///
    /// # Errors
    /// What is wrong with it, in words for the operator.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, String> {
        let mut parameters = BTreeMap::new();
        for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("{part}: expected NAME=VALUE"))?;
            let value = value.replace('+', " ");
            let value = percent_decode_str(&value).decode_utf8().map_err(|_| format!("{name}: expected UTF-8"))?;
            if value.is_empty() {
                return Err(format!("{name}: expected a value"));
            }
            if parameters.insert(name.to_owned(), value.into_owned()).is_some() {
                return Err(format!("{name}: expected it once"));
            }
        }
        Ok(Self(parameters))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Takes a span such as `10m`.
    pub(super) fn take_span(&mut self, name: &str) -> Result<Option<Duration>, String> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let span = text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
        let span = span.filter(|span| !span.is_zero());
        span.map(Some).ok_or_else(|| format!("{name}: expected a span such as 30s, 10m or 2h"))
    }

    /// Takes a parameter that can only be `true`.
    pub(super) fn take_flag(&mut self, name: &str) -> Result<bool, String> {
        match self.take(name).as_deref() {
            None => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(format!("{name}: expected true")),
        }
    }

    /// Checks that nothing is left.
    pub(super) fn finish(&self) -> Result<(), String> {
        self.0.keys().next().map_or(Ok(()), |name| Err(format!("{name}: unknown parameter")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_is_known_and_given_once() {
        let mut parameters = Parameters::parse(Some("route=people.%2A&for=1m30s&all=true&&caller=a+b")).unwrap();
        assert_eq!(parameters.take("route").as_deref(), Some("people.*"));
        assert_eq!(parameters.take_span("for"), Ok(Some(Duration::from_secs(90))));
        assert_eq!(parameters.take_flag("all"), Ok(true));
        assert_eq!(parameters.finish(), Err("caller: unknown parameter".to_owned()));
        assert_eq!(parameters.take("caller").as_deref(), Some("a b"));
        assert_eq!(parameters.finish(), Ok(()));
        for query in ["route", "route=", "route=a&route=b", "route=%ff"] {
            assert!(Parameters::parse(Some(query)).is_err(), "{query}");
        }
        for query in ["for=0s", "for=-1m", "for=soon"] {
            assert!(Parameters::parse(Some(query)).unwrap().take_span("for").is_err(), "{query}");
        }
        assert!(Parameters::parse(Some("all=yes")).unwrap().take_flag("all").is_err());
    }
}
