use super::{
    console,
    flags::{FirmwareArg, LoaderFlags, VerbFlags},
    local::Link,
    passphrase,
    prepare::{Prepared, Purpose, prepare},
};
use crate::{
    boot::{Carrier, MachineUrls, Names, Scripts, Secret},
    distro::{self, AnswerContext, ScriptKind},
    model::Mac,
    plan::Plan,
    serve,
};

/// Stands for the machine when `--mac` does not name one.
const ANY_MACHINE: Mac = Mac([0x02, 0, 0, 0, 0, 1]);

/// `provisioner render answers`: the answer file, and nothing else on standard output.
pub async fn answers(flags: VerbFlags) -> anyhow::Result<()> {
    let format = flags.log.log_format;
    let mut plan = prepared(flags).await?;
    if plan.recipe.password.is_none() {
        console::note(format, "no --password: rendered with every account locked");
    }
    if passphrase::stand_in(&mut plan)? {
        console::note(format, "no --luks-passphrase-file: rendered with words that are no passphrase");
    }
    let (mac, urls) = anyone(&plan);
    let handoff_code = serve::handoff_digest(&plan.recipe.handoff)?;
    let context = AnswerContext { handoff_code, ..plan.answer_context(mac, &urls.answers, &urls.callback) };
    print(&distro::answers(&context)?)
}

/// `provisioner render loader`: the script of the boot loader, and nothing else on standard output.
pub async fn loader(flags: LoaderFlags) -> anyhow::Result<()> {
    let mut plan = prepared(flags.verb).await?;
    passphrase::stand_in(&mut plan)?;
    let (kind, carrier) = match flags.firmware {
        FirmwareArg::Uefi => (ScriptKind::Grub, Carrier::Tftp),
        FirmwareArg::UefiHttp => (ScriptKind::Grub, Carrier::Http),
        FirmwareArg::Bios => (ScriptKind::Ipxe, Carrier::Http),
    };
    let (mac, urls) = anyone(&plan);
    let args = distro::kernel_args(&plan.answer_context(mac, &urls.answers, &urls.callback))?;
    let names = Names::new(&plan.release);
    let scripts = Scripts::new(&plan.release.distro.catalogue)?;
    print(&scripts.install(kind, carrier, &plan.release, names.folder(), plan.endpoints(), &args)?)
}

/// The plan. What is noted on the way to it is none of the output.
async fn prepared(flags: VerbFlags) -> anyhow::Result<Plan> {
    let Prepared { plan, notes } = prepare(flags.plan, Link::None, Purpose::Show).await?;
    for note in notes {
        console::note(flags.log.log_format, &note);
    }
    Ok(plan)
}

/// A machine that is not there, and its addresses: the token in them opens nothing.
pub fn anyone(plan: &Plan) -> (Mac, MachineUrls) {
    let mac = plan.host.mac.unwrap_or(ANY_MACHINE);
    (mac, Secret([0; 32]).urls(mac, plan.endpoints(), &plan.release.distro.answers))
}

fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}
