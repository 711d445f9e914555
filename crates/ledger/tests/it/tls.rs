//! TLS to a PostgreSQL that has a certificate of a private authority. The certificates are made on the spot.

use crate::shared::directory;
use ledger::{
    connection::Connector,
    server::{Local, LocalOptions},
};
use model::Result;
use std::{
    net::TcpListener,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};

fn openssl(place: &Path, arguments: &str) -> bool {
    let output = Command::new("openssl").current_dir(place).args(arguments.split(' ')).output();
    output.is_ok_and(|output| output.status.success())
}

/// An authority, and a server's certificate for the name `localhost`.
fn certificates(place: &Path) -> bool {
    std::fs::write(place.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(place, &format!("req -x509 {key} -subj /CN=authority -days 2 -keyout ca.key -out ca.pem"))
        && openssl(place, &format!("req -new {key} -subj /CN=localhost -keyout server.key -out server.csr"))
        && openssl(
            place,
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
        )
}

async fn connect(url: &str) -> Result<bool> {
    let session = Connector::new(&url.parse()?)?.connect("test", "").await?;
    let row = session.client.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await;
    Ok(row.unwrap().get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_verifies_what_it_promises() {
    let directory = directory();
    let place = directory.path();
    if !certificates(place) {
        testkit::skipped::skipped("openssl missing");
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::fs::write(place.join("hba"), "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n")
        .unwrap();
    std::fs::set_permissions(place.join("hba"), PermissionsExt::from_mode(0o644)).unwrap();
    // The server's own files must be its account's: the first start makes a file to learn that account from.
    Local::start(&place.join("record"), LocalOptions::default()).await.unwrap().stop().await.unwrap();
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(place.join("record/data")).unwrap());
    chown(place.join("server.key"), Some(owner), None).unwrap();
    let path = |name: &str| place.join(name).display().to_string();
    let extra = [
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("hba_file", path("hba")),
        ("ssl", "on".to_owned()),
        ("ssl_cert_file", path("server.pem")),
        ("ssl_key_file", path("server.key")),
    ];
    let extra = extra.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let options = LocalOptions { extra, ..LocalOptions::default() };
    let local = Local::start(&place.join("record"), options).await.unwrap();
    let login = format!("postgres://nephkeep:{}@", local.password());
    let url = |host: &str, rest: &str| format!("{login}{host}:{port}/postgres?{rest}");
    let root = format!("sslrootcert={}", path("ca.pem"));
    assert!(connect(&url("localhost", &format!("sslmode=verify-full&{root}"))).await.unwrap());
    assert!(connect(&url("127.0.0.1", &format!("sslmode=verify-ca&{root}"))).await.unwrap());
    assert!(connect(&url("127.0.0.1", "sslmode=require")).await.unwrap());
    assert!(connect(&url("127.0.0.1", "sslmode=prefer")).await.unwrap());
    assert!(!connect(&url("127.0.0.1", "sslmode=disable")).await.unwrap());
    for refused in [
        url("127.0.0.1", &format!("sslmode=verify-full&{root}")),
        url("localhost", "sslmode=verify-full"),
        url("localhost", "sslmode=verify-ca"),
        url("localhost", "sslmode=verify-full&sslrootcert=/nonexistent.pem"),
    ] {
        assert_eq!(connect(&refused).await.unwrap_err().code(), "record-tls-failed", "{}", refused.replace(&login, ""));
    }
    // Several hosts: the first that answers and can write.
    let several =
        format!("{login}127.0.0.1:1,127.0.0.1:{port}/postgres?sslmode=require&target_session_attrs=read-write");
    assert!(connect(&several).await.unwrap());
    local.stop().await.unwrap();
}
