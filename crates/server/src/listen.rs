//! The listener: accepts, bounds, cuts off, drains.
//!
//! HTTP/1.1 with keep-alive. HTTP/2 arrives with TLS (ALPN): sniffing a preface would let a silent client hold a
//! connection without a deadline.

use crate::{clock, problem::Problem, state::App};
use axum::{Router, body::Body, response::IntoResponse, response::Response};
use http::{Request, StatusCode, header, uri::PathAndQuery};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use model::{Error, Result};
use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::ServiceExt;

/// The address a request came from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Binds, refusing to stand outside loopback without TLS.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    if !address.ip().is_loopback() {
        let why = "outside loopback the server needs TLS, which this listener has not; bind to 127.0.0.1 and put a \
                   TLS proxy in front";
        return Err(Error::refused("listener-exposed", why).with("address", address));
    }
    TcpListener::bind(address).await.map_err(|error| {
        let taken = error.kind() == std::io::ErrorKind::AddrInUse;
        let (code, why) = if taken {
            ("port-taken", "another process listens on this address; stop it or choose another port")
        } else {
            ("listener-failed", "the address cannot be bound")
        };
        Error::refused(code, why).with("address", address).caused_by(error)
    })
}

/// Serves until `stop` resolves, then lets requests in work end within the drain limit.
pub async fn serve(listener: TcpListener, router: Router, app: App, stop: impl Future<Output = ()>) {
    let connections = Arc::new(Semaphore::new(app.limits.connections));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = admitted(&listener, &connections) => accepted,
            () = &mut stop => break,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        prepare(&stream);
        let connection = connect(stream, peer, router.clone(), app.clone());
        let watched = graceful.watch(connection);
        let gauge = app.metrics.connections.clone();
        gauge.inc();
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!("connection ended: {error}");
            }
            gauge.dec();
            drop(permit);
        });
    }
    drop(listener);
    app.stop.send_replace(true);
    if tokio::time::timeout(app.limits.drain, graceful.shutdown()).await.is_err() {
        tracing::info!("requests still in work after the drain limit were cut off");
    }
}

async fn admitted(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, permit)),
        Err(error) => {
            // Out of file descriptors or a client that left: wait a moment instead of spinning.
            tracing::warn!("accept: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
            None
        }
    }
}

/// No delay for small answers; a client that does not read its answer is cut off.
fn prepare(stream: &TcpStream) {
    const UNREAD_MS: u32 = 30_000;
    let told = stream
        .set_nodelay(true)
        .and_then(|()| rustix::net::sockopt::set_tcp_user_timeout(stream, UNREAD_MS).map_err(std::io::Error::from));
    if let Err(error) = told {
        tracing::debug!("socket options: {error}");
    }
}

fn connect(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    app: App,
) -> http1::Connection<
    TokioIo<TcpStream>,
    impl hyper::service::HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Send>,
> {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(app.limits.head_time)
        .max_buf_size(app.limits.head_bytes.max(8 << 10))
        .half_close(false)
        .pipeline_flush(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, app) = (router.clone(), app.clone());
        async move { Ok::<_, Infallible>(answer(router, &app, peer, request.map(Body::new)).await) }
    });
    builder.serve_connection(TokioIo::new(stream), service)
}

/// Too much at one time; nothing was begun.
pub fn overloaded() -> Error {
    Error::retry("overloaded", "too many requests are in work; try again after a moment")
}

/// One request: admitted or shed, answered, counted. Watchers wait long and are bounded on their own.
async fn answer(router: Router, app: &App, peer: SocketAddr, mut request: Request<Body>) -> Response {
    let begun = clock::monotonic();
    let (method, path) = (request.method().clone(), request.uri().path_and_query().cloned());
    let watches = crate::http::waits(request.uri().path());
    let permit = app.requests.try_acquire().ok();
    if permit.is_none() && !watches {
        app.metrics.shed.inc();
        return Problem(overloaded()).into_response();
    }
    // A watcher holds a permit of its own for as long as its answer lasts.
    let _permit = permit.filter(|_| !watches);
    app.metrics.in_work.inc();
    request.extensions_mut().insert(Peer(peer));
    let mut response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if response.status() == StatusCode::TEMPORARY_REDIRECT {
        redirect(&mut response, path.as_ref());
    }
    app.metrics.in_work.dec();
    app.metrics.answered(&method, response.status(), begun.elapsed());
    tracing::debug!(%method, status = response.status().as_u16(), "answered");
    response
}

/// A follower's 307 names the leader; the client repeats the same request there.
fn redirect(response: &mut Response, path: Option<&PathAndQuery>) {
    let (Some(leader), Some(path)) = (response.headers().get(header::LOCATION), path) else { return };
    let Ok(leader) = leader.to_str() else { return };
    let target = format!("{}{path}", leader.trim_end_matches('/'));
    crate::http::headers::put(response.headers_mut(), header::LOCATION, &target);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn outside_loopback_is_refused_and_a_taken_port_is_named() {
        let exposed = bind(SocketAddr::from(([0, 0, 0, 0], 0))).await;
        assert_eq!(exposed.unwrap_err().code(), "listener-exposed");
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let second = bind(first.local_addr().unwrap()).await;
        assert_eq!(second.unwrap_err().code(), "port-taken");
    }
}
