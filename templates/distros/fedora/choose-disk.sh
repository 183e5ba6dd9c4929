cat >/tmp/pick-disk <<'END_OF_FILE'
{% include "pick-disk.sh" %}
END_OF_FILE

told=
until disk=$(sh /tmp/pick-disk {{ disk_choice }}
{%- if disk %} {{ disk }}{% endif %}
{%- if disk_size %} {{ disk_size }}{% endif %} </dev/null 2>/tmp/pick-disk.why); do
	reason=$(tail -n 1 /tmp/pick-disk.why)
	if [ -z "$told" ]; then
		report failed "$reason"
		told=1
	fi
	{ echo "provisioner: $reason. Nothing was touched. Looking again." >/dev/console; } 2>/dev/null || true
	sleep 10
done
tail -n 1 /tmp/pick-disk.why

cat >/tmp/provisioner-disk.ks <<END_OF_FILE
ignoredisk --only-use=${disk#/dev/}
zerombr
clearpart --all --initlabel --drives=${disk#/dev/}
END_OF_FILE
