# To be sourced: sets `cache` to isobench's cache folder, which is made if it is missing. As in harness/runner/src/owned.rs,
# a folder that holds anything but has no tag of isobench's is not used, and an empty variable counts as unset.
cache=${ISOBENCH_CACHE:-}
if [ -z "$cache" ]; then
    # The XDG base directory specification has relative paths ignored.
    case "${XDG_CACHE_HOME:-}" in
        /*) cache=$XDG_CACHE_HOME/isobench ;;
        *) cache=${HOME:?set HOME or ISOBENCH_CACHE}/.cache/isobench ;;
    esac
fi
case "$cache" in
    /*) ;;
    *) cache=$PWD/$cache ;;
esac
# A slash at the end would lead through a symbolic link.
while [ "${cache%/}" != "$cache" ]; do cache=${cache%/}; done
refuse_cache() {
    echo "$cache $1, so isobench does not use it; set ISOBENCH_CACHE to a new or empty folder of your own, or remove" \
        "this one if an earlier isobench made it" >&2
    exit 1
}
mkdir -p "$(dirname "$cache")"
[ -e "$cache" ] || [ -L "$cache" ] || mkdir -m 755 "$cache" || [ -d "$cache" ] || exit 1
[ ! -L "$cache" ] || refuse_cache "is a symbolic link"
[ -d "$cache" ] || refuse_cache "is not a folder"
[ -O "$cache" ] || refuse_cache "belongs to another user"
if [ -z "$(ls -A "$cache")" ]; then
    chmod 755 "$cache"
    # Written aside and renamed: another process may look at the same moment.
    printf '%s\n' 'Signature: 8a477f597d28d172789f06886806bc55' '# This folder is a cache of isobench.' >"$cache/.part-script-$$"
    mv "$cache/.part-script-$$" "$cache/CACHEDIR.TAG"
elif [ "$(sed -n 2p "$cache/CACHEDIR.TAG" 2>/dev/null)" != '# This folder is a cache of isobench.' ]; then
    refuse_cache "is not empty and was not made by this version of isobench"
fi
[ -z "$(find "$cache" -maxdepth 0 -perm /022)" ] || refuse_cache "can be written by other users"
