# The public SSH host keys of the system that this runs in, on stdout: the body of the report `host-keys`. Nothing where there
# is no SSH server. For `sh`, as root, in the root folder of the installed system; no service manager need run there.
#
# Keys that the server would make on its first start are made now, so that they can be told while the installer still has a
# channel that the operator trusts: the first `ssh` is then not trust on first use.
(
	if [ -x /usr/sbin/sshd ]; then
		set -- /etc/ssh/ssh_host_*_key.pub
		if [ ! -e "$1" ]; then
			ssh-keygen -A >/dev/null
			# Fedora's label for private keys.
			if command -v restorecon >/dev/null; then restorecon -R /etc/ssh; fi
		fi
		cat /etc/ssh/ssh_host_*_key.pub
	fi
)
