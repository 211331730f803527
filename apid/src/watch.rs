//! Notices changes of the rendered files, and of the directory's own appearance.

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::net::unix::pipe;

/// Read at once; more than one event of the longest name (inotify(7)).
const EVENTS_BYTES: usize = 1024;

/// Why changes cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No inotify.
    #[error("cannot set up inotify")]
    Init {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory and the one above it are out of reach.
    #[error("cannot watch {}", path.display())]
    Add {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// inotify broke.
    #[error("cannot read from inotify")]
    Read {
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Watches the directory, and the one above it for as long as there is none.
pub struct Watch {
    inotify: Inotify,
    /// The same descriptor. It reads like a pipe, and what it says is not looked at: any event means "look again".
    events: pipe::Receiver,
    directory: PathBuf,
    parent: Option<WatchDescriptor>,
    present: bool,
}

impl Watch {
    /// Starts to watch; changes from here on are seen.
    ///
    /// # Errors
    /// [`WatchError::Init`], [`WatchError::Add`].
    pub fn new(directory: &Path) -> Result<Self, WatchError> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)
            .map_err(|errno| WatchError::Init { source: errno.into() })?;
        let events = inotify
            .as_fd()
            .try_clone_to_owned()
            .and_then(pipe::Receiver::from_owned_fd_unchecked)
            .map_err(|source| WatchError::Init { source })?;
        let mut watch =
            Self { inotify, events, directory: directory.to_owned(), parent: None, present: false };
        watch.add_parent()?;
        watch.add_directory()?;
        Ok(watch)
    }

    /// Waits until something changed. Safe to cancel.
    ///
    /// # Errors
    /// [`WatchError`].
    pub async fn changed(&mut self) -> Result<(), WatchError> {
        loop {
            self.events.readable().await.map_err(|source| WatchError::Read { source })?;
            match self.events.try_read(&mut [0; EVENTS_BYTES]) {
                Ok(_) => return self.add_directory(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(source) => return Err(WatchError::Read { source }),
            }
        }
    }

    fn add_parent(&mut self) -> Result<(), WatchError> {
        let Some(parent) = self.directory.parent() else { return Ok(()) };
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ATTRIB;
        let added = self.inotify.add_watch(parent, flags);
        self.parent =
            Some(added.map_err(|errno| WatchError::Add { path: parent.to_owned(), source: errno.into() })?);
        Ok(())
    }

    /// Watches the directory once it is there and open to apid; then the one above it is of no interest.
    fn add_directory(&mut self) -> Result<(), WatchError> {
        if self.present {
            return Ok(());
        }
        let flags = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ATTRIB;
        match self.inotify.add_watch(self.directory.as_path(), flags) {
            Ok(_) => self.present = true,
            Err(Errno::ENOENT | Errno::EACCES) => return Ok(()),
            Err(errno) => {
                return Err(WatchError::Add { path: self.directory.clone(), source: errno.into() });
            }
        }
        if let Some(parent) = self.parent.take() {
            // Fails only when the kernel removed it already.
            let _removed = self.inotify.rm_watch(parent);
        }
        Ok(())
    }
}
