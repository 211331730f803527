//! The machine configuration: what there is, what a change would do, and changes.
//!
//! A change is believed for its signature, never for who passed it on: a stolen apid can read, but not change the node.

use std::{pin::Pin, sync::Arc, time::Duration};

use ::config::{Documents, TEXT_MAX_BYTES, diff, effective, plan::plan, redact};
use generation::{Generation, Mode};
use prost::Message as _;
use proto::config::v1::{self as api, apply_response::Event};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{config_convert as convert, config_status as refusal, signed};
use crate::{
    configuration::{self, Accepted, Change, Outcome, Report, View, Whole},
    context::Context,
    probes,
};

/// Largest request: a configuration of the greatest length, with what a message and a signature add.
pub const REQUEST_MAX_BYTES: usize = TEXT_MAX_BYTES + 512 * 1024;

const APPLY: &str = "/cairn.config.v1.ConfigService/Apply";
const CONFIRM: &str = "/cairn.config.v1.ConfigService/Confirm";
const RESET: &str = "/cairn.config.v1.ConfigService/Reset";

/// The service.
pub struct Service(pub Arc<Context>);

type Applied = Pin<Box<dyn Stream<Item = Result<api::ApplyResponse, Status>> + Send>>;

#[tonic::async_trait]
impl api::config_service_server::ConfigService for Service {
    async fn get(&self, request: Request<api::GetRequest>) -> Result<Response<api::GetResponse>, Status> {
        let api::GetRequest { generation, effective } = request.into_inner();
        let view = self.0.generations.view();
        let generation = if generation == 0 { view.running.generation } else { Generation(generation) };
        let (store, base) = (self.0.generations.store(), view.index.base());
        let text = blocking(move || {
            let text = configuration::kept_text(generation, &view, &store)
                .map_err(|error| refusal::content(&error))?;
            shown(&text, effective)
        });
        Ok(Response::new(api::GetResponse {
            generation: generation.0,
            text: text.await?,
            base_generation: base.0,
            epoch: self.epoch(),
        }))
    }

    async fn list_generations(
        &self,
        _: Request<api::ListGenerationsRequest>,
    ) -> Result<Response<api::ListGenerationsResponse>, Status> {
        let View { index, running } = self.0.generations.view();
        Ok(Response::new(api::ListGenerationsResponse {
            generations: index.entries().iter().map(|entry| convert::generation(&index, entry)).collect(),
            running: running.generation.0,
            base_generation: index.base().0,
            epoch: self.epoch(),
        }))
    }

    async fn plan(&self, request: Request<api::PlanRequest>) -> Result<Response<api::PlanResponse>, Status> {
        let api::PlanRequest { change, base_generation } = request.into_inner();
        let view = self.0.generations.view();
        if base_generation != view.index.base().0 {
            return Err(refusal::base(base_generation, view.index.base()));
        }
        let running = Arc::clone(&view.running);
        let whole = self.resolve(change.unwrap_or_default(), view).await?;
        let planned = blocking(move || {
            Ok(api::PlanResponse {
                plan: Some(convert::plan(&plan(&running.config, &whole.config))),
                diff: diff::unified(&shown(&running.text, false)?, &shown(&whole.text, false)?),
            })
        });
        planned.await.map(Response::new)
    }

    type ApplyStream = Applied;

    async fn apply(&self, request: Request<api::ApplyRequest>) -> Result<Response<Applied>, Status> {
        refusal::in_recovery(self.0.identity.mode())?;
        let view = self.0.generations.view();
        let request = request.into_inner().request;
        let signer = request.as_ref().and_then(|request| request.certificates_der.first()).cloned();
        let (body, author) = self.verified(request, APPLY, &view)?;
        let change = api::Change::decode(body.as_slice()).map_err(|_| signed::malformed())?;
        let (base, running) = (view.index.base(), Arc::clone(&view.running));
        if let Some(api::change::Content::RollbackTo(to)) = change.content
            && to == view.index.confirmed().0
            && view.index.trial().is_some()
        {
            let accepted = self.0.generations.roll_back(base, author).await;
            let accepted = accepted.map_err(|error| refusal::change(&error))?;
            return Ok(Response::new(stream(accepted, api::Plan::default())));
        }
        let (mode, timeout_s) = (mode(change.mode())?, timeout_s(&change)?);
        let accept_unreachable = change.accept_unreachable;
        let Whole { text, config } = self.resolve(change, view).await?;
        let signer = signer.unwrap_or_default();
        self.0.identity.still_admits(&config, &signer).map_err(|error| refusal::lock_out(&error))?;
        if !accept_unreachable
            && let Some(why) =
                probes::cluster_refusal(&running.config, &config, &self.0.release.kubernetes).await
        {
            return Err(refusal::cluster(&why));
        }
        let plan = convert::plan(&plan(&running.config, &config));
        let created_s = i64::try_from(self.0.identity.floor_s()).unwrap_or(i64::MAX);
        let change = Change { base, mode, timeout_s, author, created_s, accept_unreachable, text, config };
        let accepted = self.0.generations.apply(change).await.map_err(|error| refusal::change(&error))?;
        Ok(Response::new(stream(accepted, plan)))
    }

    async fn confirm(
        &self,
        request: Request<api::ConfirmRequest>,
    ) -> Result<Response<api::ConfirmResponse>, Status> {
        let view = self.0.generations.view();
        let (body, author) = self.verified(request.into_inner().request, CONFIRM, &view)?;
        let api::ConfirmBody { generation } =
            api::ConfirmBody::decode(body.as_slice()).map_err(|_| signed::malformed())?;
        tracing::info!(author, generation, "an admin confirms");
        let generation = Generation(generation);
        self.0.generations.confirm(generation).await.map_err(|error| refusal::change(&error))?;
        Ok(Response::new(api::ConfirmResponse {}))
    }

    async fn reset(
        &self,
        request: Request<api::ResetRequest>,
    ) -> Result<Response<api::ResetResponse>, Status> {
        let view = self.0.generations.view();
        let (body, author) = self.verified(request.into_inner().request, RESET, &view)?;
        let api::ResetBody { wipe_data } =
            api::ResetBody::decode(body.as_slice()).map_err(|_| signed::malformed())?;
        tracing::warn!(author, wipe_data, "a reset is asked for");
        self.0.generations.reset(wipe_data).await.map_err(|error| refusal::change(&error))?;
        Ok(Response::new(api::ResetResponse {}))
    }
}

impl Service {
    /// Body and author of a request that an admin signed for this node as it is.
    fn verified(
        &self,
        request: Option<api::SignedRequest>,
        method: &str,
        view: &View,
    ) -> Result<(Vec<u8>, String), Status> {
        let base = view.index.base().0;
        signed::verified(&self.0.identity, request, method, base)
    }

    fn epoch(&self) -> Vec<u8> {
        self.0.identity.epoch().as_bytes().to_vec()
    }

    /// The whole configuration that a change leads to, checked.
    async fn resolve(&self, change: api::Change, view: View) -> Result<Whole, Status> {
        let (store, identity) = (self.0.generations.store(), Arc::clone(&self.0.identity));
        blocking(move || {
            let whole = configuration::resolve(change.content, &view, &store)
                .map_err(|error| refusal::content(&error))?;
            identity.check(&whole.config).map_err(|error| refusal::clients(&error))?;
            Ok(whole)
        })
        .await
    }
}

/// As a reader may see it.
fn shown(text: &str, with_defaults: bool) -> Result<String, Status> {
    let read = || {
        let documents = Documents::parse(text).ok()?;
        let documents = if with_defaults { effective(&documents) } else { documents };
        redact(&documents).to_yaml().ok()
    };
    read().ok_or_else(|| Status::data_loss("this release does not understand that generation"))
}

fn mode(mode: api::ApplyMode) -> Result<Mode, Status> {
    match mode {
        api::ApplyMode::Auto => Ok(Mode::Auto),
        api::ApplyMode::Staged => Ok(Mode::Staged),
        api::ApplyMode::Try => Ok(Mode::Try),
        api::ApplyMode::NoReboot => Ok(Mode::NoReboot),
        api::ApplyMode::Unspecified => Err(Status::invalid_argument("the mode is missing or not known here")),
    }
}

fn timeout_s(change: &api::Change) -> Result<u32, Status> {
    match &change.trial_timeout {
        None => Ok(generation::TRIAL_DEFAULT_S),
        Some(timeout) => u32::try_from(timeout.seconds)
            .map_err(|_| Status::invalid_argument("a trial lasts seconds up to a day")),
    }
}

/// Runs what parses a megabyte aside: the runtime has one thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Status::internal("the configuration could not be worked on")))
}

fn stream(accepted: Accepted, plan: api::Plan) -> Applied {
    let Accepted { generation, reports } = accepted;
    let planned = Event::Planned(api::Planned { generation: generation.0, plan: Some(plan) });
    // The manager drops its end with the outcome.
    let reports = ReceiverStream::new(reports).map(event);
    let events = tokio_stream::once(planned).chain(reports);
    Box::pin(events.map(|event| Ok(api::ApplyResponse { event: Some(event) })))
}

fn event(report: Report) -> Event {
    match report {
        Report::Progress(message) => Event::Progress(api::Progress { message }),
        Report::Outcome(outcome) => Event::Outcome(ended(outcome)),
    }
}

fn ended(outcome: Outcome) -> api::Outcome {
    let Outcome { generation, state, confirm_within, rebooting, reason } = outcome;
    api::Outcome {
        state: convert::state(state).into(),
        generation: generation.0,
        confirm_within: confirm_within.map(duration),
        rebooting,
        reason,
    }
}

fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}
