//! What each command does.

mod adopt;
mod cluster;
mod config;
mod configuration;
mod crashes;
mod discover;
mod dmesg;
mod draft;
mod first_config;
mod flash;
mod fleet;
mod generate;
mod get;
mod health;
mod inspect;
mod logs;
mod many;
mod power;
mod renew;
mod services;
mod sign;
mod support;
mod upgrade;
mod version;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use clap::CommandFactory as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::upgrade::{Rollback, RollbackCommand};
use crate::cli::{Cli, Command, Global};
use crate::contexts::ContextFile;
use crate::failure::Failure;
use crate::node::{Node, TIMEOUT, Target};
use crate::output::{self, Format};

/// Runs a command to its end, on one node or on several.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let session = Session { global: cli.global };
    match many::chosen(&session, &cli.command)? {
        Some(names) => many::run(&session, cli.command, names).await,
        None => one(&session, cli.command).await,
    }
}

async fn one(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Config(command) => config::run(session, command),
        Command::Gen(command) => generate::run(session, command),
        Command::Adopt(arguments) => adopt::run(session, &arguments).await,
        Command::Discover => discover::run(session).await,
        Command::Flash(arguments) => flash::run(session, arguments).await,
        Command::Version { client } => version::run(session, client).await,
        Command::Health { wait } => health::run(session, wait).await,
        Command::Services { action } => services::run(session, action).await,
        Command::Logs(arguments) => logs::run(session, arguments).await,
        Command::Dmesg(arguments) => dmesg::run(session, arguments).await,
        Command::Crashes(arguments) => crashes::run(session, &arguments).await,
        Command::Pods => get::pods(session).await,
        Command::Ps(arguments) => inspect::ps(session, &arguments).await,
        Command::Stats(arguments) => inspect::stats(session, &arguments).await,
        Command::Top(arguments) => inspect::top(session, &arguments).await,
        Command::Mounts(arguments) => inspect::mounts(session, &arguments).await,
        Command::Netstat(arguments) => inspect::netstat(session, &arguments).await,
        Command::Reboot { wait } => power::reboot(session, wait).await,
        Command::Shutdown => power::shutdown(session).await,
        Command::Get { kind, id: None, watch: false, generation, effective } if kind == "config" => {
            configuration::show(session, generation, effective).await
        }
        Command::Get { generation: Some(_), .. } | Command::Get { effective: true, .. } => {
            Err(Failure::usage("--generation and --effective go with `osctl get config`"))
        }
        Command::Get { kind, id, watch: false, .. } => get::run(session, &kind, id.as_deref()).await,
        Command::Get { kind, id, watch: true, .. } => get::watch(session, &kind, id.as_deref()).await,
        Command::Validate { files } => configuration::validate(&files),
        Command::ApplyConfig(arguments) => configuration::apply(session, &arguments).await,
        Command::ConfirmConfig { generation } => configuration::confirm(session, generation).await,
        Command::Patch(arguments) => configuration::patch(session, &arguments).await,
        Command::Edit(arguments) => configuration::edit(session, &arguments).await,
        Command::Diff(arguments) => configuration::diff(session, &arguments).await,
        Command::Upgrade(arguments) => upgrade::run(session, &arguments).await,
        Command::Slots => upgrade::slots(session).await,
        Command::Rollback(Rollback { subject: None, wait }) => upgrade::rollback(session, wait).await,
        Command::Rollback(Rollback { subject: Some(RollbackCommand::Config(arguments)), .. }) => {
            configuration::rollback(session, &arguments).await
        }
        Command::Reset(arguments) => configuration::reset(session, &arguments).await,
        Command::Kubeconfig(arguments) => cluster::kubeconfig(session, &arguments).await,
        Command::ApiResources => get::api_resources(session).await,
        Command::Support(arguments) => support::run(session, &arguments).await,
        Command::Completion { shell } => completion(shell),
        Command::Man { folder } => man(&folder),
    }
}

fn completion(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "osctl", &mut script);
    output::write(&script)
}

fn man(folder: &Path) -> Result<(), Failure> {
    clap_mangen::generate_to(Cli::command(), folder).map_err(|error| {
        Failure::error(format!("cannot write the man pages to {}", folder.display())).why(error)
    })
}

/// The options of this run and what follows from them.
#[derive(Clone, Debug)]
struct Session {
    global: Global,
}

impl Session {
    fn format(&self) -> Option<Format> {
        self.global.format()
    }

    fn contexts(&self) -> Result<ContextFile, Failure> {
        ContextFile::locate(self.global.config.as_deref())
    }

    fn timeout(&self) -> Duration {
        self.global.timeout.unwrap_or(TIMEOUT)
    }

    fn target(&self) -> Result<Target, Failure> {
        let contexts = self.contexts()?.load()?;
        let context = contexts.choose(self.global.context.as_deref())?;
        Target::of_context(context, &self.global.endpoints, self.timeout())
    }

    async fn connect(&self) -> Result<Node, Failure> {
        let file = self.contexts()?;
        let contexts = file.load()?;
        let context = contexts.choose(self.global.context.as_deref())?;
        let target = Target::of_context(context, &self.global.endpoints, self.timeout())?;
        let node = Node::connect(&target).await?;
        renew::when_due(&node, &file, context).await;
        Ok(node)
    }
}

/// Runs a command that lasts until the user ends it: Ctrl-C is its normal end.
async fn until_interrupted(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    // Before any output, so that whoever has seen some can rely on it.
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::error("cannot listen for Ctrl-C").why(error))?;
    tokio::select! {
        result = work => result,
        _ = interrupt.recv() => Ok(()),
    }
}
