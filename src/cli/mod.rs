//! The command line: flags in, plain words out. clap lives only here.

mod cache;
mod console;
mod fetch;
mod flags;
mod local;
mod parse;
mod passphrase;
mod password;
mod plan;
mod prepare;
mod rehearse;
mod render;
mod serve;
mod templates;

use std::{path::Path, process::ExitCode};

use clap::error::ErrorKind;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::{
    console::Console,
    flags::{Cli, Render, Templates, Verb},
};
use crate::{plan::Problems, sudo::Invoker};

/// What was asked for cannot be done as it was asked: clap's own code for wrong flags.
const USAGE: u8 = 2;

/// Runs the program. The returned code is 0, or 1 for a failure, or 2 for a mistake in what was asked that shows before
/// an archive is asked.
pub fn run() -> ExitCode {
    let cli = match parse::parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing to be done about a closed pipe while saying so.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    let format = cli.log().log_format;
    console::init_log(cli.log());
    raise_descriptor_limit();
    match own_files(&cli).and_then(|()| dispatch(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::report(format, &error);
            if error.is::<Problems>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// As many descriptors as this user may have. Shells give 1024, for programs that still use select(2). 256 TFTP transfers with
/// a socket and a file each, 1024 HTTP connections, most with a file too, and 128 files on their way from upstream need more
/// than twice that.
fn raise_descriptor_limit() {
    // With fewer the servers turn clients away sooner, and say so.
    let _ = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
}

/// Under sudo, files in the home of whoever called it are made and opened as theirs. Before the runtime has its threads.
fn own_files(cli: &Cli) -> anyhow::Result<()> {
    let Some(invoker) = Invoker::of_this_process() else { return Ok(()) };
    let folder = cli.folder().map_or_else(local::default_prefix, Path::to_owned);
    invoker.take_on_files(&folder)
}

#[tokio::main]
async fn dispatch(cli: Cli) -> anyhow::Result<()> {
    match cli.verb {
        None => serve::run(cli.plan, cli.serve, Console::new(cli.log.log_format)).await,
        Some(Verb::Plan(flags)) => plan::run(flags).await,
        Some(Verb::Render(Render::Answers(flags))) => render::answers(flags).await,
        Some(Verb::Render(Render::Loader(flags))) => render::loader(flags).await,
        Some(Verb::Fetch(flags)) => fetch::run(flags).await,
        Some(Verb::Rehearse(flags)) => rehearse::run(flags).await,
        Some(Verb::Cache(verb)) => cache::run(verb),
        Some(Verb::Templates(Templates::Export(flags))) => {
            templates::export(&flags.folder, &Console::new(flags.log.log_format))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_are_all_that_this_user_may_have() {
        raise_descriptor_limit();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        assert_eq!(soft, hard);
    }
}
