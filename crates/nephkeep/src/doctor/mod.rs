//! What `nephkeep doctor` looks at. A check returns findings; it repairs nothing.

mod embedder;
mod keystore;
mod machine;
mod metrics;
mod places;
mod record;
mod service;

use crate::{layout::Layout, settings::Settings};
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub grade: Grade,
    pub found: String,
    /// What to do; empty when there is nothing to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, grade: Grade::Ok, found: found.into(), remedy: String::new() }
    }
    fn warn(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, grade: Grade::Warn, found: found.into(), remedy: remedy.into() }
    }
    fn fail(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, grade: Grade::Fail, found: found.into(), remedy: remedy.into() }
    }
    /// A check that could not be made has failed: an unknown state is not a good one.
    fn error(check: &'static str, error: &model::Error) -> Self {
        Self::fail(check, error.to_string(), format!("nephkeep explain {}", error.code()))
    }
}

/// Everything, in the order in which one would repair it.
pub async fn examine(layout: &Layout, settings: &Result<Settings, model::Error>) -> Vec<Finding> {
    let mut found = vec![machine::postgresql(settings.as_ref().ok()), machine::open_files(), machine::clock(layout)];
    found.extend(places::directory(layout));
    match settings {
        Err(error) if layout.is_initialised() => found.push(Finding::error("settings", error)),
        Err(_) => match service::ask(layout).await {
            // A second server may have been started with settings that lie elsewhere.
            Some(asked) => {
                let what = "none in this directory; its server was given others";
                found.push(Finding::warn("settings", what, "name them with --settings to check what they say"));
                found.extend(service::running(&asked).await);
            }
            None => found.push(Finding::warn("settings", "not initialised", "nephkeep up")),
        },
        Ok(settings) => {
            let asked = service::ask(layout).await;
            // The keystore is looked at after the record has said what it demands: a server that runs raises both, and
            // an older look would be found older than a newer demand.
            let (record, demand) = record::examine(layout, settings).await;
            let at_hand = crate::keystore::look(layout, settings);
            found.push(Finding::ok("settings", layout.settings().display().to_string()));
            found.extend(places::disks(layout, settings));
            found.extend(places::keystore(settings));
            found.push(keystore::examine(layout, &at_hand));
            found.extend(places::witnesses(settings));
            found.extend(places::credentials(layout));
            found.push(places::kit(layout, settings));
            found.extend(match &asked {
                Some(asked) => service::running(asked).await,
                None => service::stopped(layout, settings),
            });
            found.extend(record);
            found.extend(demand.map(|demand| keystore::demanded(&at_hand, demand)));
            found.push(metrics::examine(settings, asked.as_ref()));
            found.extend(embedder::examine(settings).await);
        }
    }
    // Typed as it stands a remedy must act on this directory.
    found.iter_mut().for_each(|finding| finding.remedy = layout.spoken(&finding.remedy));
    found
}

#[must_use]
pub fn worst(findings: &[Finding]) -> Grade {
    let graded = |grade| findings.iter().any(|finding| finding.grade == grade);
    match (graded(Grade::Fail), graded(Grade::Warn)) {
        (true, _) => Grade::Fail,
        (false, true) => Grade::Warn,
        (false, false) => Grade::Ok,
    }
}
