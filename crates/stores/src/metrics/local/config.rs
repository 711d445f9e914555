//! The files of an engine, written anew at each start.
//!
//! JSON is YAML: written by a JSON encoder, no value can break out of its quotes.

use super::super::{
    contract::{Contract, Retention},
    scope::{SPAN, TENANT},
};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path};

pub(super) const USER: &str = "nephkeep";
/// The label `job` of our own page.
pub const SCRAPE_JOB: &str = "nephkeep";

/// Where our own `/metrics` is.
#[derive(Debug, Clone)]
pub struct Scrape {
    pub address: SocketAddr,
    /// The tenant whose the platform's own series are.
    pub tenant: String,
    pub every_s: u32,
}

/// What the configuration of one engine is made from.
pub(super) struct Files<'a> {
    pub class: Retention,
    pub installation: &'a str,
    pub scrape: Option<&'a Scrape>,
    pub token_file: &'a Path,
    pub password_file: &'a Path,
    /// The platform engine, for the governed one.
    pub other_port: Option<u16>,
}

/// `prometheus.yml`.
pub(super) fn main(files: &Files<'_>) -> String {
    let every = files.scrape.map_or(15, |scrape| scrape.every_s);
    let mut config = json!({
        "global": {
            "scrape_interval": format!("{every}s"),
            "scrape_timeout": format!("{}s", every.min(10)),
            "evaluation_interval": "15s",
            "external_labels": { "installation": files.installation },
        },
        // Senders that were away for a while come back with older samples.
        "storage": { "tsdb": { "out_of_order_time_window": "1h" } },
    });
    if let Some(scrape) = files.scrape {
        config["scrape_configs"] = json!([own_metrics(files, scrape)]);
    }
    if let Some(port) = files.other_port {
        config["remote_read"] = json!([{
            "url": format!("http://127.0.0.1:{port}/api/v1/read"),
            "read_recent": true,
            "required_matchers": { SPAN: "" },
            "basic_auth": { "username": USER, "password_file": files.password_file },
        }]);
    }
    format!("# Written by nephkeep at each start: changes here are lost.\n{config:#}\n")
}

/// Each engine keeps its own class of what the page shows. A tenant's label on the page wins over ours.
fn own_metrics(files: &Files<'_>, scrape: &Scrape) -> Value {
    json!({
        "job_name": SCRAPE_JOB,
        "honor_labels": true,
        "authorization": { "credentials_file": files.token_file },
        "static_configs": [{ "targets": [scrape.address.to_string()], "labels": { TENANT: scrape.tenant } }],
        "metric_relabel_configs": [{
            "source_labels": ["__name__"],
            "regex": names(files.class),
            "action": "keep",
        }],
    })
}

fn names(class: Retention) -> String {
    let names: Vec<_> =
        Contract::ours().all().filter(|(_, metric)| metric.class == class).map(|(name, _)| name).collect();
    format!("(?:{})(?:_bucket|_sum|_count)?", names.join("|"))
}

/// `web.yml`: whoever asks must know the password of this start.
pub(super) fn web(hash: &str) -> String {
    format!("{:#}\n", json!({ "basic_auth_users": { USER: hash } }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_class_keeps_its_own_names_and_only_the_governed_asks_the_other() {
        let scrape = Scrape { address: "127.0.0.1:7210".parse().unwrap(), tenant: "default".into(), every_s: 15 };
        let file = |class, other_port| {
            let files = Files {
                class,
                installation: "x\"y",
                scrape: Some(&scrape),
                token_file: Path::new("/d/token"),
                password_file: Path::new("/d/password"),
                other_port,
            };
            let text = main(&files);
            serde_json::from_str::<Value>(text.split_once('\n').unwrap().1).unwrap()
        };
        let (governed, platform) = (file(Retention::Governed, Some(1)), file(Retention::Platform, None));
        let regex = |config: &Value| config["scrape_configs"][0]["metric_relabel_configs"][0]["regex"].to_string();
        assert!(regex(&platform).contains("nephkeep_record_batches_total"));
        assert!(!regex(&governed).contains("nephkeep_record_batches_total"));
        assert_eq!(governed["remote_read"][0]["required_matchers"][SPAN], "");
        assert!(platform.get("remote_read").is_none());
        assert_eq!(platform["global"]["external_labels"]["installation"], "x\"y");
    }
}
