# What the instruments share; sourced by each, in bash.
#
# An instrument is any executable here. It exits 0 where it found nothing, 77
# where it cannot run on this machine (see skip), and with anything else where it
# found something. It works in a scratch directory and in the cache, and leaves
# the tree alone.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# The server refuses root, so root's tests run as postgres, who cannot look into
# root's home.
if [ -n "${DURABLE_CACHE:-}" ]; then
	cache=$DURABLE_CACHE
elif [ "$(id -u)" -eq 0 ]; then
	cache=/var/cache/durable
else
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/durable
fi
scratch=$(mktemp -d /tmp/durable-deep.XXXXXX)
chmod 755 "$scratch"
trap 'rm -rf "$scratch"' EXIT
jobs=$(nproc)

skip() { echo "$*"; exit 77; }

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# packages [NAME=PACKAGE...]: installs by apt what the tests need, and those
# packages whose command or header is not there.
packages() { scripts/install-packages "$@"; }

# The mirror and the release that this machine's apt takes Debian's packages from.
debian_target() {
	apt-get indextargets --format '$(LABEL)|$(COMPONENT)|$(SITE)|$(CODENAME)|$(CREATED_BY)' |
		awk -F '|' '$1 == "Debian" && $2 == "main" && $4 !~ /-/ && $5 == "Packages" { print $3, $4; exit }'
}

# Makes a copy of the tree, without anything built, and goes there.
fresh_tree() {
	mkdir "$scratch/tree"
	tar -c --exclude=./.git . | tar -x -C "$scratch/tree"
	cd "$scratch/tree"
	make -s clean >/dev/null
	# what runs as postgres may write here
	[ "$(id -u)" -ne 0 ] || chown -R postgres: .
}

# Takes the server built from source (see build-server). Given a script, that is
# what runs in its place, with the path of the real one in $real. (Tests stop and start
# a server: a restart by pg_ctl would run the real one by itself.)
source_server() {
	local prefix=$scratch/server
	PG_CONFIG=$(test/deep/build-server 15) || exit $?
	# a copy, since the extension will be installed into it
	cp -al "$cache/server-15" "$prefix" 2>/dev/null || cp -a "$cache/server-15" "$prefix"
	export PG_CONFIG=$prefix/bin/pg_config
	[ -n "${1:-}" ] || return 0
	mv "$prefix/bin/postgres" "$prefix/bin/postgres.real"
	printf '#!/bin/sh\nreal=%s\n%s\n' "$prefix/bin/postgres.real" "$1" >"$prefix/bin/postgres"
	chmod +x "$prefix/bin/postgres"
}

# Where what runs in the server may write its reports; the logs of the servers
# come there, too.
reports=$scratch/reports
mkdir "$reports"
chmod 1777 "$reports"

# no_reports PATTERN: shows the reports that match.
no_reports() {
	local file found=0
	while IFS= read -r file; do
		grep -E -m 20 -A 40 "$1" "$file" | head -n 200
		found=$((found + 1))
	done < <(grep -rlE "$1" "$reports")
	echo "reports: $found"
	[ $found -eq 0 ]
}

# with_tests [VARIABLE=VALUE...]: runs the tests, in the copy of the tree.
with_tests() { env "$@" scripts/with-cluster scripts/run-tests; }

# The same, without the long ones of test/extra, and the fuzzer.
with_tests_and_fuzz() {
	env TESTS="${TESTS:-regress isolation tap}" FUZZ_SECONDS="${FUZZ_SECONDS:-30}" "$@" \
		scripts/with-cluster sh -c '
			scripts/run-tests && test/fuzz/fuzz
			status=$?
			cat "$PGHOST/server.log" tmp_check/log/*.log >"$1/server.log" 2>/dev/null
			exit $status' sh "$reports"
}
