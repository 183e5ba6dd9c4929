#!/bin/sh
# Leaves the installed system as if it had come from the public mirrors, and lets the operator in.

{% if ssh_keys %}
mkdir -p /target/root/.ssh
chmod 0700 /target/root/.ssh
{% for key in ssh_keys %}
echo {{ key }} >>/target/root/.ssh/authorized_keys
{% endfor %}
chmod 0600 /target/root/.ssh/authorized_keys
{% endif %}

# The longer address first: the other is its beginning.
find /target/etc/apt -type f | while read -r file; do
	grep -qF {{ http }} "$file" || continue
{% for archive in archives | sort(attribute="ours", reverse=true) %}
	sed -i {{ "s|" ~ archive.ours ~ "|" ~ archive.public ~ "|g" }} "$file"
{% endfor %}
	# What still names us (a proxy, say) has no meaning any more.
	sed -i {{ "\\|" ~ http ~ "|d" }} "$file"
done
# Lists that came through us are filed under our name.
rm -rf /target/var/lib/apt/lists/*
exit 0
