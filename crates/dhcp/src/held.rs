//! A lease that the client holds, with its deadlines on the boot-time clock.

use crate::lease::{Lease, Remaining, StoredLease};
use crate::timing::Generator;

/// A lease and its deadlines in milliseconds since boot.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) lease: Lease,
    /// T1; `None` for a lease without end.
    pub(crate) renew_at_ms: Option<u64>,
    /// T2; `None` for a lease without end.
    pub(crate) rebind_at_ms: Option<u64>,
    /// `None` for a lease without end.
    pub(crate) expires_at_ms: Option<u64>,
    /// The caller was told to configure it.
    pub(crate) configured: bool,
    /// A server of the present network granted it.
    pub(crate) confirmed: bool,
}

impl Held {
    /// A lease just granted. Its time runs from the request (RFC 2131 section 4.4.1), so that it never ends later
    /// here than at the server.
    pub(crate) fn granted(lease: Lease, requested_at_ms: u64, generator: &mut Generator) -> Self {
        let finite = lease.duration_s.is_some();
        let renew_ms = generator.early_ms(u64::from(lease.renew_s) * 1000);
        let rebind_ms = u64::from(lease.rebind_s) * 1000;
        Self {
            renew_at_ms: finite.then(|| requested_at_ms.saturating_add(renew_ms)),
            rebind_at_ms: finite.then(|| requested_at_ms.saturating_add(rebind_ms)),
            expires_at_ms: lease.duration_s.map(|s| requested_at_ms.saturating_add(u64::from(s) * 1000)),
            lease,
            configured: true,
            confirmed: true,
        }
    }

    /// A lease of an earlier boot, unless its time is over. It must be confirmed before T1 and T2 mean anything.
    pub(crate) fn stored(stored: &StoredLease, now_ms: u64, now_unix_s: u64) -> Option<Self> {
        let expires_at_ms = match stored.remaining(now_unix_s) {
            Remaining::Expired => return None,
            Remaining::Forever => None,
            Remaining::Seconds(left_s) => Some(now_ms.saturating_add(u64::from(left_s) * 1000)),
        };
        Some(Self {
            lease: stored.lease.clone(),
            renew_at_ms: None,
            rebind_at_ms: None,
            expires_at_ms,
            configured: false,
            confirmed: false,
        })
    }

    pub(crate) fn expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|at| now_ms >= at)
    }
}
