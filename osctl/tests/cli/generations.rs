//! The fake node's machine configuration. The host name of a change says how it ends.

use prost::Message as _;
use proto::config::v1 as config;
use proto::config::v1::apply_response::Event;
use proto::config::v1::change::Content;
use proto::config::v1::config_service_server::ConfigService;
use tokio_stream::{Stream, iter};
use tonic::{Request, Response, Status};

use crate::services::Services;

/// Of the fake node's only start.
pub const EPOCH: [u8; 16] = [7; 16];

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the node keeps.
#[derive(Default)]
pub struct Generations {
    /// Text and state of each, from generation 1 on.
    pub kept: Vec<(String, config::GenerationState)>,
}

impl Generations {
    pub fn new(text: &str) -> Generations {
        Generations { kept: vec![(text.to_owned(), config::GenerationState::Confirmed)] }
    }

    fn base(&self) -> u64 {
        self.kept.len() as u64
    }

    fn running(&self) -> u64 {
        let confirmed = |one: &(String, config::GenerationState)| one.1 == config::GenerationState::Confirmed;
        self.kept.iter().rposition(confirmed).unwrap() as u64 + 1
    }
}

impl Services {
    /// Verifies as machined does and returns the body.
    pub fn verified(
        &self,
        method: &str,
        base: u64,
        request: Option<config::SignedRequest>,
    ) -> Result<Vec<u8>, Status> {
        let request = request.ok_or_else(|| Status::invalid_argument("not signed"))?;
        let state = self.state();
        let signed = pki::signed::SignedRequest::from(request);
        let epoch = pki::signed::Epoch::from_bytes(&EPOCH).unwrap();
        let expected = pki::signed::Expected {
            method,
            node_id: &state.node_id,
            base: pki::signed::Base { epoch, generation: base },
            role: pki::Role::Admin,
        };
        let revoked = pki::Revocations::default();
        let trusted = pki::signed::Trusted { cas: &state.cas, revoked: &revoked, floor_s: 0 };
        match pki::signed::verify(&signed, &expected, &trusted) {
            Ok(_) => Ok(signed.body),
            Err(refusal) => Err(Status::permission_denied(refusal.to_string())),
        }
    }
}

impl Services {
    /// The same, on top of the configuration's base.
    pub fn signed(&self, method: &str, request: Option<config::SignedRequest>) -> Result<Vec<u8>, Status> {
        let base = self.state().generations.base();
        self.verified(method, base, request)
    }
}

fn operation() -> config::Operation {
    config::Operation {
        effect: "restart".into(),
        subject: "kubelet".into(),
        reason: "the host name changes".into(),
    }
}

#[tonic::async_trait]
impl ConfigService for Services {
    async fn get(&self, request: Request<config::GetRequest>) -> Answer<config::GetResponse> {
        let request = request.into_inner();
        let state = self.state();
        let generation =
            if request.generation == 0 { state.generations.running() } else { request.generation };
        let kept = usize::try_from(generation).ok().and_then(|number| state.generations.kept.get(number - 1));
        let (text, _) = kept.ok_or_else(|| Status::not_found(format!("no generation {generation}")))?;
        let text = if request.effective { format!("{text}# effective\n") } else { text.clone() };
        let (base_generation, epoch) = (state.generations.base(), EPOCH.to_vec());
        Ok(Response::new(config::GetResponse { generation, text, base_generation, epoch }))
    }

    async fn list_generations(
        &self,
        _: Request<config::ListGenerationsRequest>,
    ) -> Answer<config::ListGenerationsResponse> {
        let state = self.state();
        let one = |(index, (_, state)): (usize, &(String, config::GenerationState))| config::Generation {
            number: index as u64 + 1,
            state: (*state).into(),
            reason: "the kubelet did not come up".into(),
            ..config::Generation::default()
        };
        Ok(Response::new(config::ListGenerationsResponse {
            generations: state.generations.kept.iter().enumerate().map(one).collect(),
            running: state.generations.running(),
            base_generation: state.generations.base(),
            epoch: EPOCH.to_vec(),
        }))
    }

    async fn plan(&self, request: Request<config::PlanRequest>) -> Answer<config::PlanResponse> {
        let request = request.into_inner();
        assert_eq!(request.base_generation, self.state().generations.base());
        self.state().done.push("plan".into());
        let plan = config::Plan { operations: vec![operation()], reboot: false, needs_confirmation: true };
        Ok(Response::new(config::PlanResponse {
            plan: Some(plan),
            diff: "-hostname: a\n+hostname: b\n".into(),
        }))
    }

    type ApplyStream = Streamed<config::ApplyResponse>;

    async fn apply(&self, request: Request<config::ApplyRequest>) -> Answer<Self::ApplyStream> {
        let body = self.signed("/cairn.config.v1.ConfigService/Apply", request.into_inner().request)?;
        let change = config::Change::decode(body.as_slice()).unwrap();
        let text = match change.content.unwrap() {
            Content::Text(text) | Content::StrategicMerge(text) | Content::JsonPatch(text) => text,
            Content::RollbackTo(to) => format!("rolled back to {to}"),
        };
        if text.contains("nonsense") {
            return Err(Status::invalid_argument("document 1, line 3: unknown field `nonsense`"));
        }
        let (end, state) = match () {
            () if text.contains("lost") => (false, config::GenerationState::Trial),
            () if text.contains("trial") => (true, config::GenerationState::Trial),
            () if text.contains("revert") => (true, config::GenerationState::Reverted),
            () => (true, config::GenerationState::Confirmed),
        };
        let generation = {
            let mut node = self.state();
            node.done.push(format!("apply mode {} {text}", change.mode));
            if state == config::GenerationState::Confirmed {
                node.generations.kept.iter_mut().for_each(|one| one.1 = config::GenerationState::Superseded);
            }
            node.generations.kept.push((text, state));
            node.generations.base()
        };
        let plan = Some(config::Plan { operations: vec![operation()], ..config::Plan::default() });
        let outcome = config::Outcome {
            state: state.into(),
            generation,
            confirm_within: change.trial_timeout,
            reason: "the kubelet did not come up".into(),
            rebooting: false,
        };
        let mut events = vec![Event::Planned(config::Planned { generation, plan })];
        events.extend(end.then_some(Event::Outcome(outcome)));
        let events = events.into_iter().map(|event| Ok(config::ApplyResponse { event: Some(event) }));
        Ok(Response::new(Box::pin(iter(events.collect::<Vec<_>>()))))
    }

    async fn confirm(&self, request: Request<config::ConfirmRequest>) -> Answer<config::ConfirmResponse> {
        let body = self.signed("/cairn.config.v1.ConfigService/Confirm", request.into_inner().request)?;
        let config::ConfirmBody { generation } = config::ConfirmBody::decode(body.as_slice()).unwrap();
        let number = usize::try_from(generation).unwrap();
        let mut state = self.state();
        state.done.push(format!("confirm {number}"));
        let kept = &mut state.generations.kept;
        kept.iter_mut().for_each(|one| one.1 = config::GenerationState::Superseded);
        kept[number - 1].1 = config::GenerationState::Confirmed;
        Ok(Response::new(config::ConfirmResponse {}))
    }

    async fn reset(&self, request: Request<config::ResetRequest>) -> Answer<config::ResetResponse> {
        let body = self.signed("/cairn.config.v1.ConfigService/Reset", request.into_inner().request)?;
        let body = config::ResetBody::decode(body.as_slice()).unwrap();
        self.state().done.push(format!("reset wipe_data {}", body.wipe_data));
        Ok(Response::new(config::ResetResponse {}))
    }
}
