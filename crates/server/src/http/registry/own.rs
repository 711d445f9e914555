//! Our own events have schemas like everybody's: registered when a server starts, one subject for each topic.

use super::{
    register::{Request, registered},
    store::Store,
};
use crate::{identity::principals::HOME_TENANT, state::App};
use model::{Access, Error, Result, Role, Tenant};
use registry::{Form, Level};
use relay::events::{Topic, topics};

/// What is read for years must be readable in both directions; the rest, by readers that are newer.
fn level(topic: &Topic) -> Level {
    match topic.data {
        topics::Data::Audit | topics::Data::Sealed => Level::FullTransitive,
        topics::Data::Clear => Level::BackwardTransitive,
    }
}

/// Registers `TOPIC-value` for every topic; one that may not follow what stands there stops the start.
pub async fn register(app: &App, schema: &str) -> Result<()> {
    let tenant = Tenant::new(HOME_TENANT)?;
    let access = Access::new("nephkeep", &[Role::Admin], &tenant, "bootstrap");
    let store = Store::new(app, &access);
    let request =
        Request { form: Form::Avro, text: schema.to_owned(), references: Vec::new(), id: None, version: None };
    for topic in app.events.topics().all() {
        let subject = format!("{}-value", topic.name);
        let mut held = store.subject(&subject).await?;
        if held.value.level.is_none() {
            held.value.level = Some(level(topic));
            // Lost the race: another server of this record has set it.
            store.commit(store.subject_write(&subject, &held)?.into_iter().collect()).await?;
        }
        registered(&store, &subject, &request, true).await.map_err(|error| told(error, &subject))?;
    }
    Ok(())
}

fn told(error: Error, subject: &str) -> Error {
    if error.code() != "schema-incompatible" {
        return error;
    }
    let why = error.message().to_owned();
    let what = format!("this version's events may not follow those of the registered schema; {why}");
    Error::conflict("event-schema-incompatible", what).with("subject", subject)
}
