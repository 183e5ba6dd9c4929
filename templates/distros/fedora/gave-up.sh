# The exception, or else the last line that the installer logged as an error.
why=$(grep -hEm 1 '^[A-Za-z_.]+(Error|Exception|Failed|Failure)' /tmp/anaconda-tb-* 2>/dev/null | tail -n 1)
[ -n "$why" ] || why=$(
	grep -hE '^[0-9:,.]+ (ERR|ERROR|CRT|CRITICAL)' /tmp/anaconda.log /tmp/storage.log /tmp/packaging.log 2>/dev/null |
		sort | tail -n 1 | sed 's/^[0-9:,.]* *[A-Z]*[: ]*//'
)
report failed "${why:-the installer gave up without an error in its log}"
