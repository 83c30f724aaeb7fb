# Shared by .ci/run and .ci/long: a quiet place to work in, packages when they
# are missing, and steps with headings, times and a verdict.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

export HOME="${HOME:-/root}"
export PATH="$PATH:/usr/local/go/bin:/usr/sbin:/sbin"
# A checkout that belongs to another user makes git, and so the stamping of
# binaries, fail; no check looks at the stamp.
export GOFLAGS="${GOFLAGS:+$GOFLAGS }-buildvcs=false"

bin="$PWD/.ci/bin"

# need COMMAND PACKAGE...: installs the Debian packages unless the command is
# there already.
need() {
	local command=$1
	shift
	if command -v "$command" >/dev/null; then
		return
	fi
	if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
		echo "$command is missing: install it (Debian: $*)" >&2
		return 1
	fi
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# need_for_tests installs what some tests skip without.
need_for_tests() {
	need prometheus prometheus
	need chromium chromium
	need strace strace
	need ip iproute2
	need iptables iptables
	need curl curl
	need systemd-analyze systemd
}

# tools builds the lint and code generation tools; go build leaves them alone
# when they are up to date.
tools() {
	mkdir -p "$bin"
	go build -C tools -o "$bin/" tool
}

# steps NAME...: runs step_NAME for each, goes on after a failure, and ends
# with the list of what passed and what did not.
steps() {
	local name start status summary="" failed=""
	for name in "$@"; do
		if ! declare -F "step_$name" >/dev/null; then
			echo "no step named $name" >&2
			return 2
		fi
	done
	for name in "$@"; do
		printf '\n==== %s\n' "$name"
		start=$SECONDS
		# Not in a condition: there bash would ignore -e inside the step.
		set +e
		(
			set -euo pipefail
			"step_$name"
		)
		status=$?
		set -e
		if [ "$status" = 0 ]; then
			summary+=$(printf '%-10s ok      %4d s' "$name" $((SECONDS - start)))$'\n'
		else
			failed+=" $name"
			summary+=$(printf '%-10s FAILED  %4d s' "$name" $((SECONDS - start)))$'\n'
			printf '==== %s FAILED (status %d)\n' "$name" "$status"
		fi
	done
	printf '\n==== summary, %d s in all\n%s' "$SECONDS" "$summary"
	if [ -n "$failed" ]; then
		printf 'FAILED:%s\n' "$failed"
		return 1
	fi
	echo "all passed"
}
