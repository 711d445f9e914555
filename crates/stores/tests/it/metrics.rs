//! The metrics tier on real Prometheus children. Without the program each test says that it is skipped.

use model::Tenant;
use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};
use stores::metrics::{
    Counts, Local, LocalOptions, MetricQuery, Options, Place, Program, Protocol, Retention, Span, State, Tier,
};

use testkit::{
    postgresql::directory,
    prometheus::{Series, missing, now_ms, open, ready, version_1, version_2},
};

/// A platform metric of our contract.
const OURS: &str = "nephkeep_record_batches_total";

fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

fn samples(samples: u64) -> Counts {
    Counts { samples, ..Counts::default() }
}

async fn values(tier: &Tier, tenant: &Tenant, query: &str) -> Vec<f64> {
    let series = tier.query(tenant, query, None).await.unwrap();
    series.iter().map(|one| one.samples[0].1).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_are_stored_for_their_tenant_alone_and_read_across_both_classes() {
    if missing() {
        return;
    }
    let directory = directory();
    let tier = open(directory.path());
    ready(&tier).await;
    let (a, b, now) = (tenant("a"), tenant("b"), now_ms());
    let labels: &[(&str, &str)] = &[("__name__", "load"), ("site", "north")];
    let ours: &[(&str, &str)] = &[("__name__", OURS), ("tenant", "b")];
    let first = tier.write(&a, Protocol::V1, version_1(&[(labels, 1.0, now), (ours, 5.0, now)])).await.unwrap();
    let second = tier.write(&b, Protocol::V2, version_2(&[(labels, 2.0, now)])).await.unwrap();
    assert_eq!((first.written, second.written), (samples(2), samples(1)));
    assert_eq!((first.refused, second.refused), (samples(0), samples(0)));

    assert_eq!(values(&tier, &a, "load").await, [1.0]);
    assert_eq!(values(&tier, &b, "load").await, [2.0]);
    assert_eq!(values(&tier, &a, "load{tenant=\"b\"}").await, [0.0; 0]);
    assert_eq!(values(&tier, &a, &format!("{OURS} + on() load")).await, [6.0], "one expression over both engines");
    assert_eq!(values(&tier, &b, OURS).await, [0.0; 0], "a tenant label of the sender is not believed");
    assert_eq!(values(&tier, &a, "count({__name__=~\".+\",site=~\".*\"})").await, [2.0]);
    let span = Span { start: now as f64 / 1e3 - 10.0, end: now as f64 / 1e3 + 10.0, step: 5.0 };
    let range = tier.query_range(&a, "sum(load)", span).await.unwrap();
    assert!(range[0].samples.iter().all(|(_, value)| (*value - 1.0).abs() < f64::EPSILON), "{range:?}");
    let mut names = tier.label_values(&a, "__name__", &[]).await.unwrap();
    names.sort();
    assert_eq!(names, ["load", OURS]);
    assert_eq!(tier.label_values(&b, "site", &["load".to_owned()]).await.unwrap(), ["north"]);
    assert_eq!(tier.query(&a, "sum(", None).await.unwrap_err().code(), "promql-malformed");
    tier.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_sample_takes_no_other_with_it_and_is_counted() {
    if missing() {
        return;
    }
    let directory = directory();
    let tier = open(directory.path());
    ready(&tier).await;
    let (a, now) = (tenant("a"), now_ms());
    let names: Vec<String> = (0..20).map(|n| format!("m{n}")).collect();
    let labels: Vec<[(&str, &str); 2]> =
        names.iter().map(|name| [("__name__", name.as_str()), ("n", name.as_str())]).collect();
    let series = |bad: &[usize], at: i64| {
        let of = |n: usize| (&labels[n][..], 1.0, if bad.contains(&n) { at - 40 * 86_400_000 } else { at });
        version_1(&(0..20).map(of).collect::<Vec<_>>())
    };
    assert_eq!(tier.write(&a, Protocol::V1, series(&[], now)).await.unwrap().written, samples(20));
    // Two samples of last month: the engine refuses the whole batch that holds one of them.
    let done = tier.write(&a, Protocol::V1, series(&[3, 17], now + 1000)).await.unwrap();
    assert_eq!((done.written, done.refused), (samples(18), samples(2)), "{}", done.why);
    assert!(!done.why.is_empty());
    assert_eq!(values(&tier, &a, "count({__name__=~\"m.*\"})").await, [20.0]);
    let late = format!("count(timestamp({{__name__=~\"m.*\"}}) >= {})", (now + 1000) as f64 / 1e3);
    assert_eq!(tier.query(&a, &late, Some((now + 2000) as f64 / 1e3)).await.unwrap()[0].samples[0].1, 18.0);
    tier.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_engine_comes_back_with_its_samples_and_nothing_is_left_after_stop() {
    if missing() {
        return;
    }
    let directory = directory();
    let tier = open(directory.path());
    ready(&tier).await;
    let a = tenant("a");
    let labels: &[(&str, &str)] = &[("__name__", "kept")];
    let body = version_1(&[(labels, 7.0, now_ms())]);
    assert_eq!(tier.write(&a, Protocol::V1, body.clone()).await.unwrap().written, samples(1));
    let mut state = tier.watch(Retention::Governed).unwrap();
    let pid = tier.pid(Retention::Governed).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    state.wait_for(|state| matches!(state, State::Down { .. })).await.unwrap();
    assert_eq!(tier.write(&a, Protocol::V1, body).await.unwrap_err().code(), "metrics-unavailable");
    assert_eq!(tier.query(&a, "kept", None).await.unwrap_err().code(), "metrics-unavailable");
    state.wait_for(|state| matches!(state, State::Ready { restarts: 1.., .. })).await.unwrap();
    assert_eq!(values(&tier, &a, "kept").await, [7.0]);
    let status = tier.status().await;
    assert_eq!((status.kind, status.engines[0].restarts), ("local", 1));
    tier.stop().await.unwrap();
    let place = directory.path().join("metrics");
    assert_eq!(Local::left_behind(&place), [0; 0]);
    for file in ["scrape-token", "password", "governed/web.yml", "governed/prometheus.yml", "governed/log"] {
        let mode = std::fs::metadata(place.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

/// As a killed supervisor leaves an engine: running in its data directory, and nobody's child.
fn left(place: &Path) -> std::process::Child {
    let mut left = std::process::Command::new(Program::find(None).unwrap().path);
    left.args(["--config.file=../prometheus.yml", "--storage.tsdb.path=.", "--web.listen-address=127.0.0.1:0"]);
    left.current_dir(place.join("governed/data")).stderr(std::process::Stdio::null()).env_clear();
    left.spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_supervisor_is_refused_and_orphans_of_a_killed_one_are_ended() {
    if missing() {
        return;
    }
    let directory = directory();
    let place = directory.path().join("metrics");
    let tier = open(directory.path());
    ready(&tier).await;
    let second = open(directory.path());
    assert_eq!(second.status().await.kind, "unavailable");
    tier.stop().await.unwrap();

    // Nobody holds the lock.
    let mut orphan = left(&place);
    let seen = || Local::left_behind(&place) == [i32::try_from(orphan.id()).unwrap()];
    while !seen() {
        tokio::task::yield_now().await;
    }
    Local::end_left_behind(&place).await.unwrap();
    orphan.wait().unwrap();
    assert_eq!(Local::left_behind(&place), [0; 0]);
}

/// Else another supervisor might have begun engines in it by then, and they would be taken for orphans.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_taken_until_everything_in_it_has_ended() {
    if missing() {
        return;
    }
    let directory = directory();
    let place = directory.path().join("metrics");
    let tier = open(directory.path());
    ready(&tier).await;
    let mut other = left(&place);
    let signalled = |wanted: &str| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", other.id())).unwrap();
        status.lines().any(|line| line == wanted)
    };
    // It keeps every signal for later, so what comes after the first one has not begun when that is seen.
    rustix::process::kill_process(rustix::process::Pid::from_child(&other), rustix::process::Signal::STOP).unwrap();
    while !signalled("State:\tT (stopped)") {
        tokio::task::yield_now().await;
    }
    let stopping = tokio::spawn(async move { tier.stop().await });
    while !signalled("ShdPnd:\t0000000000004000") {
        tokio::task::yield_now().await;
    }
    assert_eq!(Local::end_left_behind(&place).await.unwrap_err().code(), "directory-in-use");
    other.kill().unwrap();
    other.wait().unwrap();
    stopping.await.unwrap().unwrap();
    Local::end_left_behind(&place).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_children_answer_nobody_without_the_password() {
    if missing() {
        return;
    }
    let directory = directory();
    let tier = open(directory.path());
    ready(&tier).await;
    let cmdline = std::fs::read(format!("/proc/{}/cmdline", tier.pid(Retention::Governed).unwrap())).unwrap();
    let cmdline = String::from_utf8(cmdline).unwrap();
    let address = cmdline.split('\0').find_map(|flag| flag.strip_prefix("--web.listen-address=")).unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    for path in ["api/v1/query?query=up", "metrics", "-/ready"] {
        let answer = reqwest::get(format!("http://{address}/{path}")).await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
    }
    let password = std::fs::read_to_string(directory.path().join("metrics/password")).unwrap();
    assert!(!cmdline.contains(&password));
    tier.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_program_the_tier_is_unavailable_and_says_why() {
    let directory = directory();
    let local = LocalOptions { program: Some("/nowhere/prometheus".into()), scrape: None };
    let options = Options { local, ..Options::default() };
    let tier = Tier::open(&Place::Local(directory.path().join("metrics")), options);
    let status = tier.status().await;
    assert_eq!(status.kind, "unavailable");
    assert!(status.reason.unwrap().contains("prometheus"), "the reason names what is missing");
    let body = version_1(&[(&[("__name__", "x")], 1.0, 1)]);
    assert_eq!(tier.write(&tenant("a"), Protocol::V1, body).await.unwrap_err().code(), "metrics-unavailable");
    assert_eq!(tier.query(&tenant("a"), "x", None).await.unwrap_err().code(), "metrics-unavailable");
    tier.stop().await.unwrap();
}

/// The production client against an engine of ours that stands in for a server elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_elsewhere_is_written_and_read_through_the_same_code() {
    if missing() {
        return;
    }
    let directory = directory();
    let program = Program::find(None).unwrap();
    let mut child = std::process::Command::new(program.path);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    std::fs::write(directory.path().join("p.yml"), "{}\n").unwrap();
    child.args(["--config.file=p.yml", "--storage.tsdb.path=data", "--web.enable-remote-write-receiver"]);
    child.arg(format!("--web.listen-address={address}"));
    let mut child =
        child.current_dir(directory.path()).env_clear().stderr(std::process::Stdio::null()).spawn().unwrap();
    let place = Place::parse(&format!("prometheus+http://{address}"), Path::new("/")).unwrap();
    let tier = Tier::open(&place, Options::default());
    let a = tenant("a");
    while tier.query(&a, "1", None).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let labels: &[(&str, &str)] = &[("__name__", "load")];
    let done = tier.write(&a, Protocol::V2, version_2(&[(labels, 3.0, now_ms())])).await.unwrap();
    assert_eq!(done.written, samples(1));
    assert_eq!(values(&tier, &a, "load").await, [3.0]);
    let status = tier.status().await;
    assert_eq!((status.kind, status.version.is_some()), ("remote", true));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(tier.query(&a, "load", None).await.unwrap_err().code(), "metrics-unavailable");
}

/// What a server elsewhere may answer with: this status to every write, its version to everything else.
struct Refusing {
    address: std::net::SocketAddr,
    writes: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Refusing {
    async fn with(status: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let writes = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
        let seen = std::sync::Arc::clone(&writes);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, status, std::sync::Arc::clone(&seen)));
            }
        });
        Self { address, writes }
    }
}

async fn answer(
    stream: tokio::net::TcpStream,
    status: u16,
    writes: std::sync::Arc<std::sync::atomic::AtomicUsize>,
) -> Option<()> {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::io::BufReader::new(stream);
    loop {
        let (mut path, mut length) = (String::new(), 0_usize);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            } else if path.is_empty() {
                path = line;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let (status, text) = if path.contains("/write") {
            writes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            (status, "no\n".to_owned())
        } else {
            (200, r#"{"status":"success","data":{"version":"2.42.0"}}"#.to_owned())
        };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        stream.get_mut().write_all(head.as_bytes()).await.ok()?;
    }
}

async fn refusing(status: u16) -> (Refusing, Tier) {
    let server = Refusing::with(status).await;
    let place = Place::parse(&format!("prometheus+http://{}", server.address), Path::new("/")).unwrap();
    (server, Tier::open(&place, Options::default()))
}

/// What is wrong with our rights, the path or the engine is wrong with no sample: the sender must keep it.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_said_of_samples_makes_them_never_storable() {
    let body = || version_1(&[(&[("__name__", "x")], 1.0, 1)]);
    for status in [401, 403, 404, 405, 407, 408, 415, 429, 500, 502, 503] {
        let (_server, tier) = refusing(status).await;
        let error = tier.write(&tenant("a"), Protocol::V1, body()).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("metrics-engine-failed", model::ErrorKind::Retry), "{status}");
    }
    for status in [400, 409, 413, 422] {
        let (_server, tier) = refusing(status).await;
        let done = tier.write(&tenant("a"), Protocol::V1, body()).await.unwrap();
        assert_eq!((done.written, done.refused, done.unsorted), (samples(0), samples(1), samples(0)), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_for_bad_samples_ends_and_tells_what_it_left_unsorted() {
    let (server, tier) = refusing(400).await;
    let all: Vec<Series<'_>> = vec![(&[("__name__", "x")], 1.0, 1); 1_000];
    let done = tier.write(&tenant("a"), Protocol::V1, version_1(&all)).await.unwrap();
    let requests = server.writes.load(std::sync::atomic::Ordering::SeqCst);
    assert!((64..90).contains(&requests), "{requests}");
    assert_eq!((done.written, done.refused), (samples(0), samples(1_000)));
    assert!(done.unsorted.samples > 900 && done.why == "no", "{done:?}");
}
