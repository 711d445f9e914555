//! Embedders: what they promise, and the HTTP one against a server that answers, or fails, as the interface does.

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use model::ErrorKind;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use stores::{
    embed::{ApiKey, Embedder, HashEmbedder, HttpEmbedder, HttpOptions, Key, WideHashEmbedder},
    suite,
};

const KEY: &str = "sk-never-seen-again";
const MODEL: &str = "test-embedding";

/// What the server does with the next request.
#[derive(Debug, Clone)]
enum Next {
    Status(u16, Option<&'static str>),
    Text(&'static str),
    Short,
    Twice,
    Dimensions(usize),
    Model(&'static str),
    /// As the first number of the first vector.
    Number(&'static str),
    Silence,
}

#[derive(Debug, Default)]
struct Told {
    script: VecDeque<Next>,
    requests: Vec<Value>,
    keys: Vec<String>,
    /// Refuses a text that holds this.
    refuses: Option<&'static str>,
}

type Shared = Arc<Mutex<Told>>;

async fn embeddings(State(told): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let (next, refuses) = {
        let mut told = told.lock();
        told.requests.push(request.clone());
        let key = headers.get(header::AUTHORIZATION).map(|key| key.to_str().unwrap().to_owned());
        told.keys.extend(key);
        (told.script.pop_front(), told.refuses)
    };
    let texts: Vec<&str> = request["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    if refuses.is_some_and(|word| texts.iter().any(|text| text.contains(word))) {
        let error = json!({ "error": { "message": texts[0], "type": "invalid_request_error", "code": "context_length_exceeded" } });
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    let vectors = HashEmbedder.embed(&texts).unwrap();
    // Scaled: it is the caller who makes them unit vectors. Last first: the index tells the place.
    let item = |(index, vector): (usize, &Vec<f32>)| {
        let embedding: Vec<f32> = vector.iter().map(|value| value * 3.0).collect();
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    };
    let mut data: Vec<Value> = vectors.iter().enumerate().map(item).rev().collect();
    let mut model = request["model"].as_str().unwrap().to_owned();
    match next {
        None => {}
        Some(Next::Status(status, after)) => {
            let words = json!({ "error": { "message": format!("no: {KEY} {}", texts[0]), "type": "Bad Words!" } });
            let mut response = (StatusCode::from_u16(status).unwrap(), Json(words)).into_response();
            if let Some(after) = after {
                response.headers_mut().insert(header::RETRY_AFTER, after.parse().unwrap());
            }
            return response;
        }
        Some(Next::Text(text)) => return text.into_response(),
        Some(Next::Short) => drop(data.pop()),
        Some(Next::Twice) => data[0] = data[1].clone(),
        Some(Next::Dimensions(dimensions)) => data[0]["embedding"] = json!(vec![0.5; dimensions]),
        Some(Next::Model(other)) => model = other.to_owned(),
        Some(Next::Number(number)) => {
            data[0]["embedding"][0] = json!("here");
            let answer = json!({ "object": "list", "data": data, "model": model }).to_string();
            return answer.replace("\"here\"", number).into_response();
        }
        Some(Next::Silence) => std::future::pending().await,
    }
    Json(json!({ "object": "list", "data": data, "model": model, "usage": { "total_tokens": 7 } })).into_response()
}

struct Stand {
    told: Shared,
    options: HttpOptions,
}

impl Stand {
    async fn new() -> Self {
        let told = Shared::default();
        let app = Router::new().route("/v1/embeddings", post(embeddings)).with_state(Arc::clone(&told));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let mut options = HttpOptions::new(&url, MODEL, 384);
        (options.key, options.pause) = (Key::Given(ApiKey::read(KEY).unwrap()), Duration::from_millis(1));
        Self { told, options }
    }

    fn embedder(&self) -> Arc<HttpEmbedder> {
        Arc::new(HttpEmbedder::new(self.options.clone()).unwrap())
    }

    fn will(&self, script: &[Next]) {
        self.told.lock().script = script.iter().cloned().collect();
    }

    fn asked(&self) -> usize {
        self.told.lock().requests.len()
    }

    /// Where blocking is allowed, as the pump calls it.
    async fn embed(&self, embedder: &Arc<HttpEmbedder>, texts: &[&str]) -> model::Result<Vec<Vec<f32>>> {
        let (embedder, texts) = (Arc::clone(embedder), texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let embed = move || embedder.embed(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(embed).await.unwrap()
    }
}

#[tokio::test]
async fn every_embedder_keeps_what_an_embedder_promises() {
    assert_eq!(suite::embedder(&HashEmbedder), []);
    assert_eq!(suite::embedder(&WideHashEmbedder), []);
    let stand = Stand::new().await;
    let embedder = stand.embedder();
    let asked = tokio::task::spawn_blocking(move || suite::embedder(&*embedder)).await.unwrap();
    assert_eq!(asked, []);
    let told = stand.told.lock();
    let most = told.requests.iter().map(|request| request["input"].as_array().unwrap().len()).max();
    assert_eq!(most, Some(64), "texts are sent in batches");
    assert!(told.keys.iter().all(|key| *key == format!("Bearer {KEY}")) && told.keys.len() == told.requests.len());
    assert!(told.requests.iter().all(|request| request["model"] == MODEL && request.get("dimensions").is_none()));
}

#[tokio::test]
async fn what_can_pass_is_tried_again_and_not_before_the_server_said() {
    let stand = Stand::new().await;
    let embedder = stand.embedder();
    stand.will(&[Next::Status(429, None), Next::Status(503, Some("0")), Next::Short]);
    assert_eq!(stand.embed(&embedder, &["a handover", "a cell"]).await.unwrap().len(), 2);
    assert_eq!(stand.asked(), 4);
    // Told to stay away for an hour: it is not asked again, and the caller is told so at once.
    stand.will(&[Next::Status(429, Some("3600"))]);
    let error = stand.embed(&embedder, &["a handover"]).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Retry, "embedder-busy"));
    assert_eq!(stand.embed(&embedder, &["a handover"]).await.unwrap_err().code(), "embedder-busy");
    assert_eq!(stand.asked(), 5);
    let moment = stand.embedder();
    stand.will(&[Next::Status(503, Some("Wed, 21 Oct 2015 07:28:00 GMT"))]);
    assert!(stand.embed(&moment, &["a handover"]).await.is_ok());
    stand.will(&[Next::Status(429, Some("Wed, 21 Oct 2099 07:28:00 GMT"))]);
    assert_eq!(stand.embed(&moment, &["a handover"]).await.unwrap_err().code(), "embedder-busy");
}

#[tokio::test]
async fn an_answer_that_is_not_what_was_asked_for_is_refused() {
    let stand = Stand::new().await;
    let always = |next: Next| vec![next; 8];
    let cases = [
        (always(Next::Status(500, None)), ErrorKind::Retry, "embedder-unavailable"),
        (always(Next::Short), ErrorKind::Retry, "embedder-answer-malformed"),
        (always(Next::Twice), ErrorKind::Retry, "embedder-answer-malformed"),
        (always(Next::Text("<html>")), ErrorKind::Retry, "embedder-answer-malformed"),
        (always(Next::Number("NaN")), ErrorKind::Retry, "embedder-answer-malformed"),
        (always(Next::Number("1e39")), ErrorKind::Invalid, "embedding-not-finite"),
        (always(Next::Dimensions(383)), ErrorKind::Conflict, "embedder-dimensions"),
        (always(Next::Model("another-model")), ErrorKind::Conflict, "embedder-other-model"),
        (always(Next::Status(401, None)), ErrorKind::Refused, "embedder-denied"),
        (always(Next::Status(404, None)), ErrorKind::Conflict, "embedder-settings"),
        (always(Next::Status(307, None)), ErrorKind::Conflict, "embedder-settings"),
    ];
    for (script, kind, code) in cases {
        stand.will(&script);
        let error = stand.embed(&stand.embedder(), &["secret words", "others"]).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (kind, code), "{error}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(KEY) && !shown.contains("secret") && !shown.contains("Bad"), "{shown}");
    }
}

#[tokio::test]
async fn a_text_that_is_refused_is_told_from_settings_that_are_wrong() {
    let stand = Stand::new().await;
    let embedder = stand.embedder();
    stand.told.lock().refuses = Some("endless");
    let error = stand.embed(&embedder, &["an endless text"]).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "text-not-embeddable"));
    assert_eq!(error.fact("said"), Some("context_length_exceeded"));
    assert!(!error.to_string().contains("endless"));
    stand.told.lock().refuses = Some("");
    let error = stand.embed(&embedder, &["any text"]).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "embedder-settings"));
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_a_stop_waits_for_nobody() {
    let mut stand = Stand::new().await;
    stand.options.timeout = Duration::from_millis(50);
    stand.will(&vec![Next::Silence; 8]);
    let error = stand.embed(&stand.embedder(), &["a"]).await.unwrap_err();
    assert_eq!((error.code(), stand.asked()), ("embedder-unavailable", 4));
    stand.options.timeout = Duration::from_secs(3_600);
    stand.will(&vec![Next::Silence; 8]);
    let embedder = stand.embedder();
    let (waiting, before) = (stand.embed(&embedder, &["a"]), stand.asked());
    let closing = async {
        while stand.asked() == before {
            tokio::task::yield_now().await;
        }
        embedder.close();
    };
    let (ended, ()) = tokio::join!(waiting, closing);
    assert_eq!(ended.unwrap_err().code(), "stopping");
    let nobody = HttpOptions { url: "http://127.0.0.1:9/v1".into(), ..stand.options.clone() };
    let nobody = Arc::new(HttpEmbedder::new(nobody).unwrap());
    assert_eq!(stand.embed(&nobody, &["a"]).await.unwrap_err().code(), "embedder-unavailable");
}

#[tokio::test]
async fn dimensions_are_asked_for_where_that_is_said_and_another_name_is_taken_where_it_is_told() {
    let mut stand = Stand::new().await;
    stand.options.asks_dimensions = true;
    stand.options.answers_as = Some("test-embedding-v2".into());
    stand.will(&[Next::Model("test-embedding-v2")]);
    stand.embed(&stand.embedder(), &["a"]).await.unwrap();
    assert_eq!(stand.told.lock().requests[0]["dimensions"], 384);
    assert_eq!(stand.embed(&stand.embedder(), &["a"]).await.unwrap_err().code(), "embedder-other-model");
    assert_eq!(stand.embedder().model(), "test-embedding/384");
    assert_eq!(stand.embedder().described(), "test-embedding/384 (semantic, at 127.0.0.1)");
}
