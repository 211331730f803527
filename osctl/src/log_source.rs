//! What `osctl logs` can name: a service, or a container of a pod.

use std::str::FromStr;

use proto::log::v1::ContainerSource;

/// A source as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// "kubelet"
    Service(String),
    /// "hello/web" or "default/hello": which of both shows only the list of pods.
    Pair(String, String),
    /// "hello/" or "default/hello/web", which need no list.
    Container(ContainerSource),
}

impl FromStr for LogSource {
    type Err = String;

    fn from_str(text: &str) -> Result<LogSource, String> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [service] if !service.is_empty() => Ok(LogSource::Service((*service).to_owned())),
            [pod, ""] if !pod.is_empty() => Ok(LogSource::Container(container("", pod, ""))),
            [first, second] if !first.is_empty() => {
                Ok(LogSource::Pair((*first).to_owned(), (*second).to_owned()))
            }
            [namespace, pod, name] if !namespace.is_empty() && !pod.is_empty() => {
                Ok(LogSource::Container(container(namespace, pod, name)))
            }
            _ => Err(format!(
                "{text:?} is no log; write SERVICE, POD/CONTAINER, NAMESPACE/POD or NAMESPACE/POD/CONTAINER"
            )),
        }
    }
}

/// Decides what a pair means on a node that runs `pods` (namespace and name). A pod of that name wins over a
/// namespace of that name.
pub fn resolve_pair(first: &str, second: &str, pods: &[(String, String)]) -> ContainerSource {
    if let Some((namespace, _)) = pods.iter().find(|(_, name)| name == first) {
        return container(namespace, first, second);
    }
    if pods.iter().any(|(namespace, _)| namespace == first) {
        return container(first, second, "");
    }
    container("", first, second)
}

fn container(namespace: &str, pod: &str, container: &str) -> ContainerSource {
    ContainerSource { namespace: namespace.to_owned(), pod: pod.to_owned(), container: container.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_forms() {
        assert_eq!("kubelet".parse(), Ok(LogSource::Service("kubelet".into())));
        assert_eq!("hello/web".parse(), Ok(LogSource::Pair("hello".into(), "web".into())));
        assert_eq!("hello/".parse(), Ok(LogSource::Container(container("", "hello", ""))));
        assert_eq!("a/b/c".parse(), Ok(LogSource::Container(container("a", "b", "c"))));
        for text in ["", "/", "/x", "a//c", "//", "a/b/c/d"] {
            assert!(text.parse::<LogSource>().is_err(), "{text}");
        }
    }

    #[test]
    fn pairs_follow_the_pods() {
        let pods = [("default".to_owned(), "hello".to_owned()), ("kube-system".into(), "dns".into())];
        assert_eq!(resolve_pair("hello", "web", &pods), container("default", "hello", "web"));
        assert_eq!(resolve_pair("default", "hello", &pods), container("default", "hello", ""));
        assert_eq!(resolve_pair("kube-system", "gone", &pods), container("kube-system", "gone", ""));
        assert_eq!(resolve_pair("gone", "web", &pods), container("", "gone", "web"));
    }
}
