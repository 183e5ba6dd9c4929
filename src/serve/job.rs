use std::{
    pin::pin,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Command,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long a command may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// How long output is waited for after a command's end: something that it left in the background may hold the pipe for ever.
const REST: Duration = Duration::from_secs(1);

/// Runs a command to its end with no input; `hear` is given what it prints, line by line. When `end` comes first, its whole
/// process group is asked to end, and made to.
///
/// # Errors
/// When it cannot be started.
pub async fn run(
    command: std::process::Command,
    end: &CancellationToken,
    hear: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<ExitStatus> {
    let mut child = Command::from(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: a ^C on the terminal is ours to pass on.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("starting it")?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    // Only while the child is not waited for: until then nobody else can have its number.
    let tell = |signal: Signal| {
        if let Some(Err(error)) = group.map(|group| killpg(group, signal)) {
            tracing::debug!("sending {signal} to {group:?}: {error}");
        }
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let mut printed = pin!(futures_util::future::join(lines(out, hear), lines(err, hear)));
    let (mut all_printed, mut killed_at) = (false, None);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.context("waiting for its end")?,
            _ = &mut printed, if !all_printed => all_printed = true,
            () = end.cancelled(), if killed_at.is_none() => {
                tell(Signal::SIGTERM);
                killed_at = Some(Instant::now() + GRACE);
            }
            () = sleep_until(killed_at.unwrap_or_else(Instant::now)), if killed_at.is_some() => {
                tell(Signal::SIGKILL);
                killed_at = Some(Instant::now() + GRACE);
            }
        }
    };
    if !all_printed {
        let _ = timeout(REST, printed).await;
    }
    Ok(status)
}

async fn lines(stream: Option<impl AsyncRead + Unpin>, hear: &(dyn Fn(&str) + Sync)) {
    let Some(stream) = stream else { return };
    let (mut stream, mut line) = (BufReader::new(stream), Vec::new());
    // A pipe that breaks has ended.
    while stream.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
        let text: String = String::from_utf8_lossy(&line).chars().filter(|c| *c == '\t' || !c.is_control()).collect();
        hear(&text);
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, sync::Mutex};

    use super::*;

    fn shell(script: &str) -> std::process::Command {
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    async fn run_to_the_end(script: &str) -> (ExitStatus, Vec<String>) {
        let heard = Mutex::new(Vec::new());
        let hear = |line: &str| heard.lock().expect("no panic").push(line.to_owned());
        let status = run(shell(script), &CancellationToken::new(), &hear).await.expect("a shell");
        (status, heard.into_inner().expect("no panic"))
    }

    #[tokio::test]
    async fn lines_and_the_status_are_told_and_a_daemon_left_behind_is_not_waited_for() {
        let (status, heard) = run_to_the_end("echo one; printf 'two\\033[2J' >&2; read x || echo none; exit 3").await;
        assert_eq!(status.code(), Some(3));
        assert!(["one", "two[2J", "none"].iter().all(|line| heard.iter().any(|heard| heard == line)), "{heard:?}");
        let (status, heard) = run_to_the_end("sleep 20 & echo left").await;
        assert_eq!((status.code(), heard), (Some(0), vec!["left".to_owned()]));
    }

    #[tokio::test]
    async fn its_whole_group_ends_when_it_is_told_to_and_later_when_it_will_not() {
        let end = CancellationToken::new();
        let first_line_ends_it = |_: &str| end.cancel();
        let status = run(shell("sleep 60 | (echo up; cat)"), &end, &first_line_ends_it).await.expect("a shell");
        assert_eq!(status.signal(), Some(Signal::SIGTERM as i32));

        let end = CancellationToken::new();
        let first_line_ends_it = |_: &str| end.cancel();
        let stubborn = "trap '' TERM; echo up; while :; do sleep 1; done";
        let status = run(shell(stubborn), &end, &first_line_ends_it).await.expect("a shell");
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
    }
}
