//! As much of gRPC as a CSI driver needs: unary calls over HTTP/2 on a Unix socket.
//!
//! Made by hand on h2 and prost: a framework would switch on features of libraries that the daemon uses too, and a build of
//! the whole workspace would no longer be the daemon that people get.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use h2::server::SendResponse;
use h2::{RecvStream, server};
use http::{HeaderMap, HeaderValue, Request, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message;
use tokio::net::{UnixListener, UnixStream};

/// Takes a method's path and its request, gives the encoded answer.
pub(super) type Handler =
    Arc<dyn Fn(String, Bytes) -> BoxFuture<'static, Result<Bytes, Status>> + Send + Sync>;

/// A message's compression flag and its length.
const PREFIX: usize = 5;

/// Why a call failed.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) code: Code,
    pub(super) message: String,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Code {
    InvalidArgument = 3,
    NotFound = 5,
    AlreadyExists = 6,
    Aborted = 10,
    Unimplemented = 12,
    Internal = 13,
}

impl Status {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Status {
        Status { code, message: message.into() }
    }
}

/// Answers calls on the socket for as long as the runtime lives.
pub(super) fn serve(socket: &Path, handler: Handler) -> anyhow::Result<()> {
    let listener =
        UnixListener::bind(socket).with_context(|| format!("listening on {}", socket.display()))?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, handler.clone()));
        }
    });
    Ok(())
}

async fn converse(stream: UnixStream, handler: Handler) {
    let Ok(mut connection) = server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let handler = handler.clone();
        tokio::spawn(async move {
            // A caller that has gone away needs no answer.
            answer(request, respond, handler).await.ok();
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    handler: Handler,
) -> Result<(), h2::Error> {
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    let mut message = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        message.extend_from_slice(&chunk);
    }
    let request = if message.len() < PREFIX { Bytes::new() } else { message.freeze().slice(PREFIX..) };
    match handler(path, request).await {
        Ok(answer) => {
            let mut stream = respond.send_response(head(HeaderMap::new()), false)?;
            let mut framed = BytesMut::with_capacity(PREFIX + answer.len());
            framed.put_u8(0);
            framed.put_u32(u32::try_from(answer.len()).unwrap_or(u32::MAX));
            framed.extend_from_slice(&answer);
            stream.send_data(framed.freeze(), false)?;
            stream.send_trailers(trailers(0, ""))
        }
        Err(Status { code, message }) => {
            respond.send_response(head(trailers(code as u32, &message)), true).map(drop)
        }
    }
}

fn head(headers: HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.headers_mut() = headers;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn trailers(code: u32, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code));
    let message = utf8_percent_encode(message, NON_ALPHANUMERIC).to_string();
    if let Ok(message) = HeaderValue::from_str(&message) {
        trailers.insert("grpc-message", message);
    }
    trailers
}

/// Decodes the request of a method, and encodes its answer.
pub(super) fn unary<Q: Message + Default, A: Message>(
    request: &Bytes,
    method: impl FnOnce(Q) -> Result<A, Status>,
) -> Result<Bytes, Status> {
    let request = Q::decode(request.clone());
    let request = request.map_err(|error| Status::new(Code::Internal, error.to_string()))?;
    Ok(method(request)?.encode_to_vec().into())
}
