//! `osctl gen cluster`

use std::fs;
use std::path::{Path, PathBuf};

use super::documents::{self, Documents};
use crate::cli::cluster::GenCluster;
use crate::command::generate::destination;
use crate::failure::Failure;
use crate::file;
use crate::output::note;

const CONTROL_PLANE: &str = "control-plane.yaml";
const WORKER: &str = "worker.yaml";

/// Makes the secrets of a cluster and writes the documents for its nodes.
pub fn generate(arguments: &GenCluster) -> Result<(), Failure> {
    let folder = destination(arguments.output.clone())?.ok_or_else(|| {
        Failure::usage("gen cluster writes several files with secrets: say into which folder with -o")
    })?;
    let Documents { control_plane, worker } = documents::make(arguments)?;
    let (control_plane_file, worker_file) = (folder.join(CONTROL_PLANE), folder.join(WORKER));
    if !arguments.force {
        refuse_existing([&control_plane_file, &worker_file])?;
    }
    write(&control_plane_file, &control_plane, arguments.force)?;
    note(&format!(
        "wrote {}: whoever has it owns the cluster. Keep it offline, and keep a copy.",
        control_plane_file.display()
    ));
    match worker {
        Some(worker) => {
            write(&worker_file, &worker, arguments.force)?;
            note(&format!("wrote {}: whoever has it can add nodes.", worker_file.display()));
        }
        None => no_worker(&worker_file)?,
    }
    let next = control_plane_file.display();
    note(&format!(
        "next, on the node that shall serve the cluster: osctl patch config -c CONTEXT -f {next}\n\
         for a node without a configuration: osctl gen config --base {next} …\n\
         then: osctl kubeconfig -c CONTEXT --merge"
    ));
    Ok(())
}

/// One that lies there is of another cluster.
fn no_worker(file: &Path) -> Result<(), Failure> {
    match fs::remove_file(file) {
        Ok(()) => note(&format!("removed {}, which was of another cluster", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(Failure::error(format!("cannot remove {}", file.display())).why(error));
        }
    }
    note(
        "there is no worker.yaml, because workers must know where the cluster is served: give --endpoint HOST, or copy the \
         document Cluster of control-plane.yaml and add to it: endpoints: [\"HOST:6443\"]",
    );
    Ok(())
}

fn refuse_existing(files: [&PathBuf; 2]) -> Result<(), Failure> {
    match files.into_iter().find(|file| file.symlink_metadata().is_ok()) {
        Some(file) => Err(exists(file)),
        None => Ok(()),
    }
}

fn exists(file: &Path) -> Failure {
    Failure::error(format!("{} exists and is left as it is", file.display())).hint(
        "without its secrets a cluster is lost; choose another folder with -o, or overwrite it with --force",
    )
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let written = if force { file::replace(path, text) } else { file::create(path, text) };
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => Failure::error(format!("cannot write {}", path.display())).why(error),
    })
}
