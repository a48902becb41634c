//! Finds the data centre in which credentials are valid.
//!
//! Zoho answers `invalid_client` both to wrong credentials and to credentials of another data centre. So the gateway tries
//! the other data centres, once per change of the credentials; each counts its own requests. Only servers from the
//! gateway's table of data centres get the secret.

use super::grant::Grants;
use crate::{
    problem::Cause,
    zoho::{account::Account, accounts_server::UNKNOWN_CLIENT, data_center::DataCenter, endpoint::Endpoint},
};

/// The other data centres to try; none if the configuration sets the accounts server itself.
pub(super) fn others(account: &Account) -> Vec<(DataCenter, Endpoint)> {
    let own = account.data_center;
    if account.endpoints.accounts != own.endpoints().accounts {
        return Vec::new();
    }
    DataCenter::ALL.into_iter().filter(|other| *other != own).map(|other| (other, other.endpoints().accounts)).collect()
}

impl Grants {
    /// Tries one refresh grant outside the token ledger, for the command line. Returns the granted scopes, separated by
    /// spaces, if the answer names them.
    ///
    /// # Errors
    /// Why there is no token.
    pub async fn try_out(&self, account: &Account) -> Result<Option<String>, Cause> {
        match self.refresh_under(account, None).await {
            Ok(granted) => Ok(granted.scope),
            Err(cause) => Err(self.diagnose(account, cause, &others(account)).await),
        }
    }

    /// The cause, or a better explanation of why no token was granted.
    pub(super) async fn diagnose(&self, account: &Account, cause: Cause, others: &[(DataCenter, Endpoint)]) -> Cause {
        if !matches!(&cause, Cause::AccountUnauthorised { reason } if reason == UNKNOWN_CLIENT) {
            return cause;
        }
        for (data_center, accounts) in others {
            let mut there = account.clone();
            there.endpoints.accounts = accounts.clone();
            if self.refresh_under(&there, None).await.is_ok() {
                return Cause::WrongDataCenter { configured: account.data_center, valid_at: *data_center };
            }
        }
        cause
    }
}
