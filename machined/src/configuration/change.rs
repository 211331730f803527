//! From what a client sends to a whole configuration: patches and secrets are put onto the one that runs.

use config::{
    ConfigErrors, Documents, NodeConfig, YamlError,
    merge::{self, MergeError},
};
use generation::Generation;
use proto::config::v1::change::Content;

use super::{
    manager::View,
    secrets::{self, Unknown},
    store::{GenerationStore, StoreError},
};

/// Why it is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// There is none.
    #[error("the change is empty: give a configuration, a patch or a generation")]
    Missing,
    /// The text is no configuration.
    #[error("{0}")]
    Refused(ConfigErrors),
    /// The patch does not fit.
    #[error(transparent)]
    Merge(MergeError),
    /// A secret is missing.
    #[error(transparent)]
    Secret(Unknown),
    /// It cannot be written out.
    #[error(transparent)]
    Write(YamlError),
    /// The generation to return to is not there.
    #[error("there is no generation {generation}; there are: {kept}")]
    Unknown {
        /// Which was asked for.
        generation: Generation,
        /// Those that there are.
        kept: String,
    },
    /// The generation to return to is damaged.
    #[error("generation {generation} cannot be read")]
    Read {
        /// Which.
        generation: Generation,
        /// Cause.
        #[source]
        source: StoreError,
    },
}

/// A whole configuration.
#[derive(Debug)]
pub struct Whole {
    /// Its text.
    pub text: String,
    /// What it says.
    pub config: NodeConfig,
}

/// What a change leads to.
pub fn resolve(
    content: Option<Content>,
    view: &View,
    store: &GenerationStore,
) -> Result<Whole, ContentError> {
    let base = || Documents::parse(&view.running.text).map_err(ContentError::Refused);
    let text = match content.ok_or(ContentError::Missing)? {
        Content::Text(text) => text,
        Content::StrategicMerge(patch) => {
            let merged = merge::strategic(&base()?, &patch).map_err(ContentError::Merge)?;
            merged.to_yaml().map_err(ContentError::Write)?
        }
        Content::JsonPatch(patch) => {
            let patched = merge::json_patch(&base()?, &patch).map_err(ContentError::Merge)?;
            patched.to_yaml().map_err(ContentError::Write)?
        }
        Content::RollbackTo(number) => kept(Generation(number), view, store)?,
    };
    let text = with_secrets(text, base)?;
    let config = config::parse(&text).map_err(ContentError::Refused)?;
    Ok(Whole { text, config })
}

/// A text as it was given, unless secrets have to be put in.
fn with_secrets(
    text: String,
    base: impl FnOnce() -> Result<Documents, ContentError>,
) -> Result<String, ContentError> {
    if !text.contains(config::REDACTED) {
        return Ok(text);
    }
    let documents = Documents::parse(&text).map_err(ContentError::Refused)?;
    let restored = secrets::restore(&documents, &base()?).map_err(ContentError::Secret)?;
    restored.to_yaml().map_err(ContentError::Write)
}

/// The text of a generation that is kept.
pub fn kept(generation: Generation, view: &View, store: &GenerationStore) -> Result<String, ContentError> {
    if view.index.entry(generation).is_none() {
        let kept: Vec<String> = view.index.entries().iter().map(|entry| entry.number.to_string()).collect();
        return Err(ContentError::Unknown { generation, kept: kept.join(", ") });
    }
    if generation == view.running.generation {
        return Ok(view.running.text.to_string());
    }
    store.load(generation).map_err(|source| ContentError::Read { generation, source })
}
