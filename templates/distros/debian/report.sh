#!/bin/sh
# report NAME [TEXT [WGET-OPTION]...]: says how far this machine is. A server that is gone, or hangs, costs at most half a minute,
# never the installation.
name=$1
text=$2
shift
[ $# = 0 ] || shift
wget -q -O /dev/null -T 5 -t 2 --waitretry=1 --no-proxy --post-data="$text" "$@" {{ callback_url }}/"$name" || true
