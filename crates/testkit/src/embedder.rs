//! A server that makes vectors as OpenAI's interface does (`POST /v1/embeddings`), on a thread of its own. Its vectors are
//! the offline embedder's, so what it answers is known.

use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};
use stores::embed::{Embedder, WideHashEmbedder};

pub const MODEL: &str = "test-embedding";
pub const DIMENSIONS: usize = 1_536;

#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    told: Arc<Told>,
}

#[derive(Debug)]
struct Told {
    key: String,
    /// 0: it answers.
    status: AtomicU16,
    texts: AtomicUsize,
}

impl Server {
    /// Lives as long as the process; answers who has this key.
    #[must_use]
    pub fn start(key: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (key, status, texts) = (format!("Bearer {key}"), AtomicU16::new(0), AtomicUsize::new(0));
        let told = Arc::new(Told { key, status, texts });
        let shared = Arc::clone(&told);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, shared));
        });
        Self { address, told }
    }

    /// As the settings name it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// From now on it refuses with this; 0 ends that.
    pub fn refuse(&self, status: u16) {
        self.told.status.store(status, Ordering::SeqCst);
    }

    /// How many texts it has made vectors of.
    #[must_use]
    pub fn texts(&self) -> usize {
        self.told.texts.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, told: Arc<Told>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let told = Arc::clone(&told);
        let service = service_fn(move |request| answered(Arc::clone(&told), request));
        tokio::spawn(async move {
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // A client that goes away is no matter.
            let _gone = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answered(told: Arc<Told>, request: Request<Incoming>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let key =
        request.headers().get(header::AUTHORIZATION).and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    let known = key == told.key;
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let status = told.status.load(Ordering::SeqCst);
    let (status, answer) = match status {
        0 if known => (200, vectors(&told, &serde_json::from_slice(&body).unwrap())),
        0 => (401, json!({ "error": { "message": "Incorrect API key provided", "code": "invalid_api_key" } })),
        other => (other, json!({ "error": { "message": "no", "type": "server_error" } })),
    };
    let mut response = Response::new(Full::new(answer.to_string().into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

fn vectors(told: &Told, request: &Value) -> Value {
    let texts: Vec<&str> = request["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    told.texts.fetch_add(texts.len(), Ordering::SeqCst);
    let vectors = WideHashEmbedder.embed(&texts).unwrap();
    let item = |(index, embedding)| json!({ "object": "embedding", "index": index, "embedding": embedding });
    let data: Vec<Value> = vectors.iter().enumerate().map(item).collect();
    json!({ "object": "list", "data": data, "model": request["model"] })
}
