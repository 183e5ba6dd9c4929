use std::{
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde_json::json;

use super::flags::{LogFlags, LogFormat};
use crate::{
    model::{Event, Hinted, Mac},
    plan::Problems,
};

/// What the operator reads, on standard output: what was chosen, that it is ready, what each machine does. Diagnostics go to
/// standard error through `tracing`.
#[derive(Debug)]
pub struct Console {
    format: LogFormat,
    /// One line at a time, also from several tasks.
    writing: Mutex<()>,
}

impl Console {
    pub fn new(format: LogFormat) -> Self {
        Self { format, writing: Mutex::new(()) }
    }

    /// `provisioner: key: value`
    pub fn chosen(&self, key: &str, value: impl std::fmt::Display) {
        match self.format {
            LogFormat::Text => self.line(&format!("provisioner: {key}: {value}")),
            LogFormat::Json => self.line(&json!({"chosen": key, "value": value.to_string()}).to_string()),
        }
    }

    /// `provisioner: text`
    pub fn say(&self, text: &str) {
        match self.format {
            LogFormat::Text => self.line(&format!("provisioner: {text}")),
            LogFormat::Json => self.line(&json!({"message": text}).to_string()),
        }
    }

    /// A row of a table, as it is.
    pub fn row(&self, text: &str, json: &serde_json::Value) {
        match self.format {
            LogFormat::Text => self.line(text),
            LogFormat::Json => self.line(&json.to_string()),
        }
    }

    /// A secret, which its reader has to see once. It goes nowhere else.
    pub fn secret(&self, what: &str, secret: &str) {
        match self.format {
            LogFormat::Text => self.line(&format!("provisioner: {what}: {secret}")),
            LogFormat::Json => self.line(&json!({"secret": what, "value": secret}).to_string()),
        }
    }

    /// Something about a machine that is no event.
    pub fn about(&self, mac: Mac, text: &str) {
        match self.format {
            LogFormat::Text => self.line(&format!("{mac} {text}")),
            LogFormat::Json => self.line(&json!({"mac": mac, "message": text}).to_string()),
        }
    }

    /// A line that a command printed which runs here for a machine.
    pub fn printed(&self, mac: Mac, line: &str) {
        match self.format {
            LogFormat::Text => self.line(&format!("{mac} | {line}")),
            LogFormat::Json => self.line(&json!({"mac": mac, "printed": line}).to_string()),
        }
    }

    /// What a machine did. Addresses are of interest to servers only.
    pub fn event(&self, event: &Event) {
        match self.format {
            LogFormat::Text => self.line(&format!("{} {}", event.mac, event.kind)),
            LogFormat::Json => match serde_json::to_string(event) {
                Ok(line) => self.line(&line),
                Err(error) => tracing::error!("writing an event as JSON: {error}"),
            },
        }
    }

    fn line(&self, text: &str) {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // A closed pipe is no reason to stop an installation: there is nobody left to tell.
        let mut out = io::stdout();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}

/// What ended the program, on standard error: each error and its causes in one sentence, then what to do about it.
pub fn report(format: LogFormat, error: &anyhow::Error) {
    let in_chain = error.chain().find_map(|cause| cause.downcast_ref::<Hinted>());
    let hint = error.downcast_ref::<Hinted>().or(in_chain).map(|Hinted { hint, .. }| hint.as_str());
    match (format, error.downcast_ref::<Problems>()) {
        (LogFormat::Text, None) => {
            let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            diagnose(&format!("provisioner: error: {error:#}{hint}"));
        }
        (LogFormat::Json, None) => diagnose(&diagnostic("ERROR", &format!("{error:#}"), hint)),
        (_, Some(Problems(problems))) => {
            for Hinted { what, hint } in problems {
                diagnose(&match format {
                    LogFormat::Text => format!("provisioner: error: {what}\n  hint: {hint}"),
                    LogFormat::Json => diagnostic("ERROR", what, Some(hint)),
                });
            }
        }
    }
}

/// What there is to know of a file that is all of standard output.
pub fn note(format: LogFormat, text: &str) {
    diagnose(&match format {
        LogFormat::Text => format!("provisioner: {text}"),
        LogFormat::Json => diagnostic("WARN", text, None),
    });
}

/// As `tracing` writes its own, so that whoever reads standard error finds one kind of object. Not through `tracing`: no level
/// of `RUST_LOG` may hide why the program ended.
fn diagnostic(level: &str, message: &str, hint: Option<&str>) -> String {
    let mut fields = json!({"message": message});
    if let Some(hint) = hint {
        fields["hint"] = hint.into();
    }
    json!({"timestamp": Timestamp::now(), "level": level, "fields": fields, "target": "provisioner"}).to_string()
}

fn diagnose(text: &str) {
    // Nobody is left to tell when even this pipe is closed.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Diagnostics on standard error. Warnings by default; `RUST_LOG` overrides.
pub fn init_log(flags: &LogFlags) {
    use tracing_subscriber::{EnvFilter, fmt};
    let level = match flags.verbose {
        0 => "warn",
        1 => "warn,provisioner=debug",
        _ => "debug,provisioner=trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    // A second call (a test that runs two verbs) keeps the first subscriber.
    let _ = match flags.log_format {
        LogFormat::Text => builder.with_target(flags.verbose > 1).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
