//! Making child processes, from PID 1's side.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use supervise::{Pid, Readiness};

use crate::notify;
use crate::table::{ENVIRONMENT, Service};

/// This binary, even when its path is gone.
pub const SELF: &str = "/proc/self/exe";
/// Longest answer taken from a helper.
const ANSWER_MAX_BYTES: u64 = 4096;

/// What machined has configured for a service.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Replace the table's.
    pub arguments: Vec<String>,
    /// Added to that of every service.
    pub environment: Vec<(String, String)>,
}

/// Starts a service's helper, which becomes the service. `program` is the table's unless a test replaces it.
pub fn service(
    service: &Service,
    program: &[&str],
    parameters: Option<&Parameters>,
    output: OwnedFd,
) -> io::Result<Pid> {
    let mut command = Command::new(SELF);
    command.args(["spawn", service.spec.name]).args(program);
    match parameters {
        Some(parameters) => command.args(&parameters.arguments),
        None => command.args(service.arguments),
    };
    command.env_clear().envs(ENVIRONMENT.iter().copied());
    if let Some(parameters) = parameters {
        command.envs(parameters.environment.iter().map(|(name, value)| (name, value)));
    }
    command.envs(notification(service.spec.readiness));
    command.stdin(Stdio::null()).stdout(Stdio::from(output.try_clone()?)).stderr(Stdio::from(output));
    Ok(Pid(command.current_dir("/").spawn()?.id()))
}

fn notification(readiness: Readiness) -> Vec<(&'static str, String)> {
    let socket = ("NOTIFY_SOCKET", notify::SOCKET.to_owned());
    match readiness {
        Readiness::Started => Vec::new(),
        Readiness::Notify { keep_alive_ms: None, .. } => vec![socket],
        Readiness::Notify { keep_alive_ms: Some(interval_ms), .. } => {
            vec![socket, ("WATCHDOG_USEC", interval_ms.saturating_mul(1_000).to_string())]
        }
    }
}

/// A one-shot process of this binary.
pub struct Helper {
    /// Its process.
    pub pid: Pid,
    answer: OwnedFd,
}

impl Helper {
    /// Starts `init NAME`. Its stderr goes nowhere: helpers report to the kernel's log.
    pub fn start(name: &str) -> io::Result<Self> {
        let (answer, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&answer, OFlags::NONBLOCK)?;
        let child = Command::new(SELF)
            .arg(name)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::from(writer))
            .stderr(Stdio::null())
            .current_dir("/")
            .spawn()?;
        Ok(Self { pid: Pid(child.id()), answer })
    }

    /// What it has written to stdout; to be asked for once it has ended.
    pub fn answer(self) -> String {
        let mut bytes = Vec::new();
        // An answer that cannot be read is an empty one, which no reader takes for an answer.
        let _ = std::fs::File::from(self.answer).take(ANSWER_MAX_BYTES).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_learn_of_the_notify_socket_and_their_interval() {
        let readiness = Readiness::Notify { start_deadline_ms: 1, keep_alive_ms: Some(60_000) };
        assert_eq!(
            notification(readiness),
            [("NOTIFY_SOCKET", notify::SOCKET.to_owned()), ("WATCHDOG_USEC", "60000000".to_owned())]
        );
        assert!(notification(Readiness::Started).is_empty());
    }
}
