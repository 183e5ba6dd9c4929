//! Upstream behind a forward proxy, as the usual environment variables name it.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
};

use super::{rpm_boot::levels::tls::Front, *};
use crate::mirror::bench::{open_on, receive, recorder, request};

const USER: &str = "operator:proxysecret";

/// A proxy that passes on both kinds of request (RFC 9110 §9.3.6, RFC 9112 §3.2.2) of one server, whatever name it is asked for,
/// and remembers their heads.
struct ForwardProxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ForwardProxy {
    fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, heads) = (listener.local_addr().expect("bound"), Arc::<Mutex<Vec<String>>>::default());
        let record = Arc::clone(&heads);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let record = Arc::clone(&record);
                thread::spawn(move || pass_on(client, server, &record));
            }
        });
        Self { address, heads }
    }

    /// The first lines of what it was asked, once each.
    fn asked(&self) -> Vec<String> {
        let heads = std::mem::take(&mut *self.heads.lock().expect("no panic"));
        heads.iter().filter_map(|head| head.lines().next().map(str::to_owned)).collect()
    }
}

fn pass_on(mut client: TcpStream, server: SocketAddr, record: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let (mut head, mut lines) = (String::new(), BufReader::new(client.try_clone()?));
    while !head.ends_with("\r\n\r\n") && lines.read_line(&mut head)? > 0 {}
    record.lock().expect("no panic").push(head.clone());
    if !head.to_ascii_lowercase().contains("proxy-authorization: basic ") {
        return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    }
    let mut upstream = TcpStream::connect(server)?;
    if head.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        // Absolute form, which a server of the other kind need not know: its path follows the host.
        let (method, rest) = head.split_once(" http://").expect("absolute form");
        let path = rest.split_once('/').expect("a path").1;
        write!(upstream, "{method} /{path}")?;
    }
    let (mut back, mut to) = (upstream.try_clone()?, client.try_clone()?);
    let answering =
        thread::spawn(move || std::io::copy(&mut back, &mut to).and_then(|_| to.shutdown(std::net::Shutdown::Both)));
    std::io::copy(&mut lines, &mut upstream)?;
    answering.join().expect("no panic")
}

/// In a process of its own, which has the variables from its start: fetches `PROXIED` by itself and over a mirror.
#[tokio::test]
async fn child() -> anyhow::Result<()> {
    let Ok(url) = env::var("PROXIED") else { return Ok(()) };
    let (client, store) = (client()?, tempfile::tempdir()?);
    let archive: url::Url = url.parse()?;
    match client.get(format!("{url}/direct").parse()?).send().await {
        Ok(answer) => println!("fetched {} {}", answer.status(), answer.text().await?),
        Err(error) => {
            let debug = format!("{error:?}");
            println!("failed {:#} {debug}", anyhow::Error::from(error));
        }
    }
    let proxy = open_on(vec![Mirror::new("m", &archive)], client, store.path(), false, recorder().0);
    let got = receive(request(&proxy, axum::http::Method::GET, "m/mirrored", &[]).await).await;
    println!("mirrored {} {}", got.status, String::from_utf8_lossy(&got.body.unwrap_or_default()));
    Ok(())
}

/// What [`child`] prints, with no variables but these.
fn run_child(url: &str, variables: &[(&str, String)]) -> anyhow::Result<String> {
    let mut command = Command::new(env::current_exe()?);
    command.env_clear().args(["--exact", "fetch::proxy::child", "--nocapture"]).env("PROXIED", url);
    let output = command.envs(variables.iter().map(|(name, value)| (name, value))).output()?;
    Ok(String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?)
}

#[test]
fn the_usual_variables_lead_over_a_proxy_and_around_it() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("direct"), "one")?;
    std::fs::write(folder.path().join("mirrored"), "two")?;
    let server = FaultyServer::start(folder.path());
    let proxy = ForwardProxy::start(server.address());
    let at = |user: &str| format!("http://{user}@{}", proxy.address);
    let both = ["fetched 200 OK one", "mirrored 200 OK two"];

    for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        let printed = run_child("http://mirror.test", &[(variable, at(USER))])?;
        assert!(both.iter().all(|line| printed.contains(line)), "{variable}: {printed}");
        let expected = ["direct", "mirrored"].map(|path| format!("GET http://mirror.test/{path} HTTP/1.1"));
        assert_eq!(proxy.asked(), expected, "{variable}");
    }
    // Whom the exceptions name is asked without it, as is loopback where they name that.
    let around = [("http_proxy", at(USER)), ("no_proxy", "127.0.0.1,.test".to_owned())];
    let printed = run_child(&server.url(), &around)?;
    assert!(both.iter().all(|line| printed.contains(line)), "{printed}");
    assert_eq!(proxy.asked(), [""; 0]);
    // A refusal is an error, and neither it nor its details tell the password.
    for url in ["http://mirror.test", "https://mirror.test"] {
        let closed = format!("http://{USER}@127.0.0.1:1");
        let variables = ["http_proxy", "https_proxy"].map(|name| (name, closed.clone()));
        let printed = run_child(url, &variables)?;
        assert!(printed.contains("failed ") && printed.contains("mirrored 502"), "{printed}");
        assert!(!printed.contains("proxysecret") && !printed.contains("b3BlcmF0b3I6"), "{printed}");
    }
    Ok(())
}

#[test]
fn https_goes_through_a_tunnel() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("direct"), "one")?;
    std::fs::write(folder.path().join("mirrored"), "two")?;
    let server = FaultyServer::start(folder.path());
    let Some(tls) = Front::start(server.address())? else { return Ok(()) };
    let (_, port) =
        tls.url().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).context("a port")?;
    let proxy = ForwardProxy::start(format!("127.0.0.1:{port}").parse()?);
    let certificate = folder.path().join("certificate.pem");
    std::fs::write(&certificate, tls.certificate())?;
    let variables = [
        ("https_proxy", format!("http://{USER}@{}", proxy.address)),
        ("SSL_CERT_FILE", certificate.display().to_string()),
    ];
    let printed = run_child(&tls.url(), &variables)?;
    assert!(printed.contains("fetched 200 OK one") && printed.contains("mirrored 200 OK two"), "{printed}");
    let asked = proxy.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|line| *line == format!("CONNECT localhost:{port} HTTP/1.1")),
        "{asked:?}"
    );

    // Wrong user: the proxy's refusal, without what it refused.
    let nobody = [("https_proxy", format!("http://{}", proxy.address)), variables[1].clone()];
    let printed = run_child(&tls.url(), &nobody)?;
    assert!(printed.contains("failed ") && printed.contains("mirrored 502"), "{printed}");
    Ok(())
}
