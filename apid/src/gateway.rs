//! From a call to its answer: role, limits, forwarding. Messages are passed on undecoded.

use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, TE};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version};
use hyper::body::Incoming;
use pki::{Identity, Role};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;

use crate::audit::{Peer, Record};
use crate::body::{Overrun, RequestBody, ResponseBody};
use crate::chain::Chain;
use crate::limits::{Calls, RefusalLog};
use crate::local::Local;
use crate::roles::{Answerer, Method, Shape};
use crate::upstream::{self, Upstream};

/// Time for a unary call, and for the first answer on a stream.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Metadata under this prefix is apid's word, never the client's.
const RESERVED_PREFIX: &str = "cairn-";
const SUBJECT: HeaderName = HeaderName::from_static("cairn-subject");
const ROLE: HeaderName = HeaderName::from_static("cairn-role");

/// Answers calls.
#[derive(Debug)]
pub struct Gateway {
    upstream: Upstream,
    local: Local,
    calls: Calls,
    refusals: RefusalLog,
}

impl Gateway {
    /// Forwards to machined's socket.
    #[must_use]
    pub fn new(upstream: PathBuf) -> Self {
        Self {
            upstream: Upstream::new(upstream),
            local: Local::default(),
            calls: Calls::default(),
            refusals: RefusalLog::new(Instant::now()),
        }
    }

    /// Answers one call of `peer`.
    ///
    /// # Errors
    /// None: every failure is a gRPC status.
    pub async fn call(
        self: Arc<Self>,
        peer: Arc<Peer>,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let record = Record::begin(Arc::clone(&peer), request.uri().path());
        let method = peer.mode.find(request.uri().path());
        let shape = method.map_or(Shape::Unary, |method| method.shape);
        let bounds = peer.mode.bounds();
        let permit = match self.calls.admit(&peer.identity.subject, shape, bounds, Instant::now()) {
            Ok(permit) => permit,
            Err(exhausted) => {
                let refused = Status::resource_exhausted(exhausted.to_string());
                return Ok(self.refuse_quietly(&refused, record));
            }
        };
        let overrun = Overrun::beyond(method.map_or(0, |method| method.request_max_bytes));
        let deadline = Instant::now() + CALL_TIMEOUT;
        let answer = match authorised(method, &peer.identity) {
            Ok(method) => {
                let answer = self.answer(method, &peer.identity, request, overrun.clone());
                tokio::time::timeout_at(deadline, answer)
                    .await
                    .unwrap_or_else(|_| Err(Status::deadline_exceeded("the answer took too long")))
            }
            Err(refusal) => Err(refusal),
        };
        let response = answer.unwrap_or_else(Status::into_http);
        let deadline = (shape == Shape::Unary).then(|| boxed(sleep_until(deadline)));
        let (parts, body) = response.into_parts();
        let body = ResponseBody::new(body, &parts.headers, record, deadline, overrun, Some(permit));
        Ok(Response::from_parts(parts, body))
    }

    async fn answer(
        &self,
        method: &Method,
        identity: &Identity,
        request: Request<Incoming>,
        overrun: Overrun,
    ) -> Result<Response<Body>, Status> {
        match method.answerer {
            Answerer::Machined => self.forward(method, identity, request, overrun).await,
            Answerer::Health => Ok(self.local.health(request).await),
            Answerer::Reflection => self.local.reflection(request).await,
        }
    }

    async fn forward(
        &self,
        method: &Method,
        identity: &Identity,
        request: Request<Incoming>,
        overrun: Overrun,
    ) -> Result<Response<Body>, Status> {
        let (mut parts, body) = request.into_parts();
        parts.version = Version::HTTP_2;
        parts.uri = upstream_uri(method)?;
        parts.extensions.clear();
        vouch(&mut parts.headers, identity)?;
        let request = Request::from_parts(parts, RequestBody::new(body, overrun.clone()));
        match self.upstream.send(request).await {
            Ok(response) => Ok(response.map(Body::new)),
            Err(error) => {
                let status = overrun.or(upstream::lost());
                if status.code() == tonic::Code::Unavailable && self.refusals.admit(Instant::now()).is_some()
                {
                    tracing::warn!(error = %Chain(&error), "call not forwarded");
                }
                Err(status)
            }
        }
    }

    /// Answers without room in the audit log for every such call: a flood must not flush it.
    fn refuse_quietly(&self, status: &Status, mut record: Record) -> Response<ResponseBody> {
        record.finish(status.code());
        let (parts, body) = status.clone().into_http::<Body>().into_parts();
        match self.refusals.admit(Instant::now()) {
            Some(suppressed) => {
                if suppressed > 0 {
                    tracing::warn!(suppressed, "refused calls left out of the audit log");
                }
            }
            None => record.silence(),
        }
        let body = ResponseBody::new(body, &parts.headers, record, None, Overrun::default(), None);
        Response::from_parts(parts, body)
    }
}

fn boxed(sleep: Sleep) -> Pin<Box<Sleep>> {
    Box::pin(sleep)
}

fn authorised(method: Option<&'static Method>, identity: &Identity) -> Result<&'static Method, Status> {
    let method = method.ok_or_else(|| Status::unimplemented("this node has no such method"))?;
    if identity.role.allows(method.role) {
        Ok(method)
    } else {
        Err(Status::permission_denied(denial(method.path, method.role, identity)))
    }
}

fn denial(path: &str, needed: Role, identity: &Identity) -> String {
    let name = path.trim_start_matches('/');
    let Identity { role, subject, .. } = identity;
    format!(
        "{name} needs the role {needed} or higher; the certificate of {subject:?} has {role}",
        subject = subject.as_str()
    )
}

/// HTTP/2 wants scheme and authority; a unix socket has neither.
fn upstream_uri(method: &Method) -> Result<Uri, Status> {
    Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(Authority::from_static("machined"))
        .path_and_query(method.path)
        .build()
        .map_err(|_| Status::internal("the method's path is no path"))
}

/// Puts apid's word on who calls in the place of anything that the client said of it.
fn vouch(headers: &mut HeaderMap, identity: &Identity) -> Result<(), Status> {
    let claimed: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(RESERVED_PREFIX)).cloned().collect();
    for name in claimed {
        headers.remove(name);
    }
    headers.remove(HOST);
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(ROLE, header_value(&identity.role.to_string())?);
    headers.insert(SUBJECT, header_value(identity.subject.as_str())?);
    Ok(())
}

fn header_value(text: &str) -> Result<HeaderValue, Status> {
    HeaderValue::from_str(text).map_err(|_| Status::internal("the subject is no header value"))
}

#[cfg(test)]
mod tests {
    use pki::{SubjectName, Validity};

    use super::*;
    use crate::roles;

    fn identity(role: Role) -> Identity {
        Identity {
            subject: SubjectName::parse("alice").unwrap(),
            role,
            serial: "01".into(),
            validity: Validity::UNLIMITED,
        }
    }

    #[test]
    fn claims_of_the_client_are_replaced() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cairn-role", "admin"),
            ("cairn-role", "operator"),
            ("cairn-subject", "root"),
            ("cairn-subject-bin", "cm9vdA"),
            ("cairn-", "x"),
            ("cairnx", "kept"),
            ("grpc-timeout", "5S"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        vouch(&mut headers, &identity(Role::Reader)).unwrap();
        let mut left: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        left.sort();
        let expected =
            ["cairn-role=reader", "cairn-subject=alice", "cairnx=kept", "grpc-timeout=5S", "te=trailers"];
        assert_eq!(left, expected);
    }

    #[test]
    fn every_role_against_every_method() {
        for method in roles::METHODS {
            for role in Role::ALL {
                let verdict = authorised(Some(method), &identity(role));
                assert_eq!(verdict.is_ok(), role.allows(method.role), "{} by {role}", method.path);
            }
            assert!(upstream_uri(method).unwrap().to_string().ends_with(method.path));
        }
        assert_eq!(authorised(None, &identity(Role::Admin)).unwrap_err().code(), tonic::Code::Unimplemented);
    }

    #[test]
    fn a_denial_names_both_roles() {
        let reboot = roles::find("/cairn.machine.v1.MachineService/Reboot");
        let denial = authorised(reboot, &identity(Role::Reader)).unwrap_err();
        assert_eq!(denial.code(), tonic::Code::PermissionDenied);
        assert_eq!(
            denial.message(),
            "cairn.machine.v1.MachineService/Reboot needs the role operator or higher; the certificate of \"alice\" has reader"
        );
    }
}
