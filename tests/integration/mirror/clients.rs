//! Real clients: curl here, APT and DNF beside it.

use std::{
    fs,
    process::{Output, Stdio},
};

use tokio::process::Command;

use super::{
    bench::{Bench, DEB, content, listen},
    upstream::{Act, file, found},
};

/// Whether a test can run; without what it needs it must not pass unnoticed where everything is meant to be there.
pub fn can_run(needs: bool, what: &str) -> bool {
    assert!(needs || std::env::var_os("CI").is_none_or(|ci| ci != "true"), "missing: {what}");
    if !needs {
        eprintln!("skipped: missing {what}");
    }
    needs
}

pub async fn has(tool: &str) -> bool {
    let status = Command::new(tool).arg("--version").stdout(Stdio::null()).status().await;
    status.is_ok_and(|status| status.success())
}

async fn curl(args: &[&str]) -> Output {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*"]).args(args);
    curl.output().await.expect("curl runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_resumes_reads_ranges_and_notices_breaks() {
    if !can_run(has("curl").await, "curl") {
        return;
    }
    let body = content(500_000);
    let script_body = body.clone();
    let bench = Bench::start(move |asked| match asked.path.as_str() {
        "/debian/pool/short.deb" => vec![found(500_000, "\"v1\""), Act::Send(script_body[..1000].to_vec())],
        _ => file(asked, &script_body, "\"v1\""),
    })
    .await;
    let address = listen(bench.proxy.clone());
    let url = format!("http://{address}/mirror/{DEB}");
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("hello.deb");
    let output = target.to_str().expect("a plain path");

    fs::write(&target, &body[..123_456]).expect("written");
    let resumed = curl(&["-C", "-", "-o", output, &url]).await;
    assert!(resumed.status.success() && fs::read(&target).expect("readable") == body, "{resumed:?}");
    let part = curl(&["-r", "1000-1999", &url]).await;
    assert!(part.status.success() && part.stdout == body[1000..2000]);
    let tail = curl(&["-r", "-10", &url]).await;
    assert!(tail.status.success() && tail.stdout == body[499_990..]);
    let head = String::from_utf8(curl(&["--head", &url]).await.stdout).expect("text").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 500000\r\n"), "{head}");
    let beyond = curl(&["-r", "500000-", &url]).await;
    assert_eq!(beyond.status.code(), Some(22), "416: {beyond:?}");
    assert_eq!(bench.asked().len(), 1);

    let short = curl(&[&format!("http://{address}/mirror/debian/pool/short.deb")]).await;
    assert_eq!(short.status.code(), Some(18), "a break is seen as a partial file: {short:?}");
}
