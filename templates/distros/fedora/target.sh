# What was installed in text mode starts in text mode, unless told otherwise, even when it is a desktop.
root=${ANA_INSTALL_PATH:-/mnt/sysroot}
if [ -L "$root/etc/systemd/system/display-manager.service" ]; then
	chroot "$root" systemctl set-default graphical.target >/dev/null 2>&1 || true
fi
{% if user and not user_password %}
# An administrator without a password could never answer sudo's question.
mkdir -p "$root/etc/sudoers.d"
(umask 227 && printf '%s ALL=(ALL) NOPASSWD: ALL\n' {{ user }} >"$root/etc/sudoers.d/provisioner")
{% endif %}
