//! Makes what is mounted below `/var/mnt` what the configuration says. Blocks.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use config::Volume;
use resource::{
    Spec as _,
    spec::{Disk, Pod, Volume as Row},
};

use super::{
    content::Content,
    decide::{Decision, Problem, Seen, decide},
    mounts::{Mounted, PlaceError, Places, users},
    records::Records,
    work::{self, WorkError},
};
use crate::{error_chain::error_chain, storage, store::Store};

/// Between attempts at what no change of disks or configuration mended: looking at a disk keeps it from sleeping.
const RETRY: Duration = Duration::from_secs(60);

/// How the volumes are.
#[derive(Debug, Default)]
pub struct Report {
    /// One for each volume that is configured or still mounted.
    pub rows: Vec<(String, Row)>,
    /// What is not as it should be.
    pub problems: Vec<Problem>,
}

/// Keeps the volumes.
pub struct Keeper {
    state: PathBuf,
    places: Places,
    store: Store,
    volumes: Vec<Volume>,
    disks: Vec<Disk>,
    problems: BTreeMap<String, Problem>,
    tried: Option<Instant>,
}

impl Keeper {
    /// Keeps its records in the folder `state`.
    pub fn new(state: &Path, places: Places, store: Store) -> Self {
        Self {
            state: state.to_owned(),
            places,
            store,
            volumes: Vec::new(),
            disks: Vec::new(),
            problems: BTreeMap::new(),
            tried: None,
        }
    }

    /// Looks after all volumes. `disks` are those that may carry one.
    pub fn pass(&mut self, volumes: &[Volume], disks: Vec<Disk>) -> Report {
        let mut extra = Vec::new();
        if let Err(error) = self.places.reserve() {
            extra.push(problem("NotMounted", &error));
        }
        extra.extend(self.detach_gone());
        extra.extend(self.remove_unwanted(volumes));
        let mounted = self.places.mounted();
        if self.is_due(volumes, &disks, &mounted) {
            self.tried = Some(Instant::now());
            self.problems = self.obey(volumes, &disks, &mounted);
            (self.volumes, self.disks) = (volumes.to_vec(), disks);
        }
        self.report(extra)
    }

    /// Whether anything can have become better or worse since the last time.
    fn is_due(&self, volumes: &[Volume], disks: &[Disk], mounted: &BTreeMap<String, Mounted>) -> bool {
        let is_settled =
            |volume: &Volume| mounted.contains_key(&volume.name) || self.problems.contains_key(&volume.name);
        self.volumes != volumes
            || self.disks != disks
            || !volumes.iter().all(is_settled)
            || (!self.problems.is_empty() && self.tried.is_none_or(|tried| tried.elapsed() >= RETRY))
    }

    fn obey(
        &self,
        volumes: &[Volume],
        disks: &[Disk],
        mounted: &BTreeMap<String, Mounted>,
    ) -> BTreeMap<String, Problem> {
        if volumes.is_empty() {
            return BTreeMap::new();
        }
        let mut records = match Records::read(&self.state) {
            Ok(records) => records,
            Err(error) => {
                let unreadable = problem("RecordsUnreadable", &error);
                return volumes.iter().map(|volume| (volume.name.clone(), unreadable.clone())).collect();
            }
        };
        let mut problems = BTreeMap::new();
        for volume in volumes {
            // What another volume did to a disk counts for this one.
            let seen: Vec<Seen> = disks.iter().cloned().map(see).collect();
            let decision = decide(volume, &records, &seen);
            let at = mounted.get(&volume.name);
            if let Err(problem) = self.carry_out(volume, decision, &mut records, disks, at) {
                problems.insert(volume.name.clone(), problem);
            }
        }
        problems
    }

    fn carry_out(
        &self,
        volume: &Volume,
        decision: Decision,
        records: &mut Records,
        disks: &[Disk],
        mounted: Option<&Mounted>,
    ) -> Result<(), Problem> {
        let name = volume.name.as_str();
        let (index, begun) = match decision {
            Decision::Refuse(problem) => return Err(problem),
            Decision::Make { disk, begun } => (disk, begun),
            Decision::Record { disk, .. } | Decision::Mount { disk } => (disk, None),
        };
        let path = disks.get(index).map(|disk| PathBuf::from(&disk.path)).unwrap_or_default();
        if let Some(mounted) = mounted {
            return self.expect(mounted, &path);
        }
        self.say(name, &path);
        let done = match decision {
            Decision::Make { .. } => work::make(&self.state, records, name, &path, begun).map(drop),
            Decision::Record { uuid, .. } => work::complete(&self.state, records, name, uuid),
            Decision::Mount { .. } | Decision::Refuse(_) => Ok(()),
        };
        let mount = || match records.get(name) {
            Some(record) => work::mount(&self.places, name, &path, record.uuid),
            None => Ok(()),
        };
        done.and_then(|()| mount()).map_err(|error: WorkError| Problem {
            reason: error.reason(),
            message: format!("volume {name}: {}", error_chain(&error)),
        })
    }

    /// Something may have been mounted there by a pod.
    fn expect(&self, mounted: &Mounted, path: &Path) -> Result<(), Problem> {
        if Path::new(&mounted.device) == path {
            return Ok(());
        }
        let (name, device) = (&mounted.name, &mounted.device);
        let message = format!("volume {name}: {device} is mounted in its place, not {}", path.display());
        Err(Problem { reason: "Foreign", message })
    }

    /// Making and checking may take long.
    fn say(&self, name: &str, path: &Path) {
        let row = Row {
            phase: "preparing".into(),
            device: path.display().to_string(),
            mount_point: self.places.of(name).display().to_string(),
            ..Row::default()
        };
        tracing::info!(volume = name, device = %path.display(), "the volume is prepared");
        self.store.put(name, &row);
    }

    /// A disk that was pulled out leaves a file system behind that only gives errors.
    fn detach_gone(&self) -> Vec<Problem> {
        let is_gone = |mounted: &&Mounted| !Path::new("/sys/dev/block").join(&mounted.number).exists();
        let mounted = self.places.mounted();
        let detach = |mounted: &Mounted| {
            tracing::warn!(volume = mounted.name, device = mounted.device, "the disk of a volume is gone");
            self.places.detach(&mounted.name).err().map(|error| problem("NotUnmounted", &error))
        };
        mounted.values().filter(is_gone).filter_map(detach).collect()
    }

    /// Unmounts what is no longer configured and not in use. What is stored there stays.
    fn remove_unwanted(&self, volumes: &[Volume]) -> Vec<Problem> {
        let is_unwanted = |mounted: &&Mounted| !volumes.iter().any(|volume| volume.name == mounted.name);
        let mounted = self.places.mounted();
        mounted.values().filter(is_unwanted).filter_map(|mounted| self.remove(mounted).err()).collect()
    }

    fn remove(&self, mounted: &Mounted) -> Result<(), Problem> {
        let name = &mounted.name;
        let users = self.users(mounted);
        let is_unmounted =
            |unmounted: Result<bool, PlaceError>| unmounted.map_err(|error| problem("NotUnmounted", &error));
        if users.is_empty() && is_unmounted(self.places.unmount(name))? {
            tracing::info!(volume = name, "a volume that is not configured is unmounted");
            return Ok(());
        }
        let users = if users.is_empty() { "a process".to_owned() } else { users.join(", ") };
        let message = format!(
            "volume {name} is not configured and still in use by {users}; it is unmounted when that ends, and its data stays"
        );
        Err(Problem { reason: "InUse", message })
    }

    /// Pods that see the volume, by name where they are known.
    fn users(&self, mounted: &Mounted) -> Vec<String> {
        let pods: Vec<(String, String)> = self.store.read(|store| {
            store
                .list(&Pod::KIND)
                .filter_map(|pod| Some((pod.id.clone(), pod.spec.get("uid")?.as_str()?.to_owned())))
                .filter(|(_, uid)| !uid.is_empty())
                .collect()
        });
        let name = |place: String| {
            let pod = pods.iter().find(|(_, uid)| place.contains(uid.as_str()));
            pod.map_or_else(|| place.trim().to_owned(), |(name, _)| format!("pod {name}"))
        };
        let mut users: Vec<String> =
            users(mounted, &self.places.of(&mounted.name)).into_iter().map(name).collect();
        users.sort();
        users.dedup();
        users
    }

    fn report(&self, extra: Vec<Problem>) -> Report {
        let mounted = self.places.mounted();
        let mut problems = extra;
        let mut rows = Vec::new();
        for (name, mounted) in &mounted {
            let mut row = Row { phase: "mounted".into(), ..self.row(name) };
            storage::describe_mounted(&mut row, &mounted.device);
            if mounted.read_only {
                let message = format!(
                    "volume {name}: the file system on {} has errors and takes no more writes; reboot to have it checked",
                    mounted.device
                );
                problems.push(Problem { reason: "ReadOnly", message });
            }
            rows.push((name.clone(), row));
        }
        for volume in self.volumes.iter().filter(|volume| !mounted.contains_key(&volume.name)) {
            rows.push((volume.name.clone(), Row { phase: "waiting".into(), ..self.row(&volume.name) }));
        }
        for (name, row) in &mut rows {
            if let Some(problem) = self.problems.get(name.as_str()) {
                row.message.clone_from(&problem.message);
                if row.phase == "waiting" {
                    row.phase = "failed".into();
                }
            }
        }
        problems.extend(self.problems.values().cloned());
        problems.dedup();
        Report { rows, problems }
    }

    fn row(&self, name: &str) -> Row {
        Row { mount_point: self.places.of(name).display().to_string(), ..Row::default() }
    }
}

fn see(disk: Disk) -> Seen {
    let content = File::open(&disk.path).and_then(|file| Content::read(&file));
    Seen { content: content.map_err(|error| error.to_string()), disk }
}

fn problem(reason: &'static str, error: &(dyn std::error::Error + 'static)) -> Problem {
    Problem { reason, message: error_chain(error) }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
