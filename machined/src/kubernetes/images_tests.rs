//! The import against a containerd of memory.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    pin::Pin,
    sync::{Mutex, MutexGuard},
};

use aws_lc_rs::digest::{SHA256, digest};
use resource::Spec as _;
use tokio::net::UnixListener;
use tokio_stream::{Stream, StreamExt as _, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::{
    super::{
        archive::tests::example,
        rpc::{
            content::{
                InfoRequest, InfoResponse, WriteAction, WriteContentRequest, WriteContentResponse,
                content_server::{Content, ContentServer},
            },
            cri::{
                ImageStatusRequest, ImageStatusResponse,
                image_service_server::{ImageService, ImageServiceServer},
            },
            images::{
                CreateImageRequest, CreateImageResponse, GetImageRequest, GetImageResponse, Image,
                UpdateImageRequest, UpdateImageResponse,
                images_server::{Images, ImagesServer},
            },
            leases::{
                AddResourceRequest, CreateRequest, CreateResponse, DeleteRequest,
                leases_server::{Leases, LeasesServer},
            },
        },
    },
    *,
};

fn empty<T: Default>() -> Response<T> {
    Response::new(T::default())
}

#[derive(Default)]
struct State {
    blobs: HashMap<String, (Vec<u8>, HashMap<String, String>)>,
    images: HashMap<String, Image>,
    leased: Option<HashSet<String>>,
    writes: u32,
    /// Questions that the CRI answers with "unknown" still.
    cri_blind: u32,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The state, after a look at what must be in every request.
    fn asked<T>(&self, request: &Request<T>) -> MutexGuard<'_, State> {
        let metadata = request.metadata();
        assert_eq!(metadata.get("containerd-namespace").unwrap(), "k8s.io");
        assert_eq!(metadata.get("containerd-lease").unwrap(), "cairn-import");
        self.state()
    }

    fn serve(&self, socket: &Path) {
        let incoming = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
        let server = Server::builder()
            .add_service(ContentServer::new(self.clone()))
            .add_service(ImagesServer::new(self.clone()))
            .add_service(LeasesServer::new(self.clone()))
            .add_service(ImageServiceServer::new(self.clone()))
            .serve_with_incoming(incoming);
        tokio::spawn(server);
    }

    fn receive(
        &self,
        content: &mut Vec<u8>,
        request: WriteContentRequest,
    ) -> Result<WriteContentResponse, Status> {
        assert_eq!(request.offset, content.len() as i64);
        assert!(request.data.len() <= 256 << 10);
        content.extend(request.data);
        if request.action == i32::from(WriteAction::Commit) {
            let found = format!("sha256:{}", hex::encode(digest(&SHA256, content)));
            if found != request.expected || request.total != content.len() as i64 {
                return Err(Status::failed_precondition("unexpected commit digest"));
            }
            let mut state = self.state();
            assert!(state.leased.as_ref().unwrap().contains(&found), "would be collected");
            state.writes += 1;
            state.blobs.insert(found, (std::mem::take(content), request.labels));
        }
        Ok(WriteContentResponse::default())
    }
}

#[tonic::async_trait]
impl Content for Fake {
    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let state = self.asked(&request);
        let found = state.blobs.contains_key(&request.get_ref().digest);
        found.then(empty).ok_or_else(|| Status::not_found("content"))
    }

    type WriteStream = Pin<Box<dyn Stream<Item = Result<WriteContentResponse, Status>> + Send>>;

    async fn write(
        &self,
        request: Request<Streaming<WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        drop(self.asked(&request));
        let fake = self.clone();
        let mut content = Vec::new();
        let answers = request.into_inner().map(move |request| fake.receive(&mut content, request?));
        Ok(Response::new(Box::pin(answers)))
    }
}

#[tonic::async_trait]
impl Images for Fake {
    async fn get(&self, request: Request<GetImageRequest>) -> Result<Response<GetImageResponse>, Status> {
        let image = self.asked(&request).images.get(&request.get_ref().name).cloned();
        image
            .map(|image| Response::new(GetImageResponse { image: Some(image) }))
            .ok_or_else(|| Status::not_found(""))
    }

    async fn create(
        &self,
        request: Request<CreateImageRequest>,
    ) -> Result<Response<CreateImageResponse>, Status> {
        let mut state = self.asked(&request);
        let image = request.into_inner().image.unwrap();
        if state.images.contains_key(&image.name) {
            return Err(Status::already_exists(""));
        }
        state.images.insert(image.name.clone(), image);
        Ok(empty())
    }

    async fn update(
        &self,
        request: Request<UpdateImageRequest>,
    ) -> Result<Response<UpdateImageResponse>, Status> {
        let mut state = self.asked(&request);
        let UpdateImageRequest { image, update_mask } = request.into_inner();
        assert_eq!(update_mask.unwrap().paths, ["target", "labels.io.cri-containerd.pinned"]);
        let image = image.unwrap();
        state.images.insert(image.name.clone(), image);
        Ok(empty())
    }
}

#[tonic::async_trait]
impl Leases for Fake {
    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<CreateResponse>, Status> {
        let mut state = self.asked(&request);
        if state.leased.is_some() {
            return Err(Status::already_exists(""));
        }
        state.leased = Some(HashSet::new());
        Ok(empty())
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<()>, Status> {
        self.asked(&request).leased.take().map(|_| Response::new(())).ok_or_else(|| Status::not_found(""))
    }

    async fn add_resource(&self, request: Request<AddResourceRequest>) -> Result<Response<()>, Status> {
        let mut state = self.asked(&request);
        let resource = request.into_inner().resource.unwrap();
        assert_eq!(resource.r#type, "content");
        state.leased.as_mut().unwrap().insert(resource.id);
        Ok(Response::new(()))
    }
}

#[tonic::async_trait]
impl ImageService for Fake {
    async fn image_status(
        &self,
        request: Request<ImageStatusRequest>,
    ) -> Result<Response<ImageStatusResponse>, Status> {
        let mut state = self.state();
        let name = request.into_inner().image.unwrap().image;
        let known = state.images.contains_key(&name) && state.cri_blind == 0;
        state.cri_blind = state.cri_blind.saturating_sub(1);
        Ok(Response::new(ImageStatusResponse { image: known.then(Default::default) }))
    }
}

struct Bench {
    folder: tempfile::TempDir,
    fake: Fake,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let bench =
            Self { folder: tempfile::tempdir().unwrap(), fake: Fake::default(), store: Store::default() };
        bench.fake.serve(&bench.folder.path().join("socket"));
        bench
    }

    fn archive(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn import(&self) -> Outcome {
        let folder = self.folder.path().to_str().unwrap().to_owned();
        let absent = format!("{folder}/absent");
        import(&self.store, &self.archive("socket"), &[&folder, &absent]).await.unwrap()
    }

    fn published(&self, id: &str) -> spec::Image {
        let resource = self.store.read(|store| store.get(&spec::Image::KIND, id)).unwrap();
        serde_json::from_value(resource.spec.clone()).unwrap()
    }
}

#[tokio::test]
async fn an_image_of_many_chunks_arrives_once_and_the_cri_knows_it() {
    let bench = Bench::new();
    let layer: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    example(&bench.archive("a.tar"), "localhost/a:1", &layer);
    bench.fake.state().cri_blind = 3;
    assert_eq!(bench.import().await, Outcome::default());
    {
        let state = bench.fake.state();
        assert_eq!((state.writes, state.cri_blind, state.leased.is_none()), (3, 0, true));
        assert!(state.blobs.values().any(|(content, _)| *content == layer));
        let image = &state.images["localhost/a:1"];
        assert_eq!(image.labels["io.cri-containerd.pinned"], "pinned");
        let (_, labels) = &state.blobs[&image.target.as_ref().unwrap().digest];
        assert!(labels.values().all(|digest| state.blobs.contains_key(digest)));
        assert_eq!(labels.len(), 2);
    }
    assert_eq!(bench.published("localhost/a:1").phase, "imported");
    bench.import().await;
    assert_eq!(bench.fake.state().writes, 3, "nothing is stored twice");
}

#[tokio::test]
async fn what_a_cut_import_left_is_taken_over_and_another_image_of_the_name_replaced() {
    let bench = Bench::new();
    example(&bench.archive("a.tar"), "localhost/a:1", b"one");
    bench.import().await;
    // The cut came before the new image had its name.
    bench.fake.state().leased = Some(HashSet::new());
    let before = bench.fake.state().images["localhost/a:1"].clone();
    example(&bench.archive("a.tar"), "localhost/a:1", b"two");
    assert_eq!(bench.import().await, Outcome::default());
    let state = bench.fake.state();
    assert_ne!(state.images["localhost/a:1"].target, before.target);
    assert!(state.leased.is_none());
}

#[tokio::test]
async fn a_bad_archive_is_reported_and_holds_nobody_up() {
    let bench = Bench::new();
    fs::write(bench.archive("0-junk.tar"), [b'x'; 4096]).unwrap();
    example(&bench.archive("1-flipped.tar"), "localhost/flipped:1", &[7; 5000]);
    let mut file = fs::OpenOptions::new().write(true).open(bench.archive("1-flipped.tar")).unwrap();
    file.seek(SeekFrom::Start(1000)).unwrap();
    file.write_all(b"!").unwrap();
    example(&bench.archive("2-good.tar"), "localhost/good:1", b"layer");
    assert_eq!(bench.import().await, Outcome { failed: 2, transient: 0 });
    assert_eq!(bench.published("localhost/good:1").phase, "imported");
    let flipped = bench.published("localhost/flipped:1");
    assert_eq!(flipped.phase, "failed");
    assert!(flipped.message.contains("unexpected commit digest"), "{}", flipped.message);
    let junk = bench.archive("0-junk.tar").display().to_string();
    assert!(bench.published(&junk).message.contains("not a whole tar archive"));
    assert!(!bench.fake.state().images.contains_key("localhost/flipped:1"));
}
