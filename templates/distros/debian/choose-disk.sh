#!/bin/sh
# Tells partman and grub-installer which disk is meant (partman/early_command). As long as there is none it says so on the
# console and looks again when somebody presses Enter: it never falls through to another disk.
. /usr/share/debconf/confmodule

bin=/usr/lib/provisioner
question=provisioner/no-disk
why=/tmp/pick-disk.why
told=

until disk=$($bin/pick-disk {{ disk_choice }} {{ disk or disk_size }} </dev/null 2>$why); do
	reason=$(tail -n 1 $why)
	logger -t provisioner "$reason"
	if [ -z "$told" ]; then
		$bin/report failed "$reason"
		db_x_loadtemplatefile $bin/no-disk.templates provisioner || true
		told=1
	fi
	db_subst $question REASON "$reason" || true
	db_fset $question seen false || true
	db_input critical $question || true
	db_go || true
	sleep 5
done
logger -t provisioner "$(tail -n 1 $why)"

db_set partman-auto/disk "$disk"
db_set grub-installer/bootdev "$disk"
# grub-installer asks again about a device that nobody has "seen".
db_fset grub-installer/bootdev seen true
