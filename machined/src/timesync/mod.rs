//! The clock: who is asked for the time, and what their answers are worth.
//!
//! ntpd-rs does the asking, as a service of PID 1. This renders what it reads, listens to how it stands, publishes that,
//! and raises the time floor where servers have proved who they are. It must never set the clock itself, nor believe a
//! server that nothing vouches for. Start reading at [`run`].

mod daemon;
mod judge;
mod observe;
mod render;

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use config::{TimeProtocol, TimeServer};
use tokio::time::{Instant, sleep};

use self::{judge::View, observe::Observed};
use crate::{
    context::Context,
    error_chain::error_chain,
    identity::{Identity, IdentityError},
    trust::{Trust, TrustError},
};

/// Condition and service.
const CONDITION: &str = "time";
/// Between looks at how the daemon stands, until the clock is right.
const LOOK_SOON: Duration = Duration::from_secs(5);
/// And then.
const LOOK: Duration = Duration::from_secs(60);

/// Who is to be asked, and who said so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// In order.
    pub servers: Vec<TimeServer>,
    /// Whether the configuration names them, rather than DHCP.
    pub configured: bool,
}

impl Wanted {
    /// What is configured, else whom DHCP names.
    fn new(configured: Option<&[TimeServer]>, leased: &[Ipv4Addr]) -> Self {
        match configured {
            Some(servers) => Self { servers: servers.to_vec(), configured: true },
            None => Self { servers: leased.iter().map(TimeServer::plain).collect(), configured: false },
        }
    }

    /// Whether each server proves who it is.
    fn is_authenticated(&self) -> bool {
        !self.servers.is_empty() && self.servers.iter().all(|server| server.protocol == TimeProtocol::Nts)
    }
}

/// Obeys the configuration for ever.
pub async fn run(context: Arc<Context>, trust: Arc<Trust>) {
    let mut follower = context.follower("time");
    let mut leased = context.time_servers.subscribe();
    let (mut obeyed, mut since, mut failure) = (None, Instant::now(), None);
    loop {
        let config = follower.current();
        let wanted = Wanted::new(config.time.as_deref(), &leased.borrow_and_update());
        let asked = (wanted.clone(), config.trusted_certificates.clone());
        if obeyed.as_ref() != Some(&asked) || failure.is_some() {
            let done = daemon::obey(&context.control, &asked.0.servers, &asked.1).await;
            failure = done.err().map(|error| error_chain(&error));
            if obeyed.as_ref() != Some(&asked) {
                (obeyed, since) = (Some(asked), Instant::now());
            }
        }
        let observed = match wanted.servers.is_empty() {
            true => None,
            false => observe::look().await.ok(),
        };
        if wanted.is_authenticated() && observed.as_ref().is_some_and(Observed::is_authenticated) {
            learn(&trust, &context.identity).await;
        }
        let view = View {
            wanted: &wanted,
            observed: observed.as_ref(),
            failure: failure.as_deref(),
            waited: since.elapsed(),
        };
        let (status, reason, message) = judge::condition(&view);
        context.health.set(CONDITION, status, reason, message);
        context.store.replace_all(judge::resources(&view));
        follower.settle(&config);
        let is_right = observed.as_ref().is_some_and(Observed::is_synchronized);
        let pause = if is_right || wanted.servers.is_empty() { LOOK } else { LOOK_SOON };
        tokio::select! {
            () = follower.changed() => {}
            changed = leased.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

/// The clock is right and servers have proved that it is: it cannot be earlier than it says.
async fn learn(trust: &Arc<Trust>, identity: &Arc<Identity>) {
    let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) else { return };
    let (trust, identity) = (Arc::clone(trust), Arc::clone(identity));
    let raise = move || -> Result<(), LearnError> {
        if trust.raise_floor(now.as_secs()).map_err(LearnError::Floor)? {
            // apid judges clients by what it is told.
            identity.render().map_err(LearnError::Render)?;
        }
        Ok(())
    };
    let error = match tokio::task::spawn_blocking(raise).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error_chain(&error),
        Err(error) => error.to_string(),
    };
    tracing::error!(error, "the time that was learnt is not in force");
}

/// Why what was learnt is not in force.
#[derive(Debug, thiserror::Error)]
enum LearnError {
    #[error("the time floor is not kept")]
    Floor(#[source] TrustError),
    #[error("apid is not told")]
    Render(#[source] IdentityError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_comes_before_what_dhcp_says() {
        let leased = [Ipv4Addr::new(192, 0, 2, 1)];
        assert_eq!(Wanted::new(None, &leased).servers, [TimeServer::plain("192.0.2.1")]);
        let none = Wanted::new(Some(&[]), &leased);
        assert!(none.servers.is_empty() && none.configured);
        assert!(!none.is_authenticated(), "nobody vouches for nothing");
    }

    #[test]
    fn one_server_without_proof_spoils_all() {
        let nts = TimeServer { protocol: TimeProtocol::Nts, ..TimeServer::plain("a.example") };
        assert!(Wanted::new(Some(std::slice::from_ref(&nts)), &[]).is_authenticated());
        assert!(!Wanted::new(Some(&[nts, TimeServer::plain("b.example")]), &[]).is_authenticated());
    }
}
