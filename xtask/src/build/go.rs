//! Programs from pinned Go modules: the recipes are the modules in `image/components`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{
    cache::{self, Key},
    sdk::Sdk,
};

/// Kubernetes release that the kubelet reports.
pub const KUBERNETES_VERSION: &str = "1.37.2";
/// containerd release.
pub const CONTAINERD_VERSION: &str = "2.4.2";

/// One module and what is built from it.
struct Component {
    name: &'static str,
    /// Folder in `image/components` with the module.
    module: &'static str,
    hint: &'static str,
    tags: &'static str,
    stamp: &'static str,
    packages: &'static [&'static str],
}

const COMPONENTS: [Component; 4] = [
    Component {
        name: "kubernetes",
        module: "kubernetes",
        hint: "the Kubernetes programs and their data store from their Go modules, about 8 min on 2 cores",
        tags: "",
        stamp: "-X k8s.io/component-base/version.gitVersion=v1.37.2 -X k8s.io/component-base/version.gitMajor=1 \
                -X k8s.io/component-base/version.gitMinor=37",
        packages: &["cairn.dev/components/kubernetes"],
    },
    Component {
        name: "containerd",
        module: "containerd",
        hint: "containerd and its shim from their Go module, about 1 min",
        tags: "no_btrfs no_devmapper no_zfs no_tracing",
        stamp: "-X github.com/containerd/containerd/v2/version.Version=v2.4.2",
        packages: &[
            "github.com/containerd/containerd/v2/cmd/containerd",
            "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        ],
    },
    Component {
        name: "cni",
        module: "cni",
        hint: "CNI plugins from their Go module, about 20 s",
        tags: "",
        stamp: "",
        packages: &[
            "github.com/containernetworking/plugins/plugins/ipam/host-local",
            "github.com/containernetworking/plugins/plugins/main/bridge",
            "github.com/containernetworking/plugins/plugins/main/loopback",
            "github.com/containernetworking/plugins/plugins/meta/portmap",
        ],
    },
    Component {
        name: "coredns",
        module: "coredns",
        hint: "CoreDNS from its Go module, about 1 min",
        tags: "",
        stamp: "",
        packages: &["cairn.dev/components/coredns"],
    },
];

/// containerd's own client, for the script that boots are measured against. Never in an image.
const CTR: Component = Component {
    name: "ctr",
    module: "containerd",
    hint: "containerd's client from the same Go module, about 10 s",
    tags: "no_btrfs no_devmapper no_zfs no_tracing",
    stamp: "",
    packages: &["github.com/containerd/containerd/v2/cmd/ctr"],
};

/// Kubernetes' own client, for tests. Never in an image.
const KUBECTL: Component = Component {
    name: "kubectl",
    module: "kubernetes",
    hint: "kubectl from the same Go module, about 1 min",
    tags: "",
    stamp: "-X k8s.io/component-base/version.gitVersion=v1.37.2",
    packages: &["cairn.dev/components/kubernetes/kubectl"],
};

/// Folders with the built programs.
#[derive(Clone, Debug)]
pub struct GoPrograms {
    /// Holds `kubernetes`.
    pub kubernetes: PathBuf,
    /// Holds `containerd` and `containerd-shim-runc-v2`.
    pub containerd: PathBuf,
    /// Holds the CNI plugins.
    pub cni: PathBuf,
    /// Holds `coredns`.
    pub coredns: PathBuf,
    /// Artifact keys.
    pub keys: Vec<String>,
}

/// Builds all components, or takes them from the cache.
pub fn provide(repository: &Path, sdk: &Sdk) -> Result<GoPrograms> {
    let built =
        COMPONENTS.iter().map(|component| build(repository, sdk, component)).collect::<Result<Vec<_>>>()?;
    let [kubernetes, containerd, cni, coredns] = [0, 1, 2, 3].map(|index: usize| built[index].path.clone());
    Ok(GoPrograms {
        kubernetes,
        containerd,
        cni,
        coredns,
        keys: built.into_iter().map(|artifact| artifact.key).collect(),
    })
}

/// Builds `ctr`, or takes it from the cache.
pub fn ctr(repository: &Path, sdk: &Sdk) -> Result<cache::Artifact> {
    build(repository, sdk, &CTR)
}

/// Builds `kubectl`, or takes it from the cache.
pub fn kubectl(repository: &Path, sdk: &Sdk) -> Result<cache::Artifact> {
    build(repository, sdk, &KUBECTL)
}

fn build(repository: &Path, sdk: &Sdk, component: &Component) -> Result<cache::Artifact> {
    let folder = format!("image/components/{}", component.module);
    let compiler = String::from_utf8(sdk.command("go").args(["version"]).output()?.stdout)?;
    let key = Key::new(component.name, 1)
        .text(&compiler)
        .text(component.tags)
        .text(component.stamp)
        .text(&component.packages.join(" "))
        .path(repository, &folder)?;
    cache::artifact(component.name, key, component.hint, |into| {
        let flags = format!("-s -w {}", component.stamp);
        let log = cache::scratch("logs")?.join(format!("{}.log", component.name));
        cache::remove(&log)?;
        sdk.command("go")
            .trust_as_the_host()
            .bind(&repository.join(&folder), "/cairn/source")
            .bind(&cache::scratch("go")?, "/cairn/go")
            .bind(into, "/cairn/out")
            .directory("/cairn/source")
            .env("CGO_ENABLED", "0")
            .env("GOCACHE", "/cairn/go/build")
            .env("GOMODCACHE", "/cairn/go/mod")
            .env("GOTOOLCHAIN", "local")
            .inherit("GOPROXY")
            .inherit("GOSUMDB")
            .inherit("GONOSUMDB")
            .args(["build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-modcacherw"])
            .args(["-tags", component.tags, "-ldflags", &flags, "-o", "/cairn/out/"])
            .args(component.packages.iter().copied())
            .run_logged(&log)
    })
}
