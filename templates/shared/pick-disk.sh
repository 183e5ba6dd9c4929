#!/bin/sh
# pick-disk first | smallest | size BYTES | device PATH: prints the device that will be erased, or fails. The last line on
# stderr says why. For any shell that an installer may have: busybox, dash, bash.
#
#   first          the first fixed disk: nothing removable, nothing on USB or on a storage network, no memory card, nothing
#                  that is mounted
#   smallest       the smallest of those; the first of several
#   size BYTES     the only one of those whose size is within 5 % of BYTES
#   device PATH    that one, whatever it is and wherever it is attached
#
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
	*/virtual/block/*) echo "no disk"; return ;;
	*/usb[0-9]*/*) echo "on USB"; return ;;
	# SECURITY: other machines may have their data there. Fibre Channel, FCoE too, is told by its remote port (SAS has
	# port-0:0), iSCSI by its session, whichever card or driver it is.
	*/rport-[0-9]*/* | */session[0-9]*/*) echo "on a storage network"; return ;;
	esac
	# NVMe by its controller; a head over several paths lies beside links to the controllers of all.
	for transport in "${path%/*}/transport" "${path%/*}"/nvme*/transport; do
		case $(read_or "$transport" pcie) in
		pcie | apple-nvme) ;;
		*) echo "on a storage network"; return ;;
		esac
	done
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

fail() {
	echo "$1" >&2
	exit 1
}

which=$1
case $which in
first | smallest) ;;
size) case $2 in '' | *[!0-9]*) fail "\"$2\" is not a size in bytes" ;; esac ;;
device)
	disk=$(readlink -f "$2") && [ -e "$disk" ] || fail "there is no $2 in this machine"
	[ -e "$sys/block/${disk##*/}" ] || fail "$2 is not a whole disk"
	echo "taking $2, as was asked for" >&2
	echo "$disk"
	exit 0
	;;
*) fail "pick-disk takes first, smallest, size BYTES or device PATH, not \"$which\"" ;;
esac

refused=
candidates=
for entry in "$sys"/block/*; do
	[ -e "$entry" ] || continue
	disk=${entry##*/}
	path=$(readlink -f "$entry")
	why=$(objection "$disk" "$path")
	if [ -z "$why" ]; then
		candidates="$candidates$(rank "$disk") $path $disk $(cat "$path/size")
"
	elif [ "$why" != "no disk" ]; then
		refused="$refused${refused:+; }$disk is $why"
	fi
done
refused=${refused:+ ($refused)}
[ -n "$candidates" ] || fail "there is no fixed disk to install on$refused"

# KEY SIZE DISK a line, sorted by KEY. Numbers are padded, so that port 2 precedes port 10. Sizes are counted by awk, because
# not every shell counts to more than 2 GB.
disks=$(printf '%s' "$candidates" | awk '{
	key = ""
	rest = $1 $2
	while (match(rest, /[0-9]+/)) {
		key = key substr(rest, 1, RSTART - 1) substr("0000000000", RLENGTH + 1) substr(rest, RSTART, RLENGTH)
		rest = substr(rest, RSTART + RLENGTH)
	}
	printf "%s%s %.0f %s\n", key, rest, $4 * 512, $3
}' | sort)

# "sda of 500 GB, sdb of 1000 GB"
listed() {
	printf '%s\n' "$1" | awk '{ printf "%s%s of %.0f GB", separator, $3, $2 / 1e9; separator = ", " }'
}

case $which in
first) taken=$(printf '%s\n' "$disks" | sed -n 1p) ;;
smallest) taken=$(printf '%s\n' "$disks" | awk 'NR == 1 || $2 + 0 < size { size = $2 + 0; line = $0 } END { print line }') ;;
size)
	gigabytes=$(echo "$2" | awk '{ printf "%.0f GB", $1 / 1e9 }')
	taken=$(printf '%s\n' "$disks" | awk -v size="$2" '$2 + 0 >= size * 0.95 && $2 + 0 <= size * 1.05')
	case $taken in
	'') fail "no fixed disk has about $gigabytes: there is $(listed "$disks")$refused" ;;
	*"
"*) fail "several fixed disks have about $gigabytes: $(listed "$taken")$refused" ;;
	esac
	;;
esac
disk=${taken##* }
echo "taking $(listed "$taken")$refused" >&2
echo "$dev/$disk"
