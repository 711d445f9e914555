//! Remote write, both versions. 204: everything is stored. 400: it is not, and sending it again will not help; what
//! could be stored is. 415: no such body. 413: too much at once. 429 and 503 with Retry-After: send it again.

use super::{Answer, Refused, caller, write_limits};
use crate::{
    http::headers::{self, put},
    identity::allow,
    limits::read_body,
    state::App,
};
use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, StatusCode, header};
use model::{Action, Error, Result};
use stores::metrics::{Counts, Protocol, Written};

const WRITTEN: [HeaderName; 3] = [
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

pub async fn write(State(app): State<App>, request: Request) -> Response {
    match stored(&app, request).await {
        Ok(response) => response,
        // A sender of version 2 takes an answer without these for one of a receiver that knows only version 1.
        Err(refused) => counted(refused.into_response(), Counts::default()),
    }
}

async fn stored(app: &App, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let access = caller(app, &parts).await?;
    allow(app, &access, Action::Write).await?;
    let protocol = declared(&parts.headers)?;
    let Ok(_permit) = app.metric_gates.writes.try_acquire() else {
        let what = "too many remote writes are in work; send it again after a moment";
        return Err(Error::retry("metrics-busy", what).into());
    };
    let body = read_body(&parts.headers, body, &write_limits(&app.limits)).await?;
    let written = app.series.write(&access.tenant, protocol, body).await?;
    app.metrics.metric_samples_written.inc_by(written.written.samples + written.written.histograms);
    app.metrics.metric_samples_refused.inc_by(written.refused.samples + written.refused.histograms);
    if written.unsorted.all() > 0 {
        app.metrics.metric_samples_unsorted.inc_by(written.unsorted.samples + written.unsorted.histograms);
        let (samples, why) = (written.unsorted.all(), &written.why);
        tracing::warn!(samples, why, tenant = access.tenant.as_str(), "samples were refused together with bad ones");
    }
    Ok(answer(&written))
}

fn declared(sent: &HeaderMap) -> Result<Protocol> {
    let kind = headers::text(sent, &header::CONTENT_TYPE)?;
    let encoding = headers::text(sent, &header::CONTENT_ENCODING)?;
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("snappy")) {
        return Err(headers::unsupported(encoding.unwrap_or_default(), "snappy (Content-Encoding)"));
    }
    Protocol::declared(kind).ok_or_else(|| {
        let known = format!("{} or {}", Protocol::V1.content_type(), Protocol::V2.content_type());
        headers::unsupported(kind.unwrap_or_default(), &known)
    })
}

fn answer(written: &Written) -> Response {
    let refused = written.refused.all();
    let response = if refused == 0 {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        let what = "some samples can never be stored; the others are";
        let told = Error::invalid("samples-refused", what).with("refused", refused).with("first", &written.why);
        let unsorted = written.unsorted.all();
        // The search for offenders was given up: these were refused in their company.
        let told = if unsorted == 0 { told } else { told.with("refused with others", unsorted) };
        Refused(told).into_response()
    };
    counted(response, written.written)
}

fn counted(mut response: Response, counts: Counts) -> Response {
    for (name, count) in WRITTEN.into_iter().zip([counts.samples, counts.histograms, counts.exemplars]) {
        put(response.headers_mut(), name, &count.to_string());
    }
    response
}
