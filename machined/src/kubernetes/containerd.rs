//! The parts of containerd's API that an import needs, in the namespace of the CRI and under a lease.

use std::{collections::HashMap, path::Path, sync::Arc};

use prost_types::FieldMask;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use super::{
    archive::{Archive, ArchiveError},
    oci::{Blob, Descriptor},
    rpc::{
        content::{InfoRequest, WriteAction, WriteContentRequest, content_client::ContentClient},
        cri::{ImageSpec, ImageStatusRequest, image_service_client::ImageServiceClient},
        images::{
            self, CreateImageRequest, GetImageRequest, Image, UpdateImageRequest, images_client::ImagesClient,
        },
        leases::{AddResourceRequest, CreateRequest, DeleteRequest, Resource, leases_client::LeasesClient},
    },
};

/// Namespace of the CRI plugin.
const NAMESPACE: &str = "k8s.io";
/// Bytes of a blob in one message, and so in memory. containerd takes up to 16 MiB; gains end far below.
const CHUNK_BYTES: u64 = 256 << 10;
/// The kubelet's garbage collection leaves images with this label alone.
const PINNED: (&str, &str) = ("io.cri-containerd.pinned", "pinned");
/// Keeps blobs until an image refers to them. One name, so that what a cut import left is taken over and ended by the
/// next; an expiry would depend on a clock that may jump.
const LEASE: &str = "cairn-import";

/// Why containerd does not have an image.
#[derive(Debug, thiserror::Error)]
pub enum ContainerdError {
    /// No connection.
    #[error("cannot connect to containerd")]
    Connect(#[source] tonic::transport::Error),
    /// A lease.
    #[error("containerd gives no lease")]
    Lease(#[source] Status),
    /// Looking a blob up.
    #[error("containerd cannot look up {digest}")]
    Info {
        /// Blob.
        digest: String,
        /// Cause.
        #[source]
        source: Status,
    },
    /// Storing a blob.
    #[error("containerd does not store {digest}")]
    Write {
        /// Blob.
        digest: String,
        /// Cause.
        #[source]
        source: Status,
    },
    /// The stream ended early.
    #[error("containerd stopped taking {digest}")]
    Ended {
        /// Blob.
        digest: String,
    },
    /// Reading what is to be stored.
    #[error("cannot read the archive")]
    Archive(#[source] ArchiveError),
    /// The reading task did not finish.
    #[error("cannot read the archive")]
    Task(#[source] tokio::task::JoinError),
    /// Naming the image.
    #[error("containerd does not name the image")]
    Name(#[source] Status),
    /// Asking the CRI.
    #[error("the CRI cannot look up the image")]
    Status(#[source] Status),
}

impl ContainerdError {
    /// Whether the same may succeed later: containerd was away, not the image bad.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Ended { .. } => true,
            Self::Archive(_) | Self::Task(_) => false,
            Self::Lease(status)
            | Self::Name(status)
            | Self::Status(status)
            | Self::Info { source: status, .. }
            | Self::Write { source: status, .. } => {
                matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled)
            }
        }
    }
}

/// Adds what containerd wants to know of every request.
#[derive(Clone, Copy, Debug)]
struct Scope;

impl Interceptor for Scope {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
        metadata.insert("containerd-lease", MetadataValue::from_static(LEASE));
        Ok(request)
    }
}

type Scoped = InterceptedService<Channel, Scope>;

/// A connection to containerd.
#[derive(Clone, Debug)]
pub struct Containerd {
    channel: Channel,
}

impl Containerd {
    /// Connects.
    pub async fn connect(socket: &Path) -> Result<Self, ContainerdError> {
        let address = format!("unix:{}", socket.display());
        let endpoint = Endpoint::from_shared(address).map_err(ContainerdError::Connect)?;
        Ok(Self { channel: endpoint.connect().await.map_err(ContainerdError::Connect)? })
    }

    /// Digest that a name stands for, if it is there and pinned.
    pub async fn pinned(&self, name: &str) -> Result<Option<String>, ContainerdError> {
        let image = match self.images().get(GetImageRequest { name: name.to_owned() }).await {
            Ok(response) => response.into_inner().image.unwrap_or_default(),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(ContainerdError::Name(status)),
        };
        let pinned = image.labels.get(PINNED.0).is_some_and(|value| value == PINNED.1);
        Ok(image.target.filter(|_| pinned).map(|target| target.digest))
    }

    /// Takes the lease under which everything here is stored.
    pub async fn begin(&self) -> Result<(), ContainerdError> {
        let request = CreateRequest { id: LEASE.to_owned(), labels: HashMap::new() };
        match self.leases().create(request).await {
            Err(status) if status.code() != Code::AlreadyExists => Err(ContainerdError::Lease(status)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Ends the lease: what no image refers to may be collected.
    pub async fn end(&self) -> Result<(), ContainerdError> {
        let ended = self.leases().delete(DeleteRequest { id: LEASE.to_owned() }).await;
        ended.map(drop).map_err(ContainerdError::Lease)
    }

    /// Stores a blob of an archive, unless it is there.
    pub async fn store(&self, archive: &Arc<Archive>, blob: &Blob) -> Result<(), ContainerdError> {
        let digest = &blob.descriptor.digest;
        // Before looking: a blob that is there must not be collected before an image refers to it.
        let resource = Resource { id: digest.clone(), r#type: "content".to_owned() };
        let request = AddResourceRequest { id: LEASE.to_owned(), resource: Some(resource) };
        self.leases().add_resource(request).await.map_err(ContainerdError::Lease)?;
        match self.content().info(InfoRequest { digest: digest.clone() }).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::NotFound => self.write(archive, blob).await,
            Err(source) => Err(ContainerdError::Info { digest: digest.clone(), source }),
        }
    }

    /// Sends a blob chunk by chunk, each after the one before was taken: never more than one in memory.
    async fn write(&self, archive: &Arc<Archive>, blob: &Blob) -> Result<(), ContainerdError> {
        let digest = &blob.descriptor.digest;
        let failed = |source: Status| ContainerdError::Write { digest: digest.clone(), source };
        let ended = || ContainerdError::Ended { digest: digest.clone() };
        let (requests, stream) = mpsc::channel(1);
        // The server answers the first request only: it must be on its way before the call is made.
        let mut offset = 0;
        let mut request = chunk(archive, blob, offset).await?;
        let mut content = self.content();
        let mut stream = Some(ReceiverStream::new(stream));
        let mut responses = None;
        loop {
            let sent_bytes = request.data.len() as u64;
            let last = request.action == i32::from(WriteAction::Commit);
            requests.send(request).await.map_err(|_| ended())?;
            if let Some(stream) = stream.take() {
                responses = match content.write(stream).await {
                    Ok(response) => Some(response.into_inner()),
                    Err(status) if status.code() == Code::AlreadyExists => return Ok(()),
                    Err(status) => return Err(failed(status)),
                };
            }
            let responses = responses.as_mut().ok_or_else(ended)?;
            match responses.message().await {
                Ok(Some(_)) if last => return Ok(()),
                Ok(Some(_)) => {}
                Ok(None) => return Err(ended()),
                Err(status) if status.code() == Code::AlreadyExists => return Ok(()),
                Err(status) => return Err(failed(status)),
            }
            offset += sent_bytes;
            request = chunk(archive, blob, offset).await?;
        }
    }

    /// Lets the name stand for the image, pinned.
    pub async fn name(&self, name: &str, target: &Descriptor) -> Result<(), ContainerdError> {
        let image = Image {
            name: name.to_owned(),
            labels: HashMap::from([(PINNED.0.to_owned(), PINNED.1.to_owned())]),
            target: Some(target.into()),
        };
        let request = CreateImageRequest { image: Some(image.clone()) };
        match self.images().create(request).await {
            Ok(_) => return Ok(()),
            Err(status) if status.code() == Code::AlreadyExists => {}
            Err(status) => return Err(ContainerdError::Name(status)),
        }
        let paths = vec!["target".to_owned(), format!("labels.{}", PINNED.0)];
        let request = UpdateImageRequest { image: Some(image), update_mask: Some(FieldMask { paths }) };
        self.images().update(request).await.map(drop).map_err(ContainerdError::Name)
    }

    /// Whether the CRI, which learns of images by events, has the image.
    pub async fn is_known_to_cri(&self, name: &str) -> Result<bool, ContainerdError> {
        let request = ImageStatusRequest { image: Some(ImageSpec { image: name.to_owned() }) };
        let response = ImageServiceClient::new(self.channel.clone()).image_status(request).await;
        Ok(response.map_err(ContainerdError::Status)?.into_inner().image.is_some())
    }

    fn content(&self) -> ContentClient<Scoped> {
        ContentClient::with_interceptor(self.channel.clone(), Scope)
    }

    fn images(&self) -> ImagesClient<Scoped> {
        ImagesClient::with_interceptor(self.channel.clone(), Scope)
    }

    fn leases(&self) -> LeasesClient<Scoped> {
        LeasesClient::with_interceptor(self.channel.clone(), Scope)
    }
}

impl From<&Descriptor> for images::Descriptor {
    fn from(descriptor: &Descriptor) -> Self {
        Self {
            media_type: descriptor.media_type.clone(),
            digest: descriptor.digest.clone(),
            size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
        }
    }
}

/// The request that stores a blob's bytes from `offset`; the last one commits it against its digest.
async fn chunk(
    archive: &Arc<Archive>,
    blob: &Blob,
    offset: u64,
) -> Result<WriteContentRequest, ContainerdError> {
    let Descriptor { digest, size, .. } = blob.descriptor.clone();
    let archive = Arc::clone(archive);
    let data = {
        let digest = digest.clone();
        tokio::task::spawn_blocking(move || archive.read_blob(&digest, offset, CHUNK_BYTES))
            .await
            .map_err(ContainerdError::Task)?
            .map_err(ContainerdError::Archive)?
    };
    let last = offset.saturating_add(data.len() as u64) >= size;
    Ok(WriteContentRequest {
        action: if last { WriteAction::Commit } else { WriteAction::Write }.into(),
        r#ref: format!("{LEASE}-{digest}"),
        total: i64::try_from(size).unwrap_or(i64::MAX),
        expected: digest,
        offset: i64::try_from(offset).unwrap_or(i64::MAX),
        data,
        labels: if last { blob.labels.clone().into_iter().collect() } else { HashMap::new() },
    })
}
