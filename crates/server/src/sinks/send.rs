//! One attempt at a sink: guarded, bounded in time, its answer judged.

use super::{
    Board,
    guard::{self, GuardedResolver, Policy},
    message::Message,
};
use http::{StatusCode, header};
use model::{Error, Result};
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(5);
/// A sink that takes longer has failed; it is tried again.
const ANSWER: Duration = Duration::from_secs(15);
/// Answers that are about what was sent, not about who or where or when.
const OF_THE_EVENT: [StatusCode; 6] = [
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_ACCEPTABLE,
    StatusCode::CONFLICT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::UNPROCESSABLE_ENTITY,
];

/// Sends to addresses that the installation allows.
#[derive(Debug)]
pub struct Sender {
    client: reqwest::Client,
    policy: Policy,
    pub board: Board,
}

/// An attempt that failed.
#[derive(Debug)]
pub struct Refusal {
    pub error: Error,
    /// It would be refused again: for what it is.
    pub of_the_event: bool,
}

impl Sender {
    pub fn new(policy: Policy) -> Result<Self> {
        let client = reqwest::Client::builder()
            .dns_resolver(GuardedResolver(policy))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("nephkeep/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::refused("callback-client", "no HTTP client for callbacks").caused_by(error))?;
        Ok(Self { client, policy, board: Board::default() })
    }

    /// What can be said of an address from its text alone.
    pub fn check(&self, url: &str) -> Result<()> {
        guard::check_url(url, self.policy)
    }

    pub async fn attempt(&self, url: &str, message: &Message) -> Result<(), Refusal> {
        let other = |error| Refusal { error, of_the_event: false };
        self.check(url).map_err(other)?;
        let mut request = self.client.post(url).header(header::CONTENT_TYPE, message.content_type);
        for (name, value) in &message.headers {
            request = request.header(*name, value);
        }
        let response = request.body(message.body.clone()).send().await.map_err(|error| {
            other(Error::retry("callback-failed", "the callback did not answer").caused_by(error.without_url()))
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let why = "the callback did not accept what was sent";
        let error = Error::retry("callback-failed", why).with("status", status.as_u16());
        Err(Refusal { error, of_the_event: OF_THE_EVENT.contains(&status) })
    }
}
