//! What a change asks of PID 1.

use control::{ControlError, PowerAction, Request, Response, ServiceName};

use crate::control_client::{Control, ControlClientError};

/// Why PID 1 did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// PID 1 cannot be asked.
    #[error("PID 1 cannot be asked")]
    Control(#[source] ControlClientError),
    /// PID 1 refuses.
    #[error("PID 1 refuses")]
    Refused(#[source] ControlError),
}

/// PID 1, as far as a change needs it.
pub trait Services: Send + Sync + 'static {
    /// Restarts a service. Returns once that has begun.
    fn restart(&self, name: &'static str) -> impl Future<Output = Result<(), ServicesError>> + Send;

    /// Begins an ordered reboot.
    fn reboot(&self) -> impl Future<Output = Result<(), ServicesError>> + Send;
}

impl Services for Control {
    async fn restart(&self, name: &'static str) -> Result<(), ServicesError> {
        ask(self, Request::Restart(ServiceName(name.to_owned()))).await
    }

    async fn reboot(&self) -> Result<(), ServicesError> {
        ask(self, Request::Power(PowerAction::Reboot)).await
    }
}

async fn ask(control: &Control, request: Request) -> Result<(), ServicesError> {
    match control.request(request).await.map_err(ServicesError::Control)? {
        Response::Error(error) => Err(ServicesError::Refused(error)),
        Response::Ok | Response::Services(_) | Response::Changed(_) => Ok(()),
    }
}
