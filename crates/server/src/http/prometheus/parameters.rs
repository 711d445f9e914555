//! Parameters of the API: names may repeat (`match[]`), times are seconds or RFC 3339, steps seconds or `5m`.

use model::{Error, Result, select};
use std::time::Duration;

const PARAMETERS_MAX: usize = 256;

#[derive(Debug, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub fn parse(raw: &str) -> Result<Self> {
        let pairs = if raw.is_empty() { Vec::new() } else { select::pairs(raw)? };
        if pairs.len() > PARAMETERS_MAX {
            return Err(Error::invalid("parameters-too-many", "a query has at most 256 parameters"));
        }
        Ok(Self(pairs))
    }

    pub fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The first of a name, as Prometheus takes it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    }

    pub fn required(&self, name: &'static str) -> Result<&str> {
        self.get(name).ok_or_else(|| malformed(name, "this parameter is missing"))
    }

    /// Those of these names that are there, to be passed on.
    pub fn pass(&self, names: &[&str]) -> Vec<(String, String)> {
        names.iter().filter_map(|name| Some(((*name).to_owned(), self.get(name)?.to_owned()))).collect()
    }

    pub fn time(&self, name: &'static str) -> Result<Option<f64>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let seconds = text.parse().ok().filter(|seconds: &f64| seconds.is_finite());
        let seconds = seconds.or_else(|| text.parse::<jiff::Timestamp>().ok().map(as_seconds));
        seconds.map(Some).ok_or_else(|| malformed(name, "a time is in seconds since 1970 or RFC 3339"))
    }

    pub fn duration(&self, name: &'static str) -> Result<Option<f64>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let seconds = text.parse().ok().filter(|seconds: &f64| seconds.is_finite());
        seconds
            .or_else(|| prometheus_duration(text))
            .map(Some)
            .ok_or_else(|| malformed(name, "a duration is in seconds or reads like 1h30m"))
    }

    pub fn count(&self, name: &'static str) -> Result<Option<usize>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| malformed(name, "a whole number that is not negative"))
    }

    /// `timeout`, at most `limit`.
    pub fn limit(&self, limit: Duration) -> Result<Duration> {
        let asked = self.duration("timeout")?.filter(|seconds| *seconds > 0.0);
        Ok(asked.map_or(limit, |seconds| limit.min(Duration::try_from_secs_f64(seconds).unwrap_or(limit))))
    }
}

pub(super) fn malformed(name: &'static str, rule: &str) -> Error {
    Error::invalid("parameter-malformed", rule.to_owned()).with("parameter", name)
}

fn as_seconds(time: jiff::Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

/// `1h30m`, units in falling order, each once.
fn prometheus_duration(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 7] = [
        ("y", 31_536_000.0),
        ("w", 604_800.0),
        ("d", 86_400.0),
        ("h", 3_600.0),
        ("m", 60.0),
        ("s", 1.0),
        ("ms", 0.001),
    ];
    let (mut rest, mut seconds, mut from) = (text, 0.0, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..digits + letters];
        let at = from + UNITS[from..].iter().position(|(name, _)| *name == unit)?;
        seconds += number * UNITS[at].1;
        (rest, from) = (&rest[digits + letters..], at + 1);
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn parsed(raw: &str) -> Parameters {
        Parameters::parse(raw).unwrap()
    }

    #[test]
    fn times_and_durations_are_read_as_prometheus_reads_them() {
        for (text, seconds) in [("1.5", 1.5), ("1970-01-01T00:01:00Z", 60.0), ("-3", -3.0)] {
            assert_eq!(parsed(&format!("time={text}")).time("time").unwrap(), Some(seconds), "{text}");
        }
        for (text, seconds) in [("15", 15.0), ("1m", 60.0), ("1h30m", 5_400.0), ("250ms", 0.25), ("1d12h", 129_600.0)] {
            assert_eq!(parsed(&format!("step={text}")).duration("step").unwrap(), Some(seconds), "{text}");
        }
        for bad in ["1x", "m", "1m1h", "1m1m", "NaN", "inf", "now"] {
            assert!(parsed(&format!("step={bad}")).duration("step").is_err(), "{bad}");
            assert!(parsed(&format!("time={bad}")).time("time").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_timeout_only_shortens_and_names_may_repeat() {
        let limit = Duration::from_secs(30);
        assert_eq!(parsed("timeout=5s").limit(limit).unwrap(), Duration::from_secs(5));
        assert_eq!(parsed("timeout=1h").limit(limit).unwrap(), limit);
        assert_eq!(parsed("timeout=0").limit(limit).unwrap(), limit);
        let mut both = parsed("match[]=a&match%5B%5D=b&x=1");
        both.join(parsed("x=2"));
        assert_eq!(both.all("match[]"), ["a", "b"]);
        assert_eq!((both.get("x"), both.get("y")), (Some("1"), None));
    }

    proptest! {
        #[test]
        fn no_parameter_panics(raw in ".*") {
            if let Ok(parameters) = Parameters::parse(&raw) {
                let _ = parameters.time("time");
                let _ = parameters.duration("step");
            }
            let _ = prometheus_duration(&raw);
        }
    }
}
