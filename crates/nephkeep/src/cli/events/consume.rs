//! `events consume`: events as they happen, one per line; alone from any place, or as a member of a group.

use crate::{
    cli::{Global, status::cell},
    client::{Answer, Call, Client},
    exit::Outcome,
    output::{self, Format},
    routes,
};
use clap::Args;
use model::Error;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Print events as they happen
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep events consume intent.lifecycle\n  \
    nephkeep events consume intent.lifecycle --from earliest --until-end -o json\n  \
    nephkeep events consume intent.document --open --count 10\n  \
    nephkeep events consume intent.lifecycle --group billing        shares the work with the group's other members\n\n\
    With --group the group is made if it is not there, and what was printed is committed with the next poll: \
    an event comes at least once. -o json prints each CloudEvent on a line of its own.")]
pub struct Consume {
    /// The topics; several only with --group
    #[arg(required = true)]
    topics: Vec<String>,
    /// `earliest`, `latest`, a position or a time [default: latest; of a group that is there: where it stands]
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,
    /// As a member of this consumer group
    #[arg(long)]
    group: Option<String>,
    /// The member's name [default: of this process]
    #[arg(long, requires = "group")]
    member: Option<String>,
    /// End after so many events
    #[arg(long)]
    count: Option<u64>,
    /// End when nothing is left to be read
    #[arg(long)]
    until_end: bool,
    /// Print the documents of sealed events too; each release stands in the audit log
    #[arg(long)]
    open: bool,
}

/// Events of one request: a terminal is fed often.
const PAGE: u64 = 500;
const WAIT_SECONDS: u64 = 20;

pub async fn run(global: &Global, verb: &Consume) -> Outcome {
    let reader = Reader { client: global.client()?, format: global.output, verb };
    match &verb.group {
        Some(group) => reader.grouped(group).await,
        None => tokio::select! {
            ended = reader.alone() => ended,
            () = crate::cli::interrupted() => Ok(()),
        },
    }
}

struct Reader<'a> {
    client: Client,
    format: Format,
    verb: &'a Consume,
}

fn header(answer: &Answer, name: &'static str) -> Outcome<String> {
    answer.header(name).map(str::to_owned).ok_or_else(|| {
        Error::corrupt("answer-malformed", "the server's answer names no place to go on from")
            .with("header", name)
            .into()
    })
}

impl Reader<'_> {
    fn page(&self, call: Call, left: u64) -> Call {
        let wait = if self.verb.until_end { 0 } else { WAIT_SECONDS };
        call.query("limit", PAGE.min(left)).query("wait", wait)
    }

    async fn alone(&self) -> Outcome {
        let [topic] = &self.verb.topics[..] else {
            let how = "several topics are read by a group: add --group NAME";
            return Err(Error::invalid("topics-several", how).into());
        };
        let path = routes::below(routes::TOPICS, topic);
        let mut after = self.verb.from.clone().unwrap_or_else(|| "latest".to_owned());
        let mut left = self.verb.count.unwrap_or(u64::MAX);
        loop {
            let answer = self.client.send(self.page(Call::get(&path).query("after", &after), left)).await?;
            after = header(&answer, "ledger-position")?;
            left -= self.print(&answer).await?.min(left);
            if left == 0 || self.is_over(&answer, &after) {
                return Ok(());
            }
        }
    }

    /// Nothing is left that could be read now.
    fn is_over(&self, answer: &Answer, after: &str) -> bool {
        self.verb.until_end && answer.header("events-published") == Some(after)
    }

    async fn grouped(&self, group: &str) -> Outcome {
        let path = routes::below(routes::GROUPS, group);
        let from = self.verb.from.as_deref().unwrap_or("latest");
        let make = json!({ "topics": self.verb.topics, "from": from });
        self.client.send(Call::new(Method::PUT, &path).json(&make)).await?;
        let own = format!("nephkeep-{}", std::process::id());
        let member = routes::below(&format!("{path}/members"), self.verb.member.as_deref().unwrap_or(&own));
        let done = tokio::select! {
            done = self.as_member(&member) => done,
            () = crate::cli::interrupted() => Ok(()),
        };
        // Others need not wait for the lease to end.
        let left = self.client.send(Call::new(Method::DELETE, &member)).await;
        // Why it ended matters more than how it left.
        done?;
        Ok(left.map(drop)?)
    }

    async fn as_member(&self, member: &str) -> Outcome {
        let join = || Call::new(Method::PUT, member).json(&json!({}));
        self.client.send(join()).await?;
        let (mut reached, mut left) = (None::<(String, String)>, self.verb.count.unwrap_or(u64::MAX));
        loop {
            let mut call = self.page(Call::new(Method::POST, format!("{member}/poll")), left);
            if left == 0 {
                call = Call::new(Method::POST, format!("{member}/poll")).query("limit", 1).query("wait", 0);
            }
            if let Some((after, epoch)) = &reached {
                call = call.query("after", after).query("epoch", epoch).query("processed", after);
            }
            let answer = match self.client.send(call).await {
                Err(error) if error.code() == "consumer-fenced" && left > 0 => {
                    output::note("this member's assignment was over: joining again");
                    self.client.send(join()).await?;
                    reached = None;
                    continue;
                }
                answer => answer?,
            };
            if left == 0 {
                // This poll has said that all that was printed is done; leaving makes it durable.
                return Ok(());
            }
            let after = header(&answer, "ledger-position")?;
            left -= self.print(&answer).await?.min(left);
            if self.is_over(&answer, &after) {
                left = 0;
            }
            reached = Some((after, header(&answer, "events-epoch")?));
        }
    }

    async fn print(&self, answer: &Answer) -> Outcome<u64> {
        let page = answer.value()?;
        let events = page.as_array().map(Vec::as_slice).unwrap_or_default();
        let opened = if self.verb.open { self.opened(events).await? } else { BTreeMap::new() };
        for event in events {
            let document = event["id"].as_str().and_then(|id| opened.get(id));
            self.line(event, document);
        }
        Ok(events.len() as u64)
    }

    /// What stands behind the ids of sealed events.
    async fn opened(&self, events: &[Value]) -> Outcome<BTreeMap<String, Value>> {
        let sealed = events.iter().filter(|event| event["data"]["sealed"].is_string());
        let positions: Vec<&str> = sealed.filter_map(|event| event["id"].as_str()).collect();
        if positions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let call = Call::new(Method::POST, routes::OPEN).json(&json!({ "positions": positions }));
        let mut found = self.client.send(call).await?.value()?;
        let found = found["events"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(positions.into_iter().map(str::to_owned).zip(found).collect())
    }

    fn line(&self, event: &Value, opened: Option<&Value>) {
        if self.format != Format::Table {
            let mut event = event.clone();
            if let Some(opened) = opened {
                event["opened"] = opened.clone();
            }
            return output::data(&event.to_string());
        }
        let mut words: Vec<String> = ["id", "time", "type", "subject"].map(|name| cell(&event[name])).into();
        words.push(format!("v{}", cell(&event["data"]["version"])));
        if let Some(opened) = opened {
            words.push(opened.get("document").unwrap_or(&opened["state"]).to_string());
        }
        output::data(&output::printable(&words.join("  ")));
    }
}
