//! What the operator should hear of a configuration that is valid all the same.

use super::Config;

impl Config {
    /// Whatever may have been meant differently, in words for the operator.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let in_the_clear = self.proxy.listen.iter().filter(|address| self.proxy.tls.is_none() && !address.is_local());
        let warnings =
            in_the_clear.map(|address| format!("API keys cross the network in the clear at {address}; set proxy.tls"));
        warnings.chain(self.proxy.tls.as_ref().and_then(|tls| tls.warning())).collect()
    }
}
