//! The program as a child process: what it prints, as it prints it, and how it ends.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Longer than anything takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program; killed when dropped.
pub struct Program {
    child: Child,
    out: Heard,
    err: Heard,
    /// How many lines of standard output [`Program::says`] has passed.
    passed: usize,
}

/// How a program ended, and all that it printed.
#[derive(Debug)]
pub struct Ended {
    /// `None`: a signal ended it.
    pub code: Option<i32>,
    /// Lines of standard output.
    pub out: Vec<String>,
    /// Standard error.
    pub err: String,
}

impl Program {
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a program to start");
        let out = Heard::listen(child.stdout.take().expect("it is piped"));
        let err = Heard::listen(child.stderr.take().expect("it is piped"));
        Self { child, out, err, passed: 0 }
    }

    /// Waits for the next line of standard output with `text` in it.
    pub fn says(&mut self, text: &str) -> String {
        let passed = self.passed;
        let found = self.out.until(|heard| {
            let found = heard.lines.iter().skip(passed).position(|line| line.contains(text));
            (found.is_some() || heard.ended).then_some(found)
        });
        let Some(Some(found)) = found else { panic!("it did not say {text:?}:\n{}", self.transcript()) };
        self.passed += found + 1;
        self.out.lines().swap_remove(self.passed - 1)
    }

    /// Waits for a line of standard error with `text` in it.
    pub fn warns(&self, text: &str) -> String {
        let line = |heard: &Lines| heard.lines.iter().find(|line| line.contains(text)).cloned();
        let found = self.err.until(|heard| line(heard).map(Some).or(heard.ended.then_some(None)));
        found.flatten().unwrap_or_else(|| panic!("it did not warn of {text:?}:\n{}", self.transcript()))
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it is our child");
    }

    /// Waits until it has ended by itself.
    pub fn ends(mut self) -> Ended {
        let ended = [&self.out, &self.err].map(|stream| stream.until(|heard| heard.ended.then_some(())));
        assert!(ended.iter().all(Option::is_some), "it does not end:\n{}", self.transcript());
        let code = self.child.wait().expect("it is our child").code();
        Ended { code, out: self.out.lines(), err: self.err.lines().join("\n") }
    }

    /// `^C`, to its orderly end.
    pub fn stop(self) -> Ended {
        self.signal(Signal::SIGINT);
        let ended = self.ends();
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        ended
    }

    fn transcript(&self) -> String {
        format!("{}\n--- standard error:\n{}", self.out.lines().join("\n"), self.err.lines().join("\n"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // After its end both are errors that do not matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The message of a program that refused to do what it was asked: one error, one hint.
    pub fn refusal(&self) -> &str {
        assert!(matches!(self.code, Some(1 | 2)), "{self:#?}");
        assert!(!self.out.iter().any(|line| line.contains("ready")), "{self:#?}");
        assert!(self.err.starts_with("provisioner: error: "), "{self:#?}");
        let lines = |with: &str| self.err.lines().filter(|line| line.trim_start().starts_with(with)).count();
        assert_eq!((lines("provisioner: error: "), lines("hint: ")), (1, 1), "{self:#?}");
        &self.err
    }
}

/// A stream's lines as they come.
#[derive(Clone, Default)]
struct Heard(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Heard {
    fn listen(stream: impl Read + Send + 'static) -> Self {
        let heard = Self::default();
        let told = heard.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                told.change(|heard| heard.lines.push(line));
            }
            told.change(|heard| heard.ended = true);
        });
        heard
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        let (lines, news) = &*self.0;
        change(&mut lines.lock().expect("no thread panics with it"));
        news.notify_all();
    }

    /// Waits until `found` finds something; `None` when it takes too long.
    fn until<T>(&self, found: impl Fn(&Lines) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let (lines, news) = &*self.0;
        let mut lines = lines.lock().expect("no thread panics with it");
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match found(&lines) {
                None if !left.is_zero() => lines = news.wait_timeout(lines, left).expect("no thread panics with it").0,
                outcome => return outcome,
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        self.0.0.lock().expect("no thread panics with it").lines.clone()
    }
}
