//! The configuration file: which nodes there are and how to prove who one is, like kubeconfig.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::pem::Pem;
use crate::{file, output};

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Contexts {
    /// Name of the context that commands use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_context: Option<String>,
    /// All contexts.
    #[serde(default)]
    pub contexts: Vec<Context>,
    /// Names of contexts, by the name of their group.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Vec<String>>,
}

/// What begins the name of a group where contexts are named.
const GROUP: char = '@';
/// The group of all contexts, which need not be made.
const ALL: &str = "all";

/// One node, and one client of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Context {
    /// Unique name.
    pub name: String,
    /// Addresses of the node, tried in order.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// Id of the node; absent until it is adopted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// CA that the node's certificate must chain to.
    pub ca: Pem,
    /// Certificate of the client.
    pub client_certificate: Pem,
    /// Key of the client.
    pub client_key: Pem,
    /// Secrets bundle with which this computer signs the node's certificate again in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<PathBuf>,
}

impl Context {
    /// Whether both are the same but for what concerns this computer alone.
    fn is_like(&self, other: &Context) -> bool {
        Context { secrets: other.secrets.clone(), ..self.clone() } == *other
    }
}

impl Contexts {
    /// The context of that name.
    pub fn find(&self, name: &str) -> Option<&Context> {
        self.contexts.iter().find(|context| context.name == name)
    }

    /// The named context, else the current one.
    pub fn choose(&self, name: Option<&str>) -> Result<&Context, Failure> {
        let name = name.or(self.current_context.as_deref()).ok_or_else(|| {
            let failure = Failure::new(Exit::NotFound, "no context is chosen");
            match self.contexts.is_empty() {
                true => failure.hint(
                    "adopt a node with `osctl adopt`, or take over a context with `osctl config merge`",
                ),
                false => failure.hint(format!("choose with -c or `osctl config use`: {}", self.names())),
            }
        })?;
        self.find(name).ok_or_else(|| self.unknown(name))
    }

    /// Adds a context or replaces the one of the same name. The first context becomes the current one.
    pub fn put(&mut self, context: Context) {
        if self.current_context.is_none() {
            self.current_context = Some(context.name.clone());
        }
        match self.contexts.iter_mut().find(|other| other.name == context.name) {
            Some(slot) => *slot = context,
            None => self.contexts.push(context),
        }
    }

    /// Removes a context. When it was the current one, none is current afterwards.
    pub fn remove(&mut self, name: &str) -> Result<(), Failure> {
        self.find(name).ok_or_else(|| self.unknown(name))?;
        self.contexts.retain(|context| context.name != name);
        self.groups.values_mut().for_each(|group| group.retain(|member| member != name));
        self.groups.retain(|_, group| !group.is_empty());
        self.current_context.take_if(|current| current == name);
        Ok(())
    }

    /// The contexts that `NAME,NAME`, `@GROUP` and `@all` name, each once. `None` when it is the name of one context.
    pub fn several(&self, words: &str) -> Result<Option<Vec<String>>, Failure> {
        if self.find(words).is_some() || !words.contains([',', GROUP]) {
            return Ok(None);
        }
        let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
        for word in words.split(',').map(str::trim) {
            let members = match word.strip_prefix(GROUP) {
                None => vec![self.find(word).ok_or_else(|| self.unknown(word))?.name.clone()],
                Some(group) => self.members(group)?,
            };
            names.extend(members.into_iter().filter(|name| seen.insert(name.clone())));
        }
        Ok(Some(names))
    }

    fn members(&self, group: &str) -> Result<Vec<String>, Failure> {
        let all = || self.contexts.iter().map(|context| context.name.clone()).collect::<Vec<_>>();
        match self.groups.get(group) {
            Some(members) => Ok(members.clone()),
            None if group == ALL && !self.contexts.is_empty() => Ok(all()),
            None => Err(self.unknown_group(group)),
        }
    }

    /// Makes a group, or replaces it.
    pub fn set_group(&mut self, name: &str, members: Vec<String>) -> Result<(), Failure> {
        if name == ALL || name.is_empty() || name.contains([',', GROUP]) {
            return Err(Failure::usage(format!("no group can be called {name:?}"))
                .hint("@all is every context; a name has neither commas nor @"));
        }
        for member in &members {
            self.find(member).ok_or_else(|| self.unknown(member))?;
        }
        self.groups.insert(name.to_owned(), members);
        Ok(())
    }

    /// Removes a group.
    pub fn remove_group(&mut self, name: &str) -> Result<(), Failure> {
        self.groups.remove(name).map(drop).ok_or_else(|| self.unknown_group(name))
    }

    fn unknown_group(&self, name: &str) -> Failure {
        let failure = Failure::new(Exit::NotFound, format!("no group named {name:?}"));
        match self.groups.is_empty() {
            true => failure.hint("there are no groups yet: `osctl config group set NAME CONTEXT...`"),
            false => {
                let names: Vec<_> = self.groups.keys().map(String::as_str).collect();
                failure.hint(format!("there are: {}", names.join(", ")))
            }
        }
    }

    /// Makes a context the current one.
    pub fn set_current(&mut self, name: &str) -> Result<(), Failure> {
        self.find(name).ok_or_else(|| self.unknown(name))?;
        self.current_context = Some(name.to_owned());
        Ok(())
    }

    /// Takes over all contexts of `other`, or none when one of the same name differs and `force` is not set.
    /// Returns the names of those that are new or changed.
    pub fn merge(&mut self, other: Contexts, force: bool) -> Result<Vec<String>, Failure> {
        let changed: Vec<Context> = other
            .contexts
            .into_iter()
            // Another's file must not choose what is signed with the secrets of this computer.
            .map(|context| Context { secrets: None, ..context })
            .filter(|context| self.find(&context.name).is_none_or(|mine| !mine.is_like(context)))
            .collect();
        let clashes: Vec<&str> = changed
            .iter()
            .map(|context| context.name.as_str())
            .filter(|name| self.find(name).is_some())
            .collect();
        if !clashes.is_empty() && !force {
            return Err(Failure::error(format!("contexts exist and differ: {}", clashes.join(", ")))
                .hint("nothing was changed; replace them with --force"));
        }
        let names = changed.iter().map(|context| context.name.clone()).collect();
        changed.into_iter().for_each(|context| self.put(context));
        Ok(names)
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.contexts.iter().map(|context| context.name.as_str()).collect();
        names.join(", ")
    }

    fn unknown(&self, name: &str) -> Failure {
        let failure = Failure::new(Exit::NotFound, format!("no context named {name:?}"));
        match self.contexts.is_empty() {
            true => failure.hint("there are no contexts yet: see `osctl adopt --help`"),
            false => failure.hint(format!("there are: {}", self.names())),
        }
    }
}

/// Where the contexts are kept.
#[derive(Clone, Debug)]
pub struct ContextFile {
    path: PathBuf,
}

impl ContextFile {
    /// The file that the user chose: `--config`, else `OSCTL_CONFIG`, else the default.
    pub fn locate(option: Option<&Path>) -> Result<ContextFile, Failure> {
        let chosen = option.map(Path::to_owned).or_else(|| variable("OSCTL_CONFIG"));
        let path = chosen.or_else(default_path).ok_or_else(|| {
            Failure::error(
                "cannot tell where the configuration file is: neither OSCTL_CONFIG nor HOME is set",
            )
        })?;
        Ok(ContextFile { path })
    }

    /// Reads the file; a missing one has no contexts.
    pub fn load(&self) -> Result<Contexts, Failure> {
        let contexts = read(&self.path)?.unwrap_or_default();
        if file::is_exposed(&self.path) {
            let path = self.path.display();
            output::warn(&format!("{path} holds keys and others may read it; run: chmod 600 {path}"));
        }
        Ok(contexts)
    }

    /// Changes the file while no other osctl does.
    pub fn change<T>(&self, change: impl FnOnce(&mut Contexts) -> Result<T, Failure>) -> Result<T, Failure> {
        let cannot = |error| Failure::error(format!("cannot write {}", self.path.display())).why(error);
        let _lock = file::lock(&self.path).map_err(cannot)?;
        let mut contexts = read(&self.path)?.unwrap_or_default();
        let result = change(&mut contexts)?;
        file::replace(&self.path, &output::yaml(&contexts)?).map_err(cannot)?;
        Ok(result)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads contexts from any file; `None` when there is none.
pub fn read(path: &Path) -> Result<Option<Contexts>, Failure> {
    let text = match file::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::error(format!("cannot read {}", path.display())).why(error)),
    };
    if text.trim().is_empty() {
        return Ok(Some(Contexts::default()));
    }
    serde_saphyr::from_str(&text).map(Some).map_err(|error| {
        Failure::error(format!("{} is no osctl configuration", path.display()))
            .why(error)
            .hint("correct or remove it")
    })
}

fn default_path() -> Option<PathBuf> {
    let base = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")))?;
    Some(base.join("cairn/osctl.yaml"))
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(name: &str, endpoint: &str) -> Context {
        let pem = |text: &str| Pem::new(format!("-----BEGIN {text}-----\nAAAA\n-----END {text}-----\n"));
        Context {
            name: name.into(),
            endpoints: vec![endpoint.into()],
            node_id: Some("n1".into()),
            ca: pem("CERTIFICATE"),
            client_certificate: pem("CERTIFICATE"),
            client_key: pem("PRIVATE KEY"),
            secrets: None,
        }
    }

    fn two() -> Contexts {
        let mut contexts = Contexts::default();
        contexts.put(context("a", "10.0.0.1"));
        contexts.put(context("b", "10.0.0.2"));
        contexts
    }

    fn fill(file: &ContextFile) {
        let all = |contexts: &mut Contexts| {
            *contexts = two();
            Ok(())
        };
        file.change(all).unwrap();
    }

    #[test]
    fn the_first_context_becomes_current() {
        let contexts = two();
        assert_eq!(contexts.choose(None).unwrap().name, "a");
        assert_eq!(contexts.choose(Some("b")).unwrap().name, "b");
    }

    #[test]
    fn an_unknown_context_names_the_known() {
        let failure = two().choose(Some("c")).unwrap_err();
        assert_eq!(failure.exit(), Exit::NotFound);
        assert!(failure.render().contains("there are: a, b"), "{}", failure.render());
        assert_eq!(Contexts::default().choose(None).unwrap_err().exit(), Exit::NotFound);
    }

    #[test]
    fn removing_the_current_context_leaves_none_current() {
        let mut contexts = two();
        contexts.remove("a").unwrap();
        assert_eq!((contexts.current_context.as_deref(), contexts.contexts.len()), (None, 1));
        assert_eq!(contexts.remove("a").unwrap_err().exit(), Exit::NotFound);
        assert!(contexts.choose(None).unwrap_err().render().contains("choose with -c"));
    }

    #[test]
    fn groups_and_lists_name_each_context_once() {
        let mut contexts = two();
        contexts.put(context("c", "10.0.0.3"));
        contexts.set_group("shop", vec!["c".into(), "a".into()]).unwrap();
        let several = |words: &str| contexts.several(words).unwrap();
        assert_eq!(several("a"), None);
        assert_eq!(several("unknown"), None, "one name is looked up as one");
        assert_eq!(several("@shop"), Some(vec!["c".to_owned(), "a".into()]));
        assert_eq!(several("b, @shop,b"), Some(vec!["b".to_owned(), "c".into(), "a".into()]));
        assert_eq!(several("@all").unwrap().len(), 3);
        assert!(contexts.several("a,x").unwrap_err().render().contains("no context named \"x\""));
        assert!(contexts.several("@x").unwrap_err().render().contains("there are: shop"));
        assert_eq!(Contexts::default().several("@all").unwrap_err().exit(), Exit::NotFound);
    }

    #[test]
    fn a_group_has_only_contexts_that_there_are() {
        let mut contexts = two();
        assert_eq!(contexts.set_group("g", vec!["x".into()]).unwrap_err().exit(), Exit::NotFound);
        assert_eq!(contexts.set_group("all", vec!["a".into()]).unwrap_err().exit(), Exit::Usage);
        assert_eq!(contexts.set_group("a,b", vec!["a".into()]).unwrap_err().exit(), Exit::Usage);
        contexts.set_group("g", vec!["a".into(), "b".into()]).unwrap();
        contexts.set_group("lone", vec!["a".into()]).unwrap();
        contexts.remove("a").unwrap();
        assert_eq!(contexts.groups, BTreeMap::from([("g".to_owned(), vec!["b".to_owned()])]));
        contexts.remove_group("g").unwrap();
        assert_eq!(contexts.remove_group("g").unwrap_err().exit(), Exit::NotFound);
    }

    #[test]
    fn merging_is_all_or_nothing() {
        let mut mine = two();
        let mut theirs = Contexts::default();
        theirs.put(context("a", "10.9.9.9"));
        theirs.put(context("c", "10.0.0.3"));
        let before = mine.clone();
        assert!(mine.merge(theirs.clone(), false).unwrap_err().render().contains("differ: a\n"));
        assert_eq!(mine, before);
        assert_eq!(mine.merge(theirs.clone(), true).unwrap(), ["a", "c"]);
        assert!(mine.merge(theirs, false).unwrap().is_empty());
        assert_eq!(mine.current_context.as_deref(), Some("a"));
    }

    #[test]
    fn no_merged_context_names_secrets() {
        let mut theirs = Contexts::default();
        theirs.put(Context { secrets: Some("secrets.yaml".into()), ..context("c", "10.0.0.3") });
        let mut mine = two();
        assert_eq!(mine.merge(theirs.clone(), false).unwrap(), ["c"]);
        assert_eq!(mine.find("c").unwrap().secrets, None);
        mine.put(Context { secrets: Some("own.yaml".into()), ..context("c", "10.0.0.3") });
        assert!(mine.merge(theirs, false).unwrap().is_empty(), "the same context, with other secrets");
        assert_eq!(mine.find("c").unwrap().secrets.as_deref(), Some(Path::new("own.yaml")));
    }

    #[test]
    fn the_file_round_trips_and_missing_is_empty() {
        let directory = tempfile::tempdir().unwrap();
        let file = ContextFile { path: directory.path().join("x/osctl.yaml") };
        assert_eq!(file.load().unwrap(), Contexts::default());
        fill(&file);
        assert_eq!(file.load().unwrap(), two());
        assert!(!file::is_exposed(file.path()));
    }

    #[test]
    fn a_failed_change_writes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = ContextFile { path: directory.path().join("osctl.yaml") };
        fill(&file);
        let failed = file.change(|contexts| {
            contexts.remove("a")?;
            contexts.set_current("nope")
        });
        assert_eq!(failed.unwrap_err().exit(), Exit::NotFound);
        assert_eq!(file.load().unwrap(), two());
    }

    #[test]
    fn a_damaged_file_is_an_error_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let file = ContextFile { path: directory.path().join("osctl.yaml") };
        std::fs::write(file.path(), "current-context: a\ncontexts:\n- name: a\n  endpoint: x\n").unwrap();
        let failure = file.load().unwrap_err().render();
        assert!(
            failure.contains("osctl.yaml is no osctl configuration") && failure.contains("endpoint"),
            "{failure}"
        );
    }

    #[test]
    fn concurrent_changes_are_all_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = ContextFile { path: directory.path().join("osctl.yaml") };
        std::thread::scope(|scope| {
            for index in 0..8 {
                let file = &file;
                scope.spawn(move || {
                    let put = |contexts: &mut Contexts| {
                        contexts.put(context(&format!("n{index}"), "h"));
                        Ok(())
                    };
                    file.change(put).unwrap();
                });
            }
        });
        assert_eq!(file.load().unwrap().contexts.len(), 8);
    }
}
