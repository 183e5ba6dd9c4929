"""check.py MANIFEST: reads kickstarts as the installer of each release does, and compares what it understood with what was
asked for. One line per complaint; as for ksvalidator, a warning counts as an error, but for one: that an account has a second
SSH key. The installer adds each to authorized_keys."""

import json
import sys
import warnings

from pykickstart import constants
from pykickstart.errors import KickstartParseWarning
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

KINDS = {
    constants.KS_SCRIPT_PRE: "pre",
    constants.KS_SCRIPT_PREINSTALL: "pre-install",
    constants.KS_SCRIPT_POST: "post",
    constants.KS_SCRIPT_ONERROR: "onerror",
}


def understood(ks):
    """What a parsed kickstart asks for, in the manifest's words."""
    mounted = [part for part in ks.partition.partitions if not part.mountpoint.startswith("/boot")]
    return {
        "mode": [ks.displaymode.displayMode == constants.DISPLAY_MODE_TEXT, ks.displaymode.nonInteractive],
        "end": ks.reboot.action == constants.KS_REBOOT,
        "url": ks.url.url,
        "repos": [[repo.name, repo.baseurl, repo.install] for repo in ks.repo.repoList],
        "lang": [ks.lang.lang, *ks.lang.addsupport],
        "keyboard": ks.keyboard.x_layouts,
        "timezone": [ks.timezone.timezone, bool(ks.timezone.isUtc)],
        "time-servers": [source.ntp_server for source in ks.timesource.timesource_list],
        "network": [[net.bootProto, net.device, net.activate, net.hostname or ""] for net in ks.network.network],
        "root": [ks.rootpw.password or "", bool(ks.rootpw.isCrypted), bool(ks.rootpw.lock)],
        "users": [[user.name, user.password, user.lock, user.groups] for user in ks.user.userList],
        "keys": [[key.username, key.key] for key in ks.sshkey.sshUserList],
        "services": [ks.services.enabled, ks.firewall.enabled, ks.firewall.services],
        "selinux": ks.selinux.selinux == constants.SELINUX_ENFORCING,
        "only-disk": ks.ignoredisk.onlyuse,
        "cleared": [ks.clearpart.drives, ks.zerombr.zerombr],
        "append": ks.bootloader.appendLine or "",
        "boot": ks.reqpart.addBoot,
        "secrets": [part.passphrase if part.encrypted else None for part in mounted],
        "luks": [part.luks_version for part in mounted],
        "volumes": [[lv.mountpoint, lv.fstype] for lv in ks.logvol.lvList],
        "subvolumes": [btrfs.mountpoint for btrfs in ks.btrfs.btrfsList if btrfs.subvol]
        if hasattr(ks.btrfs, "btrfsList") else [],
        "environment": ks.packages.environment,
        "packages": sorted(ks.packages.packageList) + sorted("@" + group.name for group in ks.packages.groupList),
        "scripts": [[KINDS[script.type], script.inChroot] for script in ks.scripts],
    }


def complaints(case):
    ks = makeVersion(case["syntax"])
    parser = KickstartParser(ks, followIncludes=True, errorsAreFatal=False)
    try:
        parser.readKickstart(case["file"])
    except Exception as error:  # each one is a finding
        yield f"{type(error).__name__}: {error}"
        return
    if parser.errorsCount:
        yield f"{parser.errorsCount} errors"
    found = understood(ks)
    for key, wanted in case["wanted"].items():
        if found[key] != wanted:
            yield f"{key} is {found[key]!r}, not {wanted!r}"


def main(manifest):
    warnings.filterwarnings(action="error", category=KickstartParseWarning)
    warnings.filterwarnings(action="ignore", message="An ssh user with the name", category=KickstartParseWarning)
    with open(manifest, encoding="utf-8") as file:
        cases = json.load(file)
    wrong = 0
    for case in cases:
        for complaint in complaints(case):
            wrong += 1
            print(f"{case['name']} ({case['syntax']}): {complaint}")
    print(f"{len(cases)} kickstarts, {wrong} complaints")
    return 1 if wrong else 0


sys.exit(main(sys.argv[1]))
