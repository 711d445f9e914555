//! The record's URL: `local:///DIR`, or `postgres://…` as libpq reads it, with its TLS modes.

use super::tls::Verification;
use crate::server::client_of;
use model::{Error, Result};
use std::{fmt, path::PathBuf, str::FromStr, time::Duration};
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const DATABASE: &str = "postgres";

#[derive(Clone, PartialEq, Eq)]
pub enum RecordUrl {
    /// A private server in this directory.
    Local(PathBuf),
    /// An existing server or cluster; the text as given, with its password.
    Postgres(String),
}

pub(super) struct Target {
    pub config: Config,
    pub verification: Verification,
}

impl FromStr for RecordUrl {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if let Some(path) = text.strip_prefix("local://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Local(path.into()));
        }
        let url = Self::Postgres(text.to_owned());
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            url.target()?;
            return Ok(url);
        }
        Err(malformed("it is neither local:///DIRECTORY (absolute) nor postgres://…"))
    }
}

impl fmt::Display for RecordUrl {
    /// Without the password: for logs and answers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "local://{}", path.display()),
            Self::Postgres(text) => f.write_str(&without_password(text)),
        }
    }
}

impl fmt::Debug for RecordUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl RecordUrl {
    pub(super) fn target(&self) -> Result<Target> {
        match self {
            Self::Local(directory) => {
                let (socket_dir, password) = client_of(directory)?;
                let mut config = Config::new();
                config.host_path(socket_dir).user(crate::server::USER).password(password).dbname(DATABASE);
                finish(&mut config, SslMode::Disable);
                Ok(Target { config, verification: Verification::None })
            }
            Self::Postgres(text) => of_text(text),
        }
    }
}

fn of_text(text: &str) -> Result<Target> {
    let (rest, mode, root) = take_tls(text)?;
    let mut config: Config = rest.parse().map_err(|e: tokio_postgres::Error| {
        // The parser names options, never their values.
        malformed("PostgreSQL's rules do not allow it").caused_by(e)
    })?;
    if config.get_hosts().is_empty() {
        return Err(malformed("it names no host; write one, or ?host=/SOCKET/DIRECTORY"));
    }
    let verification = match (mode.as_str(), root) {
        ("verify-full", root) => Verification::Full { root },
        // As libpq does: a root certificate makes `require` verify the chain.
        ("verify-ca", root) | ("require", root @ Some(_)) => Verification::Chain { root },
        _ => Verification::None,
    };
    let encrypted = match mode.as_str() {
        "disable" => SslMode::Disable,
        "prefer" => SslMode::Prefer,
        _ => SslMode::Require,
    };
    let sockets_only = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
    finish(&mut config, if sockets_only { SslMode::Disable } else { encrypted });
    borrow_password(&mut config);
    Ok(Target { config, verification })
}

/// What the driver does not know: its parser refuses the verifying modes and the root certificate.
fn take_tls(text: &str) -> Result<(String, String, Option<PathBuf>)> {
    let (mut mode, mut root) = ("prefer".to_owned(), None);
    let Some((front, query)) = text.split_once('?') else { return Ok((text.to_owned(), mode, root)) };
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => value.clone_into(&mut mode),
            Some(("sslrootcert", value)) => root = Some(PathBuf::from(decode(value)?)),
            _ => kept.push(pair),
        }
    }
    if !["disable", "prefer", "require", "verify-ca", "verify-full"].contains(&mode.as_str()) {
        return Err(malformed("sslmode is one of disable, prefer, require, verify-ca, verify-full"));
    }
    let rest = if kept.is_empty() { front.to_owned() } else { format!("{front}?{}", kept.join("&")) };
    Ok((rest, mode, root))
}

fn decode(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next(), rest.next()].map(|d| d.and_then(|d| char::from(d).to_digit(16)));
                let [Some(high), Some(low)] = digits else { return Err(malformed("a % needs two hex digits")) };
                u8::try_from(high * 16 + low).unwrap_or_default()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| malformed("a percent-encoded part is not UTF-8"))
}

fn finish(config: &mut Config, mode: SslMode) {
    config.ssl_mode(mode);
    if config.get_target_session_attrs() == TargetSessionAttrs::Any {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_LIMIT);
    }
    // A peer that vanished without a word is noticed in seconds, not in hours.
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(10));
    }
    config.keepalives_idle(Duration::from_secs(10)).keepalives_interval(Duration::from_secs(5)).keepalives_retries(3);
}

/// A URL without a password that leads to a private server's socket: whoever may read its directory may use it.
fn borrow_password(config: &mut Config) {
    let [Host::Unix(socket_dir)] = config.get_hosts() else { return };
    if config.get_password().is_none()
        && let Some(password) = socket_dir.parent().and_then(|directory| client_of(directory).ok()).map(|(_, p)| p)
    {
        config.password(password);
    }
}

fn without_password(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("postgres", text));
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let shown = match authority.rsplit_once('@') {
        Some((login, hosts)) => format!("{}@{hosts}", login.split(':').next().unwrap_or_default()),
        None => authority.to_owned(),
    };
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let kept: Vec<_> = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("password")).collect();
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    format!("{scheme}://{shown}{path}{query}")
}

fn malformed(why: &str) -> Error {
    Error::invalid("record-url-malformed", format!("the record's URL cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_are_read_and_shown_without_secrets() {
        let local: Result<RecordUrl> = "local:///var/lib/nephkeep".parse();
        assert_eq!(local.ok(), Some(RecordUrl::Local("/var/lib/nephkeep".into())));
        let text =
            "postgres://nephkeep:s3cret@a,b:5433,c/record?password=s3cret&sslmode=verify-full&sslrootcert=%2Fca.pem";
        let url: RecordUrl = text.parse().unwrap_or(RecordUrl::Local("/".into()));
        let shown = format!("{url} {url:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.starts_with("postgres://nephkeep@a,b:5433,c/record?sslmode=verify-full&"), "{shown}");
    }

    #[test]
    fn tls_modes_are_those_of_libpq() {
        let of = |tail: &str| {
            of_text(&format!("postgres://u:p@db.example{tail}")).map(|t| (t.config.get_ssl_mode(), t.verification))
        };
        let root = Some(PathBuf::from("/c a"));
        let cases = [
            ("", SslMode::Prefer, Verification::None),
            ("?sslmode=disable", SslMode::Disable, Verification::None),
            ("?sslmode=require", SslMode::Require, Verification::None),
            ("?sslmode=require&sslrootcert=/c%20a", SslMode::Require, Verification::Chain { root: root.clone() }),
            ("?sslmode=verify-ca", SslMode::Require, Verification::Chain { root: None }),
            ("?sslrootcert=%2fc%20a&sslmode=verify-full", SslMode::Require, Verification::Full { root }),
        ];
        for (tail, mode, verification) in cases {
            assert_eq!(of(tail).ok(), Some((mode, verification)), "{tail}");
        }
    }

    #[test]
    fn sessions_go_to_the_primary_and_sockets_need_no_tls() {
        let target = of_text("postgres://u:p@/db?host=/run/x&sslmode=require").ok();
        assert_eq!(
            target.map(|t| (t.config.get_ssl_mode(), t.config.get_target_session_attrs())),
            Some((SslMode::Disable, TargetSessionAttrs::ReadWrite))
        );
        let target = of_text("postgres://u:p@a,b/db?target_session_attrs=read-only&load_balance_hosts=random").ok();
        assert_eq!(target.map(|t| t.config.get_target_session_attrs()), Some(TargetSessionAttrs::ReadOnly));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}", tail in "[a-z0-9=&%/:@,.?-]{0,40}") {
            for candidate in [text, format!("postgres://{tail}"), format!("local://{tail}")] {
                if let Err(error) = candidate.parse::<RecordUrl>() {
                    prop_assert_eq!(error.code(), "record-url-malformed");
                }
            }
        }
    }
}
