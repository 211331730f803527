//! Refusals of changes, as statuses that tell a client whether to mend, to read again or to wait.

use generation::{Generation, Refusal};
use tonic::{Code, Status};

use crate::{
    configuration::{ContentError, Refused},
    error_chain::error_chain,
    identity::{IdentityError, Mode},
};

/// What is changed in recovery is lost with the boot.
pub fn in_recovery(mode: Mode) -> Result<(), Status> {
    match mode {
        Mode::Running => Ok(()),
        Mode::Recovery => Err(Status::failed_precondition(
            "STATE is lost and nothing can be kept on it: make the node a new one with `osctl reset`, or flash it",
        )),
    }
}

/// Made for another base.
pub fn base(given: u64, actual: Generation) -> Status {
    change(&Refused::Step(Refusal::Base { base: Generation(given), actual }))
}

/// No configuration.
pub fn content(error: &ContentError) -> Status {
    let code = match error {
        ContentError::Missing
        | ContentError::Refused(_)
        | ContentError::Merge(_)
        | ContentError::Secret(_)
        | ContentError::Write(_) => Code::InvalidArgument,
        ContentError::Unknown { .. } => Code::NotFound,
        ContentError::Read { .. } => Code::DataLoss,
    };
    Status::new(code, error_chain(error))
}

/// A configuration that would let nobody in.
pub fn clients(error: &IdentityError) -> Status {
    Status::invalid_argument(error_chain(error))
}

/// A configuration that would not let its own author in any more.
pub fn lock_out(error: &IdentityError) -> Status {
    Status::failed_precondition(format!(
        "this would lock you out: {}; keep the CA of your certificate until you use one of another CA",
        error_chain(error)
    ))
}

/// A cluster that would not take the node in.
pub fn cluster(why: &str) -> Status {
    Status::failed_precondition(format!(
        "the node would not become a member: {why}; with --accept-unreachable the configuration is taken all the same"
    ))
}

/// Not granted as things are.
pub fn change(error: &Refused) -> Status {
    let code = match error {
        Refused::Step(Refusal::Base { .. }) => Code::Aborted,
        Refused::Step(Refusal::Timeout { .. }) => Code::InvalidArgument,
        Refused::Step(_) | Refused::Resetting => Code::FailedPrecondition,
        Refused::Store(_) | Refused::Trust(_) | Refused::Reset(_) => Code::Internal,
        Refused::Ending => Code::Unavailable,
    };
    Status::new(code, error_chain(error))
}
