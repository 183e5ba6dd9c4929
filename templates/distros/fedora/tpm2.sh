# Lets the machine's TPM open what the passphrase opens, which stays as the recovery key. PCR 7, the state of Secure Boot, is
# the same here as when the machine starts from its disk, through the same shim. A machine whose TPM cannot be enrolled is
# installed all the same: it asks for the passphrase.
root=${ANA_INSTALL_PATH:-/mnt/sysroot}
PASSWORD={{ passphrase }}
export PASSWORD
problem=
enrolled=
while read -r name device _; do
	case $name in
	''|'#'*) continue ;;
	esac
	case $device in
	UUID=*) device=/dev/disk/by-uuid/${device#UUID=} ;;
	esac
	if said=$(chroot "$root" systemd-cryptenroll --tpm2-device=auto --tpm2-pcrs=7 "$device" 2>&1 </dev/null); then
		enrolled="$enrolled $name"
	else
		problem="the TPM of this machine does not open $name: $(printf "%s\n" "$said" | tail -n 1)"
	fi
done <"$root/etc/crypttab"
unset PASSWORD

if [ -n "$enrolled" ]; then
	awk -v "enrolled=$enrolled " '
		index(enrolled, " " $1 " ") {
			if (NF < 3) $3 = "none"
			$4 = ($4 == "" || $4 == "none" ? "" : $4 ",") "tpm2-device=auto"
		}
		{ print }
	' "$root/etc/crypttab" >/tmp/crypttab && cat /tmp/crypttab >"$root/etc/crypttab"
	# The initial RAM disk has a copy of that file, and the libraries that the TPM needs only if the file says so.
	said=$(chroot "$root" dracut --force --regenerate-all 2>&1 </dev/null) ||
		problem="the initial RAM disk could not be made again for the TPM: $(printf "%s\n" "$said" | tail -n 1)"
else
	problem=${problem:-there is no encrypted disk for the TPM to open}
fi
[ -z "$problem" ] || report failed "$problem; the passphrase opens the disk"
