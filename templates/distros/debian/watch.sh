#!/bin/sh
# Reports the installer's first failure. It has no hook for that: a step that fails ends in a dialog that waits for ever, but
# not before a line in the log. Code 10 is a step back, not a failure.
tail -n +1 -f /var/log/syslog |
	grep -m 1 -E "main-menu.* failed with error code ([2-9]|1$|1[1-9])|base-installer: error: exiting on|grub-installer: error: Running" |
	while read -r line; do
		/usr/lib/provisioner/report failed "${line##*: }"
	done
