//! What the load saw from outside, counted by each worker and put together at the end.
//!
//! Every request is repeated until it is answered, so nearly all are *answered in the end*, however long the server was
//! away. How available it was is told by the first sendings: each that got no answer, a refused connection included,
//! is one that a client without repetitions would have lost. A request that the load itself leaves without waiting
//! says nothing about the server and is not among them.

use super::{
    latency::{Latencies, Percentiles},
    wire::Answer,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Requests begun: first sendings and those left on purpose.
    pub requests: u64,
    /// Requests sent for the first time and waited for.
    pub first_sendings: u64,
    /// Of them, answered by that sending: with a success, or with a refusal that is not the server's own failure.
    pub first_answered: u64,
    /// Left on purpose without waiting for the answer, and then repeated.
    pub abandoned: u64,
    /// With a success for an answer, in the end.
    pub answered: u64,
    /// Acknowledged writes that are durable in the ack file.
    pub acknowledged: u64,
    /// Sendings without an answer.
    pub in_doubt: u64,
    /// Connections that could not be opened; nothing was sent.
    pub connections_refused: u64,
    /// Requests that never had an answer.
    pub unanswered: u64,
    /// Error answers by status, of requests that were not repeated.
    pub refused: BTreeMap<u16, u64>,
    /// `first_answered` of `first_sendings`.
    pub share_answered: f64,
    /// Requests with an answer, repetitions included, of `requests`.
    pub share_answered_in_the_end: f64,
    /// The longest time without any success.
    pub longest_unavailable_ms: u64,
    /// Successes per second after the warm-up.
    pub per_second: f64,
    pub measured_s: f64,
    /// Of successes after the warm-up; from the scheduled arrival in an open loop.
    pub latency: Percentiles,
}

/// What one worker counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub first_sendings: u64,
    pub first_answered: u64,
    pub abandoned: u64,
    pub answered: u64,
    pub in_doubt: u64,
    pub connections_refused: u64,
    pub unanswered: u64,
    pub measured: u64,
    pub refused: BTreeMap<u16, u64>,
    pub latencies: Latencies,
}

impl Tally {
    /// The first sending of a request that is waited for, and the answer to that very sending.
    pub fn sent_first(&mut self, answer: Option<&Answer>) {
        self.first_sendings += 1;
        self.first_answered += u64::from(answer.is_some_and(|answer| answer.status < 500));
    }

    pub fn merge(&mut self, other: Self) {
        self.first_sendings += other.first_sendings;
        self.first_answered += other.first_answered;
        self.abandoned += other.abandoned;
        self.answered += other.answered;
        self.in_doubt += other.in_doubt;
        self.connections_refused += other.connections_refused;
        self.unanswered += other.unanswered;
        self.measured += other.measured;
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
        self.latencies.merge(&other.latencies);
    }

    /// `measured` is the time that the latencies and successes after the warm-up are of.
    pub fn summary(self, measured: Duration, longest_gap_us: u64, acknowledged: u64) -> Summary {
        let measured_s = measured.as_secs_f64();
        let had_an_answer = self.answered + self.refused.values().sum::<u64>();
        let requests = had_an_answer + self.unanswered;
        Summary {
            requests,
            first_sendings: self.first_sendings,
            first_answered: self.first_answered,
            abandoned: self.abandoned,
            answered: self.answered,
            acknowledged,
            in_doubt: self.in_doubt,
            connections_refused: self.connections_refused,
            unanswered: self.unanswered,
            refused: self.refused,
            share_answered: share(self.first_answered, self.first_sendings),
            share_answered_in_the_end: share(had_an_answer, requests),
            longest_unavailable_ms: longest_gap_us / 1000,
            per_second: if measured_s > 0.0 { self.measured as f64 / measured_s } else { 0.0 },
            measured_s,
            latency: self.latencies.percentiles(),
        }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_on_purpose_is_no_first_sending_and_repetitions_count_only_in_the_end() {
        let mut tally = Tally { abandoned: 2, answered: 5, unanswered: 1, ..Tally::default() };
        for status in [Some(201), Some(412), Some(503), None] {
            tally.sent_first(status.map(Answer::of_status).as_ref());
        }
        let mut other = Tally::default();
        other.refused.insert(412, 1);
        tally.merge(other);
        let summary = tally.summary(Duration::ZERO, 8_100_000, 0);
        assert_eq!((summary.first_sendings, summary.first_answered, summary.requests), (4, 2, 7));
        assert!((summary.share_answered - 0.5).abs() < f64::EPSILON);
        assert!((summary.share_answered_in_the_end - 6.0 / 7.0).abs() < f64::EPSILON);
        assert_eq!(summary.longest_unavailable_ms, 8_100);
        assert!(Tally::default().summary(Duration::ZERO, 0, 0).share_answered.abs() < f64::EPSILON);
    }
}
