#!/bin/sh
# Leaves the installed system as if it had come from the public mirrors, lets the operator in, and prepares its first start.

bin=/usr/lib/provisioner
said=/tmp/provisioner.said

# The reason that a step failed: the last thing it said.
why() {
	tail -n 1 $said
}

{% if ssh_keys %}
mkdir -p /target/root/.ssh
chmod 0700 /target/root/.ssh
{% for key in ssh_keys %}
echo {{ key }} >>/target/root/.ssh/authorized_keys
{% endfor %}
chmod 0600 /target/root/.ssh/authorized_keys
{% endif %}
{% if user %}

chroot /target /bin/sh >$said 2>&1 <<'END_OF_ACCOUNT' || $bin/report failed "the administrator: $(why)"
user={{ user }}
usermod -a -G sudo "$user" || exit 1
{% if not user_password %}
# An administrator without a password could never answer sudo's question.
(umask 227 && echo "$user ALL=(ALL:ALL) NOPASSWD: ALL" >/etc/sudoers.d/provisioner) || exit 1
{% endif %}
{% if ssh_keys %}
home=$(getent passwd "$user" | cut -d : -f 6)
mkdir -p "$home/.ssh" || exit 1
{% for key in ssh_keys %}
echo {{ key }} >>"$home/.ssh/authorized_keys"
{% endfor %}
chmod 0700 "$home/.ssh" && chmod 0600 "$home/.ssh/authorized_keys" && chown -R "$user:" "$home/.ssh"
{% endif %}
END_OF_ACCOUNT
{% endif %}

# The installer spoke English, whatever the system's own language is.
[ ! -e /target/etc/default/locale ] || sed -i '/^LANGUAGE=/d' /target/etc/default/locale
{% if time_servers %}

mkdir -p /target/etc/systemd/timesyncd.conf.d
printf '[Time]\nNTP=%s\n' {{ time_servers | join(" ") }} >/target/etc/systemd/timesyncd.conf.d/provisioner.conf
{% endif %}

{% if outdated %}
# It was for the installation only.
rm -f /target/etc/apt/apt.conf.d/00provisioner
{% endif %}
# The longer address first: the other is its beginning.
find /target/etc/apt -type f | while read -r file; do
	grep -qF {{ http }} "$file" || continue
{% for archive in archives | sort(attribute="ours", reverse=true) %}
	sed -i {{ "s|" ~ archive.ours ~ "|" ~ archive.public ~ "|g" }} "$file"
{% endfor %}
	# What still names us (a proxy, say) has no meaning any more.
	sed -i {{ "\\|" ~ http ~ "|d" }} "$file"
done
# Lists that came through us are filed under our name.
rm -rf /target/var/lib/apt/lists/*
{% if tpm2 %}

# The passphrase opens the disk whatever becomes of this. Register 7 has the state of Secure Boot and whose signatures were
# accepted: the next kernel does not change it. clevis is what can do it: initramfs-tools passes over crypttab's tpm2-device.
# It asks the LUKS header at every start, so the initramfs need not be made again.
mkdir -p -m 0700 /target/var/lib/provisioner
(umask 077 && cat >/target/var/lib/provisioner/bind-tpm) <<'END_OF_BINDING'
exec 2>&1
uuid=$(sed -n 's/^[^#[:space:]]*[[:space:]]*UUID=\([^[:space:]]*\).*/\1/p' /etc/crypttab | head -n 1)
[ -n "$uuid" ] || { echo "crypttab names no LUKS partition"; exit 1; }
printf '%s\n' {{ passphrase }} |
	clevis luks bind -y -k - -d "/dev/disk/by-uuid/$uuid" tpm2 '{"pcr_bank":"sha256","pcr_ids":"7"}'
END_OF_BINDING
in-target --pass-stdout sh /var/lib/provisioner/bind-tpm >$said || $bin/report failed "the TPM cannot open the disk: $(why)"
rm -f /target/var/lib/provisioner/bind-tpm
{% endif %}
{% if handoff_url %}

# A minimal system has nothing to fetch it with, the installer has.
mkdir -p -m 0700 /target/var/lib/provisioner
wget -q --no-proxy -T 15 -t 5 -O /target/var/lib/provisioner/handoff.tar {{ handoff_url }} ||
	rm -f /target/var/lib/provisioner/handoff.tar
{% endif %}
{% if handoff %}

chroot /target /bin/sh >$said 2>&1 <<'END_OF_HANDOFF' || $bin/report failed "$(why)"
{% include "handoff.sh" %}
END_OF_HANDOFF
{% endif %}

chroot /target /bin/sh >$said <<'END_OF_HOST_KEYS'
{% include "host-keys.sh" %}
END_OF_HOST_KEYS
[ ! -s $said ] || $bin/report host-keys "$(cat $said)"
rm -f $said
exit 0
