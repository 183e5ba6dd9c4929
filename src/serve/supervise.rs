use std::{future::Future, time::Duration};

/// How long a server that ended waits before it is started again: long enough not to spin, short enough for firmware's
/// own retries to find it.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs a server for ever: one that ends, by an error or a panic, is bound and started again, and takes no other down.
pub async fn supervise<S, F>(
    name: &'static str,
    first: S,
    rebind: impl Fn() -> anyhow::Result<S>,
    run: impl Fn(S) -> F,
) -> std::convert::Infallible
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut server = Some(first);
    loop {
        let Some(ready) = server.take() else {
            tokio::time::sleep(PAUSE).await;
            match rebind() {
                Ok(bound) => server = Some(bound),
                Err(error) => tracing::error!("starting {name} again: {error:#}"),
            }
            continue;
        };
        // A task of its own, so that a panic in it comes back as a value. It ends with this one.
        let mut task = tokio::task::JoinSet::new();
        task.spawn(run(ready));
        match task.join_next().await {
            Some(Ok(Ok(()))) | None => tracing::error!("{name} ended by itself"),
            Some(Ok(Err(error))) => tracing::error!("{name} ended: {error:#}"),
            Some(Err(error)) => tracing::error!("{name} ended: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_panics_or_fails_is_started_again() {
        let (starts, binds) = (std::sync::Arc::new(AtomicU32::new(0)), AtomicU32::new(0));
        let seen = std::sync::Arc::clone(&starts);
        let rebind = || match binds.fetch_add(1, Ordering::Relaxed) {
            0 => anyhow::bail!("the port is still taken"),
            n => Ok(n),
        };
        let run = move |_| {
            let start = starts.fetch_add(1, Ordering::Relaxed);
            async move {
                match start {
                    0 => panic!("a bad packet"),
                    1 => anyhow::bail!("the socket broke"),
                    _ => std::future::pending().await,
                }
            }
        };
        let supervised = supervise("test", 0, rebind, run);
        assert!(tokio::time::timeout(Duration::from_secs(60), supervised).await.is_err(), "it never ends");
        assert_eq!(seen.load(Ordering::Relaxed), 3);
    }
}
