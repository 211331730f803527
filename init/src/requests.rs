//! What machined asks of PID 1.

use control::{ControlError, PARAMETERS_MAX, Request, Response, ServiceName};
use supervise::{Event, ServiceId};

use crate::control_server::ClientId;
use crate::kmsg;
use crate::launch::Parameters;
use crate::machine::Machine;

impl Machine {
    /// Serves one request of this connection, if there is one.
    pub fn serve(&mut self, client: ClientId) {
        let Some(request) = self.control.receive(client) else { return };
        let answer = match request {
            Ok(Request::Watch) => return self.begin_watch(client),
            Ok(Request::List) => Ok(Response::Services(self.statuses())),
            Ok(request) => self.obey(request).map(|()| Response::Ok),
            Err(error) => Err(error),
        };
        self.control.answer(client, &answer.unwrap_or_else(Response::Error));
    }

    /// The present state first, so that nothing is missed between a list and a watch.
    fn begin_watch(&mut self, client: ClientId) {
        self.control.watch(client);
        for status in self.statuses() {
            self.control.answer(client, &Response::Changed(status));
        }
    }

    fn obey(&mut self, request: Request) -> Result<(), ControlError> {
        match request {
            Request::Start(name) => self.with_service(&name, Event::Start),
            Request::Restart(name) => self.with_service(&name, Event::Restart),
            Request::Stop(name) => {
                let essential = self.find(&name).is_ok_and(|id| self.is_essential(id));
                if essential {
                    return Err(ControlError::Essential { name: name.0 });
                }
                self.with_service(&name, Event::Stop)
            }
            Request::Configure { name, arguments, environment } => {
                self.configure(&name, Parameters { arguments, environment })
            }
            Request::Power(action) => {
                self.refuse_when_going_down()?;
                self.begin_shutdown(action, "asked for");
                Ok(())
            }
            Request::Console(line) => {
                kmsg::notice!("{line}");
                self.console.add(&line);
                self.draw_console();
                Ok(())
            }
            Request::Panel(lines) => {
                self.console.show(&lines);
                self.draw_console();
                Ok(())
            }
            // Answered by [`Self::serve`].
            Request::List | Request::Watch => Ok(()),
        }
    }

    fn with_service(
        &mut self,
        name: &ServiceName,
        event: impl FnOnce(ServiceId) -> Event,
    ) -> Result<(), ControlError> {
        let id = self.find(name)?;
        self.refuse_when_going_down()?;
        self.event(event(id));
        Ok(())
    }

    fn configure(&mut self, name: &ServiceName, parameters: Parameters) -> Result<(), ControlError> {
        let id = self.find(name)?;
        check(&parameters)?;
        if let Some(runtime) = self.runtimes.iter_mut().find(|runtime| runtime.id == id) {
            runtime.parameters = Some(parameters);
        }
        Ok(())
    }

    fn find(&self, name: &ServiceName) -> Result<ServiceId, ControlError> {
        self.supervisor.find(&name.0).ok_or_else(|| ControlError::UnknownService { name: name.0.clone() })
    }

    fn is_essential(&self, id: ServiceId) -> bool {
        self.supervisor.spec(id).is_some_and(|spec| spec.essential)
    }

    fn refuse_when_going_down(&self) -> Result<(), ControlError> {
        if self.shutdown.is_some() { Err(ControlError::ShuttingDown) } else { Ok(()) }
    }
}

/// Refuses what could not be passed to a program.
fn check(parameters: &Parameters) -> Result<(), ControlError> {
    if parameters.arguments.len().saturating_add(parameters.environment.len()) > PARAMETERS_MAX {
        return Err(ControlError::TooManyParameters);
    }
    let names = parameters.environment.iter().map(|(name, _)| name);
    let values = parameters.environment.iter().map(|(_, value)| value);
    let names_fit = names.clone().all(|name| !name.is_empty() && !name.contains('='));
    let no_nul = parameters.arguments.iter().chain(names).chain(values).all(|text| !text.contains('\0'));
    if names_fit && no_nul { Ok(()) } else { Err(ControlError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(arguments: &[&str], environment: &[(&str, &str)]) -> Parameters {
        Parameters {
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: environment.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
        }
    }

    #[test]
    fn parameters_must_fit_a_program() {
        assert_eq!(check(&parameters(&["--a=b", ""], &[("A", "x=y")])), Ok(()));
        for bad in [
            parameters(&["a\0b"], &[]),
            parameters(&[], &[("", "x")]),
            parameters(&[], &[("A=B", "x")]),
            parameters(&[], &[("A", "\0")]),
        ] {
            assert_eq!(check(&bad), Err(ControlError::Malformed), "{bad:?}");
        }
        let many = vec!["x"; PARAMETERS_MAX + 1];
        assert_eq!(check(&parameters(&many, &[])), Err(ControlError::TooManyParameters));
    }
}
