use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

mod cache;
mod plan;

pub use self::{
    cache::{Cache, ListFlags, PruneFlags, SizeFlags, VerifyFlags},
    plan::PlanFlags,
};
use crate::model::{Firmware, Mac};

/// Help of `--prefix`.
const PREFIX: &str = "Cache directory [default: provisioner/ in ~/.cache or $XDG_CACHE_HOME; with sudo in its \
                      caller's ~/.cache; for root itself in /var/cache]";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "provisioner",
    about = "Installs an operating system on bare machines over an ethernet cable",
    long_about = None,
    version,
    disable_version_flag = true,
    args_conflicts_with_subcommands = true,
    max_term_width = 80,
    after_help = "Without a command it serves: every machine on the cable that boots from the\n\
                  network is ERASED and installed. Try it first with `provisioner rehearse`.\n\
                  A machine whose installation fails is installed at most twice more, until\n\
                  this program is started again.\n\
                  All of these options but -v are environment variables too: --dns is\n\
                  PROVISIONER_DNS, --offline is PROVISIONER_OFFLINE=1. An empty one is not\n\
                  set, and sudo drops all but those that are set behind it: sudo NAME=..."
)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Option<Verb>,
    #[command(flatten)]
    pub plan: PlanFlags,
    #[command(flatten)]
    pub serve: ServeFlags,
    #[command(flatten)]
    pub log: LogFlags,
    /// Print the version of this program
    #[arg(short = 'V', action = ArgAction::Version)]
    version_of_program: Option<bool>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Print everything that would be served and changed; do none of it
    Plan(VerbFlags),
    /// Print a file that a machine would be sent, and nothing else
    #[command(subcommand)]
    Render(Render),
    /// Bring what machines will ask for into the cache, for --offline
    Fetch(FetchFlags),
    /// Install a throw-away virtual machine the same way
    Rehearse(RehearseFlags),
    /// What is kept for later: how much, whether it is sound, what may go
    #[command(subcommand)]
    Cache(Cache),
    /// Own answer files, loader scripts and distributions
    #[command(subcommand)]
    Templates(Templates),
}

/// What to do with templates.
#[derive(Debug, Subcommand)]
pub enum Templates {
    /// Write ours to a directory, to be changed there and given to --templates
    Export(ExportFlags),
}

/// `templates export`
#[derive(Debug, Args)]
pub struct ExportFlags {
    /// Directory to write to; what is there already is not overwritten
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    #[command(flatten)]
    pub log: LogFlags,
}

/// What to render.
#[derive(Debug, Subcommand)]
pub enum Render {
    /// The installer's answer file
    Answers(VerbFlags),
    /// The script that the boot loader runs
    Loader(LoaderFlags),
}

/// The flags of every verb that has none of its own.
#[derive(Debug, Args)]
pub struct VerbFlags {
    #[command(flatten)]
    pub plan: PlanFlags,
    #[command(flatten)]
    pub log: LogFlags,
}

/// `render loader`
#[derive(Debug, Args)]
pub struct LoaderFlags {
    /// Firmware of the machine
    #[arg(long, value_enum, default_value_t = FirmwareArg::Uefi)]
    pub firmware: FirmwareArg,
    #[command(flatten)]
    pub verb: VerbFlags,
}

/// `fetch`
#[derive(Debug, Args)]
pub struct FetchFlags {
    /// Only what machines boot from, no packages
    #[arg(long)]
    pub boot_files_only: bool,
    #[command(flatten)]
    pub verb: VerbFlags,
}

/// `rehearse`
#[derive(Debug, Args)]
pub struct RehearseFlags {
    /// Firmware of the virtual machine
    #[arg(long, value_enum, default_value_t = FirmwareArg::Uefi)]
    pub firmware: FirmwareArg,
    /// Its memory in MiB [default: what the installer needs, at least 2048]
    #[arg(long, value_name = "MIB")]
    pub memory: Option<u32>,
    /// Size of its disk in GiB (a sparse file)
    #[arg(long, value_name = "GIB", default_value_t = 20)]
    pub disk_size: u32,
    /// Show its serial console
    #[arg(long)]
    pub console: bool,
    /// Leave it running when it is done, until ^C
    #[arg(long)]
    pub keep: bool,
    #[command(flatten)]
    pub verb: VerbFlags,
}

/// Firmware as it can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FirmwareArg {
    Uefi,
    UefiHttp,
    Bios,
}

impl From<FirmwareArg> for Firmware {
    fn from(firmware: FirmwareArg) -> Self {
        match firmware {
            FirmwareArg::Uefi => Self::Uefi,
            FirmwareArg::UefiHttp => Self::UefiHttp,
            FirmwareArg::Bios => Self::Bios,
        }
    }
}

/// Flags that only make sense while serving.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machines")]
pub struct ServeFlags {
    /// Install this machine again, although it is installed
    #[arg(long, value_name = "MAC", env = "PROVISIONER_REINSTALL", hide_env = true, value_delimiter = ',')]
    pub reinstall: Vec<Mac>,
    /// Command to run here for each machine that is done, with its PROVISIONER_IP in the environment
    #[arg(long, value_name = "CMD", env = "PROVISIONER_ON_DONE", hide_env = true)]
    pub on_done: Option<String>,
    /// Take the archive's state anew when it is older than this, between
    /// installations; or never
    #[arg(long, value_name = "TIME", env = "PROVISIONER_REFRESH", hide_env = true, default_value = "6h")]
    #[arg(value_parser = refresh, help_heading = "Source")]
    pub refresh: Refresh,
}

/// `--refresh`: how old the archive's state may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh(pub Option<SignedDuration>);

fn refresh(text: &str) -> Result<Refresh, String> {
    match text {
        "never" => Ok(Refresh(None)),
        _ => cache::age(text).map(|age| Refresh(Some(age))),
    }
}

/// How to report.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct LogFlags {
    /// Lines for people, or one JSON object a line
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text, env = "PROVISIONER_LOG_FORMAT", hide_env = true)]
    pub log_format: LogFormat,
    /// Say more; twice: say everything
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// `--log-format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl Cli {
    /// Where files are made, whichever the verb, as far as it was said.
    pub fn folder(&self) -> Option<&Path> {
        self.folder_and_log().0
    }

    /// How to report, whichever the verb.
    pub fn log(&self) -> &LogFlags {
        self.folder_and_log().1
    }

    fn folder_and_log(&self) -> (Option<&Path>, &LogFlags) {
        let VerbFlags { plan, log } = match &self.verb {
            None => return (self.plan.prefix(), &self.log),
            Some(Verb::Cache(verb)) => return (verb.prefix(), &verb.flags().log),
            Some(Verb::Templates(Templates::Export(flags))) => return (Some(&flags.folder), &flags.log),
            Some(Verb::Plan(verb) | Verb::Render(Render::Answers(verb))) => verb,
            Some(
                Verb::Render(Render::Loader(LoaderFlags { verb, .. }))
                | Verb::Fetch(FetchFlags { verb, .. })
                | Verb::Rehearse(RehearseFlags { verb, .. }),
            ) => verb,
        };
        (plan.prefix(), log)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::plan::Settings;

    #[test]
    fn every_flag_has_a_help_and_fits_80_columns() {
        Cli::command().debug_assert();
        let mut command = Cli::command();
        command.build();
        check_help(&mut command);
    }

    fn check_help(command: &mut clap::Command) {
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{argument} of {} has no help", command.get_name());
        }
        let help = command.render_help().to_string();
        let wide: Vec<_> = help.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "too wide: {wide:?}");
        command.get_subcommands_mut().for_each(check_help);
    }

    #[test]
    fn every_option_is_a_variable_too_and_a_switch_takes_what_people_write() {
        for argument in Cli::command().get_arguments() {
            let Some(long) = argument.get_long() else { continue };
            let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
            let expected = format!("PROVISIONER_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(variable, Some(expected).filter(|_| long != "verbose"), "--{long}");
            if matches!(argument.get_action(), ArgAction::SetTrue) {
                let mut values = argument.get_value_parser().possible_values().expect("a switch has few values");
                assert!(values.any(|value| value.matches("1", true)), "--{long}");
            }
        }
    }

    #[test]
    fn a_state_is_refreshed_every_so_often_or_never() {
        let refresh = |flags: &[&str]| {
            Cli::try_parse_from([&["provisioner"], flags].concat()).map(|cli| cli.serve.refresh.0).map_err(|_| ())
        };
        assert_eq!(refresh(&[]), Ok(Some(SignedDuration::from_hours(6))));
        assert_eq!(refresh(&["--refresh=1d"]), Ok(Some(SignedDuration::from_hours(24))));
        assert_eq!(refresh(&["--refresh=never"]), Ok(None));
        assert_eq!((refresh(&["--refresh=0s"]), refresh(&["--refresh=6"])), (Err(()), Err(())));
    }

    #[test]
    fn version_is_the_distributions_and_lists_are_split() {
        let cli = Cli::try_parse_from([
            "provisioner",
            "--version=12",
            "--packages=vim,curl",
            "--kernel-args=-x console=ttyS0",
            "--dns=9.9.9.9,1.1.1.1",
        ])
        .expect("sound flags");
        let settings = Settings::from(cli.plan);
        assert_eq!(settings.version.as_deref(), Some("12"));
        assert_eq!(settings.packages, ["vim", "curl"]);
        assert_eq!(settings.kernel_args, ["-x", "console=ttyS0"]);
        assert_eq!(settings.dns.len(), 2);
    }
}
