#!/bin/sh
# pick-disk [DEVICE]: prints the disk that will be erased, or fails. The last line on stderr says why.
#
# Without DEVICE it takes the first fixed disk: nothing removable, nothing on USB, no memory card, nothing that is mounted.
# "First" goes by kind, NVMe before the rest and eMMC last, because a machine with both has its system on the faster one; then
# by the disk's place in the machine (bus, slot, port). Names such as sda are dealt out in the order in which disks answer,
# which is another one at the next start.

sys=${SYS:-/sys}
dev=${DEV:-/dev}
mounts=${MOUNTS:-/proc/mounts}
# 8 GB, in sectors of 512 bytes whatever the disk's own are.
least=15625000

read_or() {
	if [ -r "$1" ]; then cat "$1"; else echo "$2"; fi
}

# Says on stdout why a disk is not taken; nothing when it may be.
objection() {
	disk=$1
	path=$2
	case $disk in
	loop*|ram*|zram*|sr*|fd*|nbd*|md*|dm-*|mtdblock*|mmcblk*boot*|mmcblk*rpmb) echo "no disk"; return ;;
	mmcblk*) [ "$(read_or "$path/device/type" SD)" = MMC ] || { echo "a memory card"; return; } ;;
	esac
	case $path in
	*/usb[0-9]*/*) echo "on USB"; return ;;
	esac
	[ "$(read_or "$path/hidden" 0)" = 0 ] || { echo "one path of several"; return; }
	[ "$(read_or "$path/removable" 0)" = 0 ] || { echo "removable"; return; }
	# A whole enclosure can be: Thunderbolt says so at the device above the disk.
	parent=$path
	while [ "$parent" != / ] && [ "$parent" != "$sys" ] && [ "$parent" != . ]; do
		parent=$(dirname "$parent")
		[ "$(read_or "$parent/removable" fixed)" != removable ] || { echo "in a removable enclosure"; return; }
	done
	[ "$(read_or "$path/ro" 0)" = 0 ] || { echo "read-only"; return; }
	[ "$(read_or "$path/size" 0)" -ge $least ] || { echo "smaller than 8 GB"; return; }
	if grep -qE "^$dev/$disk(p?[0-9]+)? " "$mounts"; then echo "mounted"; fi
}

rank() {
	case $1 in
	nvme*) echo 1 ;;
	mmcblk*) echo 3 ;;
	*) echo 2 ;;
	esac
}

if [ -n "$1" ]; then
	disk=$(readlink -f "$1") && [ -e "$disk" ] || { echo "there is no $1 in this machine" >&2; exit 1; }
	[ -e "$sys/block/${disk##*/}" ] || { echo "$1 is not a whole disk" >&2; exit 1; }
	echo "$disk"
	exit 0
fi

refused=
candidates=
for entry in "$sys"/block/*; do
	[ -e "$entry" ] || continue
	disk=${entry##*/}
	path=$(readlink -f "$entry")
	why=$(objection "$disk" "$path")
	if [ -z "$why" ]; then
		candidates="$candidates$(rank "$disk") $path $disk
"
	elif [ "$why" != "no disk" ]; then
		refused="$refused${refused:+; }$disk is $why"
	fi
done

# Numbers are padded, so that port 2 precedes port 10.
disk=$(printf '%s' "$candidates" | awk '{
	key = ""
	rest = $1 " " $2
	while (match(rest, /[0-9]+/)) {
		key = key substr(rest, 1, RSTART - 1) substr("0000000000", RLENGTH + 1) substr(rest, RSTART, RLENGTH)
		rest = substr(rest, RSTART + RLENGTH)
	}
	print key rest " " $3
}' | sort | sed -n '1s/.* //p')
if [ -z "$disk" ]; then
	echo "there is no fixed disk to install on${refused:+ ($refused)}" >&2
	exit 1
fi
echo "taking $disk${refused:+ ($refused)}" >&2
echo "$dev/$disk"
