//! Generations and plans as the API shows them.

use config::plan::{Effect, Plan};
use generation::{Entry, Index, State};
use proto::config::v1 as api;

/// One generation.
pub fn generation(index: &Index, entry: &Entry) -> api::Generation {
    let unknown = api::GenerationState::Unspecified;
    api::Generation {
        number: entry.number.0,
        state: index.state(entry.number).map_or(unknown, state).into(),
        created: Some(prost_types::Timestamp { seconds: entry.created_s, nanos: 0 }),
        author: entry.author.clone(),
        reason: entry.reverted.clone().unwrap_or_default(),
    }
}

/// What a generation is.
pub fn state(state: State) -> api::GenerationState {
    match state {
        State::Confirmed => api::GenerationState::Confirmed,
        State::Trial => api::GenerationState::Trial,
        State::Staged => api::GenerationState::Staged,
        State::Reverted => api::GenerationState::Reverted,
        State::Superseded => api::GenerationState::Superseded,
    }
}

/// What a change does.
pub fn plan(plan: &Plan) -> api::Plan {
    let operations = plan.operations.iter().map(|operation| api::Operation {
        effect: operation.effect.name().to_owned(),
        subject: match operation.effect {
            Effect::Restart(services) => services.join(", "),
            Effect::Live | Effect::Reboot => operation.subject.to_string(),
        },
        reason: operation.reason.clone(),
    });
    api::Plan {
        operations: operations.collect(),
        reboot: plan.needs_reboot(),
        needs_confirmation: plan.needs_confirmation(),
    }
}
