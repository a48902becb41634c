//! Credentials that Zoho does not know may be good in another of its data centres.
//!
//! Zoho says `invalid_client` for both, and people look for a typing error for hours. So the others are asked, once for
//! as long as the credentials stay the same; each counts its own requests. They are Zoho too, and named in our table of
//! data centres, so no secret goes to a stranger.

use super::grant::Grants;
use crate::{
    problem::Cause,
    zoho::{account::Account, accounts_server::UNKNOWN_CLIENT, data_center::DataCenter, endpoint::Endpoint},
};

/// The other data centres to ask; none where the account's server is not that of its data centre: then somebody has
/// decided where to ask.
pub(super) fn others(account: &Account) -> Vec<(DataCenter, Endpoint)> {
    let own = account.data_center;
    if account.endpoints.accounts != own.endpoints().accounts {
        return Vec::new();
    }
    DataCenter::ALL.into_iter().filter(|other| *other != own).map(|other| (other, other.endpoints().accounts)).collect()
}

impl Grants {
    /// One refresh grant that no ledger counts, for a person who wants to know whether it works. Returns the scopes,
    /// separated by spaces, where the answer names them.
    ///
    /// # Errors
    /// Why there is no token.
    pub async fn try_out(&self, account: &Account) -> Result<Option<String>, Cause> {
        match self.refresh_under(account, None).await {
            Ok(granted) => Ok(granted.scope),
            Err(cause) => Err(self.diagnose(account, cause, &others(account)).await),
        }
    }

    /// A better explanation of why no token was granted, if there is one.
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
