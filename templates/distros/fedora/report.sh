# report NAME [TEXT]: a server that is gone, or hangs, costs at most half a minute, never the installation.
report() {
	curl -q -sS -o /dev/null --noproxy '*' --connect-timeout 5 --max-time 10 --retry 2 --retry-delay 1 \
		-H 'Content-Type: text/plain' --data-raw "${2-}" {{ callback_url }}/"$1" || true
}
