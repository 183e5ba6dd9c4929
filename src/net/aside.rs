use std::{io, thread};

use super::Place;

/// Runs a future to its end in `place`, on a thread and a runtime of its own.
///
/// It needs no runtime and disturbs none: it may be called before one exists, from inside one (where `block_on` panics),
/// and from `Drop`.
pub(super) fn run<T, F>(place: &Place, make: impl FnOnce() -> F + Send) -> io::Result<T>
where
    T: Send,
    F: Future<Output = io::Result<T>>,
{
    let work = || tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async { make().await });
    thread::scope(|scope| {
        let thread = scope.spawn(|| place.run(work));
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_may_be_called_from_inside_a_runtime() {
        let answer = run(&Place::Here, || async {
            tokio::task::yield_now().await;
            Ok(42)
        });
        assert_eq!(answer.expect("a runtime"), 42);
    }
}
