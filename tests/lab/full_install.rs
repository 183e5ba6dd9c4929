//! A whole unattended installation. It takes an hour without KVM, so it runs only when it is asked for.

use std::{env, fs};

use provisioner::{
    model::Firmware,
    rehearse::{Options, run},
};

use crate::{lab::admit, plan, upstream::Upstream};

/// From this machine's own Debian mirror, or from `PROVISIONER_LAB_MIRROR` (what stands before `/debian/…`) where that lacks
/// the installer's packages. What such a mirror needs besides: `PROVISIONER_LAB_KERNEL_ARGS` (separated by spaces), `PROVISIONER_LAB_ANSWERS` (a file appended to the answers) and
/// `PROVISIONER_LAB_KEYRING` (a file with further trusted keys).
#[tokio::test]
#[ignore = "takes an hour without KVM"]
async fn full_install() {
    let firmware = Firmware::Uefi;
    let Some((_, _turn)) = admit(firmware, &[]).await else { return };
    let upstream = Upstream::start().await;
    let mut plan = plan::debian12(&upstream);
    let arguments = env::var("PROVISIONER_LAB_KERNEL_ARGS").unwrap_or_default();
    plan.kernel_args.extend(arguments.split_ascii_whitespace().map(str::to_owned));
    plan.append_answers = env::var_os("PROVISIONER_LAB_ANSWERS").map(|path| fs::read_to_string(path).expect("answers"));
    plan.extra_keys.extend(env::var_os("PROVISIONER_LAB_KEYRING").map(|path| fs::read(path).expect("keys")));
    let options = Options { firmware, console: true, ..Options::default() };
    let report = run(plan, options, &|line| eprintln!("{line}")).await.expect("an installation");
    eprintln!("{report}");
    assert!(report.machine.is_installed());
}
