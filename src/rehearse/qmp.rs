use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

/// QEMU's control channel: one JSON object a line (QEMU Machine Protocol, `docs/interop/qmp-spec`).
#[derive(Debug)]
pub(super) struct Qmp(BufReader<UnixStream>);

impl Qmp {
    /// Greets QEMU. When this returns, every device of the machine exists and it runs.
    pub(super) async fn greet(stream: UnixStream) -> anyhow::Result<Self> {
        let mut qmp = Self(BufReader::new(stream));
        let greeting = qmp.read().await.context("waiting for QEMU")?;
        if greeting.get("QMP").is_none() {
            bail!("waiting for QEMU: its greeting is {greeting}");
        }
        qmp.execute("qmp_capabilities").await?;
        Ok(qmp)
    }

    /// Runs a command that takes no arguments and gives its result.
    pub(super) async fn execute(&mut self, command: &str) -> anyhow::Result<Value> {
        let line = json!({ "execute": command }).to_string() + "\n";
        self.0.get_mut().write_all(line.as_bytes()).await.with_context(|| format!("sending {command} to QEMU"))?;
        loop {
            let mut answer = self.read().await.with_context(|| format!("waiting for QEMU to {command}"))?;
            if let Some(error) = answer.get("error") {
                bail!("asking QEMU to {command}: {}", error["desc"].as_str().unwrap_or("it refused"));
            }
            if let Some(result) = answer.get_mut("return") {
                return Ok(result.take());
            }
            // Anything else is an event: the machine was reset, its clock was set. They come at any time.
        }
    }

    async fn read(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 {
            bail!("it closed its control channel");
        }
        serde_json::from_str(&line).with_context(|| format!("reading {line:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays QEMU: for each scripted line, waits for a line from the client unless it is the greeting.
    async fn against(script: &'static [&'static str]) -> anyhow::Result<Value> {
        let (ours, theirs) = UnixStream::pair()?;
        let qemu = async move {
            let mut theirs = BufReader::new(theirs);
            for (number, lines) in script.iter().enumerate() {
                if number > 0 {
                    theirs.read_line(&mut String::new()).await?;
                }
                theirs.get_mut().write_all(lines.as_bytes()).await?;
            }
            anyhow::Ok(())
        };
        let client = async { Qmp::greet(ours).await?.execute("query-status").await };
        let (answer, played) = tokio::join!(client, qemu);
        played.map(|()| answer)?
    }

    #[tokio::test]
    async fn events_between_command_and_answer_are_passed_over() {
        let script = &[
            "{\"QMP\": {\"version\": {}}}\r\n",
            "{\"return\": {}}\r\n",
            "{\"event\": \"RESET\"}\r\n{\"return\": {\"status\": \"running\"}}\r\n",
        ];
        assert_eq!(against(script).await.expect("an answer"), json!({ "status": "running" }));
    }

    #[tokio::test]
    async fn refusal_silence_and_nonsense_are_errors_that_name_the_command() {
        for (script, message) in [
            (&["{\"QMP\": {}}\n", "{\"return\": {}}\n", "{\"error\": {\"desc\": \"no\"}}\n"][..], "query-status: no"),
            (&["{\"QMP\": {}}\n", "{\"return\": {}}\n", ""][..], "to query-status: it closed"),
            (&["hello\n"][..], "waiting for QEMU: reading"),
            (&["{\"event\": \"RESET\"}\n"][..], "its greeting is"),
        ] {
            let error = format!("{:#}", against(script).await.expect_err(message));
            assert!(error.contains(message), "{error}");
        }
    }
}
