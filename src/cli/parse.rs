//! Words of the command line to [`Cli`]: what clap does not do by itself.

use std::{env, ffi::OsString};

use clap::{
    Command, CommandFactory, Error, FromArgMatches,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::flags::Cli;

/// Reads the command line of this process, and its environment.
///
/// # Errors
/// What clap would print: what is wrong with it, or the help that was asked for.
pub fn parse() -> Result<Cli, Error> {
    from(env::args_os())
}

fn from(words: impl IntoIterator<Item = OsString>) -> Result<Cli, Error> {
    let mut command = without_empty_variables(Cli::command());
    let matches = command.try_get_matches_from_mut(words).map_err(with_tip)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// An empty variable is one that is not set, as `PROVISIONER_MAC=` in a file of settings means it; clap would take it for a
/// value.
fn without_empty_variables(command: Command) -> Command {
    command
        .mut_args(|arg| {
            let is_empty = arg.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
            if is_empty { arg.env(None) } else { arg }
        })
        .mut_subcommands(without_empty_variables)
}

/// Adds what to do about two mistakes that everybody makes here once.
fn with_tip(mut error: Error) -> Error {
    if let Some(tip) = tip(&error) {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
    error
}

fn tip(error: &Error) -> Option<String> {
    match (error.kind(), error.get(ContextKind::InvalidSubcommand), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::ArgumentConflict, Some(ContextValue::String(verb)), _) => {
            Some(format!("options go after the command: provisioner {verb} [OPTIONS]"))
        }
        (ErrorKind::InvalidValue, _, Some(ContextValue::String(arg))) if arg.starts_with("--version ") => {
            let is_empty =
                matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(value)) if value.is_empty());
            is_empty.then(|| "it is the distribution's; `provisioner -V` prints that of this program".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_that_everybody_makes_once_is_answered_with_the_way_to_say_it() {
        for (line, tip) in [
            ("provisioner --mirror /mnt plan", Some("provisioner plan [OPTIONS]")),
            ("provisioner --distro debian fetch", Some("provisioner fetch [OPTIONS]")),
            ("provisioner --version", Some("`provisioner -V`")),
            ("provisioner plan --version", Some("`provisioner -V`")),
            ("provisioner --distro", None),
            ("provisioner --mac=52:54", None),
            ("provisioner cache prune --everything --size=1G", None),
        ] {
            let error = from(line.split(' ').map(OsString::from)).expect_err(line).to_string();
            match tip {
                Some(tip) => assert!(error.contains(tip), "{error}"),
                None => assert!(!error.contains("tip:"), "{error}"),
            }
        }
    }
}
