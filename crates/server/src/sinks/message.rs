//! What is sent in one request.

use bytes::Bytes;
use model::sink::Mode;
use relay::events::{
    Event,
    encode::{self, Encoder},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

/// Events in a sink's mode: one, but for a batch.
#[must_use]
pub fn of(mode: Mode, events: &[Event]) -> Message {
    let mut encoder = Encoder::default();
    if mode == Mode::Batch {
        let body = encoder.batch(events.iter().map(|event| (&*event.topic, &event.change)));
        return Message { content_type: encode::BATCH, headers: Vec::new(), body: body.into() };
    }
    let (mut body, mut headers) = (Vec::new(), Vec::new());
    for Event { topic, change } in events {
        match mode {
            Mode::Binary => {
                encode::data(&mut body, topic, change);
                headers.extend(encoder.attributes(topic, change).headers());
            }
            _ => encoder.event(&mut body, topic, change),
        }
    }
    let content_type = if mode == Mode::Binary { encode::DATA } else { encode::STRUCTURED };
    Message { content_type, headers, body: body.into() }
}
