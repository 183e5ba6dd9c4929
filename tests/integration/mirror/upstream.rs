//! A small upstream on loopback: it records what it is asked, and does to its connections what a test wants.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// `Last-Modified` of everything that [`file`] serves.
pub const DATE: &str = "Tue, 15 Nov 2022 12:45:26 GMT";

/// What the upstream was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    /// By lower-case name.
    pub headers: HashMap<String, String>,
    /// How many requests came before.
    pub number: usize,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// One step of what happens to a connection. After the last it is closed.
pub enum Act {
    Send(Vec<u8>),
    /// Until the test adds a permit; for ever, if it never does.
    Wait(Arc<Semaphore>),
    /// An RST instead of an orderly end.
    Reset,
}

type Script = dyn Fn(&Asked) -> Vec<Act> + Send + Sync;

pub struct Upstream {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Upstream {
    pub async fn start(script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, asked) = (listener.local_addr().expect("bound"), Arc::<Mutex<Vec<Asked>>>::default());
        let (script, record): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&asked));
        let accepting = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (script, record) = (Arc::clone(&script), Arc::clone(&record));
                // A client that goes away early is none of the upstream's business.
                tokio::spawn(async move { answer(connection, &*script, &record).await.unwrap_or_default() });
            }
        });
        Self { address, asked, accepting }
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

async fn answer(connection: TcpStream, script: &Script, record: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines[0].split(' ').nth(1).expect("a request line").to_owned();
    let fields = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let headers = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let acts = {
        let mut record = record.lock().expect("no panic");
        let asked = Asked { path, headers, number: record.len() };
        record.push(asked.clone());
        script(&asked)
    };
    for act in acts {
        match act {
            Act::Send(bytes) => connection.write_all(&bytes).await?,
            Act::Wait(permits) => permits.acquire().await.expect("never closed").forget(),
            Act::Reset => connection.get_ref().set_zero_linger()?,
        }
    }
    // A lingering of zero makes this the reset.
    drop(connection);
    Ok(())
}

/// A response's head. Every connection carries one response.
pub fn head(status: &str, headers: &[(&str, &str)]) -> Act {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    Act::Send(format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n").into_bytes())
}

/// A whole response without validators.
pub fn plain(status: &str, body: &[u8]) -> Vec<Act> {
    vec![head(status, &[("Content-Length", &body.len().to_string())]), Act::Send(body.to_vec())]
}

/// The head of a `200` for a file of `length` bytes with the validators of [`file`].
pub fn found(length: usize, etag: &str) -> Act {
    head("200 OK", &[("Content-Length", &length.to_string()), ("ETag", etag), ("Last-Modified", DATE)])
}

/// What an honest upstream does for a file: conditions, `Range` and `If-Range`.
pub fn file(asked: &Asked, body: &[u8], etag: &str) -> Vec<Act> {
    if asked.header("if-none-match") == Some(etag) {
        return vec![head("304 Not Modified", &[("ETag", etag)])];
    }
    let same = asked.header("if-range").is_none_or(|validator| validator == etag || validator == DATE);
    let from = asked.header("range").filter(|_| same).and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    let Some(from) = from.map(|from| from.parse::<usize>().expect("a number")) else {
        return vec![found(body.len(), etag), Act::Send(body.to_vec())];
    };
    let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
    let length = (body.len() - from).to_string();
    let headers = [("Content-Length", &*length), ("Content-Range", &*range), ("ETag", etag)];
    vec![head("206 Partial Content", &headers), Act::Send(body[from..].to_vec())]
}
