//! The keystore from outside: kits and restores, `kill -9`, what the first release wrote.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crash;
mod golden;
mod kit;

use bytes::Bytes;
use keys::{Bound, KeyId, Keystore, Opened};
use model::{Class, Kind, ResourceKey, Result, Tenant};

const TEXT: &[u8] = br#"{"@type":"Intent","name":"slice for the harbour"}"#;

fn resource(key: KeyId) -> ResourceKey {
    ResourceKey::new(&Tenant::new("acme").unwrap(), Kind::Intent, &format!("of-{}", key.0)).unwrap()
}

fn seal(keystore: &Keystore, key: KeyId) -> Bytes {
    let resource = resource(key);
    let bound = Bound { dataset: "record", key: &resource, version: 1 };
    keystore.seal(key, Class::Confidential, bound, TEXT).unwrap().envelope
}

fn open(keystore: &Keystore, key: KeyId, envelope: &[u8]) -> Result<Opened> {
    let resource = resource(key);
    keystore.open_envelope(Bound { dataset: "record", key: &resource, version: 1 }, envelope)
}

fn clear() -> Opened {
    Opened::Clear(Bytes::from_static(TEXT))
}
