//! Everything that apid does, once more under Landlock and seccomp: a system call that is not listed kills the
//! whole test process with SIGSYS. And what it must not do, in processes of its own.

use std::env;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::thread;

use apid::confine::confine;
use apid::roles::{self, Shape};
use apid::{Confinement, Server};
use bytes::Bytes;
use pki::{Bundle, Role};
use rustls::version::TLS13;
use tonic::Code;

use crate::log;
use crate::machined::{EMPTY_MESSAGE, HANGING, Machined};
use crate::rig::{
    Files, GET_VERSION, REBOOT, WATCH, channel, code, connect, credentials, new_ca, refusal, stream, tls,
    unary, until_available,
};

const ATTEMPT: &str = "CAIRN_APID_TEST_ATTEMPT";
const DIRECTORY: &str = "CAIRN_APID_TEST_DIRECTORY";
const FILE: &str = "file";
const SIGSYS: i32 = 31;

/// apid on a thread of its own, confined as on a node.
fn start_confined(files: &Files) -> Vec<SocketAddr> {
    let mut options = files.options();
    options.confinement = Confinement::Full;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start(options).await.unwrap();
            sender.send(server.addresses().to_vec()).unwrap();
            server.serve().await.unwrap();
        });
    });
    receiver.recv().unwrap()
}

#[tokio::test]
async fn a_confined_apid_can_do_its_work() {
    let files = Files::new();
    files.write_all();
    files.write("addresses", "127.0.0.2\n127.0.0.3\n");
    let addresses = start_confined(&files);
    let [first, address] = addresses[..] else { panic!("{addresses:?}") };

    // Before machined is there, after it came, after it came again.
    let admin = credentials(&files.ca, "confined", Role::Admin);
    let client = channel(first, &files.ca, &admin).await.unwrap();
    assert_eq!(code(&unary(&client, GET_VERSION).await), Code::Unavailable);
    let client = channel(address, &files.ca, &admin).await.unwrap();
    assert_eq!(code(&unary(&client, GET_VERSION).await), Code::Unavailable);
    let mut machined = Machined::start(&files.socket());
    for method in roles::METHODS.iter().filter(|method| method.path != HANGING) {
        let result = match method.shape {
            Shape::Unary => unary(&client, method.path).await,
            Shape::Stream => stream(&client, method.path).await.map(drop),
        };
        assert_eq!(code(&result), Code::Ok, "{}: {result:?}", method.path);
    }
    machined.restart();
    until_available(&client).await;

    // Denials and refusals.
    let reader =
        channel(address, &files.ca, &credentials(&files.ca, "confined", Role::Reader)).await.unwrap();
    assert_eq!(code(&unary(&reader, REBOOT).await), Code::PermissionDenied);
    assert_eq!(code(&unary(&reader, "/x").await), Code::Unimplemented);
    let stranger = credentials(&new_ca(), "stranger", Role::Admin);
    let refused = refusal(address, tls(&files.ca, Some(&stranger), &[&TLS13])).await;
    assert_eq!(refused, "received fatal alert: UnknownCA");
    drop(connect(address, tls(&files.ca, None, &[&TLS13])).await);

    // Larger messages, both ways, and a client that goes away.
    while machined.seen.try_recv().is_ok() {}
    let mut messages = stream(&client, WATCH).await.unwrap();
    let frames = machined.next().await.frames.unwrap();
    for _ in 0..1000 {
        frames.send(Bytes::from_static(EMPTY_MESSAGE)).await.unwrap();
        assert_eq!(messages.message().await.unwrap(), Some(()));
    }

    // Changed files are read, also several times in a row, also of no use.
    files.write("server.crt", "garbage");
    let next = new_ca();
    files.write_certificate(&files.ca);
    files.write_cas(next.bundle());
    assert!(messages.message().await.is_err());
    frames.closed().await;
    log::line(|line| line["subject"] == "confined" && line["message"] == "connection closed").await;
    let both: String = [files.ca.bundle(), next.bundle()].map(Bundle::to_pem).concat();
    files.write_cas(&Bundle::from_pem(&both).unwrap());
    let incoming = credentials(&next, "confined", Role::Admin);
    let client = channel(address, &files.ca, &incoming).await.unwrap();
    assert_eq!(code(&unary(&client, GET_VERSION).await), Code::Ok);
}

/// Runs [`attempt`] in a process of its own.
fn run(name: &str) -> ExitStatus {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(FILE), "text").unwrap();
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "confinement::attempt", "--ignored"])
        .env(ATTEMPT, name)
        .env(DIRECTORY, directory.path())
        .status()
        .unwrap()
}

#[test]
fn what_a_confined_apid_must_not_do_is_its_end() {
    assert!(run("nothing").success());
    for name in ["network socket", "write", "create", "process", "thread", "unlink", "executable memory"] {
        let status = run(name);
        assert_eq!(status.signal(), Some(SIGSYS), "{name}: {status}");
    }
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn attempt() {
    let name = env::var(ATTEMPT).unwrap();
    let directory = PathBuf::from(env::var_os(DIRECTORY).unwrap());
    confine(&directory).unwrap();
    attempt_confined(&name, &directory.join(FILE));
}

fn attempt_confined(name: &str, file: &Path) {
    match name {
        "nothing" => {
            assert_eq!(fs::read(file).unwrap(), b"text");
            assert!(fs::read("/etc/passwd").is_err());
            assert!(fs::read_dir("/").is_err());
            assert!(std::os::unix::net::UnixStream::connect("/nowhere").is_err());
        }
        "network socket" => drop(TcpListener::bind("127.0.0.1:0")),
        "write" => drop(fs::OpenOptions::new().append(true).open(file)),
        "create" => drop(fs::write(file.with_extension("new"), "x")),
        "process" => drop(Command::new("/bin/true").status()),
        "thread" => drop(thread::spawn(|| ()).join()),
        "unlink" => drop(fs::remove_file(file)),
        "executable memory" => {
            let _never = map_executable();
        }
        _ => unreachable!("{name}"),
    }
}

/// Maps memory that can be executed.
fn map_executable() -> *mut libc::c_void {
    #[allow(unsafe_code)]
    // SAFETY: An anonymous private mapping at an address of the kernel's choice touches no memory in use.
    unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }
}
