# Prepares what the new machine does once, when it starts for the first time (`handoff`, a command line; without one this does
# nothing). For `sh`, as root, in the root folder of the installed system (chroot); no service manager need run there. Ends
# with 0, or with 1 after a line on stderr that says what is wrong: then nothing will be run. Needs tar and sha256sum there when
# there is code (`handoff_url`), and curl or wget, unless the caller has put the code at /var/lib/provisioner/handoff.tar.
#
#   /var/lib/provisioner/handoff/                the code; the command runs in this folder
#   /usr/local/lib/provisioner/first-boot        runs the command and reports `handed-off`
#   /etc/systemd/system/provisioner-handoff.service
#   /var/lib/provisioner/handoff.result          exit status, and the last line it printed: it has been run
#   /var/lib/provisioner/handoff.done            and has been reported, or nobody listened
#   /var/log/provisioner-handoff.log             what it printed; the journal gets it too
#
# SECURITY: the code and the command are run as root. The code's SHA-256 comes in this script, which comes by the same way as the
# answers: whoever can change one can change all. The digest guards against damage and mix-ups, not against that.
{% if handoff %}
(
	state=/var/lib/provisioner
	lib=/usr/local/lib/provisioner
	units=/etc/systemd/system

	fail() {
		echo "the hand-off cannot be prepared: $1" >&2
		exit 1
	}

	mkdir -p $lib $units/multi-user.target.wants && mkdir -p -m 0700 $state || fail "its folders cannot be made"
	rm -rf $state/handoff && mkdir -m 0700 $state/handoff || fail "its folder cannot be made"
{% if handoff_url %}
	tar=$state/handoff.tar
	if [ ! -e $tar ]; then
		if command -v curl >/dev/null; then
			curl -fsS --noproxy '*' --connect-timeout 15 --max-time 600 --retry 4 -o $tar {{ handoff_url }}
		elif command -v wget >/dev/null; then
			wget -q --no-proxy -T 15 -t 5 -O $tar {{ handoff_url }}
		else
			fail "there is neither curl nor wget to fetch the code with"
		fi || fail "the code cannot be fetched from "{{ handoff_url }}
	fi
	expected={{ handoff_sha256 }}
	actual=$(sha256sum <$tar)
	actual=${actual%% *}
	if [ "$actual" != "$expected" ]; then
		rm -f $tar
		fail "the code has SHA-256 $actual, not $expected"
	fi
	tar -x -f $tar -C $state/handoff --no-same-owner || fail "the code cannot be unpacked"
	rm -f $tar
{% endif %}

	cat >$lib/first-boot <<'END_OF_FIRST_BOOT'
# Runs the command of the hand-off, once. If the machine loses power meanwhile it runs again at the next start; after it has
# ended it never does. For bash, because every distribution has it and it can talk to a server by itself.
state=/var/lib/provisioner
log=/var/log/provisioner-handoff.log
command={{ handoff }}
callback={{ callback_url }}

# The service manager stops only this script when the machine goes down (KillMode=mixed). A command that ends with a restart
# of the machine has been run: that must be written down, or it would be run at every start.
trap : TERM

run() {
	(umask 077 && : >"$log")
	(cd "$state/handoff" && exec /bin/sh -c "$command") </dev/null >"$log" 2>&1
	status=$?
	said=$(tail -c 4096 "$log" | tr -d '\000-\010\013-\037\177' | sed -n '/[^[:space:]]/h; ${ x; p; }' | cut -c 1-500)
	printf '%s\n%s' "$status" "$said" >"$state/handoff.new"
	sync
	mv "$state/handoff.new" "$state/handoff.result"
	sync
	cat "$log"
}

# One POST. Any answer is one: there is nothing to be done about a bad one.
post() {
	local body=$1 rest=${callback#http://} host length answer
	host=${rest%%/*}
	length=$(printf %s "$body" | wc -c)
	exec 3<>"/dev/tcp/${host%:*}/${host##*:}" || return 1
	printf 'POST /%s/handed-off HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Type: text/plain\r\n' "${rest#*/}" "$host" >&3
	printf 'Content-Length: %d\r\n\r\n%s' "$length" "$body" >&3
	read -r answer <&3
	[[ $answer == HTTP/1.* ]]
}

[ -e "$state/handoff.result" ] || run
result=$(cat "$state/handoff.result")
export callback
export -f post
for try in 1 2 3 4 5; do
	timeout 15 bash -c 'post "$1"' post "$result" 2>/dev/null && break
	echo "the result of the hand-off was not reported (try $try)"
	[ "$try" = 5 ] || sleep 5
done
: >"$state/handoff.done"
# The unit is as successful as the command.
exit "${result%%[!0-9]*}"
END_OF_FIRST_BOOT

	cat >$units/provisioner-handoff.service <<'END_OF_UNIT'
[Unit]
Description=First start: what the provisioner was asked to run
After=network-online.target
Wants=network-online.target
ConditionPathExists=!/var/lib/provisioner/handoff.done

[Service]
Type=oneshot
Environment=HOME=/root
ExecStart=/bin/bash /usr/local/lib/provisioner/first-boot
KillMode=mixed
TimeoutStopSec=30

[Install]
WantedBy=multi-user.target
END_OF_UNIT

	# It holds the address that reports go to, and the command may hold more.
	chmod 0700 $lib/first-boot
	ln -sf ../provisioner-handoff.service $units/multi-user.target.wants/provisioner-handoff.service
	if command -v restorecon >/dev/null; then
		restorecon -R $state $lib $units/provisioner-handoff.service $units/multi-user.target.wants
	fi
	[ -x $lib/first-boot ] && [ -e $units/multi-user.target.wants/provisioner-handoff.service ] || fail "its files cannot be written"
)
{% endif %}
