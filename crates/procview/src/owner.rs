//! To whom a cgroup belongs. PID 1's table and the kubelet's cgroupfs driver lay the tree out.

/// Owner of a cgroup, and so of its processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Threads of the kernel: the root.
    Kernel,
    /// PID 1 and its helpers.
    Init,
    /// A service, by its name.
    Service(String),
    /// Shims of containers.
    Shim,
    /// A pod.
    Pod(PodCgroup),
}

/// A pod's cgroup or one below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodCgroup {
    /// The pod, by what the kubelet calls it.
    pub uid: String,
    /// The container, if it is one's.
    pub container_id: Option<String>,
}

impl Owner {
    /// The owner of a path below the cgroup root; nothing for what only holds others.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            [] => Some(Self::Kernel),
            ["init", ..] => Some(Self::Init),
            ["podruntime", "shims", ..] => Some(Self::Shim),
            ["system" | "podruntime" | "cluster", service, ..] => Some(Self::Service((*service).to_owned())),
            ["kubepods", rest @ ..] => pod(rest).map(Self::Pod),
            _ => None,
        }
    }
}

/// `[burstable|besteffort/]pod<uid>[/<container>[/…]]`
fn pod(parts: &[&str]) -> Option<PodCgroup> {
    let parts = match parts {
        ["burstable" | "besteffort", rest @ ..] => rest,
        _ => parts,
    };
    let (pod, below) = parts.split_first()?;
    let uid = pod.strip_prefix("pod").filter(|uid| !uid.is_empty())?;
    Some(PodCgroup { uid: uid.to_owned(), container_id: below.first().map(|id| (*id).to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_tree() {
        let pod = |uid: &str, container: Option<&str>| {
            Some(Owner::Pod(PodCgroup { uid: uid.into(), container_id: container.map(str::to_owned) }))
        };
        for (path, owner) in [
            ("/", Some(Owner::Kernel)),
            ("/init", Some(Owner::Init)),
            ("/system/machined", Some(Owner::Service("machined".into()))),
            ("/podruntime/kubelet", Some(Owner::Service("kubelet".into()))),
            ("/cluster/kine", Some(Owner::Service("kine".into()))),
            ("/podruntime/shims", Some(Owner::Shim)),
            ("/podruntime/shims/x", Some(Owner::Shim)),
            ("/system", None),
            ("/podruntime", None),
            ("/kubepods", None),
            ("/kubepods/besteffort", None),
            ("/kubepods/besteffort/pod1f", pod("1f", None)),
            ("/kubepods/pod1f/9ab", pod("1f", Some("9ab"))),
            ("/kubepods/burstable/pod1f/9ab/inner/more", pod("1f", Some("9ab"))),
            ("/kubepods/pod", None),
            ("/elsewhere", None),
        ] {
            assert_eq!(Owner::of(path), owner, "{path}");
        }
    }
}
