//! The command line: one tree from which parsing, help, completions and the man page come.

pub mod cluster;
pub mod configuration;
mod flash;
pub mod inspect;
pub mod logs;
pub mod upgrade;

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use pairing::Fingerprint;
use pki::{NodeId, Role, SubjectName};

pub use self::flash::Flash;
use crate::endpoint::Endpoint;
use crate::output::{Format, Speech};
use crate::{duration, exit};

/// Command line for Cairn nodes.
#[derive(Debug, Parser)]
#[command(name = "osctl", version, after_help = exit::HELP, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Context to use, instead of the current one. For several nodes at once: NAME,NAME, @GROUP or @all
    #[arg(short, long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// With several nodes: how many are asked at the same time (default: 16)
    #[arg(long, global = true, value_name = "N")]
    pub parallel: Option<NonZero<usize>>,
    /// Address of the node, instead of the context's; may be repeated
    #[arg(short = 'n', long = "endpoint", global = true, value_name = "HOST[:PORT]")]
    pub endpoints: Vec<Endpoint>,
    /// Configuration file (default: $OSCTL_CONFIG, else ~/.config/cairn/osctl.yaml)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Output format: table, json or yaml
    #[arg(short, long, global = true, value_name = "FORMAT", value_parser = format())]
    output: Option<Output>,
    /// Longest wait for the node, such as 30s or 5m (default: 15s; with --wait 10m)
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Option<Duration>,
}

impl Global {
    /// The format that was asked for.
    pub fn format(&self) -> Option<Format> {
        match self.output {
            Some(Output::Format(format)) => Some(format),
            Some(Output::File(_)) | None => None,
        }
    }

    /// The same, but data are printed as another command line says.
    pub fn printing_as(&self, other: &Global) -> Global {
        Global { output: other.output.clone(), ..self.clone() }
    }

    /// Has data printed as JSON, whatever was asked for.
    pub fn print_json(&mut self) {
        self.output = Some(Output::Format(Format::Json));
    }
}

/// What stands behind `-o`: a format, or for `gen` the file to write. One type, because the `-o` of `gen` takes the
/// place of the global one and the parser hands both to the same field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// How to print.
    Format(Format),
    /// Where to write; "-" is standard output.
    File(PathBuf),
}

fn format() -> impl TypedValueParser<Value = Output> {
    PossibleValuesParser::new(["table", "json", "yaml"]).map(|name| {
        Output::Format(match name.as_str() {
            "json" => Format::Json,
            "yaml" => Format::Yaml,
            _ => Format::Table,
        })
    })
}

fn output_file(text: &str) -> Result<Output, String> {
    if text.is_empty() { Err("the file has no name".into()) } else { Ok(Output::File(text.into())) }
}

pub fn subject(text: &str) -> Result<SubjectName, String> {
    SubjectName::parse(text).map_err(|error| error.to_string())
}

fn node_id(text: &str) -> Result<NodeId, String> {
    NodeId::parse(text).map_err(|error| error.to_string())
}

/// All commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// List, choose and change contexts
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make secrets, client certificates and machine configurations
    #[command(subcommand)]
    Gen(GenCommand),
    /// Take over a new node: authenticate it by its fingerprint and sign its certificate
    Adopt(Adopt),
    /// List the nodes that answer on the local links; compare a fingerprint with the console before you trust it
    Discover,
    /// Write an image to a disk and prove it by reading back; without a disk, list the removable ones
    Flash(Flash),
    /// Show the versions of osctl and of the node
    Version {
        /// Only osctl's own version; does not contact the node
        #[arg(long)]
        client: bool,
    },
    /// Show whether the node is healthy; exit code 4 when it is not
    Health {
        /// Wait until the node is healthy
        #[arg(long)]
        wait: bool,
    },
    /// List or control the services of the node
    Services {
        /// What to do; the default is to list
        #[command(subcommand)]
        action: Option<ServicesCommand>,
    },
    /// Print the log of a service or a container, of this boot or an earlier one; without a name, list the logs
    Logs(logs::Logs),
    /// Print the kernel's log
    Dmesg(logs::Dmesg),
    /// List crashes of the kernel and of PID 1, or print the last words of one
    Crashes(logs::Crashes),
    /// List the pods of the node
    Pods,
    /// List the processes of the node: whose they are, what they take
    Ps(inspect::Ps),
    /// Show what services and pods take: processors, memory, disks, and what they wait for
    Stats(inspect::Stats),
    /// Show how the machine fares: load, processors, memory, pressure, temperatures, disks, links
    Top(inspect::Top),
    /// List what is mounted, and how full it is
    Mounts(inspect::Mounts),
    /// List TCP and UDP sockets, and whose they are
    Netstat(inspect::Netstat),
    /// Reboot the node in order
    Reboot {
        /// Wait until the node is back
        #[arg(long)]
        wait: bool,
    },
    /// Power the node off in order
    Shutdown,
    /// Show resources of a kind; api-resources lists the kinds
    Get {
        /// Name, plural or short name of a kind
        kind: String,
        /// Only this resource
        id: Option<String>,
        /// Keep showing changes
        #[arg(short, long)]
        watch: bool,
        /// With `get config`: this generation instead of the one that runs
        #[arg(long, value_name = "N")]
        generation: Option<u64>,
        /// With `get config`: with all defaults filled in
        #[arg(long)]
        effective: bool,
    },
    /// Check machine configurations without a node
    Validate {
        /// Configurations
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Give the node a whole new machine configuration
    ApplyConfig(configuration::ApplyConfig),
    /// Keep the configuration that is on trial
    ConfirmConfig {
        /// Generation (default: the one on trial)
        generation: Option<u64>,
    },
    /// Change parts of the machine configuration
    Patch(configuration::Patch),
    /// Edit the machine configuration with $EDITOR
    Edit(configuration::Edit),
    /// Show how the machine configuration differs
    Diff(configuration::Diff),
    /// Install a release; an upgrade that is cut off goes on where it was
    Upgrade(upgrade::Upgrade),
    /// Show which releases the node has, and how they fare
    Slots,
    /// Return to the release of before, or to an earlier machine configuration
    Rollback(upgrade::Rollback),
    /// Wipe keys and configuration: the node comes up as if it had never been configured
    Reset(configuration::Reset),
    /// List the kinds of resources that the node publishes
    ApiResources,
    /// Write a kubeconfig for the cluster that the node serves, with a new certificate of a cluster admin
    Kubeconfig(cluster::Kubeconfig),
    /// Gather what the node says of itself in one file, for whoever helps
    Support(Support),
    /// Print the completion script for a shell
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder
    #[command(hide = true)]
    Man {
        /// Existing folder
        folder: PathBuf,
    },
}

impl Command {
    /// Whether `-c` names whom it is for, rather than what is to be made.
    pub fn is_for_nodes(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::Gen(_)
            | Self::Adopt(_)
            | Self::Discover
            | Self::Flash(_)
            | Self::Version { client: true }
            | Self::Validate { .. }
            | Self::Support(Support { action: Some(_), .. })
            | Self::Completion { .. }
            | Self::Man { .. } => false,
            Self::ApplyConfig(arguments) => !arguments.first.insecure,
            _ => true,
        }
    }

    /// Whether several nodes may be named: not for what asks back, nor for what no second thought brings back, nor for what
    /// writes one file.
    pub fn may_have_several(&self) -> bool {
        !matches!(self, Self::Edit(_) | Self::Reset(_) | Self::Kubeconfig(_))
    }

    /// How it speaks.
    pub fn speech(&self) -> Speech {
        let lasts = match self {
            Self::Logs(arguments) => arguments.follow.follow,
            Self::Dmesg(arguments) => arguments.follow.follow,
            Self::Get { watch, .. } => *watch,
            Self::Stats(arguments) => arguments.watch,
            Self::Top(arguments) => arguments.watch,
            Self::Upgrade(arguments) => arguments.watches(),
            _ => false,
        };
        match self {
            _ if lasts => Speech::Stream,
            Self::Dmesg(_) => Speech::Series,
            Self::Logs(arguments) if arguments.prints_lines() => Speech::Series,
            _ => Speech::Once,
        }
    }
}

/// Commands on the configuration file.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// List all contexts
    Contexts,
    /// Make a context the current one
    Use {
        /// Which context
        name: String,
    },
    /// Show the configuration file without its keys
    View,
    /// Remove a context
    Remove {
        /// Which context
        name: String,
    },
    /// Name groups of contexts, for `-c @GROUP`
    #[command(subcommand)]
    Group(GroupCommand),
    /// Take over the contexts of another file
    Merge {
        /// File written by `osctl gen client -o`
        file: PathBuf,
        /// Replace contexts that differ
        #[arg(long)]
        force: bool,
    },
}

/// Commands on groups of contexts.
#[derive(Clone, Debug, Subcommand)]
pub enum GroupCommand {
    /// List the groups
    List,
    /// Make a group of these contexts, or replace it
    Set {
        /// Name of the group
        name: String,
        /// Its contexts
        #[arg(required = true, value_name = "CONTEXT")]
        contexts: Vec<String>,
    },
    /// Remove a group; its contexts stay
    Remove {
        /// Which group
        name: String,
    },
}

/// Commands that make files.
#[derive(Clone, Debug, Subcommand)]
pub enum GenCommand {
    /// Make the CA of a fleet. Whoever has this file owns the fleet; losing it loses the fleet
    Secrets {
        /// File to write (default: secrets.yaml)
        #[arg(id = "output", short, long, value_name = "FILE", value_parser = output_file)]
        output: Option<Output>,
        /// Overwrite an existing file
        #[arg(long)]
        force: bool,
        /// Encrypt the file with a passphrase, asked for or taken from $OSCTL_PASSPHRASE
        #[arg(long)]
        encrypt: bool,
    },
    /// Make a client certificate and write it into a context
    Client(GenClient),
    /// Print the first configuration of a node
    Config(GenConfig),
    /// Make the secrets of a Kubernetes cluster, as documents for the configurations of its nodes
    Cluster(cluster::GenCluster),
}

/// Arguments of `gen config`.
#[derive(Clone, Debug, Args)]
pub struct GenConfig {
    /// Secrets bundle whose CA the node shall trust
    #[arg(long, value_name = "FILE")]
    pub secrets: PathBuf,
    /// Hostname of the node
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Pod manifest to run; may be repeated
    #[arg(long = "static-pod", value_name = "FILE")]
    pub static_pods: Vec<PathBuf>,
    /// Further documents, merged into the configuration
    #[arg(long, value_name = "FILE")]
    pub base: Option<PathBuf>,
    /// Table of nodes (.csv or .yaml): a file for each row. Columns are called as fields, such as Machine.hostname or
    /// Interface/eth0.addresses; -o names the folder
    #[arg(long, value_name = "FILE", conflicts_with = "hostname")]
    pub values: Option<PathBuf>,
    /// File to write, with --values the folder (default: standard output)
    #[arg(id = "output", short, long, value_name = "FILE", value_parser = output_file)]
    pub output: Option<Output>,
}

/// Arguments of `gen client`.
#[derive(Clone, Debug, Args)]
pub struct GenClient {
    /// Secrets bundle that signs
    #[arg(long, value_name = "FILE")]
    pub secrets: PathBuf,
    /// What the client may do: reader, operator or admin
    #[arg(long)]
    pub role: Role,
    /// Who the client is; appears in audit records
    #[arg(long, value_parser = subject)]
    pub name: SubjectName,
    /// How long the certificate is valid
    #[arg(long, value_name = "DURATION", default_value = "365d", value_parser = duration::parse)]
    pub ttl: Duration,
    /// Id of the node (default: that of the context, or of a context of the same CA with the same endpoint)
    #[arg(long, value_name = "ID", value_parser = node_id)]
    pub node_id: Option<NodeId>,
    /// Write a configuration file with only this context, to hand on, instead of your own
    #[arg(id = "output", short, long, value_name = "FILE", value_parser = output_file)]
    pub output: Option<Output>,
}

/// Arguments of `adopt`.
#[derive(Clone, Debug, Args)]
pub struct Adopt {
    /// Secrets bundle whose CA the node was configured with
    #[arg(long, value_name = "FILE")]
    pub secrets: PathBuf,
    /// Fingerprint that the node's console shows: 64 hexadecimal digits or 16 words
    #[arg(long, value_name = "HEX|WORDS", value_parser = fingerprint)]
    pub fingerprint: Fingerprint,
    /// How long the admin certificate of a new context is valid
    #[arg(long, value_name = "DURATION", default_value = "365d", value_parser = duration::parse)]
    pub ttl: Duration,
    /// Name in the admin certificate of a new context
    #[arg(long, default_value = "admin", value_parser = subject)]
    pub name: SubjectName,
}

pub fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    Fingerprint::parse(text).map_err(|error| error.to_string())
}

/// Arguments of `support`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Support {
    /// What to do with a bundle.
    #[command(subcommand)]
    pub action: Option<SupportCommand>,
    /// File to write, or an existing folder (default: support-CONTEXT-TIME.tar.zst here)
    #[arg(id = "output", short, long, value_name = "FILE|FOLDER", value_parser = output_file)]
    output: Option<Output>,
    /// Last lines of each log
    #[arg(long, value_name = "N", default_value = "5000")]
    pub tail: u32,
    /// Also the logs of pods, which may hold secrets of theirs
    #[arg(long)]
    pub pods: bool,
    /// Encrypt it with a passphrase, asked for or taken from $OSCTL_PASSPHRASE
    #[arg(long)]
    pub encrypt: bool,
}

impl Support {
    /// Where to write.
    pub fn file(&self) -> Option<&Path> {
        match &self.output {
            Some(Output::File(path)) => Some(path),
            Some(Output::Format(_)) | None => None,
        }
    }
}

/// Commands on bundles.
#[derive(Clone, Debug, Subcommand)]
pub enum SupportCommand {
    /// Decrypt a bundle
    Open {
        /// Encrypted bundle
        bundle: PathBuf,
        /// Archive to write (.tar.zst)
        archive: PathBuf,
    },
}

/// Commands on services.
#[derive(Clone, Debug, Subcommand)]
pub enum ServicesCommand {
    /// List the services
    List,
    /// Start a service that is stopped or failed
    Start(ServiceArgument),
    /// Stop a service until it is started again
    Stop(ServiceArgument),
    /// Restart a service
    Restart(ServiceArgument),
}

/// The service to control.
#[derive(Clone, Debug, Args)]
pub struct ServiceArgument {
    /// Name of the service
    pub name: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Cli {
        Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn refuses(line: &str) {
        let error =
            Cli::try_parse_from(line.split_whitespace()).err().unwrap_or_else(|| panic!("{line} is taken"));
        assert_eq!(error.exit_code(), 2, "{line}");
    }

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_anywhere() {
        for line in [
            "osctl -c a -n h:1 -o json health",
            "osctl health -c a -n h:1 -o json",
            "osctl -c a health -n h:1 -o json",
        ] {
            let cli = parse(line);
            assert_eq!(cli.global.context.as_deref(), Some("a"), "{line}");
            assert_eq!(cli.global.endpoints, ["h:1".parse().unwrap()], "{line}");
            assert_eq!(cli.global.format(), Some(Format::Json), "{line}");
        }
        let cli = parse("osctl services restart kubelet --timeout 1m -o yaml");
        assert_eq!(
            (cli.global.timeout, cli.global.format()),
            (Some(Duration::from_secs(60)), Some(Format::Yaml))
        );
    }

    #[test]
    fn boots_are_counted_back() {
        for line in [
            "osctl logs kubelet --boot -1",
            "osctl logs --previous-boot kubelet",
            "osctl logs kubelet --boot=-1",
        ] {
            let Command::Logs(logs) = parse(line).command else { panic!() };
            assert_eq!(logs.boot.which(), logs::WhichBoot::One("-1".into()), "{line}");
        }
    }

    #[test]
    fn the_output_of_gen_is_a_file() {
        let cli = parse("osctl gen secrets -o json");
        let Command::Gen(GenCommand::Secrets { output, force: false, encrypt: false }) = cli.command else {
            panic!()
        };
        assert_eq!(output, Some(Output::File("json".into())));
        assert_eq!(cli.global.format(), None);
    }

    #[test]
    fn wrong_command_lines_are_usage_errors() {
        for line in [
            "osctl",
            "osctl fly",
            "osctl health -o xml",
            "osctl health --timeout soon",
            "osctl -n http://x health",
            "osctl logs a/b/c/d",
            "osctl logs kubelet --since yesterday",
            "osctl logs kubelet --boot -1 --previous-boot",
            "osctl crashes x",
            "osctl ps --sort name",
            "osctl ps --service apid --pod hello",
            "osctl ps --interval 11s",
            "osctl top --interval 0s",
            "osctl gen client --secrets s --role root --name x",
            "osctl gen client --secrets s --role admin --name é",
            "osctl adopt --secrets s --fingerprint 12ab",
            "osctl adopt --secrets s",
            "osctl gen cluster",
            "osctl gen cluster shop --domain Cluster.Local -o d",
            "osctl gen cluster shop --pod-subnet 10.244.0.1/16 -o d",
            "osctl gen cluster shop --pod-network flannel -o d",
            "osctl kubeconfig --lifetime 366d",
            "osctl upgrade --release a --url b",
            "osctl upgrade --stage --wait",
            "osctl upgrade --stage --no-reboot",
            "osctl upgrade --wait status",
            "osctl rollback --wait config",
        ] {
            refuses(line);
        }
    }
}
