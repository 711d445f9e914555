//! Values of options: what is wanted, with an example, in the place of a library's own words.

use std::net::SocketAddr;

pub fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "wanted: an address with a port, as 127.0.0.1:7210 (port 0 takes any free one)".to_owned())
}

pub fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "wanted: a whole number, as 100".to_owned())
}

pub fn time(text: &str) -> Result<jiff::Timestamp, String> {
    text.parse().map_err(|_| "wanted: a time with its zone (RFC 3339), as 2026-11-01T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_said_with_an_example() {
        assert!(listen("7210").is_err_and(|said| said.contains("127.0.0.1:7210")));
        assert!(listen("localhost:7210").is_err() && listen("127.0.0.1:7210").is_ok());
        assert!(count("-1").is_err() && count("abc").is_err_and(|said| said.contains("100")));
        assert!(time("yesterday").is_err_and(|said| said.contains("2026-")));
    }
}
