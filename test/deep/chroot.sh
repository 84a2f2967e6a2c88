# Other versions of PostgreSQL, each in a chroot of the Debian release that has
# it, made once and kept in the cache; sourced after lib.sh. The tests run in
# mount and process namespaces of their own, so that nothing is left behind.

# release_of MAJOR: the release whose packages have it
release_of() {
	case $1 in
		17) echo trixie ;;
		18) echo forky ;;
		19) echo experimental ;;
		*) skip "no release of Debian is known to have PostgreSQL $1" ;;
	esac
}

# make_chroot MAJOR: sets $root
make_chroot() {
	local major=$1 release base site codename sources hook=()
	root=$cache/pg$major
	[ ! -e "$root/complete" ] || return 0
	release=$(release_of "$major")
	packages mmdebstrap=mmdebstrap unshare=util-linux
	as_root mkdir -p "$cache"
	exec 9>>"$cache/lock"
	flock 9
	[ ! -e "$root/complete" ] || return 0

	read -r site codename < <(debian_target)
	[ -n "$site" ] || skip "apt knows no mirror of Debian"
	base=$release
	sources=("deb $site $release main")
	if [ "$release" = experimental ]; then
		base=sid
		sources=("deb $site sid main" "deb $site experimental main")
		# shellcheck disable=SC2016
		hook=(--setup-hook='printf "Package: *\nPin: release a=experimental\nPin-Priority: 1\n\nPackage: postgresql-19* postgresql-server-dev-19* postgresql-client-19* libpq*\nPin: release a=experimental\nPin-Priority: 990\n" >"$1/etc/apt/preferences.d/durable"')
	fi
	echo "Installing Debian $base with PostgreSQL $major in $root"
	as_root rm -rf "$root"
	# a mirror may be older than what its lists allow
	if ! as_root mmdebstrap -q --mode=root --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
		--include="postgresql-$major,postgresql-server-dev-$major,make,gcc,libc6-dev,libipc-run-perl,python3-psycopg,procps" \
		"${hook[@]}" "$base" "$root" "${sources[@]}" >"$scratch/mmdebstrap.log" 2>&1; then
		tail -n 20 "$scratch/mmdebstrap.log"
		as_root rm -rf "$root"
		skip "the mirror does not serve PostgreSQL $major ($release)"
	fi
	as_root touch "$root/complete"
	exec 9>&-
}

# in_chroot COMMAND...: runs it as root in $root, in a copy of the tree, with
# postgres's scratch directory; the cache is at its own path.
in_chroot() {
	[ -d "$scratch/tree" ] || (fresh_tree)
	as_root mkdir -p "$scratch/tmp" "$root/mnt/tree" "$root$cache"
	as_root chmod 1777 "$scratch/tmp"
	# shellcheck disable=SC2016
	as_root unshare --mount --pid --fork --kill-child sh -ec '
		root=$1 scratch=$2 cache=$3
		shift 3
		mount --make-rprivate /
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount -t tmpfs tmpfs "$root/dev/shm"
		mount --bind "$scratch/tmp" "$root/tmp"
		mount --bind "$scratch/tree" "$root/mnt/tree"
		mount --bind "$cache" "$root$cache"
		exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 \
			PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			sh -c "cd /mnt/tree && exec \"\$@\"" sh "$@"' sh "$root" "$scratch" "$cache" "$@"
}

# test_in_chroot MAJOR: all tests, or those that are picked
test_in_chroot() {
	make_chroot "$1"
	local pg_config=/usr/lib/postgresql/$1/bin/pg_config
	in_chroot "$pg_config" --version
	in_chroot make -s test PG_CONFIG="$pg_config" COPT=-Werror TESTS="${TESTS:-regress isolation tap}" \
		${REGRESS+"REGRESS=$REGRESS"} ${ISOLATION+"ISOLATION=$ISOLATION"} ${PROVE_TESTS+"PROVE_TESTS=$PROVE_TESTS"}
}
