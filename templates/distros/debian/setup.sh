#!/bin/sh
# Runs in the installer as soon as it has read its answers (preseed/run), before anything touches a disk. It only puts scripts
# where the installer looks for some, says that the installation has started, and sets the clock.

bin=/usr/lib/provisioner
mkdir -p $bin /lib/partman/finish.d /usr/lib/finish-install.d

cat >$bin/report <<'END_OF_FILE'
{% include "report.sh" %}
END_OF_FILE

cat >$bin/pick-disk <<'END_OF_FILE'
{% include "pick-disk.sh" %}
END_OF_FILE

cat >$bin/choose-disk <<'END_OF_FILE'
{% include "choose-disk.sh" %}
END_OF_FILE

cat >$bin/no-disk.templates <<'END_OF_FILE'
{% include "no-disk.templates" %}
END_OF_FILE

cat >$bin/watch <<'END_OF_FILE'
{% include "watch.sh" %}
END_OF_FILE

# partman has written the partition table and mounted /target when it runs these.
cat >/lib/partman/finish.d/90provisioner <<'END_OF_FILE'
#!/bin/sh
/usr/lib/provisioner/report partitioned
exit 0
END_OF_FILE

# The first and the last of the final steps. 95umount has unmounted the disk by 96, 97 gives the address back.
cat >/usr/lib/finish-install.d/01provisioner <<'END_OF_FILE'
#!/bin/sh
/usr/lib/provisioner/report finishing
exit 0
END_OF_FILE

cat >/usr/lib/finish-install.d/96provisioner <<'END_OF_FILE'
#!/bin/sh
/usr/lib/provisioner/report installed
exit 0
END_OF_FILE

{% if outdated %}
# The archives' metadata are older than they say they are good for, and the installer asks what to do when apt refuses them. Who
# signed them is checked all the same. Before apt's first use, after debootstrap; 58provisioner takes it away again.
mkdir -p /usr/lib/base-installer.d
cat >/usr/lib/base-installer.d/90provisioner <<'END_OF_FILE'
#!/bin/sh
mkdir -p /target/etc/apt/apt.conf.d
echo 'Acquire::Check-Valid-Until "false";' >/target/etc/apt/apt.conf.d/00provisioner
exit 0
END_OF_FILE
chmod +x /usr/lib/base-installer.d/90provisioner

{% endif %}
# After 08hw-detect, which still installs packages through us; before 60cleanup, which rebuilds apt's cache.
cat >/usr/lib/finish-install.d/58provisioner <<'END_OF_FILE'
{% include "target.sh" %}
END_OF_FILE

chmod +x $bin/* /lib/partman/finish.d/90provisioner /usr/lib/finish-install.d/*provisioner

# A machine with a flat battery starts in the past, where no signature of the archive is valid yet.
date=$($bin/report started '' -S 2>&1 | sed -n 's/^ *Date: *//p' | tail -n 1 | tr -d '\r')
if there=$(date -u -D '%a, %d %b %Y %H:%M:%S GMT' -d "$date" +%s 2>/dev/null) && here=$(date +%s); then
	if [ $((there - here)) -gt 60 ] || [ $((here - there)) -gt 60 ]; then
		date -u -s "@$there" >/dev/null
	fi
fi

# It outlives this script, so it must hold none of its files open: the installer waits for those.
$bin/watch </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- &
exit 0
